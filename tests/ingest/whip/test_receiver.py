"""The receiver with real pictures and sound, over paths that lose, delay and mix packets."""

from __future__ import annotations

from itertools import pairwise

import av
import pytest

from media.model import Codec, Kind, Packet, TrackFormat
from tests.ingest.whip.publisher import MS, Path, World, answer
from webrtc.rtcp import Nack, PictureLoss, ReceiverReport

pytestmark = pytest.mark.component


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
    assert freeze <= 1000
    assert late <= 1000
    assert len(pictures) > 800
    assert decode(world.sink.formats[-1][1], pictures) == len(pictures)
    assert {b.dts - a.dts for a, b in pairwise(sounds)} == {1800}
    assert world.asked(Nack)
    if rtx:
        assert counts.rtx > 0
