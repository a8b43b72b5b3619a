"""One WHIP publisher: what its session receives goes through the receiver to the publication."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingest.whip.clock import WRAP_TICKS
from ingest.whip.receiver import Receiver
from ingest.whip.statistics import KindStatistics
from media.excess import Bucket
from media.limits import LimitExceeded
from media.model import FormatRefused, Kind
from webrtc.allowance import Allowance
from webrtc.discards import Discards, of_peer
from webrtc.meter import RtpCounts
from webrtc.session import End, SessionOver

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.source import Grant, IngestMeter, Publication, PublishGate
    from webrtc.meter import RtpMeter
    from webrtc.session import Session

PROTOCOL = "whip"
TICK_S = 0.015
REPORT_NS = 1_000_000_000
WASTE = 2
"""Times the bit rate of a publisher's limits: everything that it may send, media or not."""
DEFAULT_BPS = 100_000_000
"""Bit rate that a publisher without limits is told at most."""
BASE_PPS = 1000
PACKET_BYTES = 1000
"""So many packets a second are taken, and one more for so many bytes a second of the limit: each
costs 10 to 40 us, however small it is. Where rates are high, packets are full."""
FLOOD_S = 5.0
"""Seconds' worth of them that may come at once."""


class WhipPublisher:
    """Implements `webrtc.session.Attendant`: holds the stream from the connection to the end."""

    def __init__(
        self,
        session: Session,
        grant: Grant,
        *,
        gate: PublishGate,
        meter: IngestMeter,
        rtp_meter: RtpMeter,
        key_interval_ns: int,
        media_timeout_s: float,
        now_ns: Callable[[], int],
    ) -> None:
        self._session, self._grant, self._gate = session, grant, gate
        self._meter, self._rtp_meter = meter, rtp_meter
        self._key_interval_ns = key_interval_ns
        self._media_timeout_s = media_timeout_s
        self._now_ns = now_ns
        self._receiver: Receiver | None = None
        self._publication: Publication | None = None
        self._flood: Bucket | None = None
        limits = grant.limits
        self._bitrate_bps = DEFAULT_BPS if limits is None else limits.max_bitrate_kbps * 1000
        if limits is not None and limits.on_excess == "close":
            self._flood = Bucket(rate=WASTE * self._bitrate_bps, seconds=limits.excess_s)
        self._most_pps = BASE_PPS + self._bitrate_bps // 8 // PACKET_BYTES
        self._flow = Bucket(rate=self._most_pps, seconds=FLOOD_S)
        self._patience: Allowance | None = None
        if limits is not None and limits.on_excess == "finding":
            self._patience = Allowance(rate=self._most_pps, seconds=FLOOD_S)
        self._dropped = 0
        self._discards = Discards(rtp_meter, session.stream, PROTOCOL)
        self._bytes = 0
        self._packets = 0
        self._heard_ns = 0
        """When media was last seen to have come."""
        self._report_ns = 0
        self._reported: dict[Kind, KindStatistics] = {}
        self._meter.connection_opened(PROTOCOL)

    # ── webrtc.session.Attendant ─────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Take the stream; who has it in this role leaves."""
        now_ns = self._now_ns()
        self._publication = self._gate.open(
            self._grant,
            protocol=PROTOCOL,
            wrap_ticks=WRAP_TICKS,
            on_revoked=self._revoked,
            on_key_wanted=self._key_wanted,
        )
        self._receiver = Receiver(
            self._session.answer,
            self._publication,
            self._session.send_rtcp,
            key_interval_ns=self._key_interval_ns,
            now_ns=now_ns,
            max_bitrate_bps=self._bitrate_bps,
        )
        self._heard_ns = now_ns
        self._report_ns = now_ns + REPORT_NS

    async def run(self) -> None:
        """Let time pass for the receiver; watch what comes."""
        while True:
            await asyncio.sleep(TICK_S)
            self._pass(self._now_ns())

    def rtp(self, data: bytes, arrived_ns: int) -> None:
        """Take an RTP packet."""
        assert self._receiver is not None
        if not self._admit(arrived_ns):
            return
        try:
            self._receiver.rtp(data, arrived_ns)
        except (FormatRefused, LimitExceeded) as error:
            raise self._cut(error) from error

    def rtcp(self, data: bytes, arrived_ns: int) -> None:
        """Take an RTCP datagram."""
        assert self._receiver is not None
        if not self._admit(arrived_ns):
            return
        try:
            self._receiver.rtcp(data, arrived_ns)
        except (FormatRefused, LimitExceeded) as error:
            raise self._cut(error) from error

    def end(self, reason: End) -> None:
        """Let go of the stream."""
        if self._receiver is not None:
            self._report()
        publication, self._publication = self._publication, None
        if publication is not None:
            publication.close("error" if reason is End.LIMIT else reason.value)
        self._meter.connection_closed(PROTOCOL, reason.value)

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _revoked(self, text: str) -> None:
        self._session.finish(End.REVOKED, text)

    def _key_wanted(self) -> None:
        if self._receiver is not None:
            self._receiver.request_key()

    def _admit(self, now_ns: int) -> bool:
        """Whether a packet is taken; raises `SessionOver` where there are too many."""
        if self._patience is not None:
            admitted = self._patience.spend(now_ns)
            self._dropped += not admitted
            return admitted
        rate = self._flow.add(1, now_ns)
        if rate is None:
            return True
        self._meter.rejected(PROTOCOL, "excess")
        raise SessionOver(
            End.LIMIT,
            f"The publisher sends {rate:.0f} packets a second; {self._most_pps} are taken: let it "
            "fill its packets (1200 bytes), or lower the bitrate.",
        )

    def _cut(self, error: FormatRefused | LimitExceeded) -> SessionOver:
        limit = isinstance(error, LimitExceeded)
        self._meter.rejected(PROTOCOL, "excess" if limit else "format")
        return SessionOver(End.LIMIT if limit else End.ERROR, str(error))

    def _pass(self, now_ns: int) -> None:
        assert self._receiver is not None
        try:
            self._receiver.tick(now_ns)
        except (FormatRefused, LimitExceeded) as error:
            raise self._cut(error) from error
        if now_ns >= self._report_ns:
            self._report_ns = now_ns + REPORT_NS
            self._watch(self._report(), now_ns)

    def _watch(self, came: int, now_ns: int) -> None:
        """End a publisher that is silent, or floods; `came`: bytes since the last look."""
        assert self._receiver is not None
        packets = sum(each.packets for each in self._receiver.statistics.kinds.values())
        if packets != self._packets:
            self._packets, self._heard_ns = packets, now_ns
        elif now_ns - self._heard_ns >= self._media_timeout_s * 1e9:
            self._meter.rejected(PROTOCOL, "timeout")
            raise SessionOver(
                End.TIMEOUT,
                f"The publisher is connected, but has sent no media for"
                f" {self._media_timeout_s:.0f} s.",
            )
        bits = None if self._flood is None else self._flood.add(came * 8, now_ns)
        if bits is not None:
            self._meter.rejected(PROTOCOL, "excess")
            raise SessionOver(
                End.LIMIT,
                f"The publisher sends {bits / 1e6:.1f} Mbit/s, most of them nothing that could be"
                " played: lower the bitrate.",
            )

    def _report(self) -> int:
        """Tell the meters what came since the last report; return its bytes."""
        assert self._receiver is not None
        received = self._session.peer.received
        came, self._bytes = received - self._bytes, received
        self._meter.bytes_in(PROTOCOL, came)
        statistics = self._receiver.statistics
        stream = self._session.stream
        for kind, now in statistics.kinds.items():
            before = self._reported.get(kind, KindStatistics())
            if now.packets == 0:
                continue
            self._reported[kind] = now
            self._rtp_meter.rtp_counted(
                stream,
                PROTOCOL,
                kind.value,
                RtpCounts(
                    packets=now.packets - before.packets,
                    lost=now.lost - before.lost,
                    nacks=now.nacks - before.nacks,
                    key_requests=now.key_requests - before.key_requests,
                    rtx=now.rtx - before.rtx,
                ),
            )
            self._rtp_meter.rtp_jitter(stream, PROTOCOL, kind.value, now.jitter_ns / 1e9)
            if kind is Kind.VIDEO and self._publication is not None:
                lost = now.lost - before.lost
                self._publication.note_loss(
                    lost=lost,
                    packets=now.packets - before.packets + lost,
                    pictures=now.dropped + now.unusable - before.dropped - before.unusable,
                )
        dropped = of_peer(self._session.peer)
        dropped["flooded"] += statistics.flooded + self._dropped
        self._discards.report(
            {**dropped, "malformed": statistics.malformed, "unrouted": statistics.unrouted}
        )
        self._rtp_meter.rtp_path(
            stream,
            PROTOCOL,
            # Answers to requests tell it only where something gets lost.
            rtt_s=self._session.peer.round_trip_s or statistics.rtt_ns / 1e9 or None,
            bandwidth_bps=statistics.bandwidth_bps or None,
        )
        return came
