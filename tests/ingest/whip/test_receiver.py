"""The receiver with real pictures and sound, over paths that lose, delay and mix packets."""

from __future__ import annotations

from itertools import pairwise

import av
import pytest

from ingest.whip.receiver import MAX_PACKETS_A_TICK
from media.model import Codec, FormatRefused, Kind, Packet, TrackFormat
from tests.ingest.whip.publisher import (
    MS,
    SECOND,
    SOUND_SSRC,
    START,
    VIDEO_SSRC,
    Encoder,
    Path,
    Sink,
    World,
    answer,
)
from webrtc.extensions import Extensions
from webrtc.payloads.h264 import H264Packetizer
from webrtc.rtcp import (
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    TransportFeedback,
    serialise_rtcp,
)

pytestmark = pytest.mark.component
LAYERS = {"h": 100, "m": 101, "l": 102}
"""Simulcast layers and their SSRCs."""


def decode(track_format: TrackFormat, packets: list[Packet]) -> int:
    """Decode with libav; return the pictures, all of which must be right."""
    context = av.CodecContext.create("h264", "r")
    context.extradata = track_format.config
    context.options = {"err_detect": "explode"}
    pictures = 0
    for each in packets:
        pictures += len(context.decode(av.Packet(each.payload)))
    return pictures + len(context.decode(None))


def test_pictures_and_sound_of_obs() -> None:
    world = World()
    world.sound(3)
    world.video(3)
    world.run(4)
    assert [(track, each.codec) for track, each in world.sink.formats] == [
        (0, Codec.OPUS),
        (0, Codec.H264),
    ]
    pictures = world.sink.of(Kind.VIDEO)
    assert len(pictures) == 90
    assert decode(world.sink.formats[1][1], pictures) == 90
    assert {b.dts - a.dts for a, b in pairwise(pictures)} <= set(range(2900, 3100))
    sounds = world.sink.of(Kind.AUDIO)
    assert len(sounds) == 150
    assert {b.dts - a.dts for a, b in pairwise(sounds)} == {1800}
    assert {each.duration for each in sounds} == {1800}
    statistics = world.receiver.statistics.kinds
    assert statistics[Kind.VIDEO].lost == statistics[Kind.AUDIO].lost == 0


def test_keys_are_asked_for_on_the_grid() -> None:
    world = World()
    world.video(12)
    world.run(12)
    keys = [each.dts for each in world.sink.of(Kind.VIDEO) if each.key]
    assert len(keys) == 6
    assert all(1.9 * 90_000 <= b - a <= 2.2 * 90_000 for a, b in pairwise(keys))
    assert len(world.asked(PictureLoss)) == len(keys) - 1


def test_reports_every_second() -> None:
    world = World()
    world.sound(5)
    world.run(5)
    assert len(world.asked(ReceiverReport)) >= 4


@pytest.mark.parametrize("rtx", [None, "rtx"])
def test_a_lossy_path_does_not_freeze(rtx: str | None) -> None:
    """3 % lost and 30 ms of jitter both ways: the figures that are promised."""
    agreed = answer("chromium-publish" if rtx else "obs-30")
    (section,) = [each for each in agreed.sections if each.kind.value == "video"]
    lossy = {"loss": 0.03, "jitter_ns": 30 * MS, "delay_ns": 20 * MS}
    world = World(
        agreed,
        path=Path(**lossy),  # type: ignore[arg-type]
        back=Path(**lossy),  # type: ignore[arg-type]
        rtx=(section.rtx_payload_type or 0, 77) if rtx else None,
    )
    world.sound(30)
    world.video(30, size=(320, 192))
    world.run(31)
    pictures, sounds = world.sink.of(Kind.VIDEO), world.sink.of(Kind.AUDIO)
    freeze = max(b.dts - a.dts for a, b in pairwise(pictures)) / 90
    late = max(b.arrived_ns - a.arrived_ns for a, b in pairwise(pictures)) / MS
    counts = world.receiver.statistics.kinds[Kind.VIDEO]
    assert freeze <= 300
    assert late <= 500
    assert len(pictures) >= 870
    assert decode(world.sink.formats[-1][1], pictures) == len(pictures)
    # Sound is not asked for again: what was lost, in sum and at once, is left to be concealed.
    assert {(b.dts - a.dts) % 1800 for a, b in pairwise(sounds)} == {0}
    assert max(b.dts - a.dts for a, b in pairwise(sounds)) <= 4 * 1800
    assert len(sounds) > 1425
    assert world.asked(Nack)
    if rtx:
        assert counts.rtx > 0


