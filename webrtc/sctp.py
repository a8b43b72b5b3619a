"""SCTP of data channels (RFC 8831) by aiortc, within bounds: whoever watches may send anything.

aiortc keeps what it cannot put together yet without a limit, and walks through whatever range a
report claims: one datagram would hold up everybody for seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import DataChunk, ForwardTsnChunk, SackChunk
from OpenSSL import SSL

if TYPE_CHECKING:
    from aiortc import RTCDtlsTransport
    from aiortc.rtcsctptransport import Chunk

log = structlog.get_logger(__name__)

MAX_HELD_BYTES = 128 * 1024
"""Of messages that are not whole yet; peers are told it as our window."""
SLACK_BYTES = 16 * 1024
"""Beyond the window: what is on its way."""
MAX_GAPS = 128
"""Chunks that came ahead of a missing one."""
MAX_STREAMS = 32
"""Streams that a peer sends on."""
CHUNKS_PER_S = 400
CHUNKS_BURST = 1000
"""Chunks that are worked on; cues make some ten acknowledgements a second."""
_SERIAL = 2**32


class Overrun(Exception):
    """The peer sends more than any client of ours, or what is no SCTP."""


class BoundedSctp(RTCSctpTransport):
    """One peer's association; after an overrun it hears and says nothing more.

    It sends nothing through a connection that is over: who ends that says so, not this.
    """

    def __init__(
        self,
        transport: RTCDtlsTransport,
        port: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(transport, port)
        self._advertised_rwnd = MAX_HELD_BYTES
        self._clock = clock
        self._allowance, self._allowed_s = float(CHUNKS_BURST), clock()
        self.overrun = False
        self.on_overrun: Callable[[], None] = lambda: None
        """Called once, from within the datagram that is too much."""

    async def _handle_data(self, data: bytes) -> None:
        if self.overrun:
            return
        try:
            await super()._handle_data(data)
        except Exception as error:  # aiortc trusts what it reads: most is the peer's doing
            if not isinstance(error, Overrun):
                log.debug("data channels given up", exc_info=error)
            self.overrun = True
            self.on_overrun()

    async def _receive_chunk(self, chunk: Chunk) -> None:
        self._spend()
        if isinstance(chunk, SackChunk):
            chunk.gaps = self._sensible(chunk)
        elif isinstance(chunk, DataChunk):
            self._admit({chunk.stream_id})
        elif isinstance(chunk, ForwardTsnChunk):
            self._admit({stream for stream, _ in chunk.streams})
        await super()._receive_chunk(chunk)
        if self._advertised_rwnd < -SLACK_BYTES or len(self._sack_misordered) > MAX_GAPS:
            raise Overrun

    async def _send_chunk(self, chunk: Chunk) -> None:
        with suppress(ConnectionError, SSL.Error):
            await super()._send_chunk(chunk)

    def _spend(self) -> None:
        now_s = self._clock()
        self._allowance += (now_s - self._allowed_s) * CHUNKS_PER_S
        self._allowance = min(self._allowance, float(CHUNKS_BURST)) - 1
        self._allowed_s = now_s
        if self._allowance < 0:
            raise Overrun

    def _admit(self, streams: set[int]) -> None:
        if len(streams | self._inbound_streams.keys()) > MAX_STREAMS:
            raise Overrun

    def _sensible(self, chunk: SackChunk) -> list[tuple[int, int]]:
        """Return the gap blocks of a SACK (RFC 9260 3.3.4) that are about what was sent.

        They come in order and do not overlap; from the first that does otherwise, all are left out.
        """
        if not self._sent_queue:
            return []
        last = (self._sent_queue[-1].tsn - chunk.cumulative_tsn) % _SERIAL
        if last > len(self._sent_queue):  # the report is older or newer than what is out
            return []
        found: list[tuple[int, int]] = []
        before = 0
        for first, end in chunk.gaps:
            if not before < first <= end <= last:
                break
            found.append((first, end))
            before = end
        return found
