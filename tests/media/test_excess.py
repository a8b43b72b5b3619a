"""Bit rate and frame rate against a publisher's limits, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.settings import LimitsSettings, Settings, StreamLimits
from media.excess import Bucket, ExcessWatch
from media.limits import Limits, check_tracks, narrow
from media.model import Codec, FormatRefused, Kind, Packet

pytestmark = pytest.mark.unit

_NS = 1_000_000_000


def packet(at_s: float, size: int, kind: Kind = Kind.AUDIO, track: int = 0) -> Packet:
    return Packet(
        track=track,
        codec=Codec.AAC if kind is Kind.AUDIO else Codec.H264,
        pts=0,
        dts=0,
        key=False,
        payload=bytes(size),
        arrived_ns=int(at_s * _NS),
    )


def limits(**own: int) -> Limits:
    return narrow(LimitsSettings(excess_s=5), StreamLimits(**own))


def test_a_steady_encoder_below_its_limit_is_left_alone() -> None:
    watch = ExcessWatch(limits(max_bitrate_kbps=1000))
    assert [watch.add(packet(n / 10, 12_400)) for n in range(6000)] == [None] * 6000


def test_twice_the_limit_is_told_after_the_allowance_with_the_measured_rate() -> None:
    watch = ExcessWatch(limits(max_bitrate_kbps=1000))
    said = [(n / 10, text) for n in range(200) if (text := watch.add(packet(n / 10, 25_000)))]
    assert 4.5 < said[0][0] < 5.5
    assert said[0][1] == (
        "The encoder sends 2.0 Mbit/s; this stream accepts at most 1 Mbit/s: lower the bitrate "
        "(OBS: Settings ▸ Output ▸ Bitrate)."
    )


def test_a_link_that_recovers_is_no_excess() -> None:
    watch = ExcessWatch(limits(max_bitrate_kbps=1000))
    for n in range(100):
        assert watch.add(packet(n / 10, 12_000)) is None
    # Four seconds of silence, then what was held up comes at once.
    assert [watch.add(packet(14, 12_000)) for _ in range(40)] == [None] * 40


def test_too_many_pictures_are_told_however_small() -> None:
    watch = ExcessWatch(limits(max_frame_rate=60))
    said = [text for n in range(2400) if (text := watch.add(packet(n / 240, 10, Kind.VIDEO)))]
    assert said[-1] == (
        "The encoder sends 240 pictures a second; this stream accepts at most 60: lower the frame "
        "rate (OBS: Settings ▸ Video ▸ FPS)."
    )


def test_a_fast_clock_at_the_limit_is_no_excess() -> None:
    watch = ExcessWatch(narrow(LimitsSettings(excess_s=1), StreamLimits(max_frame_rate=60)))
    fast = 60 * 1.0005
    said = [watch.add(packet(n / fast, 10, Kind.VIDEO)) for n in range(3600 * 60)]
    assert not any(said)


def test_two_tracks_of_pictures_are_not_added_up() -> None:
    watch = ExcessWatch(limits(max_frame_rate=60))
    said = [
        watch.add(packet(n / 50, 10, Kind.VIDEO, track)) for n in range(2000) for track in (0, 1)
    ]
    assert not any(said)


def test_an_excess_that_ends_is_calm_again() -> None:
    watch = ExcessWatch(limits(max_bitrate_kbps=1000))
    assert watch.add(packet(0, 700_000)) is not None
    assert not watch.calm
    assert watch.add(packet(4, 1)) is None
    assert watch.calm


@given(
    st.lists(st.tuples(st.integers(-(10**9), 10**10), st.floats(0, 1e9)), min_size=1, max_size=200)
)
def test_any_times_and_amounts_give_a_finite_rate_or_none(steps: list[tuple[int, float]]) -> None:
    bucket = Bucket(rate=1000, seconds=5)
    now = 0
    for step, amount in steps:
        now += step
        rate = bucket.add(amount, now)
        assert rate is None or 0 < rate < 1e13


def test_the_least_of_all_limits_holds() -> None:
    base = LimitsSettings()
    result = narrow(
        base, StreamLimits(max_width=1920, max_tracks=2), None, StreamLimits(max_width=1280)
    )
    assert (result.max_width, result.max_tracks) == (1280, 2)
    assert result.max_height == base.max_height
    # No hook can lift what protects the server.
    assert narrow(base, StreamLimits(max_pixels=10**9)).max_pixels == base.max_pixels


def test_too_many_tracks_are_refused() -> None:
    check_tracks(2, limits(max_tracks=2))
    with pytest.raises(FormatRefused, match="more than 2 tracks"):
        check_tracks(3, limits(max_tracks=2))


def test_a_stream_cannot_ask_for_more_than_the_server_allows() -> None:
    tree = {"streams": {"list": [{"name": "a", "limits": {"max_width": 16000}}]}}
    with pytest.raises(ValidationError, match=r"a has max_width above limits\.max_width"):
        Settings.model_validate(tree)
