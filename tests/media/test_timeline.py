"""The timeline: any input yields rising decoding times and audio that stays with video."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.clock import START_TICKS, ShowClock
from media.model import Codec, Packet
from media.timeline import MAX_AHEAD, Repair, Timeline
from tests.support.examples import examples

pytestmark = pytest.mark.unit

WRAP = 2**32 * 90
MS = 90
CLOCK = ShowClock.anchored(utc_ms=1_790_000_000_000, now_ns=0)


def ns(ms: float) -> int:
    return int(ms * 1_000_000)


def packet(
    codec: Codec, dts_ms: float, at_ms: float, *, cts_ms: int = 0, key: bool = True
) -> Packet:
    dts = round(dts_ms * MS) % WRAP
    return Packet(
        track=0,
        codec=codec,
        dts=dts,
        pts=dts + cts_ms * MS,
        key=key,
        payload=b"",
        arrived_ns=ns(at_ms),
    )


class Run:
    def __init__(self, *, floor: int = 0, wrap: int = WRAP) -> None:
        self.repairs: Counter[Repair] = Counter()
        self.timeline = Timeline(
            clock=CLOCK, wrap_ticks=wrap, floor=floor, repaired=lambda r: self.repairs.update([r])
        )

    def video(self, dts_ms: float, at_ms: float, cts_ms: int = 0) -> Packet:
        return self.timeline.map(packet(Codec.H264, dts_ms, at_ms, cts_ms=cts_ms))

    def audio(self, dts_ms: float, at_ms: float) -> Packet:
        return self.timeline.map(packet(Codec.AAC, dts_ms, at_ms))


def test_first_packet_lands_where_it_arrived():
    run = Run()
    assert run.video(123_456, 500).dts == START_TICKS + 500 * MS


def test_steady_stream_is_not_touched():
    run = Run()
    out = [run.video(1000 + i * 40, i * 40).dts for i in range(1000)]
    assert [b - a for a, b in pairwise(out)] == [3600] * 999
    assert not run.repairs


def test_wrap_at_32_bit_milliseconds_is_seamless():
    run = Run()
    start = 2**32 - 100
    out = [run.video((start + i * 40) % 2**32, i * 40).dts for i in range(10)]
    assert [b - a for a, b in pairwise(out)] == [3600] * 9
    assert run.repairs == {Repair.WRAP: 1}


def test_encoder_without_extended_timestamps_wraps_at_24_bit():
    run = Run()
    start = 2**24 - 100
    out = [run.video((start + i * 40) % 2**24, i * 40).dts for i in range(10)]
    assert [b - a for a, b in pairwise(out)] == [3600] * 9
    assert run.repairs == {Repair.WRAP: 1}


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000, 5_000, -1_500])
def test_jump_keeps_audio_and_video_together(jump_ms: int):
    run = Run()
    offset = 5_000_000
    for i in range(50):
        run.video(offset + i * 40, i * 40)
        run.audio(offset + i * 40 + 7, i * 40)
    for i in range(50, 100):
        video = run.video(offset + jump_ms + i * 40, i * 40)
        audio = run.audio(offset + jump_ms + i * 40 + 7, i * 40)
    assert abs((audio.dts - video.dts) - 7 * MS) <= 2 * MS
    assert abs(video.dts - CLOCK.now(ns(99 * 40))) <= 100 * MS
    assert run.repairs == {Repair.JUMP: 2}


def test_clock_set_back_by_less_than_the_tolerance_recovers():
    run = Run()
    for i in range(50):
        last = run.video(10_000 + i * 40, i * 40)
    out = [run.video(10_000 - 500 + i * 40, i * 40) for i in range(50, 100)]
    assert out[0].dts > last.dts
    assert [b.dts - a.dts for a, b in pairwise(out[10:])] == [3600] * 39
    assert run.repairs[Repair.NON_MONOTONIC] == 3


def test_network_stall_and_burst_change_nothing():
    run = Run()
    for i in range(50):
        run.video(i * 40, i * 40)
    out = [run.video(i * 40, 50 * 40 + 5000).dts for i in range(50, 175)]
    assert [b - a for a, b in pairwise(out)] == [3600] * 124
    assert not run.repairs


def test_hole_in_the_source_is_kept():
    run = Run()
    before = run.video(0, 0)
    after = run.video(10_000, 10_000)
    assert after.dts - before.dts == 10_000 * MS
    assert not run.repairs


def test_audio_two_seconds_early_stays_two_seconds_early():
    run = Run()
    audio = [run.audio(i * 20, i * 20) for i in range(100)]
    video = run.video(2000, 2000)
    assert video.dts - audio[0].dts == 2000 * MS
    assert not run.repairs


def test_tracks_on_different_clocks_are_aligned_by_arrival():
    run = Run()
    run.video(3_600_000, 0)
    audio = run.audio(0, 10)
    assert audio.dts == START_TICKS + 10 * MS
    assert run.repairs == {Repair.AV_START: 1}


def test_new_run_never_lies_before_what_was_published():
    floor = START_TICKS + 90_000
    run = Run(floor=floor)
    assert run.video(0, 100).dts == floor
    assert run.audio(0, 100).dts == floor


def test_a_track_from_before_the_floor_is_moved_there_and_not_blamed():
    floor = START_TICKS + 90_000
    run = Run(floor=floor)
    run.video(1000, 100)
    moved = [run.audio(at, 100).dts for at in range(880, 1000, 20)]
    assert moved == [floor + number for number in range(6)]
    assert run.timeline.early
    assert run.audio(1020, 120).dts == floor + 20 * MS
    assert not run.timeline.early
    assert not run.repairs


def test_composition_times_are_bounded():
    run = Run()
    assert run.video(0, 0, cts_ms=80).pts - START_TICKS == 80 * MS
    below = run.video(40, 40, cts_ms=-40)
    assert below.pts == below.dts
    above = run.video(80, 80, cts_ms=60_000)
    assert above.pts - above.dts == 3000 * MS
    assert run.repairs == {Repair.COMPOSITION: 2}


@pytest.mark.parametrize("ppm", [200, -200, 0])
def test_drift_over_three_hours_stays_within_100_ms_of_utc(ppm: int):
    run = Run()
    worst = 0
    for i in range(3 * 3600 * 5):
        at = i * 200.0
        video = run.video(i * 200 * (1 + ppm / 1e6), at)
        audio = run.audio(i * 200 * (1 + ppm / 1e6) + 5, at)
        worst = max(worst, abs(video.dts - CLOCK.now(ns(at))))
        assert abs(audio.dts - video.dts - 5 * MS) <= 2 * MS
    assert worst <= 100 * MS
    assert bool(run.repairs[Repair.DRIFT]) == bool(ppm)


step = st.tuples(
    st.sampled_from([Codec.H264, Codec.AAC]),
    st.one_of(st.integers(0, 2**32 - 1), st.integers(-50, 200)),
    st.booleans(),
    st.integers(-(2**23), 2**23 - 1),
    st.integers(0, 3000),
)


@settings(max_examples=examples(200))
@given(st.lists(step, max_size=60), st.integers(0, 10**9))
def test_any_sequence_yields_rising_times(steps: list, floor: int):
    run = Run(floor=floor)
    now = source = 0
    last: dict[Codec, int] = {}
    for codec, value, relative, cts, passed in steps:
        now += passed
        source = (source + value) % 2**32 if relative else value % 2**32
        out = run.timeline.map(packet(codec, source, now, cts_ms=cts))
        assert out.dts > last.get(codec, floor - 1)
        assert 0 <= out.pts - out.dts <= 3000 * MS
        last[codec] = out.dts


def test_pictures_of_further_tracks_stay_with_those_of_the_first():
    """Their messages are larger or come in another order: that is no clock of their own."""
    run = Run()
    for number in range(200 * 25):
        main = run.video(number * 40, number * 40)
        late = min(150, number / 10)
        small = packet(Codec.H264, number * 40, number * 40 + late)
        assert run.timeline.map(replace(small, track=1)).dts == main.dts
    assert not run.repairs


def test_lead_forgets_a_track_that_waits_for_the_other():
    run = Run()
    run.video(0, 0)
    run.audio(1800, 0)
    assert run.timeline.lead == 1800 * MS
    run.video(1000, 1200)
    assert run.timeline.lead == 600 * MS


@pytest.mark.parametrize(
    "at", [16_777_215, 2**31, 2**32 - 1], ids=["extended", "sign bit", "largest"]
)
def test_the_borders_of_32_bit_milliseconds_are_seamless(at: int):
    run = Run()
    out = [run.video((at - 200 + i * 40) % 2**32, i * 40).dts for i in range(20)]
    assert [b - a for a, b in pairwise(out)] == [3600] * 19
    assert run.repairs == ({Repair.WRAP: 1} if at == 2**32 - 1 else {})


def test_wrap_at_33_bit_ticks_is_seamless():
    run = Run(wrap=2**33)
    out = []
    for i in range(20):
        dts = (2**33 - 18_000 + i * 3600) % 2**33
        made = Packet(
            track=0,
            codec=Codec.H264,
            dts=dts,
            pts=(dts + 7200) % 2**33,
            key=True,
            payload=b"",
            arrived_ns=ns(i * 40),
        )
        out.append(run.timeline.map(made))
    assert [b.dts - a.dts for a, b in pairwise(out)] == [3600] * 19
    assert {p.pts - p.dts for p in out} == {7200}
    assert run.repairs == {Repair.WRAP: 1}


def test_an_encoder_without_timestamps_is_timed_by_arrival():
    run = Run()
    out = [run.video(0, i * 40).dts for i in range(200)]
    assert [b - a for a, b in pairwise(out[10:])] == [3600] * 189
    assert abs(out[-1] - CLOCK.now(ns(199 * 40))) <= 200 * MS


def test_one_clock_that_restarts_does_not_pull_the_other_along():
    run = Run()
    for i in range(50):
        run.video(7_000_000 + i * 40, i * 40)
        run.audio(7_000_000 + i * 40 + 7, i * 40)
    for i in range(50, 100):
        video = run.video(7_000_000 + i * 40, i * 40)
        audio = run.audio((i - 50) * 40, i * 40)
    assert abs(audio.dts - video.dts - 7 * MS) <= MS
    assert run.repairs == {Repair.JUMP: 1}
    for i in range(100, 150):  # now its pictures follow, onto the same new clock
        video = run.video((i - 50) * 40, i * 40)
        audio = run.audio((i - 50) * 40, i * 40)
    assert abs(audio.dts - video.dts - 7 * MS) <= 8 * MS
    assert run.repairs == {Repair.JUMP: 2}


def test_a_clock_that_runs_away_is_held_within_reach():
    run = Run()
    for i in range(100):
        video = run.video(i * 1900, i * 40)
    ahead = video.dts - CLOCK.now(ns(99 * 40))
    assert 9 * 90_000 < ahead <= MAX_AHEAD
    assert run.repairs[Repair.JUMP]


def test_a_clock_that_stands_still_is_not_believed_for_ever():
    run = Run()
    run.video(0, 0)
    out = run.video(40, 31_000)
    assert CLOCK.now(ns(31_000)) - out.dts <= 31_000 * MS
    assert run.repairs == {Repair.JUMP: 1}


def test_a_track_that_starts_late_starts_where_drift_has_moved_the_others():
    run = Run()
    for i in range(2 * 3600 * 2):
        run.video(i * 500 * 1.0002, i * 500)
    at = 2 * 3600 * 1000
    first = run.audio(at * 1.0002, at)
    second = run.audio(at * 1.0002 + 20, at + 20)
    assert run.repairs[Repair.DRIFT] > 1000
    assert abs(second.dts - first.dts - 20 * MS) <= MS
    assert abs(first.dts - CLOCK.now(ns(at))) < 30 * MS


@pytest.mark.parametrize("rate", [5, 10, 25, 60])
@pytest.mark.parametrize("back_ms", [100, 200, 500, 900, 1500, 100_000])
def test_a_clock_set_back_moves_neither_sound_from_pictures_nor_the_show(rate: int, back_ms: int):
    run = Run()
    due = [(n * 1000 / rate, run.video) for n in range(30 * rate)]
    due += [(n * 1024 / 48, run.audio) for n in range(30 * 48000 // 1024)]
    at: dict[object, list[float]] = {run.video: [], run.audio: []}
    for ms, push in sorted(due, key=lambda each: each[0]):
        source = round(ms) - (back_ms if ms >= 15_000 else 0)
        out = push(source % 2**32, ms)
        if not 15_000 <= ms < 16_000:
            at[push].append(out.dts / MS - ms)
    before = {push: errors[100] for push, errors in at.items()}
    after = {push: errors[-1] for push, errors in at.items()}
    moved = {push: after[push] - before[push] for push in at}
    assert abs(moved[run.audio] - moved[run.video]) <= 2
    assert abs(moved[run.video]) <= 1000 / rate / 2


def test_one_track_set_back_leaves_the_other_alone():
    run = Run()
    due = [(n * 40, run.video) for n in range(750)]
    due += [(n * 1024 / 48, run.audio) for n in range(30 * 48000 // 1024)]
    moved = {}
    for ms, push in sorted(due, key=lambda each: each[0]):
        back = 300 if push == run.audio and ms >= 15_000 else 0
        out = push(round(ms) - back, ms)
        moved[push] = out.dts / MS - ms
    assert abs(moved[run.audio] - moved[run.video]) <= 3
    assert run.repairs[Repair.JUMP] == 1
