"""The pure rules: pressure, hang, back-off, boundaries, frame rates, replay."""

from __future__ import annotations

from fractions import Fraction

import pytest

from config.settings import LadderSettings
from media.meter import NoMeter
from media.model import Codec, Packet, TrackFormat
from media.transcode.cadence import (
    BoundaryMarks,
    Durations,
    FrameRateCap,
    Halver,
    measured_rate,
    nominal_rate,
)
from media.transcode.messages import Boundary, Relief, Report, RungReport
from media.transcode.plan import Plan, plan_ladder
from media.transcode.pressure import DOWN_AFTER_S, Load, PressureRule, load_of, reliefs
from media.transcode.replay import MAX_BOUNDARIES, Arrivals, Replay
from media.transcode.reports import Reports
from media.transcode.watch import HANG_S, START_S, Backoff, HangRule

pytestmark = pytest.mark.unit

HIGH = Load(queue_age_s=0.3, dropped=2)
LOW = Load(queue_age_s=0.01, dropped=0)
MIDDLE = Load(queue_age_s=0.1, dropped=0)
FULL_HD = TrackFormat(codec=Codec.H264, config=b"", codec_string="", width=1920, height=1080)


def ladder(*, reencode_source: bool = False, **settings: object) -> Plan:
    chosen = LadderSettings.model_validate(settings)
    return plan_ladder(FULL_HD, None, chosen, reencode_source=reencode_source)


def steps(rule: PressureRule, load: Load, start: float, seconds: float) -> list[tuple[float, int]]:
    """Feed a look each half second; return (time, step) of each change."""
    changes = []
    for n in range(int(seconds * 2)):
        before = rule.step
        if rule.observe(start + n / 2, load) != before:
            changes.append((start + n / 2, rule.step))
    return changes


def test_reliefs_give_up_preset_then_top_rung_then_frame_rate() -> None:
    assert reliefs(ladder(reencode_source=True)) == (
        Relief(),
        Relief(faster=True),
        Relief(faster=True, paused=("1080p",)),
        Relief(faster=True, paused=("1080p",), halved=("480p", "360p")),
    )


def test_reliefs_of_fast_presets_and_single_rungs() -> None:
    assert reliefs(ladder(preset="superfast"))[1] == Relief(paused=("720p",))
    assert reliefs(ladder(rungs=({"height": 720, "bitrate_kbps": 2000},), preset="ultrafast")) == (
        Relief(),
        Relief(halved=("720p",)),
    )
    assert reliefs(ladder(encoder="h264_nvenc"))[1].faster is False
    assert reliefs(Plan()) == (Relief(),)


def test_pressure_climbs_step_by_step_and_stops_at_the_last() -> None:
    rule = PressureRule(3)
    assert steps(rule, HIGH, 0, 20) == [(1.0, 1), (4.0, 2), (7.0, 3)]


def test_a_hiccup_changes_nothing() -> None:
    rule = PressureRule(3)
    for second in range(0, 60, 2):
        rule.observe(second, HIGH)
        rule.observe(second + 0.5, MIDDLE)
    assert rule.step == 0


def test_pressure_is_undone_slowly_and_slower_after_a_relapse() -> None:
    rule = PressureRule(3)
    steps(rule, HIGH, 0, 2)
    assert rule.step == 1
    assert steps(rule, MIDDLE, 2, 100) == []
    ((eased, step),) = steps(rule, LOW, 102, 22)
    assert (eased, step) == (102 + DOWN_AFTER_S, 0)
    ((up, step),) = steps(rule, HIGH, 124, 4)
    assert step == 1
    ((down, step),) = steps(rule, LOW, 128, 60)
    assert step == 0
    assert down - 128 == 2 * DOWN_AFTER_S
    assert up < down


def test_less_work_is_tried_whole_and_as_much_is_not() -> None:
    def after(plan: Plan) -> int:
        reports = Reports("s", NoMeter())
        reports.plan(ladder(reencode_source=True))
        for n in range(20):
            reports.take(report(n, age_ms=300), n / 2)
        assert reports.step == 3
        reports.plan(plan)
        return reports.step

    assert after(ladder()) == 0
    assert after(ladder(reencode_source=True, audio_kbps=64)) == 3
    assert after(ladder(reencode_source=True, rungs=())) == 0


