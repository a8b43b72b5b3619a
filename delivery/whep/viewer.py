"""What one viewer is sent, and what it answers (sans-IO).

Pictures go through a short queue, which spreads large ones over some milliseconds. A viewer begins
with the newest key picture and what followed it: pictures that are sent later than they came carry
timestamps later by as much, so the viewer catches up in fast motion instead of staying behind.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from delivery.whep.bandwidth import BandwidthEstimator
from delivery.whep.choice import Choice, Offer
from delivery.whep.missing import Missing
from delivery.whep.programme import ordered
from media.model import TICKS_PER_SECOND
from webrtc.header import abs_send_time
from webrtc.ntp import ntp_time
from webrtc.reception import round_trip_ns
from webrtc.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    RtcpError,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    parse_rtcp,
    serialise_rtcp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from delivery.whep.outgoing import Outgoing
    from delivery.whep.programme import Frame, Lane
    from media.clock import ShowClock
    from webrtc.rtcp import ReportBlock, RtcpPacket

_MS = 1_000_000
_SECOND_NS = 1_000_000_000
REPORT_NS = _SECOND_NS
CHOOSE_NS = 250 * _MS
BURST_BYTES = 15_000
"""What a picture may send at once; the rest is spread."""
LATE_S = 0.1
"""What would have been sent in so long may be sent at once, where pictures wait already."""
MIN_PACE_BPS = 4_000_000
PACE = 2.5
"""Pictures are sent at most so many times as fast as their rung (as in libwebrtc)."""
CATCH_UP_PACE = 4.0
QUEUE_NS = 700 * _MS
"""A picture that has waited for so long is dropped, and all behind it up to a key picture."""
CATCH_UP_NS = 4 * _SECOND_NS
"""So long catching up may take."""
QUEUE_FRAMES = 900
REPLAY_NS = 2 * _SECOND_NS
"""Between two times that a viewer gets the newest group of pictures again, at least; twice as long
each time that it soon wants it once more: a group may be ten seconds of pictures."""
MAX_REPLAY_NS = 32 * _SECOND_NS
MIN_STEP = TICKS_PER_SECOND // 1000
"""Between the timestamps of two pictures, where one must not be before the other."""
RTCP_BYTES_A_SECOND = 40_000
"""What is read of one viewer; browsers send some 2 to 10 KB."""
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


class KeyWanted(Protocol):
    """Hears that a viewer needs a key picture; see `delivery.whep.fanout`."""

    def __call__(self, viewer: Viewer, entry: tuple[int, int] | None) -> None:
        """`entry`: (SSRC, number) of a FIR; None for a PLI."""


@dataclass(slots=True)
class ViewerCounters:
    """What happened since the viewer came."""

    dropped: int = 0
    """Pictures given up because the viewer's queue was too old or too full."""
    switches: int = 0
    malformed: int = 0
    """RTCP that is none."""
    flooded: int = 0
    """RTCP that was too much to be read."""


