"""RTP and RTCP: every datagram that a publisher, a viewer or a stranger can send."""

from __future__ import annotations

from ingest.whip.receiver import Receiver
from media.model import Kind, Packet, TrackFormat
from tests.fuzz.harness import Choices, Target, target
from tests.webrtc.sdp.support import LOCAL, offer
from webrtc.extensions import ExtensionMap
from webrtc.header import HeaderWriter
from webrtc.history import HistoryLimits, SentHistory
from webrtc.reception import ReceptionStatistics, TwccReceiver
from webrtc.reorder import Arrival, Hole, ReorderBuffer, ReorderLimits, Restart
from webrtc.rtcp import Nack, RtcpError, SenderReport, parse_rtcp, serialise_rtcp
from webrtc.rtp import RtpError, RtpPacket, parse_rtp, restore_rtx
from webrtc.sdp.negotiate import Answer
from webrtc.sdp.whip import PublishPolicy, answer_publisher
from webrtc.sequence import Unwrapper

IDS = ExtensionMap(mid=1, rid=2, repaired_rid=3, abs_send_time=4, transport_cc=5, audio_level=6)
LIMITS = ReorderLimits(max_packets=16, max_bytes=4096, max_jump=64, max_stale=8)


@target("webrtc_rtp", max_bytes=2048)
def rtp(data: bytes) -> None:
    """What is read is written again, and says nothing from beyond its packet."""
    try:
        packet = parse_rtp(data)
    except RtpError:
        return
    again = packet.serialise()
    assert len(again) == len(data)
    assert parse_rtp(again) == packet
    try:
        said = IDS.read(packet)
        profile, extension = IDS.build(said)
        assert IDS.read(packet._replace(profile=profile, extension=extension)) == said
        assert IDS.transport_sequence(packet) == said.transport_sequence
        restored = restore_rtx(packet, ssrc=1, payload_type=2)
    except RtpError:
        return
    assert restored is None or len(restored.payload) == len(packet.payload) - 2


@target("webrtc_rtcp", max_bytes=2048)
def rtcp(data: bytes) -> None:
    """What is read is written again, and whoever takes it in bears it."""
    try:
        packets = parse_rtcp(data)
    except RtcpError:
        return
    statistics = ReceptionStatistics(1, 90_000)
    history = SentHistory(HeaderWriter(ssrc=1, payload_type=96), limits=HistoryLimits())
    history.add(b"x", marker=True, sequence=7, timestamp=0, now_ns=0)
    for packet in packets:
        if isinstance(packet, SenderReport):
            statistics.sender_report(packet, 0)
            serialise_rtcp([packet])
            statistics.report(10**12)
        elif isinstance(packet, Nack):
            assert len(history.answer(packet.lost, 0)) <= 1
        written = serialise_rtcp([packet])
        if len(written) > 4096:
            continue
        (again,) = parse_rtcp(written)
        if isinstance(packet, Nack):  # ours are in order, without repetitions
            assert isinstance(again, Nack)
            assert set(again.lost) == set(packet.lost)
        else:
            assert again == packet


@target("webrtc_arrivals", memory_bytes=8 * 2**20)
def arrivals(data: bytes) -> None:
    """However packets arrive, they come out in order, within every bound."""
    choices = Choices(data)
    unwrapper, buffer, receiver = Unwrapper(16), ReorderBuffer(LIMITS), TwccReceiver(1)
    statistics = ReceptionStatistics(1, 90_000)
    position: int | None = None
    now = 0
    while choices.left:
        now += choices.number() * 1_000_000
        value = choices.number(2)
        sequence = unwrapper.unwrap(value)
        packet = RtpPacket(96, False, value, value, 1, bytes(choices.number()))
        statistics.receive(sequence, value, now)
        receiver.receive(value, now)
        events = [*buffer.push(sequence, packet, now), *buffer.poll(now)]
        asked = buffer.nacks(now, 20_000_000)
        assert buffer.held <= LIMITS.max_packets
        assert buffer.held_bytes <= LIMITS.max_bytes
        assert buffer.missing <= LIMITS.max_jump
        assert sorted(asked) == asked
        for event in events:
            if isinstance(event, Restart):
                position = event.sequence
            elif isinstance(event, Hole):
                assert event.first == position
                position = event.first + event.packets
            else:
                assert isinstance(event, Arrival)
                assert position in (None, event.sequence)
                assert now - event.arrived_ns <= LIMITS.deadline_ns + 255_000_000
                position = event.sequence + 1
    serialise_rtcp(receiver.feedback(2, now))
    block = statistics.report(now)
    assert 0 <= block.fraction_lost <= 255


class _Tracks:
    """A sink that holds the receiver to the seam's rules and keeps nothing."""

    def __init__(self) -> None:
        self.last: dict[tuple[Kind, int], int] = {}
        self.live: set[tuple[Kind, int]] = set()

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        self.live.add((track_format.kind, track))

    def drop_track(self, track: int, kind: Kind) -> None:
        self.live.remove((kind, track))

    def push(self, packet: Packet) -> None:
        place = packet.kind, packet.track
        assert place in self.live
        assert packet.payload
        assert packet.dts == packet.pts > self.last.get(place, -1)
        self.last[place] = packet.dts


def _agreed(name: str, codec: str) -> Answer:
    return answer_publisher(offer(name), LOCAL, PublishPolicy(video=(codec,)))


AGREED = [
    _agreed("obs-30", "H264"),
    _agreed("obs-32-simulcast", "H264"),
    _agreed("chromium-publish", "VP8"),
    _agreed("chromium-simulcast", "VP9"),
    _agreed("safari-publish", "H265"),
]


@target("whip_receiver", max_bytes=12_288, memory_bytes=8 * 2**20)
def receiver(data: bytes) -> None:
    """Whatever a publisher sends, whenever: tracks keep their rules, and what we say is RTCP.

    The first byte chooses what was agreed; then come events: milliseconds that pass, what it is
    (bit 7: RTCP; bit 6: not behind its length, but as the last one with another sequence number),
    and the datagram behind its length.
    """
    choices = Choices(data)
    told: list[bytes] = []
    now = 10**12
    agreed = AGREED[choices.number() % len(AGREED)]
    made = Receiver(agreed, _Tracks(), told.append, key_interval_ns=2 * 10**9, now_ns=now)
    last = b""
    while choices.left:
        now += choices.number() * 1_000_000
        form = choices.number()
        if form & 0x40 and len(last) >= 12:
            ahead = (int.from_bytes(last[2:4], "big") + (form & 0x3F)) & 0xFFFF
            datagram = last[:2] + ahead.to_bytes(2, "big") + last[4:]
        else:
            datagram = choices.piece()
        if form & 0x80:
            made.rtcp(datagram, now)
        else:
            made.rtp(datagram, now)
            last = datagram
        made.tick(now)
    made.tick(now + 10**9)
    for each in told:
        parse_rtcp(each)
    counts = made.statistics.kinds.values()
    assert all(each.lost >= 0 and each.packets >= 0 for each in counts)


TARGETS: list[Target] = [rtp, rtcp, arrivals, receiver]