def test_the_layers_of_obs_are_tracks_by_their_size() -> None:
    world = World(answer("obs-32-simulcast"))
    world.sound(4)
    layers = [
        world.video(4, ssrc=100 + index, rid=str(index), size=size)
        for index, size in enumerate([(160, 96), (320, 192), (240, 144)])
    ]
    world.run(5)
    sizes = {track: each.width for track, each in world.sink.formats if each.width}
    assert sizes == {0: 320, 1: 240, 2: 160}
    for track, width in sizes.items():
        pictures = world.sink.of(Kind.VIDEO, track)
        assert len(pictures) == 120
        track_format = next(each for _, each in world.sink.formats if each.width == width)
        assert decode(track_format, pictures) == 120
    keys = [
        [each.dts for each in world.sink.of(Kind.VIDEO, track) if each.key] for track in range(3)
    ]
    assert len(keys[0]) == len(keys[1]) == len(keys[2]) == 2
    assert all(max(each) - min(each) <= 3000 for each in zip(*keys, strict=True))
    assert {each.media_ssrc for _, each in world.told if isinstance(each, PictureLoss)} == {
        each.ssrc for each in layers
    }


def test_retransmissions_of_layers_find_their_layer() -> None:
    agreed = answer("chromium-simulcast")
    (section,) = agreed.sections
    world = World(
        agreed,
        path=Path(loss=0.05, jitter_ns=5 * MS),
        rtx=(section.rtx_payload_type or 0, 77),
    )
    for index, rid in enumerate("hml"):
        world.video(6, ssrc=100 + index, rid=rid, size=(320 >> index, 192 >> index))
    world.run(7)
    counts = world.receiver.statistics.kinds[Kind.VIDEO]
    assert counts.rtx > 10
    assert counts.lost < counts.rtx / 4
    assert {track for track, _ in world.sink.formats} == {0, 1, 2}
    assert world.asked(TransportFeedback)


def test_a_new_ssrc_replaces_the_one_before() -> None:
    world = World()
    world.video(2)
    world.run(2)
    world.video(2, ssrc=4242, size=(240, 144))
    world.run(3)
    assert [each.width for _, each in world.sink.formats] == [160, 240]
    pictures = world.sink.of(Kind.VIDEO)
    assert len(pictures) == 120
    assert max(b.dts - a.dts for a, b in pairwise(pictures)) < 6000
    world.video(1)  # packets of the one before are no third stream
    world.run(1)
    assert len(world.sink.of(Kind.VIDEO)) == 120
    assert world.receiver.statistics.unrouted > 0


def test_a_picture_that_changes_its_size_is_announced_with_its_key() -> None:
    world = World()
    stream = world.video(2)
    world.run(2)
    other = world.video(2, size=(320, 192))
    other.sequence, other.base = stream.sequence, stream.base
    world.run(3)
    assert [each.width for _, each in world.sink.formats] == [160, 320]
    pictures = world.sink.of(Kind.VIDEO)
    assert len(pictures) == 120
    assert pictures[60].key