class Viewer:
    """One viewer of one stream. All calls with one steady clock's nanoseconds."""

    def __init__(
        self,
        *,
        video: Outgoing | None,
        audio: Outgoing | None,
        lanes: Mapping[str, Lane],
        plays: Callable[[str], bool],
        clock: ShowClock,
        cname: bytes,
        send_rtp: Callable[[bytes], None],
        send_rtcp: Callable[[bytes], None],
        key_wanted: KeyWanted,
        now_ns: int,
    ) -> None:
        """`lanes` is the stream's, as it changes. Nothing is sent before `begin`.

        `plays` tells of a `profile-level-id` whether the viewer decodes it.
        """
        self.video, self.audio = video, audio
        self.counters = ViewerCounters()
        self.estimator = BandwidthEstimator()
        self.lane: Lane | None = None
        """What is sent now."""
        self.wanted: Lane | None = None
        """What will be sent from its next key picture on; the same where nothing changes."""
        self.rtt_ns: int | None = None
        self._lanes, self._plays, self._clock, self._cname = lanes, plays, clock, cname
        self._send_rtp, self._send_rtcp = send_rtp, send_rtcp
        self._key_wanted = key_wanted
        self._choice = Choice()
        self._missing = Missing() if video is not None and video.unasked else None
        self._queue: deque[Frame] = deque()
        self._at = 0
        """Next packet of the queue's first frame."""
        self._wire = 0
        """Ticks that this frame is sent under; of the last one while none is begun."""
        self._sent_any = False
        self._catching_up_ns: int | None = None
        self._replayed_ns: int | None = None
        self._replay_pause_ns = REPLAY_NS
        self._tokens = float(BURST_BYTES)
        self._tokens_ns = now_ns
        self._report_ns = self._choose_ns = now_ns
        self._rtcp_tokens, self._rtcp_ns = float(RTCP_BYTES_A_SECOND), now_ns
        self._lost_ns: int | None = None
        """When the viewer last reported a loss of sound."""
        self._began = self._waits_for_key = False

    # ── media ────────────────────────────────────────────────────────────────────────────────

    def begin(self, now_ns: int) -> None:
        """Start to send: the viewer has connected."""
        self._began = True
        self._tokens_ns = self._report_ns = now_ns
        self._choose(now_ns)

    def frame(self, lane: Lane, frame: Frame, now_ns: int, *, hold: bool = False) -> None:
        """Take a picture of a rung; others than the one sent and the one wanted are ignored.

        `hold`: send nothing yet, `pump` follows.
        """
        if not self._began or self.video is None:
            return
        if lane is not self.lane:
            if lane is not self.wanted or not frame.key:
                return
            self._switch(lane)
        elif self._waits_for_key:
            if not frame.key:
                return
            self._waits_for_key = False
        if len(self._queue) >= QUEUE_FRAMES:
            self._give_up(now_ns)
            return
        if not self._queue:
            self._fill(now_ns)
            self._tokens = min(self._tokens, float(BURST_BYTES))
        self._queue.append(frame)
        if not hold:
            self.pump(now_ns)

    def sound(self, payload: bytes, pts: int, now_ns: int) -> None:
        """Send a packet of Opus at once."""
        if self._began and self.audio is not None:
            twice = self._loses_sound(now_ns)
            timestamp = self.audio.timestamp(pts)
            self._send(self.audio, payload, False, timestamp, now_ns, redundant=twice)

    def _loses_sound(self, now_ns: int) -> bool:
        if self._lost_ns is None or now_ns >= self._lost_ns + REDUNDANT_NS:
            return False
        return self.estimator.bps(now_ns) >= REDUNDANT_BPS

    @property
    def busy(self) -> bool:
        """Whether pictures wait to be sent: call `pump` again in some milliseconds."""
        return bool(self._queue)

    def pump(self, now_ns: int) -> None:
        """Send what may be sent by now."""
        video = self.video
        if video is None or not self._queue:
            return
        if self._too_old(now_ns):
            self._give_up(now_ns)
            return
        self._fill(now_ns)
        queue = self._queue
        while queue and self._tokens > 0:
            frame = queue[0]
            if self._at == 0:
                self._stamp(frame, now_ns)
            payload, marker = frame.packets[self._at]
            self._send(video, payload, marker, video.timestamp(self._wire), now_ns)
            self._tokens -= len(payload)
            self._at += 1
            if self._at == len(frame.packets):
                queue.popleft()
                self._at = 0
        if not queue:
            self._catching_up_ns = None

    def tick(self, now_ns: int) -> None:
        """Do what is due: reports, the choice of the rung. Every 50 to 250 ms."""
        if not self._began:
            return
        if now_ns >= self._choose_ns:
            self._choose_ns = now_ns + CHOOSE_NS
            self.estimator.tick(now_ns)
            self._choose(now_ns)
        if now_ns >= self._report_ns:
            self._report_ns = max(self._report_ns + REPORT_NS, now_ns)
            self._report(now_ns)

    def end(self) -> None:
        """Say that the streams are over."""
        if self._began:
            self._began = False
            ssrcs = tuple(each.terms.ssrc for each in self.streams)
            name = SourceDescription(names=((ssrcs[0], self._cname),))
            # RFC 3550 6.1: a compound packet begins with a report.
            empty = ReceiverReport(ssrc=ssrcs[0])
            self._send_rtcp(serialise_rtcp([empty, name, Goodbye(ssrcs=ssrcs)]))

    def video_timestamp(self, utc_ms: int) -> int | None:
        """Return the RTP timestamp of the picture of a moment; None without pictures."""
        return None if self.video is None else self.video.timestamp(self._clock.ticks(utc_ms))

    # ── feedback ─────────────────────────────────────────────────────────────────────────────

    def rtcp(self, data: bytes, now_ns: int) -> None:
        """Take a decrypted RTCP datagram; what is malformed or too much is counted."""
        past_s = max(now_ns - self._rtcp_ns, 0) / _SECOND_NS
        self._rtcp_ns = now_ns
        rate = float(RTCP_BYTES_A_SECOND)
        self._rtcp_tokens = min(self._rtcp_tokens + past_s * rate, rate)
        if self._rtcp_tokens < len(data):
            self.counters.flooded += 1
            return
        self._rtcp_tokens -= len(data)
        try:
            packets = parse_rtcp(data)
        except RtcpError:
            self.counters.malformed += 1
            return
        for packet in packets:
            self._hear(packet, now_ns)

    def _hear(self, packet: RtcpPacket, now_ns: int) -> None:
        if isinstance(packet, TransportFeedback):
            self.estimator.feedback(packet, now_ns)
            if self._missing is not None and self.video is not None and self._began:
                self._repair(self.video, self._missing.feedback(packet), now_ns)
        elif isinstance(packet, Nack):
            self._resend(packet, now_ns)
        elif isinstance(packet, PictureLoss):
            self._picture_lost(packet.media_ssrc, None, now_ns)
        elif isinstance(packet, FullIntraRequest):
            for ssrc, number in packet.entries:
                self._picture_lost(ssrc, (packet.sender_ssrc, number), now_ns)
        elif isinstance(packet, Remb):
            self.estimator.remb(packet.bitrate, now_ns)
        elif isinstance(packet, ReceiverReport | SenderReport):
            for block in packet.reports:
                self._reported(block, now_ns)

    def _resend(self, nack: Nack, now_ns: int) -> None:
        for stream in self.streams:
            if stream.terms.ssrc == nack.media_ssrc and self._began:
                stream.nacked += len(nack.lost)
                self._again(stream, nack.lost[:MAX_LOST], now_ns)

    def _repair(self, video: Outgoing, lost: list[int], now_ns: int) -> None:
        """Send again what is missing; where it is too late or too much for that, begin anew."""
        held = [each for each in lost if video.history.holds(each, now_ns)]
        if len(held) < len(lost) and self._begin_anew(None, now_ns):
            return
        throttled = video.history.counters.throttled
        self._again(video, held, now_ns)
        if video.history.counters.throttled != throttled:
            self._begin_anew(None, now_ns)  # feedback tells of a packet's loss once
        elif self.estimator.loss <= FEW_LOST:
            for _ in range(COPIES - 1):
                self._again(video, held, now_ns)

    def _again(self, stream: Outgoing, lost: Sequence[int], now_ns: int) -> None:
        send_time = abs_send_time(now_ns)
        for sequence in lost:

            def count(sequence: int = sequence) -> int:
                # The size of what is sent again is not known before its number is: a full packet.
                return self._count(stream, 1200, sequence, now_ns, again=True)

            for data in stream.again(
                (sequence,), now_ns, send_time=send_time, transport_sequence=count
            ):
                self._send_rtp(data)

    def _picture_lost(self, ssrc: int, entry: tuple[int, int] | None, now_ns: int) -> None:
        if self.video is None or ssrc != self.video.terms.ssrc:
            return
        self.video.key_requests += 1
        self._begin_anew(entry, now_ns)

    def _begin_anew(self, entry: tuple[int, int] | None, now_ns: int) -> bool:
        """Ask for a key picture, and send what there is from the newest one on; tell if so."""
        self._key_wanted(self, entry)
        if self.lane is None or self._waits_for_key:
            return False
        if self._catching_up_ns is not None or any(frame.key for frame in self._queue):
            return False  # a key picture is on its way
        if self._replayed_ns is not None:
            past_ns, pause_ns = now_ns - self._replayed_ns, self._replay_pause_ns
            if past_ns < pause_ns:
                return False
            longer_ns = min(2 * pause_ns, MAX_REPLAY_NS)
            self._replay_pause_ns = longer_ns if past_ns < 4 * pause_ns else REPLAY_NS
        self._begin_lane(self.lane, now_ns)
        return True

    def _reported(self, block: ReportBlock, now_ns: int) -> None:
        stream = next((each for each in self.streams if each.terms.ssrc == block.ssrc), None)
        if stream is None:
            return
        stream.reported(block)
        if block.fraction_lost and stream is self.audio:
            self._lost_ns = now_ns
        trip = round_trip_ns(block, self._ntp(now_ns))
        if trip is not None:
            self.rtt_ns = trip
        if stream is self.video or self.video is None:
            self.estimator.report(block.fraction_lost, now_ns)

    # ── the rung ─────────────────────────────────────────────────────────────────────────────

    def offers(self, now_ns: int) -> list[Lane]:
        """Return the rungs that this viewer can be sent now, the best one first."""
        return ordered(
            [
                lane
                for lane in self._lanes.values()
                if lane.usable(now_ns)
                and lane.profile_level_id is not None
                and self._plays(lane.profile_level_id)
            ]
        )

    def _choose(self, now_ns: int) -> None:
        if self.video is None:
            return
        lanes = self.offers(now_ns)
        current = self.wanted.name if self.wanted is not None else None
        name = self._choice.choose(
            [Offer(name=lane.name, bps=lane.rate.bps) for lane in lanes],
            current,
            estimate_bps=self.estimator.bps(now_ns),
            congested_ns=self.estimator.congested_ns,
            now_ns=now_ns,
        )
        if name is None:
            return
        chosen = self._lanes[name]
        if chosen is self.wanted and (self.lane is chosen or self.lane in lanes):
            return
        self.wanted = chosen
        if self.lane is None or self.lane not in lanes:
            # Nothing plays, or what played has ended: begin at once, with what there is.
            self._begin_lane(chosen, now_ns)
        elif self.lane is not chosen:
            self._key_wanted(self, None)

    def _begin_lane(self, lane: Lane, now_ns: int) -> None:
        """Send a rung from its newest key picture on, catching up; or wait for the next one."""
        if lane is not self.lane:
            self._switch(lane)
        self._drop_queue()
        self._replayed_ns = now_ns
        if lane.gop:
            self._waits_for_key = False
            self._queue.extend(lane.gop)
            self._catching_up_ns = now_ns
            self.pump(now_ns)
        else:
            self._waits_for_key = True
            self._key_wanted(self, None)

    def _switch(self, lane: Lane) -> None:
        if self.lane is not None:
            self.counters.switches += 1
        self.lane = lane
        self._waits_for_key = False
        self._drop_queue()

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    def _send(
        self,
        stream: Outgoing,
        payload: bytes,
        marker: bool,
        timestamp: int,
        now_ns: int,
        *,
        redundant: bool = False,
    ) -> None:
        data = stream.packet(
            payload,
            marker=marker,
            timestamp=timestamp,
            now_ns=now_ns,
            transport_sequence=self._count(stream, len(payload), stream.next_sequence, now_ns),
            send_time=abs_send_time(now_ns),
            redundant=redundant,
        )
        self._send_rtp(data)

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

    def _stamp(self, frame: Frame, now_ns: int) -> None:
        """Set the time that a picture is sent under, never before that of the one before it."""
        ticks = frame.pts
        if self._catching_up_ns is not None:
            ticks += max(now_ns - frame.heard_ns, 0) * TICKS_PER_SECOND // _SECOND_NS
        if self._sent_any:
            ticks = max(ticks, self._wire + MIN_STEP)
        self._wire = ticks
        self._sent_any = True

    def _fill(self, now_ns: int) -> None:
        rate = self.lane.rate.bps if self.lane is not None else 0
        pace = CATCH_UP_PACE if self._catching_up_ns is not None else PACE
        allowed = max(pace * max(rate, self.estimator.bps(now_ns) / 2), MIN_PACE_BPS) / 8
        past_s = (now_ns - self._tokens_ns) / _SECOND_NS
        self._tokens_ns = now_ns
        # What a late call of `pump` could not send is made up for.
        most = max(LATE_S * allowed, float(BURST_BYTES))
        self._tokens = min(self._tokens + past_s * allowed, most)

    def _too_old(self, now_ns: int) -> bool:
        if self._catching_up_ns is not None:
            return now_ns - self._catching_up_ns > CATCH_UP_NS
        return now_ns - self._queue[0].heard_ns > QUEUE_NS

    def _give_up(self, now_ns: int) -> None:
        """Drop all that waits; go on with the next key picture."""
        self.counters.dropped += len(self._queue)
        self._queue.clear()
        self._at = 0
        self._catching_up_ns = None
        self._waits_for_key = True
        self.estimator.congested_ns = now_ns
        self._key_wanted(self, None)

    def _drop_queue(self) -> None:
        """Forget what waits, but end the picture that is begun."""
        video, queue = self.video, self._queue
        if video is not None and queue and self._at:
            frame = queue[0]
            now_ns = self._tokens_ns
            for payload, marker in frame.packets[self._at :]:
                self._send(video, payload, marker, video.timestamp(self._wire), now_ns)
        queue.clear()
        self._at = 0
        self._catching_up_ns = None

    # ── reports ──────────────────────────────────────────────────────────────────────────────

    @property
    def streams(self) -> list[Outgoing]:
        """What is sent: pictures, sound."""
        return [each for each in (self.video, self.audio) if each is not None]

    def _ntp(self, now_ns: int) -> int:
        """Return the show clock's UTC as NTP time: what sound and picture share."""
        origin_ns = self._clock.epoch_ms * _MS
        return ntp_time(origin_ns + now_ns - self._clock.origin_ns)

    def _report(self, now_ns: int) -> None:
        ntp, ticks = self._ntp(now_ns), self._clock.now(now_ns)
        for stream in self.streams:
            if stream.packets:
                name = SourceDescription(names=((stream.terms.ssrc, self._cname),))
                self._send_rtcp(serialise_rtcp([stream.report(ntp=ntp, ticks=ticks), name]))
