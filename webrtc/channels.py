"""The one data channel of a peer that has a certain label, whoever opens it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiortc import RTCDataChannel, RTCDataChannelParameters
from aiortc.exceptions import InvalidStateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc import RTCSctpTransport

    from webrtc.peer import Peer

PATIENCE_S = 1.5
"""So long the peer may take to open the channel; then we do."""
MAX_CHANNELS = 8
"""Of one peer; at more, and where it sends more than `webrtc.sctp` takes, all are closed."""
LOCAL_PORT = 5000


class Channel:
    """An open channel that only we send on; what the peer sends is ignored."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self._channel = channel

    @property
    def open(self) -> bool:
        """Whether something can be sent."""
        return bool(self._channel.readyState == "open")

    @property
    def waiting_bytes(self) -> int:
        """What the peer has not acknowledged yet."""
        return int(self._channel.bufferedAmount)

    def send(self, text: str) -> bool:
        """Queue a message, reliably and in order.

        False where the channel is not open, or the message larger than the peer takes.
        """
        try:
            self._channel.send(text)
        except (InvalidStateError, ValueError):
            return False
        return True

    def close(self) -> None:
        """Close it."""
        self._channel.close()


class DataChannel:
    """Waits for a peer's channel of one label, or opens it; hands it over once it is open."""

    def __init__(self, *, label: str, opened: Callable[[Channel], None]) -> None:
        """`opened` may be called again: with the peer's channel after ours."""
        self._label, self._opened = label, opened
        self._current: Channel | None = None
        self._count = 0
        self._too_many = asyncio.Event()

    async def run(self, peer: Peer, *, port: int, max_message: int) -> None:
        """Serve the connected peer until cancelled; `port` and `max_message` are its own."""
        sctp = peer.sctp(LOCAL_PORT)
        sctp.on("datachannel", self._offered)

        def too_much() -> None:
            peer.note_flood()
            self._too_many.set()

        sctp.on_overrun = too_much
        try:
            await peer.start_sctp(sctp, port=port, max_message=max_message)
            await self._wait(sctp)
        finally:
            await sctp.stop()

    async def _wait(self, sctp: RTCSctpTransport) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._too_many.wait()
        if self._current is None and not self._too_many.is_set():
            self._open(sctp)
        await self._too_many.wait()

    def _open(self, sctp: RTCSctpTransport) -> None:
        made = RTCDataChannel(sctp, RTCDataChannelParameters(label=self._label))
        made.on("open", lambda: self._take(made))

    def _offered(self, channel: RTCDataChannel) -> None:
        self._count += 1
        if self._count > MAX_CHANNELS:
            self._too_many.set()
        elif channel.label == self._label:
            self._take(channel)

    def _take(self, channel: RTCDataChannel) -> None:
        before, self._current = self._current, Channel(channel)
        if before is not None:
            before.close()
        self._opened(self._current)
