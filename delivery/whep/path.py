"""The way to one viewer: packets are numbered, counted and sent again (sans-IO)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delivery.whep.bandwidth import BandwidthEstimator
from delivery.whep.missing import Missing
from webrtc.header import abs_send_time
from webrtc.reception import round_trip_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from delivery.whep.outgoing import Outgoing
    from webrtc.rtcp import Nack, ReportBlock, TransportFeedback

_SECOND_NS = 1_000_000_000
REDUNDANT_NS = 30 * _SECOND_NS
"""So long after a loss every packet of sound holds the one before it as well."""
REDUNDANT_BPS = 1_000_000
"""Where less is carried, it may be the sound that fills the path up."""
COPIES, FEW_LOST = 2, 0.06
"""So often a packet that nobody asks for comes again, where no more than that share gets lost.

One that is lost twice holds up the pictures behind it for long.
"""
MAX_LOST = 512
"""Packets of one NACK that are looked for."""
FULL_PACKET = 1200
"""Bytes that count for one that is sent again: its number is wanted before its size is known."""


class Path:
    """All calls with one steady clock's nanoseconds."""

    def __init__(
        self, *, video: Outgoing | None, audio: Outgoing | None, send: Callable[[bytes], None]
    ) -> None:
        self.video, self.audio = video, audio
        self.estimator = BandwidthEstimator()
        self.rtt_ns: int | None = None
        self._to_wire = send
        self._missing = Missing() if video is not None and video.unasked else None
        self._lost_ns: int | None = None
        """When the viewer last reported a loss of sound."""

    @property
    def streams(self) -> list[Outgoing]:
        """What is sent: pictures, sound."""
        return [each for each in (self.video, self.audio) if each is not None]

    def picture(self, payload: bytes, marker: bool, ticks: int, now_ns: int) -> None:
        """Send a packet of a picture under a time of the show clock."""
        assert self.video is not None
        self._send(self.video, payload, marker, ticks, now_ns)

    def sound(self, payload: bytes, ticks: int, now_ns: int) -> None:
        """Send a packet of Opus, twice where sound gets lost."""
        if self.audio is not None:
            twice = self._loses_sound(now_ns)
            self._send(self.audio, payload, False, ticks, now_ns, redundant=twice)

    def resend(self, nack: Nack, now_ns: int) -> None:
        """Send what the viewer asks for."""
        for stream in self.streams:
            if stream.terms.ssrc == nack.media_ssrc:
                stream.nacked += len(nack.lost)
                self._again(stream, nack.lost[:MAX_LOST], now_ns)

    def repair(
        self, report: TransportFeedback, now_ns: int, *, begin_anew: Callable[[], bool]
    ) -> None:
        """Send again what a viewer misses that asks for nothing.

        `begin_anew` is called where that is too late or too much; it tells whether it was done.
        """
        video = self.video
        if self._missing is None or video is None:
            return
        lost = self._missing.feedback(report)
        held = [each for each in lost if video.history.holds(each, now_ns)]
        if len(held) < len(lost) and begin_anew():
            return
        throttled = video.history.counters.throttled
        self._again(video, held, now_ns)
        if video.history.counters.throttled != throttled:
            begin_anew()  # feedback tells of a packet's loss once
        elif self.estimator.loss <= FEW_LOST:
            for _ in range(COPIES - 1):
                self._again(video, held, now_ns)

    def reported(self, block: ReportBlock, now_ns: int, *, ntp: int) -> None:
        """Take what the viewer reports of a stream; `ntp` is now, as sender reports tell it."""
        stream = next((each for each in self.streams if each.terms.ssrc == block.ssrc), None)
        if stream is None:
            return
        stream.reported(block)
        if block.fraction_lost and stream is self.audio:
            self._lost_ns = now_ns
        trip = round_trip_ns(block, ntp)
        if trip is not None:
            self.rtt_ns = trip
        if stream is self.video or self.video is None:
            self.estimator.report(block.fraction_lost, now_ns)

    def _loses_sound(self, now_ns: int) -> bool:
        if self._lost_ns is None or now_ns >= self._lost_ns + REDUNDANT_NS:
            return False
        return self.estimator.bps(now_ns) >= REDUNDANT_BPS

    def _send(
        self,
        stream: Outgoing,
        payload: bytes,
        marker: bool,
        ticks: int,
        now_ns: int,
        *,
        redundant: bool = False,
    ) -> None:
        data = stream.packet(
            payload,
            marker=marker,
            timestamp=stream.timestamp(ticks),
            now_ns=now_ns,
            transport_sequence=self._count(stream, len(payload), stream.next_sequence, now_ns),
            send_time=abs_send_time(now_ns),
            redundant=redundant,
        )
        self._to_wire(data)

    def _again(self, stream: Outgoing, lost: Sequence[int], now_ns: int) -> None:
        send_time = abs_send_time(now_ns)
        for sequence in lost:

            def count(sequence: int = sequence) -> int:
                return self._count(stream, FULL_PACKET, sequence, now_ns, again=True)

            for data in stream.again(
                (sequence,), now_ns, send_time=send_time, transport_sequence=count
            ):
                self._to_wire(data)

    def _count(
        self, stream: Outgoing, size: int, sequence: int, now_ns: int, *, again: bool = False
    ) -> int:
        """Count a packet of the transport; return its transport-wide number, 16 bits.

        Browsers may want the number on pictures alone: sound that takes numbers and does not
        carry them would pass for lost.
        """
        if not stream.terms.ids.transport_cc:
            return 0
        number = self.estimator.sent(size, now_ns)
        if self._missing is not None:
            pictures = sequence if stream is self.video else None
            self._missing.sent(number, pictures, now_ns, again=again)
        return number
