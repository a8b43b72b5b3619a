"""The receiving end of a WHIP session without I/O: RTP and RTCP in, tracks and RTCP out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.whip.bandwidth import Bandwidth
from ingest.whip.clock import CommonClock
from ingest.whip.feedback import Feedback
from ingest.whip.keys import KeyRequests
from ingest.whip.layers import Layers
from ingest.whip.pictures import CODECS, Pictures
from ingest.whip.router import Router, Slot
from ingest.whip.sound import Sound
from ingest.whip.statistics import KindStatistics, Statistics
from ingest.whip.stream import RtpStream, Unit
from media.model import Kind
from webrtc.reception import TwccReceiver
from webrtc.rtcp import Goodbye, RtcpError, SenderReport, parse_rtcp
from webrtc.rtp import RtpError, RtpPacket, parse_rtp, restore_rtx

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.whip.layers import ReceiverSink
    from webrtc.sdp.negotiate import Answer

_MS = 1_000_000
MAX_PACKETS_A_TICK = 4096
"""Datagrams taken between two ticks; at 20 ms, 2 Gbit/s."""
MAX_RTCP_A_TICK = 4096
"""Bytes of RTCP taken between two ticks; publishers send some 100 a second and stream."""
REPORT_NS = 1_000 * _MS
ARRIVALS_NS = 50 * _MS
"""Between two transport-wide feedbacks."""
IDLE_NS = 2_000 * _MS
"""A stream without packets for so long is asked for nothing."""


class _Route:
    """A slot, and what is at work on it."""

    __slots__ = ("floor", "keys", "retired", "slot", "sound", "stream", "video")

    def __init__(self, slot: Slot) -> None:
        codec = slot.section.codec
        assert codec is not None
        self.slot = slot
        self.stream: RtpStream | None = None
        self.keys: KeyRequests | None = None
        self.floor = 0
        """Where the next stream may go on."""
        self.video = Pictures(CODECS[codec]) if slot.kind is Kind.VIDEO else None
        self.sound = Sound() if slot.kind is Kind.AUDIO else None
        self.retired = KindStatistics()
        """Of the streams that others have replaced."""


class Receiver:
    """Makes tracks of what one publisher sends, and tells it what is missing.

    Feed it every decrypted datagram and call `tick` every 10 to 20 ms; all times are nanoseconds
    of one steady clock, `now_ns` is the start. `send_rtcp` gets datagrams to encrypt and send.
    The sink gets packets of 90 kHz without reordering (dts is pts), sound and pictures on one
    unwrapped clock whose modulus is `ingest.whip.clock.WRAP_TICKS`.
    Malformed input is counted. `media.model.FormatRefused` and `media.limits.LimitExceeded`, which
    the sink raises, pass through: close the session with that text.
    """

    def __init__(
        self,
        answer: Answer,
        sink: ReceiverSink,
        send_rtcp: Callable[[bytes], None],
        *,
        key_interval_ns: int,
        now_ns: int,
        max_bitrate_bps: int = 100_000_000,
        ssrc: int = 1,
    ) -> None:
        """`key_interval_ns`: wanted distance of key frames, `hls.segment_ms`; `ssrc`: our own."""
        self._sink = sink
        self._key_interval_ns = key_interval_ns
        self._router = Router(answer)
        self._routes = {id(slot): _Route(slot) for slot in self._router.slots}
        self._streams: dict[int, tuple[RtpStream, _Route]] = {}
        self._clock = CommonClock(now_ns)
        sections = [slot.section for slot in self._router.slots]
        self._feedback = Feedback(
            send_rtcp,
            ssrc=ssrc,
            cname=str(answer.session.id).encode(),
            reduced=bool(sections) and all(each.rtcp_rsize for each in sections),
        )
        video = [slot for slot in self._router.slots if slot.kind is Kind.VIDEO]
        self._layers = Layers(sink, max(len(video), 1), self._request_layer)
        self._video = [self._routes[id(slot)] for slot in video]
        told = {feedback for each in sections for feedback in each.feedback}
        counted = self._router.ids.transport_cc and "transport-cc" in told
        self._arrivals = TwccReceiver(ssrc) if counted else None
        self._bandwidth: Bandwidth | None = None
        if self._arrivals is None and "goog-remb" in told:
            self._bandwidth = Bandwidth(max_bitrate_bps)
        self._room, self._rtcp_room = MAX_PACKETS_A_TICK, MAX_RTCP_A_TICK
        self._report_ns = now_ns + REPORT_NS // 2
        self._arrivals_ns = now_ns
        self._reported = (0, 0, 0)
        self._reported_ns = now_ns
        self._malformed = 0
        self._unrouted = 0
        self._flooded = 0

    # ── what arrives ─────────────────────────────────────────────────────────────────────────

    def rtp(self, data: bytes, arrived_ns: int) -> None:
        """Take one RTP packet."""
        if self._room <= 0:
            self._flooded += 1
            return
        self._room -= 1
        try:
            packet = parse_rtp(data)
            if self._arrivals is not None:
                counter = self._router.ids.transport_sequence(packet)
                if counter is not None:
                    self._arrivals.receive(counter, arrived_ns)
        except RtpError:
            self._malformed += 1
            return
        known = self._streams.get(packet.ssrc)
        if known is None:
            self._unknown(packet, arrived_ns)
            return
        stream, route = known
        if packet.payload_type != stream.payload_type:
            self._unrouted += 1
            return
        if units := stream.receive(packet, arrived_ns):
            self._hand_on(stream, route, units)

    def rtcp(self, data: bytes, arrived_ns: int) -> None:
        """Take one RTCP datagram."""
        if self._room <= 0 or self._rtcp_room < len(data):
            self._flooded += 1
            return
        self._room -= 1
        self._rtcp_room -= len(data)
        try:
            packets = parse_rtcp(data)
        except RtcpError:
            self._malformed += 1
            return
        for packet in packets:
            if isinstance(packet, SenderReport):
                known = self._streams.get(packet.ssrc)
                if known is not None and known[0].clock.report(packet, arrived_ns):
                    known[0].reception.sender_report(packet, arrived_ns)
            elif isinstance(packet, Goodbye):
                for ssrc in packet.ssrcs:
                    self._goodbye(ssrc, arrived_ns)

    def _unknown(self, packet: RtpPacket, arrived_ns: int) -> None:
        """Take a packet of an SSRC that is not at work: a retransmission, or a new stream."""
        try:
            said = self._router.ids.read(packet)
        except RtpError:
            self._malformed += 1
            return
        slot = self._router.repair(packet, said)
        if slot is not None:
            self._repair(self._routes[id(slot)], packet, arrived_ns)
            return
        slot = self._router.media(packet, said, arrived_ns)
        if slot is None:
            self._unrouted += 1
            return
        route = self._routes[id(slot)]
        stream = self._bind(route, packet.ssrc, arrived_ns)
        self._hand_on(stream, route, stream.receive(packet, arrived_ns))

    def _repair(self, route: _Route, packet: RtpPacket, arrived_ns: int) -> None:
        stream = route.stream
        if stream is None:
            return  # it repairs what never came
        try:
            found = restore_rtx(packet, ssrc=stream.ssrc, payload_type=stream.payload_type)
        except RtpError:
            self._malformed += 1
            return
        if found is not None and (units := stream.repair(found, arrived_ns)):
            self._hand_on(stream, route, units)

    def _bind(self, route: _Route, ssrc: int, now_ns: int) -> RtpStream:
        """Put a new stream at work; the one before on its slot is replaced."""
        slot = route.slot
        if route.stream is not None:
            self._router.replaced(route.stream.ssrc, slot)
            self._retire(route)
        self._router.bound(ssrc, slot)
        payload_type = slot.section.payload_type
        assert payload_type is not None
        clock = self._clock.add(slot.kind, payload_type.clock_rate, route.floor)
        stream = RtpStream(ssrc=ssrc, slot=slot, clock=clock)
        route.stream = stream
        if slot.kind is Kind.VIDEO:
            route.keys = KeyRequests(interval_ns=self._key_interval_ns, now_ns=now_ns)
        self._streams[ssrc] = stream, route
        return stream

    def _retire(self, route: _Route) -> None:
        stream = route.stream
        if stream is None:
            return
        self._hand_on(stream, route, stream.flush())
        route.retired = _counted(route)
        route.floor = stream.clock.end
        route.stream = route.keys = None
        del self._streams[stream.ssrc]
        self._clock.remove(stream.clock)
        self._feedback.forget(stream.ssrc)
        if route.video is not None:
            route.video.restart()
        if route.sound is not None:
            route.sound.restart()

    def _goodbye(self, ssrc: int, now_ns: int) -> None:
        known = self._streams.get(ssrc)
        if known is None:
            return
        route = known[1]
        self._router.left(ssrc, route.slot, now_ns)
        self._retire(route)
        if route.video is not None:
            self._layers.ended(self._video.index(route))
        elif route.sound is not None and route.sound.format is not None:
            route.sound.format = None
            self._sink.drop_track(0, Kind.AUDIO)

    def _hand_on(self, stream: RtpStream, route: _Route, units: list[Unit]) -> None:
        for unit, arrived_ns, broken in units:
            if route.sound is not None:
                heard = route.sound.take(stream, unit, arrived_ns)
                if heard is not None:
                    changed, packet = heard
                    if changed is not None:
                        self._sink.set_format(0, changed)
                    self._sink.push(packet)
            elif route.video is not None and route.keys is not None:
                found = route.video.take(stream, unit, arrived_ns, broken=broken)
                if found is None:
                    if unit.key:
                        route.keys.request()
                    continue
                if unit.key:
                    route.keys.key(arrived_ns)
                self._layers.take(route.slot.layer, *found)

    # ── time passing ─────────────────────────────────────────────────────────────────────────

    def tick(self, now_ns: int) -> None:
        """Ask for what is missing, give up what is due, report."""
        self._room, self._rtcp_room = MAX_PACKETS_A_TICK, MAX_RTCP_A_TICK
        for stream, route in list(self._streams.values()):
            if units := stream.poll(now_ns):
                self._hand_on(stream, route, units)
            if lost := stream.nacks(now_ns):
                self._feedback.nack(stream.ssrc, lost)
        self._ask_for_keys(now_ns)
        for route in self._video:
            if route.stream is not None:
                self._layers.heard(route.slot.layer, route.stream.newest_ns)
        self._layers.tick(now_ns)
        if self._arrivals is not None and now_ns >= self._arrivals_ns:
            self._arrivals_ns = now_ns + ARRIVALS_NS
            about = next(iter(self._streams), 0)
            self._feedback.arrivals(self._arrivals.feedback(about, now_ns))
        if now_ns >= self._report_ns:
            self._report_ns = now_ns + REPORT_NS
            self._report(now_ns)

    def request_key(self) -> None:
        """Take note that somebody waits for a key frame; all layers are asked for one."""
        for route in self._video:
            if route.keys is not None:
                route.keys.request()

    def _request_layer(self, index: int) -> None:
        keys = self._video[index].keys
        if keys is not None:
            keys.request()

    def _ask_for_keys(self, now_ns: int) -> None:
        """Ask the main layer on the grid, and the others with it, so that their segments agree."""
        main = self._layers.main or 0
        for index in sorted(range(len(self._video)), key=lambda each: each != main):
            route = self._video[index]
            stream, keys = route.stream, route.keys
            if stream is None or keys is None or now_ns - stream.newest_ns >= IDLE_NS:
                continue
            if not keys.due(now_ns, broken=stream.broken, grid=index == main):
                continue
            keys.sent += self._feedback.key(route.slot, stream.ssrc)
            if index == main:
                for other in self._video:
                    if other is not route and other.keys is not None:
                        other.keys.request()

    def _report(self, now_ns: int) -> None:
        streams = [stream for stream, _ in self._streams.values()]
        if not streams:
            return
        remb = None
        if self._bandwidth is not None:
            bandwidth = self._estimate(self._bandwidth, now_ns)
            remb = bandwidth, tuple(stream.ssrc for stream in streams)
        self._feedback.report([stream.reception.report(now_ns) for stream in streams], remb)

    def _estimate(self, bandwidth: Bandwidth, now_ns: int) -> int:
        streams = [stream for stream, _ in self._streams.values()]
        size = sum(stream.bytes for stream in streams)
        expected = sum(stream.reception.expected for stream in streams)
        lost = sum(stream.reception.lost for stream in streams)
        before, self._reported = self._reported, (size, expected, lost)
        since, self._reported_ns = self._reported_ns, now_ns
        # Streams come and go, and begin to count anew: then a second says nothing.
        asked = expected - before[1]
        return bandwidth.update(
            received_bps=max(size - before[0], 0) * 8 * 1_000 * _MS / max(now_ns - since, 1),
            loss=min(max((lost - before[2]) / asked, 0.0), 1.0) if asked > 0 else 0.0,
        )

    @property
    def statistics(self) -> Statistics:
        """Everything that was counted since the start."""
        kinds = {kind: KindStatistics() for kind in Kind}
        for route in self._routes.values():
            kinds[route.slot.kind] = kinds[route.slot.kind] + _counted(route) + _made(route)
        return Statistics(
            kinds=kinds,
            rtt_ns=max((stream.trips.rtt_ns for stream, _ in self._streams.values()), default=0),
            bandwidth_bps=0 if self._bandwidth is None else self._bandwidth.bps,
            malformed=self._malformed,
            unrouted=self._unrouted,
            flooded=self._flooded,
            layer_changes=self._layers.changes,
        )


def _counted(route: _Route) -> KindStatistics:
    """Return what a route's streams have counted."""
    stream = route.stream
    if stream is None:
        return route.retired
    counters = stream.reorder.counters
    return route.retired + KindStatistics(
        packets=stream.packets,
        bytes=stream.bytes,
        lost=counters.lost,
        recovered=counters.reordered,
        late=counters.late,
        duplicates=counters.duplicates,
        nacks=counters.nacks,
        key_requests=route.keys.sent if route.keys is not None else 0,
        rtx=stream.repaired,
        malformed=stream.malformed,
        dropped=stream.depacketizer.dropped,
        jumps=stream.clock.jumps,
        jitter_ns=stream.reception.jitter_ns,
    )


def _made(route: _Route) -> KindStatistics:
    """Return what was counted behind the streams."""
    if route.sound is not None:
        return KindStatistics(unusable=route.sound.dropped)
    assert route.video is not None
    return KindStatistics(unusable=route.video.dropped)
