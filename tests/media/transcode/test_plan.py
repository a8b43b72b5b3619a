"""The ladder of every shape of source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import LadderSettings, RungSettings
from media.model import Codec, TrackFormat
from media.transcode.plan import AudioPlan, Plan, plan_ladder

pytestmark = pytest.mark.unit
DEFAULTS = LadderSettings()


def video(width: int, height: int, sar: tuple[int, int] = (1, 1)) -> TrackFormat:
    return TrackFormat(
        codec=Codec.H264, config=b"", codec_string="", width=width, height=height, sar=sar
    )


def audio(codec: Codec, rate: int = 48_000, channels: int = 2) -> TrackFormat:
    return TrackFormat(
        codec=codec, config=b"", codec_string="", sample_rate=rate, channels=channels
    )


def sizes(plan: Plan) -> list[tuple[str, int, int]]:
    return [(rung.name, rung.width, rung.height) for rung in plan.rungs]


def test_default_ladder_of_a_1080p_source() -> None:
    plan = plan_ladder(video(1920, 1080), None, DEFAULTS, reencode_source=False)
    assert sizes(plan) == [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)]
    assert [rung.bitrate for rung in plan.rungs] == [2_800_000, 1_200_000, 700_000]
    assert plan.rungs[0].bufsize == 5_600_000
    assert {rung.preset for rung in plan.rungs} == {"veryfast"}


def test_portrait_is_named_by_its_short_side() -> None:
    plan = plan_ladder(video(1080, 1920), None, DEFAULTS, reencode_source=False)
    assert sizes(plan) == [("720p", 720, 1280), ("480p", 480, 854), ("360p", 360, 640)]


def test_no_rung_above_a_passed_through_source() -> None:
    assert sizes(plan_ladder(video(854, 480), None, DEFAULTS, reencode_source=False)) == [
        ("480p", 854, 480),
        ("360p", 640, 360),
    ]
    assert plan_ladder(video(320, 240), None, DEFAULTS, reencode_source=False).empty


def test_reencoded_source_keeps_its_size_on_top() -> None:
    plan = plan_ladder(video(1920, 1080), None, DEFAULTS, reencode_source=True)
    assert sizes(plan)[0] == ("1080p", 1920, 1080)
    assert plan.rungs[0].preset == "superfast"
    assert 4_500_000 < plan.rungs[0].bitrate < 5_500_000
    plan = plan_ladder(video(1280, 720), None, DEFAULTS, reencode_source=True)
    assert sizes(plan) == [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)]
    assert plan.rungs[0].bitrate == 2_800_000
    plan = plan_ladder(video(321, 241), None, DEFAULTS, reencode_source=True)
    assert sizes(plan) == [("240p", 320, 240)]


def test_ladder_switched_off_still_reencodes_what_cannot_pass() -> None:
    off = LadderSettings(enabled=False)
    assert plan_ladder(video(1920, 1080), None, off, reencode_source=False).empty
    assert sizes(plan_ladder(video(1920, 1080), None, off, reencode_source=True)) == [
        ("1080p", 1920, 1080)
    ]


def test_anamorphic_source_gets_square_pixels() -> None:
    plan = plan_ladder(video(720, 576, (64, 45)), None, DEFAULTS, reencode_source=True)
    assert sizes(plan) == [("576p", 1024, 576), ("480p", 854, 480), ("360p", 640, 360)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (audio(Codec.AAC), None),
        (audio(Codec.OPUS), AudioPlan(sample_rate=48_000, channels=2, bitrate=128_000)),
        (
            audio(Codec.MP3, 44_100, 1),
            AudioPlan(sample_rate=44_100, channels=1, bitrate=128_000),
        ),
        (
            audio(Codec.OPUS, 48_000, 6),
            AudioPlan(sample_rate=48_000, channels=2, bitrate=128_000),
        ),
        (
            audio(Codec.MP3, 11_025, 2),
            AudioPlan(sample_rate=48_000, channels=2, bitrate=128_000),
        ),
    ],
)
def test_audio(source: TrackFormat, expected: AudioPlan | None) -> None:
    assert plan_ladder(None, source, DEFAULTS, reencode_source=False).audio == expected


@given(
    width=st.integers(2, 8192),
    height=st.integers(2, 8192),
    sar=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    reencode=st.booleans(),
    lines=st.lists(st.integers(144, 2160), max_size=5),
)
def test_every_source_gets_a_legal_ladder(
    width: int, height: int, sar: tuple[int, int], reencode: bool, lines: list[int]
) -> None:
    settings = LadderSettings(
        rungs=tuple(RungSettings(height=line, bitrate_kbps=1000) for line in lines)
    )
    plan = plan_ladder(video(width, height, sar), None, settings, reencode_source=reencode)
    shown = max(2, round(width * sar[0] / sar[1]))
    assert len({rung.name for rung in plan.rungs}) == len(plan.rungs)
    for rung in plan.rungs:
        assert rung.width % 2 == 0
        assert rung.height % 2 == 0
        assert 2 <= rung.width <= shown
        assert 2 <= rung.height <= height
        assert rung.bitrate >= 100_000
    if reencode:
        assert plan.rungs