def test_sound_meets_its_pictures_by_the_reports() -> None:
    """Pictures take 200 ms to encode, sound 20 ms, and both clocks are wrong."""
    world = World(path=Path(jitter_ns=30 * MS, loss=0.01))
    sound = world.sound(40, encode_ns=20 * MS, ppm=100)
    video = world.video(40, encode_ns=200 * MS, ppm=-100)
    world.reports(video, period_ns=SECOND, seconds=40)
    world.reports(sound, period_ns=5 * SECOND, seconds=40)
    world.run(41)

    def captured(packet: Packet, encode_ns: int, period_ns: int) -> float:
        number = round((packet.arrived_ns - START - 35 * MS) / period_ns)
        return (packet.dts - (number * period_ns - encode_ns) * 9 / 100_000) / 90

    sounds = [captured(each, 20 * MS, 20 * MS) for each in world.sink.of(Kind.AUDIO)]
    pictures = [captured(each, 200 * MS, SECOND // 30) for each in world.sink.of(Kind.VIDEO)]
    apart = [
        sum(pictures[30 * s : 30 * s + 30]) / 30 - sum(sounds[50 * s : 50 * s + 50]) / 50
        for s in range(2, 38)
    ]
    assert apart[0] > 60
    assert max(map(abs, apart[6:])) <= 35
    assert max(map(abs, apart[10:])) <= 20


def test_a_publisher_that_answers_no_request_is_asked_patiently() -> None:
    world = World()
    world.obeys = False
    world.video(30, gop=300)
    world.run(30)
    assert len([each for each in world.sink.of(Kind.VIDEO) if each.key]) == 3
    assert 6 <= len(world.asked(PictureLoss)) <= 16


def test_everybody_who_waits_gets_one_key_frame() -> None:
    world = World()
    world.video(2)
    world.run(1)
    for _ in range(50):
        world.receiver.request_key()
    world.run(1)
    assert len(world.asked(PictureLoss)) == 1
    assert len([each for each in world.sink.of(Kind.VIDEO) if each.key]) == 2


def test_a_goodbye_ends_the_sound() -> None:
    world = World()
    world.sound(1)
    world.run(2)
    world.receiver.rtcp(serialise_rtcp([Goodbye(ssrcs=(SOUND_SSRC,))]), world.now)
    assert world.sink.dropped == [(0, Kind.AUDIO)]
    stream = world.sound(1)
    stream.ssrc = 999
    world.run(2)
    assert len(world.sink.formats) == 2
    assert len(world.sink.of(Kind.AUDIO)) == 100


def test_sound_that_said_goodbye_comes_back_under_its_ssrc() -> None:
    """As Chromium does where a page takes the microphone out of its sender and puts it back."""
    world = World()
    world.sound(3)
    world.run(1)
    world.receiver.rtcp(serialise_rtcp([Goodbye(ssrcs=(SOUND_SSRC,))]), world.now)
    assert world.sink.dropped == [(0, Kind.AUDIO)]
    world.run(2.5)
    assert [each.codec for _, each in world.sink.formats] == [Codec.OPUS, Codec.OPUS]
    sounds = world.sink.of(Kind.AUDIO)
    assert 130 <= len(sounds) <= 140  # what may have been under way is left out
    assert max(b.arrived_ns - a.arrived_ns for a, b in pairwise(sounds)) < 400 * MS
    assert 0.3 * 90_000 <= max(b.dts - a.dts for a, b in pairwise(sounds)) < 0.4 * 90_000


def test_pictures_and_layers_that_said_goodbye_come_back() -> None:
    """As browsers do where a page sets an encoding inactive and active again."""
    for name, layers in (("chromium-publish", {None: VIDEO_SSRC}), ("chromium-simulcast", LAYERS)):
        world = World(answer(name))
        streams = [
            world.video(6, ssrc=ssrc, rid=rid, size=(320 >> index, 192 >> index))
            for index, (rid, ssrc) in enumerate(layers.items())
        ]
        world.run(2)
        last = streams[-1]
        last.said = Extensions()  # acknowledged: not said again
        world.receiver.rtcp(serialise_rtcp([Goodbye(ssrcs=(last.ssrc,))]), world.now)
        world.run(4.5)
        pictures = world.sink.of(Kind.VIDEO, len(layers) - 1)
        assert len(pictures) > 150
        assert max(b.arrived_ns - a.arrived_ns for a, b in pairwise(pictures)) < 700 * MS


def test_the_first_packets_may_be_lost() -> None:
    """An encoder begins to send before the keys are there (OBS loses some fifty packets)."""
    world = World()
    world.path.loss = 1.0
    world.video(4, size=(320, 192))
    world.run(0.5)
    world.path.loss = 0.0
    world.run(4)
    pictures = world.sink.of(Kind.VIDEO)
    assert pictures[0].arrived_ns - START < SECOND
    assert len(pictures) > 90


def test_strangers_and_garbage_are_counted() -> None:
    world = World()
    world.video(1)
    world.run(2)
    for data in (b"", b"\x80", bytes(40), b"\x80\x7f" + bytes(30)):
        world.receiver.rtp(data, world.now)
        world.receiver.rtcp(data, world.now)
    for number in range(2 * MAX_PACKETS_A_TICK):
        world.receiver.rtp(b"\x80\x7f" + bytes(2) + number.to_bytes(4, "big") * 5, world.now)
    found = world.receiver.statistics
    assert found.malformed >= 4
    assert found.flooded > MAX_PACKETS_A_TICK // 2
    world.receiver.tick(world.now)
    # A list of lost packets takes a hundred times as long to read as it is long.
    lost = serialise_rtcp([Nack(sender_ssrc=1, media_ssrc=2, lost=tuple(range(5100)))])
    for _ in range(50):
        world.receiver.rtcp(lost, world.now)
    assert world.receiver.statistics.flooded >= found.flooded + 40
    world.receiver.tick(world.now)
    assert len(world.sink.of(Kind.VIDEO)) == 30


def test_what_the_sink_refuses_passes_through() -> None:
    class Strict(Sink):
        def set_format(self, track: int, track_format: TrackFormat) -> None:
            raise FormatRefused("The picture is too large.")

    world = World()
    world.receiver._sink = world.receiver._layers._sink = Strict()
    world.video(1)
    with pytest.raises(FormatRefused, match="too large"):
        world.run(2)


def test_bandwidth_is_told_where_nothing_better_was_agreed() -> None:
    world = World()
    world.video(5, size=(320, 192))
    world.run(5)
    told = [each for _, each in world.told if isinstance(each, Remb)]
    assert len(told) >= 4
    assert all(each.bitrate >= 2_490_000 for each in told)
    assert world.receiver.statistics.bandwidth_bps == 2_500_000


def test_pictures_out_of_their_order_are_refused_with_the_mend() -> None:
    world = World()
    stream = world.video(0)
    encoder, packetizer = Encoder(), H264Packetizer(max_payload=1100)

    def send(number: int) -> None:
        shown = number + (1 if number % 2 else -1) if number else 0
        for payload, marker in packetizer.packetize(encoder.encode(number, key=not number)):
            at = START + shown * 33 * MS
            world.send(stream, payload, marker=marker, captured_ns=at)

    world.every(33 * MS, send, times=120)
    with pytest.raises(FormatRefused, match="bframes=0"):
        world.run(4)
    assert 30 < len(world.sink.of(Kind.VIDEO)) < 90
