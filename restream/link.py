"""One connection to a target: bytes between its transport and the client side of RTMP."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

from ingest.rtmp.client import PublishRefused, RtmpPublishClient
from ingest.rtmp.errors import RtmpError

if TYPE_CHECKING:
    from collections.abc import Callable

HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
READ_BURST = 128 * 1024
READ_PER_S = 8 * 1024
"""A server answers and pings; one that talks more than this only costs our time."""
LEAST_TAKEN = 8 * 1024
"""A target that takes less than this of what waits may as well be dead."""
LAST_WORDS_S = 2.0
"""A closed connection that does not take its last bytes is cut after this long."""


class LinkLost(Exception):
    """The connection ended, or what came over it was no RTMP."""


class Link(asyncio.Protocol):
    """Reads and writes on the event loop; whoever owns it is woken by `wake` when it changed.

    Bounded on both sides: above `HIGH_WATER` unsent bytes `paused` is set and nothing is read
    either, since every answer would add to them; what is read is limited in rate and goes through
    the client's limits.
    """

    def __init__(
        self,
        client: RtmpPublishClient,
        *,
        wake: Callable[[], None],
        sent: Callable[[int], None],
    ) -> None:
        """`sent` is told the size of everything that is handed to the transport."""
        self.client = client
        self.paused = False
        self.refused: PublishRefused | None = None
        self._wake = wake
        self._sent = sent
        self._lost: str | None = None
        self._transport: asyncio.Transport | None = None
        self._read_left = float(READ_BURST)
        self._read_at = 0.0
        self._stuck_bytes = 0
        self._stuck_since = 0.0

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first bytes of the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self._write(self.client.start())

    def data_received(self, data: bytes) -> None:
        """Let the client answer."""
        if self._lost is not None or self.refused is not None:
            return
        if not self._may_say(len(data)):
            self._lost = "sends more than a server has to say, and was cut off"
            self._wake()
            return
        try:
            for event in self.client.receive_data(data):
                if isinstance(event, PublishRefused):
                    self.refused = event
        except RtmpError:
            # Its sentences are about encoders, and this peer is a server.
            self._lost = "does not speak RTMP as it should"
        self.flush()
        self._wake()

    def _may_say(self, size: int) -> bool:
        now_s = time.monotonic()
        grown = self._read_left + (now_s - self._read_at) * READ_PER_S
        self._read_left, self._read_at = min(grown, READ_BURST) - size, now_s
        return self._read_left >= 0

    def eof_received(self) -> bool:
        """Close the connection."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it for the owner."""
        del exc  # a reset says no more to a producer than an end
        if self._lost is None:
            self._lost = "closed the connection"
        self._transport = None
        self._wake()

    def pause_writing(self) -> None:
        """Stop until the target takes more."""
        self.paused = True
        self._stuck_since = 0.0
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        if self._transport is not None:
            self._transport.resume_reading()
        self._wake()

    # ── the owner's side ─────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Raise `LinkLost` where the connection is gone; its text goes on from the host's name."""
        if self._lost is not None:
            raise LinkLost(self._lost)

    def flush(self) -> None:
        """Hand what the client wants to send to the transport."""
        self._write(self.client.data_to_send())

    def stuck_s(self, now_s: float) -> float:
        """Return for how long the target has taken next to nothing of what waits."""
        waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if not self.paused:
            self._stuck_since = 0.0
            return 0.0
        if not self._stuck_since or waiting <= self._stuck_bytes - LEAST_TAKEN:
            self._stuck_since, self._stuck_bytes = now_s, waiting
        return now_s - self._stuck_since

    def close(self) -> None:
        """Say goodbye and close. Idempotent."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.client.stop()
        self.flush()
        transport.close()
        asyncio.get_running_loop().call_later(LAST_WORDS_S, transport.abort)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self._sent(len(data))