def test_load_ignores_a_worker_that_catches_up() -> None:
    rung = RungReport(rung="720p", frames=1, dropped=3, busy_ns=1, media_ticks=1, queue_age_ms=260)
    report = Report(
        consumed=1, decode_errors=0, skipped=0, decode_age_ms=20, catching_up=False, rungs=(rung,)
    )
    assert load_of(report) == Load(queue_age_s=0.26, dropped=3)
    late = Report(
        consumed=1, decode_errors=0, skipped=0, decode_age_ms=900, catching_up=True, rungs=(rung,)
    )
    assert load_of(late) == Load(queue_age_s=0.0, dropped=0)


def report(consumed: int, *, age_ms: int = 0, frames: int = 1) -> Report:
    rung = RungReport(
        rung="720p", frames=frames, dropped=0, busy_ns=0, media_ticks=0, queue_age_ms=age_ms
    )
    return Report(
        consumed=consumed,
        decode_errors=0,
        skipped=0,
        decode_age_ms=0,
        catching_up=False,
        rungs=(rung,),
    )


def test_silence_under_flowing_input_is_a_hang() -> None:
    rule = HangRule(0.0)
    rule.reported(1.0, report(1))
    for n in range(10):
        rule.pushed(1.0 + n / 2)
    assert not rule.hung(1.0 + HANG_S)
    assert rule.hung(1.1 + HANG_S)


def test_no_progress_is_a_hang_even_with_a_heartbeat() -> None:
    for stuck in (report(7), report(8, age_ms=4000, frames=0)):
        rule = HangRule(0.0)
        rule.reported(0.0, report(7))
        hung = []
        for n in range(1, 10):
            rule.pushed(n / 2)
            rule.reported(n / 2, stuck)
            hung.append(rule.hung(n / 2))
        assert hung[-1]
        assert not hung[3]


def test_pauses_and_slow_starts_are_no_hang() -> None:
    rule = HangRule(0.0)
    rule.pushed(0.0)
    assert not rule.hung(START_S)
    assert rule.hung(START_S + 0.1)
    rule = HangRule(0.0)
    rule.reported(0.0, report(1))
    assert not rule.hung(100.0)
    rule.pushed(100.0)
    assert not rule.hung(100.1)


def test_backoff_grows_only_for_workers_that_die_young() -> None:
    backoff = Backoff()
    assert [backoff.died(1) for _ in range(7)] == [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 10.0]
    assert backoff.died(60) == 0.0
    assert backoff.failures == 1


def test_marks() -> None:
    marks = BoundaryMarks()
    marks.announce(100)
    assert marks.mark(90) is None
    assert marks.mark(110) is True
    assert marks.mark(120) is False
    assert marks.mark(120) is None, "a picture that does not follow is left out"
    marks.announce(130)
    marks.announce(140)
    assert marks.mark(150) is True, "two boundaries without a picture between are one"
    assert marks.mark(160) is False


