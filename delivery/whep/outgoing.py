"""One RTP stream to one viewer: its numbers, its clock, what it remembers (sans-IO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND
from webrtc.header import HeaderWriter
from webrtc.history import HistoryLimits, SentHistory
from webrtc.payloads.red import with_redundancy
from webrtc.rtcp import SenderReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from webrtc.extensions import ExtensionMap
    from webrtc.rtcp import ReportBlock


SRTP_WINDOW = 1000
"""Packets back from the newest that SRTP encrypts under their own numbers again, and some less."""

UNASKED_RESENDS = 6
"""Of one packet, where feedback tells that it is missing: nobody can ask in vain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTerms:
    """What the answer and chance say of a stream."""

    ssrc: int
    payload_type: int
    clock_rate: int
    mid: str | None
    ids: ExtensionMap
    first_sequence: int
    """16 random bits."""
    offset: int
    """32 random bits, added to every timestamp (RFC 3550 section 5.1)."""
    rtx_ssrc: int | None = None
    rtx_payload_type: int | None = None
    """None: retransmissions go out as they were (no RFC 4588)."""
    rtx_first_sequence: int = 0
    asks_again: bool = True
    """Whether the viewer sends NACKs."""
    red_payload_type: int | None = None
    """None: no packet can hold the one before it as well (no RFC 2198)."""


class Outgoing:
    """Numbers the packets of a stream and answers what is asked again."""

    def __init__(self, terms: StreamTerms, *, limits: HistoryLimits | None = None) -> None:
        self.terms = terms
        self._writer = HeaderWriter(
            ssrc=terms.ssrc, payload_type=terms.payload_type, ids=terms.ids, mid=terms.mid
        )
        self._redundant = None
        if terms.red_payload_type is not None:
            self._redundant = HeaderWriter(
                ssrc=terms.ssrc, payload_type=terms.red_payload_type, ids=terms.ids, mid=terms.mid
            )
        self._before: tuple[bytes, int] | None = None
        """The newest packet's payload and timestamp, where the next one may hold them."""
        rtx = None
        if terms.rtx_ssrc is not None and terms.rtx_payload_type is not None:
            rtx = HeaderWriter(
                ssrc=terms.rtx_ssrc,
                payload_type=terms.rtx_payload_type,
                ids=terms.ids,
                mid=terms.mid,
            )
        if limits is None and rtx is None:
            limits = HistoryLimits(max_packets=SRTP_WINDOW)
        elif limits is None and self.unasked:
            limits = HistoryLimits(min_interval_ns=0, max_resends=UNASKED_RESENDS)
        self.history = SentHistory(
            self._writer, rtx, rtx_sequence=terms.rtx_first_sequence, limits=limits
        )
        self._sequence = terms.first_sequence & 0xFFFF
        self.packets = 0
        self.octets = 0
        """Of payload, as sender reports count them."""
        self.nacked = 0
        """Packets asked for again."""
        self.key_requests = 0
        """PLI and FIR."""
        self.lost = 0
        """Packets lost, by the viewer's count."""
        self.jitter_ns: int | None = None
        """As the viewer last reported it."""

    def timestamp(self, ticks: int) -> int:
        """Return the RTP timestamp, 32 bits, of a moment of the show clock."""
        rate = self.terms.clock_rate
        own = ticks if rate == TICKS_PER_SECOND else ticks * rate // TICKS_PER_SECOND
        return (own + self.terms.offset) & 0xFFFFFFFF

    @property
    def unasked(self) -> bool:
        """Whether the viewer tells of every packet, and asks for none again."""
        return bool(self.terms.ids.transport_cc) and not self.terms.asks_again

    @property
    def next_sequence(self) -> int:
        """The sequence number, 16 bits, of the packet that comes next."""
        return self._sequence

    def packet(
        self,
        payload: bytes,
        *,
        marker: bool,
        timestamp: int,
        now_ns: int,
        transport_sequence: int,
        send_time: int,
        redundant: bool = False,
    ) -> bytes:
        """Return the next packet; it is remembered.

        `redundant`: it holds the one before it as well, where the viewer takes that. Asked for
        again it goes out without.
        """
        sequence = self._sequence
        self._sequence = (sequence + 1) & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        self.history.add(
            payload, marker=marker, sequence=sequence, timestamp=timestamp, now_ns=now_ns
        )
        writer, body = self._writer, payload
        if self._redundant is not None:
            if redundant and self._before is not None:
                both = with_redundancy(
                    payload,
                    self._before[0],
                    offset=(timestamp - self._before[1]) & 0xFFFFFFFF,
                    payload_type=self.terms.payload_type,
                )
                if both is not None:
                    writer, body = self._redundant, both
            self._before = payload, timestamp
        return writer.write(
            body,
            marker=marker,
            sequence=sequence,
            timestamp=timestamp,
            transport_sequence=transport_sequence,
            send_time=send_time,
        )

    def again(
        self,
        lost: Iterable[int],
        now_ns: int,
        *,
        send_time: int,
        transport_sequence: Callable[[], int],
    ) -> list[bytes]:
        """Return the packets that answer a NACK."""
        return self.history.answer(
            lost, now_ns, send_time=send_time, transport_sequence=transport_sequence
        )

    def reported(self, block: ReportBlock) -> None:
        """Take what the viewer reports of the stream."""
        self.lost = max(self.lost, block.cumulative_lost)
        self.jitter_ns = block.jitter * 1_000_000_000 // self.terms.clock_rate

    def report(self, *, ntp: int, ticks: int) -> SenderReport:
        """Return the sender's report: `ticks` of the show clock are `ntp`."""
        return SenderReport(
            ssrc=self.terms.ssrc,
            ntp=ntp,
            rtp_timestamp=self.timestamp(ticks),
            packet_count=self.packets & 0xFFFFFFFF,
            octet_count=self.octets & 0xFFFFFFFF,
        )
