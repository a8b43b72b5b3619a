"""How fast a client is read: in slices and turns, and not ahead of what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Protocol

SLICE_BYTES = 16_384
"""One read may bring 256 KiB, which is four seconds of a small stream: the lead is looked at in
between, and the rest of the read waits in its connection."""
HELD_SLICE_BYTES = 2048
"""The same for a client that was held back once."""
GATHER_S = 0.02
"""Media gathered before a wake-up: a picture rarely waits, sound waits for its picture."""


class Reader(Protocol):
    """Who takes the slices: a connection."""

    def begin_turn(self) -> None:
        """Get ready for the slices of one turn."""

    def take(self, data: bytes) -> bool:
        """Process a slice, perhaps of nothing; False where the connection is over."""

    def reads_again(self) -> bool:
        """Hear that a pause is over; False where something else has reading wait."""


class Intake:
    """Hands reads on in slices; holds the rest of one read while the client is held back."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._transport: asyncio.Transport | None = None
        self._held: asyncio.TimerHandle | None = None
        self._slice = SLICE_BYTES
        self._backlog = b""
        """Rest of the last read while the client is held back; nothing is read meanwhile."""
        self._low_water = 1

    @property
    def held(self) -> bool:
        """Whether the client is held back."""
        return self._held is not None

    def attach(self, transport: asyncio.Transport) -> None:
        """Use this transport."""
        self._transport = transport

    def feed(self, data: bytes) -> None:
        """Process a read; while the client is held back it waits."""
        if self._backlog or self._held is not None:
            # What was under way when reading paused.
            self._backlog += data
            return
        self._process(data)

    def hold_back(self, seconds: float) -> None:
        """Let a client that sends faster than real time wait: TCP slows it down."""
        self._slice = HELD_SLICE_BYTES
        self.pause(seconds)

    def pause(self, seconds: float) -> None:
        """Read nothing for a while; 0 lets the other connections have their turn."""
        if self._held is None and self._transport is not None:
            self._transport.pause_reading()
            self._held = asyncio.get_running_loop().call_later(seconds, self._read_on)

    def resume(self) -> None:
        """Read on, but not ahead of the end of a pause."""
        if self._held is None and self._transport is not None:
            self._transport.resume_reading()

    def cancel(self) -> None:
        """Process nothing more."""
        if self._held is not None:
            self._held.cancel()

    def gather(self, bytes_per_second: int) -> None:
        """Let the kernel wake us for `GATHER_S` of media at a time, not for every sound packet.

        A publisher that pauses is read to its last byte with the next call.
        """
        wanted = max(1, int(bytes_per_second * GATHER_S))
        option = getattr(socket, "SO_RCVLOWAT", None)  # not on Windows
        if option is None or self._transport is None or wanted // 2 < self._low_water <= wanted:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, wanted)
                self._low_water = wanted

    def _process(self, data: bytes) -> bool:
        """Process a read in slices; False when the client got too far ahead, or is cut.

        What takes long to parse takes several turns, with the other connections in between.
        """
        size = self._slice
        end = 0
        self._reader.begin_turn()
        # Also without data: what the last turn left in the session.
        while not end or end < len(data):
            start, end = end, end + size
            if not self._reader.take(data[start:end]):
                return False
            if self._held is not None:
                self._backlog = data[end:]
                return False
        return True

    def _read_on(self) -> None:
        self._held = None
        backlog, self._backlog = self._backlog, b""
        if self._process(backlog) and self._reader.reads_again():
            self.resume()