@pytest.mark.parametrize(
    ("source", "cap", "kept"),
    [(120, 60, 60), (90, 60, 60), (60, 60, 60), (25, 60, 25), (60, 30, 30)],
)
def test_frame_rate_cap(source: int, cap: int, kept: int) -> None:
    rule = FrameRateCap(cap)
    seconds = 10
    times = [n * 90_000 // source for n in range(source * seconds)]
    assert abs(sum(rule.keeps(t, idr=False) for t in times) - kept * seconds) <= 1
    assert rule.keeps(times[-1] + 1, idr=True)


def test_frame_rate_cap_bears_millisecond_times() -> None:
    rule = FrameRateCap(60)
    times = [round(n * 1000 / 60) * 90 for n in range(600)]
    assert all(rule.keeps(t, idr=False) for t in times)


def test_halver_keeps_boundaries() -> None:
    halver = Halver()
    assert [halver.keeps(idr=n == 4, on=True) for n in range(7)] == [
        True, False, True, False, True, False, True,
    ]  # fmt: skip
    assert [halver.keeps(idr=False, on=False) for _ in range(3)] == [True] * 3


def test_durations_follow_the_pictures() -> None:
    durations = Durations(Fraction(25))
    assert [durations.of(t) for t in (0, 3000, 4500, 4500 + 10**9)] == [3600, 3000, 1500, 1500]


@pytest.mark.parametrize(
    ("told", "rate"),
    [((30000, 1001), Fraction(30000, 1001)), ((0, 1), 30), ((1000, 1), 30), ((120, 1), 60)],
)
def test_nominal_rate(told: tuple[int, int], rate: Fraction) -> None:
    assert nominal_rate(told, 60) == rate


@pytest.mark.parametrize(
    ("interval", "rate"), [(1500, 60), (1440, 60), (3003, 30), (3600, 25), (750, 60), (0, 30)]
)
def test_measured_rate(interval: int, rate: int) -> None:
    assert measured_rate(interval, 60) == rate


def picture(n: int, *, key: bool, size: int = 10) -> Packet:
    return Packet(
        track=0,
        codec=Codec.H264,
        dts=n * 3000,
        pts=n * 3000,
        key=key,
        payload=b"\x00" * size,
        arrived_ns=n,
    )


def sound(n: int) -> Packet:
    return Packet(
        track=0, codec=Codec.OPUS, dts=n * 1800, pts=n * 1800, key=True, payload=b"", arrived_ns=n
    )


def test_boundaries_without_pictures_are_bounded():
    replay = Replay()
    for number in range(1000):
        replay.boundary(Boundary(ticks=number * 180_000))
    kept = [item.ticks for item in replay.video() if isinstance(item, Boundary)]
    assert kept == [number * 180_000 for number in range(1000 - MAX_BOUNDARIES, 1000)]


def test_replay_starts_at_the_last_key_frame() -> None:
    replay = Replay()
    replay.holding = False
    for n in range(100):
        if n % 30 == 0:
            replay.boundary(Boundary(ticks=n * 3000))
        replay.push(picture(n, key=n % 30 == 0))
    items = list(replay.video())
    assert items[0] == Boundary(ticks=90 * 3000)
    assert [p.arrived_ns for p in items[1:] if isinstance(p, Packet)] == list(range(90, 100))
    replay.forget_boundaries()
    assert all(isinstance(item, Packet) for item in replay.video())
    replay.boundary(Boundary(ticks=100 * 3000))
    replay.forget_boundaries()
    assert list(replay.video())[-1] == Boundary(ticks=100 * 3000), "not met: the next may start it"


def test_replay_keeps_the_segment_that_began_without_a_worker() -> None:
    replay = Replay()
    for n in range(100):
        if n in (30, 60):
            replay.boundary(Boundary(ticks=n * 3000))
        replay.push(picture(n, key=n % 30 == 0))
    items = list(replay.video())
    assert items[0] == Boundary(ticks=30 * 3000)
    assert isinstance(items[1], Packet)
    assert items[1].arrived_ns == 30


def test_replay_is_bounded() -> None:
    replay = Replay()
    for n in range(1000):
        replay.push(picture(n, key=n == 0))
        replay.push(sound(n))
    assert list(replay.video()) == [], "a GOP of 33 s is given up"
    assert len(list(replay.audio(0))) <= 201
    assert [p.arrived_ns for p in replay.audio(998 * 1800)] == [998, 999]
    replay.push(picture(1000, key=True, size=20 * 2**20))
    replay.push(picture(1001, key=False, size=20 * 2**20))
    assert list(replay.video()) == []


def test_arrivals_find_the_source_of_a_time() -> None:
    arrivals = Arrivals()
    assert arrivals.at(5) is None
    for pts in (0, 6000, 3000, 9000):
        arrivals.note(pts, pts + 1)
    assert [arrivals.at(pts) for pts in (-5, 0, 3000, 4000, 9000, 99_999)] == [
        1, 1, 3001, 3001, 9001, 9001,
    ]  # fmt: skip
    for pts in range(10_000, 10_000 + 3 * Arrivals.LIMIT):
        arrivals.note(pts, pts)
    assert len(arrivals._times) <= Arrivals.LIMIT
