"""Encoder clocks that run fast or slow, over three hours of virtual time and a real-life link."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.clock import ShowClock
from media.drift import STEP_WINDOWS, WINDOW, WINDOWS, Drift, lower_hull
from media.model import TICKS_PER_SECOND, Codec, Packet
from media.timeline import Repair, Timeline
from tests.support.examples import examples

pytestmark = pytest.mark.unit

MS = 90
CLOCK = ShowClock.anchored(utc_ms=1_790_000_000_000, now_ns=0)
HOUR_S = 3600
PATH_S = 0.03
JITTER_S = 0.015
"""Mean of the queueing that every packet meets on a line shared with others."""
SOUND_S = 0.005


@dataclass(frozen=True)
class Spell:
    """A congested time: queueing grows to its peak and shrinks again."""

    begin_s: float
    end_s: float
    peak_s: float

    def delay(self, at: float) -> float:
        half = (self.end_s - self.begin_s) / 2
        return max(0.0, self.peak_s * (1 - abs(at - self.begin_s - half) / half))


CALM: tuple[Spell, ...] = ()
CONGESTED = (Spell(HOUR_S, HOUR_S + 300, 1.5), Spell(2 * HOUR_S, 2 * HOUR_S + 60, 3.0))
LONG = (Spell(1800, 3000, 1.0),)
EARLY = (Spell(20, 140, 1.5),)


@dataclass
class Show:
    """What three hours were like, in milliseconds."""

    utc_ms: float
    """Furthest that a picture's program date-time was from when it was taken."""
    apart_ms: float
    """Furthest that sound was from its pictures."""
    steps_ms: float
    """Largest change between two pictures beyond what passed at the encoder."""
    repairs: Counter[Repair]
    ppm: float


def play(
    spells: tuple[Spell, ...],
    *,
    video_ppm: float = 0,
    audio_ppm: float | None = None,
    hours: float = 3,
    rate: int = 3,
) -> Show:
    """Push pictures and sound `rate` times a second over a link that keeps their order."""
    chance = random.Random(7)
    repairs: Counter[Repair] = Counter()
    timeline = Timeline(
        clock=CLOCK, wrap_ticks=2**32 * 90, floor=0, repaired=lambda r: repairs.update([r])
    )
    fast = {Codec.H264: video_ppm, Codec.AAC: video_ppm if audio_ppm is None else audio_ppm}
    arrived = utc = apart = steps = 0.0
    last = last_source = None
    for number in range(int(hours * HOUR_S * rate)):
        taken = number / rate
        queueing = chance.expovariate(1 / JITTER_S)
        queueing += chance.uniform(0.8, 1) * sum(spell.delay(taken) for spell in spells)
        arrived = max(arrived, taken + PATH_S + queueing)
        out = {}
        for codec, ahead in ((Codec.H264, 0.0), (Codec.AAC, SOUND_S)):
            source = round((taken + ahead) * (1 + fast[codec] / 1e6) * 1000) * MS
            packet = Packet(
                track=0,
                codec=codec,
                dts=source,
                pts=source,
                key=True,
                payload=b"",
                arrived_ns=int(arrived * 1e9),
            )
            out[codec] = timeline.map(packet).dts
            if codec is Codec.H264:
                if last is not None:
                    steps = max(steps, abs(out[codec] - last - (source - last_source)))
                last, last_source = out[codec], source
        utc = max(utc, abs(out[Codec.H264] - CLOCK.now(int((taken + PATH_S) * 1e9))))
        apart = max(apart, abs(out[Codec.AAC] - out[Codec.H264] - SOUND_S * 1000 * MS))
    return Show(utc / MS, apart / MS, steps / MS, repairs, timeline.drift_ppm or 0)


@pytest.mark.parametrize(
    "spells", [CALM, CONGESTED, LONG, EARLY], ids=["calm", "congested", "long", "early"]
)
@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_three_hours_stay_at_utc_with_sound_at_its_picture(ppm: int, spells: tuple[Spell, ...]):
    show = play(spells, video_ppm=ppm)
    assert show.utc_ms < 60
    assert show.apart_ms <= 2
    assert show.steps_ms <= 1
    assert show.ppm == pytest.approx(ppm, abs=5)
    assert set(show.repairs) <= {Repair.DRIFT}
    if not ppm:
        assert show.repairs[Repair.DRIFT] < 60


@pytest.mark.parametrize("audio_ppm", [-200, 200])
@pytest.mark.parametrize(
    ("spells", "apart_ms"),
    [(CALM, 40), (CONGESTED, 50), (LONG, 40)],
    ids=["calm", "congested", "long"],
)
def test_sound_on_a_clock_of_its_own_is_moved_along(
    audio_ppm: int, spells: tuple[Spell, ...], apart_ms: int
):
    show = play(spells, audio_ppm=audio_ppm, hours=2.5)
    assert show.apart_ms <= apart_ms
    assert show.utc_ms < 60
    assert 1200 < show.repairs[Repair.TRACK_DRIFT] < 1900
    assert show.repairs[Repair.DRIFT] < 60


def test_an_encoder_whose_clock_stood_still_is_believed_after_ten_minutes():
    drift = Drift()
    at = 0
    for _ in range(60):
        at += WINDOW
        drift.add(at, 3000)
    for _ in range(STEP_WINDOWS + 1):
        at += WINDOW
        drift.add(at, 3000 + 5 * TICKS_PER_SECOND)
        assert abs(drift.wanted(at)) < 100 * MS
    for _ in range(60):
        at += WINDOW
        drift.add(at, 3000 + 5 * TICKS_PER_SECOND)
    assert drift.ppm == pytest.approx(0, abs=1)
    assert abs(drift.wanted(at)) < 100 * MS


def test_a_file_pushed_ahead_of_real_time_is_no_drift():
    drift = Drift()
    drift.add(WINDOW, 0)
    drift.add(2 * WINDOW, -3 * TICKS_PER_SECOND)
    assert drift.wanted(2 * WINDOW) == 0


def test_it_is_known_after_five_minutes():
    drift = Drift()
    for number in range(1, 40):
        drift.add(number * WINDOW, -number * WINDOW // 10_000)
        assert (drift.ppm is not None) == (number >= 30)
    assert drift.ppm == pytest.approx(100, abs=1)


def test_a_new_reference_starts_from_what_was_corrected():
    drift = Drift(corrected=900)
    assert drift.wanted(5) == 900
    drift.add(WINDOW, 77_000)
    assert drift.wanted(WINDOW) == 900


points = st.lists(
    st.tuples(st.integers(1, 10**6), st.integers(-(10**7), 10**7)), min_size=1, max_size=80
)


@settings(max_examples=examples(150), deadline=None)
@given(points)
def test_the_line_lies_below_every_delay_and_touches_one(steps: list[tuple[int, int]]):
    at = 0
    placed = []
    for passed, delay in steps:
        at += passed
        placed.append((at, delay))
    hull = lower_hull(placed)
    assert hull[0] == placed[0]
    assert hull[-1] == placed[-1]
    drift = Drift()
    for moment, delay in placed:
        assert drift.add(moment, delay) >= 0
    assert len(drift._points) <= WINDOWS
    below = [d - drift._level - drift._slope * a for a, d in drift._points]
    assert min(below) == pytest.approx(0, abs=1e-3)
