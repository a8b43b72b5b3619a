"""What one viewer is sent, and what it answers (sans-IO).

A viewer begins with the newest key picture and what followed it. Which rung it gets is chosen anew
every quarter of a second; see `choice`, `bandwidth`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from delivery.whep.choice import Choice, Offer
from delivery.whep.path import Path
from delivery.whep.pictures import PictureQueue
from delivery.whep.programme import ordered
from webrtc.allowance import Allowance
from webrtc.ntp import ntp_time
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
    from collections.abc import Callable, Mapping

    from delivery.whep.bandwidth import BandwidthEstimator
    from delivery.whep.outgoing import Outgoing
    from delivery.whep.programme import Frame, Lane
    from media.clock import ShowClock
    from webrtc.rtcp import RtcpPacket

_MS = 1_000_000
_SECOND_NS = 1_000_000_000
REPORT_NS = _SECOND_NS
CHOOSE_NS = 250 * _MS
REPLAY_NS = 2 * _SECOND_NS
"""Between two times that a viewer gets the newest group of pictures again, at least; twice as long
each time that it soon wants it once more: a group may be ten seconds of pictures."""
MAX_REPLAY_NS = 32 * _SECOND_NS
RTCP_BYTES_A_SECOND = 40_000
"""What is read of one viewer; browsers send some 2 to 10 KB."""


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
        self.lane: Lane | None = None
        """What is sent now."""
        self.wanted: Lane | None = None
        """What will be sent from its next key picture on; the same where nothing changes."""
        self._path = Path(video=video, audio=audio, send=send_rtp)
        self._queue = PictureQueue(send=self._path.picture, bps=self._pace_bps, now_ns=now_ns)
        self._lanes, self._plays, self._clock, self._cname = lanes, plays, clock, cname
        self._send_rtcp = send_rtcp
        self._key_wanted = key_wanted
        self._choice = Choice()
        self._replayed_ns: int | None = None
        self._replay_pause_ns = REPLAY_NS
        self._report_ns = self._choose_ns = now_ns
        self._heard = Allowance(rate=RTCP_BYTES_A_SECOND, seconds=1)
        self._began = self._waits_for_key = False

    @property
    def streams(self) -> list[Outgoing]:
        """What is sent: pictures, sound."""
        return self._path.streams

    @property
    def estimator(self) -> BandwidthEstimator:
        """What the path carries."""
        return self._path.estimator

    @property
    def rtt_ns(self) -> int | None:
        """Round trip, as the viewer's reports tell it."""
        return self._path.rtt_ns

    # ── media ────────────────────────────────────────────────────────────────────────────────

    def begin(self, now_ns: int) -> None:
        """Start to send: the viewer has connected."""
        self._began = True
        self._queue.start(now_ns)
        self._report_ns = now_ns
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
        if self._queue.full:
            self._give_up(now_ns)
            return
        self._queue.add(frame, now_ns)
        if not hold:
            self.pump(now_ns)

    def sound(self, payload: bytes, pts: int, now_ns: int) -> None:
        """Send a packet of Opus at once."""
        if self._began:
            self._path.sound(payload, pts, now_ns)

    @property
    def busy(self) -> bool:
        """Whether pictures wait to be sent: call `pump` again in some milliseconds."""
        return bool(self._queue)

    def pump(self, now_ns: int) -> None:
        """Send what may be sent by now."""
        if self._queue.too_old(now_ns):
            self._give_up(now_ns)
        else:
            self._queue.pump(now_ns)

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

    def _pace_bps(self, now_ns: int) -> float:
        rate = self.lane.rate.bps if self.lane is not None else 0
        return max(rate, self.estimator.bps(now_ns) / 2)

    # ── feedback ─────────────────────────────────────────────────────────────────────────────

    def rtcp(self, data: bytes, now_ns: int) -> None:
        """Take a decrypted RTCP datagram; what is malformed or too much is counted."""
        if not self._heard.spend(now_ns, len(data)):
            self.counters.flooded += 1
            return
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
            if self._began:
                self._path.repair(packet, now_ns, begin_anew=lambda: self._begin_anew(None, now_ns))
        elif isinstance(packet, Nack):
            if self._began:
                self._path.resend(packet, now_ns)
        elif isinstance(packet, PictureLoss):
            self._picture_lost(packet.media_ssrc, None, now_ns)
        elif isinstance(packet, FullIntraRequest):
            for ssrc, number in packet.entries:
                self._picture_lost(ssrc, (packet.sender_ssrc, number), now_ns)
        elif isinstance(packet, Remb):
            self.estimator.remb(packet.bitrate, now_ns)
        elif isinstance(packet, ReceiverReport | SenderReport):
            for block in packet.reports:
                self._path.reported(block, now_ns, ntp=self._ntp(now_ns))

    def _picture_lost(self, ssrc: int, entry: tuple[int, int] | None, now_ns: int) -> None:
        if self.video is None or ssrc != self.video.terms.ssrc:
            return
        self.video.key_requests += 1
        self._begin_anew(entry, now_ns)

    def _begin_anew(self, entry: tuple[int, int] | None, now_ns: int) -> bool:
        """Ask for a key picture, and send what there is from the newest one on; tell if so."""
        self._key_wanted(self, entry)
        if self.lane is None or self._waits_for_key or self._queue.holds_key:
            return False
        if self._replayed_ns is not None:
            past_ns, pause_ns = now_ns - self._replayed_ns, self._replay_pause_ns
            if past_ns < pause_ns:
                return False
            longer_ns = min(2 * pause_ns, MAX_REPLAY_NS)
            self._replay_pause_ns = longer_ns if past_ns < 4 * pause_ns else REPLAY_NS
        self._begin_lane(self.lane, now_ns)
        return True

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
        self._replayed_ns = now_ns
        if lane.gop:
            self._waits_for_key = False
            self._queue.catch_up(lane.gop, now_ns)
            self.pump(now_ns)
        else:
            self._queue.drop()
            self._waits_for_key = True
            self._key_wanted(self, None)

    def _switch(self, lane: Lane) -> None:
        if self.lane is not None:
            self.counters.switches += 1
        self.lane = lane
        self._waits_for_key = False
        self._queue.drop()

    def _give_up(self, now_ns: int) -> None:
        """Drop all that waits; go on with the next key picture."""
        self.counters.dropped += self._queue.abandon()
        self._waits_for_key = True
        self.estimator.congested_ns = now_ns
        self._key_wanted(self, None)

    # ── reports ──────────────────────────────────────────────────────────────────────────────

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
