"""Whatever comes: times that rise, sound near the pictures, durations that are true."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from media.clock import START_TICKS, ShowClock
from media.model import Codec, Packet
from media.timeline import (
    MAX_AHEAD,
    MAX_COMPOSITION,
    MAX_LATE,
    START_TOLERANCE,
    Repair,
    Timeline,
)
from tests.support.examples import examples

pytestmark = pytest.mark.unit

MS = 90
CLOCK = ShowClock.anchored(utc_ms=1_790_000_000_000, now_ns=0)
WRAPS = {24: 2**24 * MS, 32: 2**32 * MS, 33: 2**33}
FRAME_MS = {Codec.H264: 40, Codec.AAC: 20}
SETTLED_MS = 6000
STEADY_MS = 3000


class Encoders(RuleBasedStateMachine):
    """One encoder with pictures and sound, each on a clock that anything may happen to."""

    def __init__(self) -> None:
        super().__init__()
        self.repairs: Counter[Repair] = Counter()
        self.now_ms = 0
        self.count = 0
        self.sources = {Codec.H264: 0, Codec.AAC: 0}
        self.out: dict[Codec, list[int]] = {Codec.H264: [], Codec.AAC: []}
        self.floor = 0
        self.late = 0
        self.timeline: Timeline
        self.wrap = 0

    @initialize(
        bits=st.sampled_from(sorted(WRAPS)),
        floor=st.integers(0, 3000),
        video=st.integers(0, 2**33 - 1),
        apart=st.integers(-7000, 7000),
        late=st.integers(0, 4000),
    )
    def start(self, bits: int, floor: int, video: int, apart: int, late: int) -> None:
        self.wrap = WRAPS[bits]
        self.floor = START_TICKS + floor * MS
        self.late = late * MS
        self.sources = {Codec.H264: video, Codec.AAC: video + apart * MS}
        self.timeline = Timeline(
            clock=CLOCK,
            wrap_ticks=self.wrap,
            floor=self.floor,
            repaired=lambda reason: self.repairs.update([reason]),
            late=self.late,
        )

    def push(self, codec: Codec, *, cts_ms: int = 0) -> int:
        source = self.sources[codec] % self.wrap
        arrived_ns = self.now_ms * 1_000_000
        out = self.timeline.map(
            Packet(
                track=0,
                codec=codec,
                dts=source,
                pts=source + cts_ms * MS,
                key=True,
                payload=b"",
                arrived_ns=arrived_ns,
            )
        )
        self.count += 1
        before = self.out[codec]
        assert out.dts > (before[-1] if before else self.floor - 1)
        assert 0 <= out.pts - out.dts <= MAX_COMPOSITION
        arrived = CLOCK.now(arrived_ns)
        # A packet whose time does not rise takes a tick, so each may add one.
        assert out.dts <= max(arrived, self.floor) + max(MAX_AHEAD, START_TOLERANCE) + self.count
        assert out.dts >= arrived - MAX_LATE - START_TOLERANCE - self.late
        before.append(out.dts)
        return out.dts

    def play(self, ms: int, *, burst: bool = False) -> None:
        """Push both tracks in their order for a time; a burst arrives at once."""
        begin = self.now_ms
        for at in range(0, ms, 20):
            if not burst:
                self.now_ms = begin + at
            for codec, frame in FRAME_MS.items():
                if at % frame == 0:
                    self.sources[codec] += frame * MS
                    self.push(codec)
        self.now_ms = begin if burst else begin + ms

    @rule(ms=st.integers(40, 4000))
    def goes_on(self, ms: int) -> None:
        self.play(ms)

    @rule(ms=st.integers(40, 8000))
    def link_stalls_and_bursts(self, ms: int) -> None:
        self.now_ms += ms
        self.play(ms, burst=True)

    @rule(ms=st.integers(40, 15_000))
    def comes_faster_than_real_time(self, ms: int) -> None:
        self.play(ms, burst=True)

    @rule(ms=st.integers(0, 100_000))
    def nothing_comes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(ms=st.integers(-(2**32), 2**32))
    def both_clocks_jump(self, ms: int) -> None:
        for codec in self.sources:
            self.sources[codec] += ms * MS
        self.play(200)

    @rule(codec=st.sampled_from(list(FRAME_MS)), ticks=st.integers(0, 2**33))
    def one_clock_restarts(self, codec: Codec, ticks: int) -> None:
        self.sources[codec] = ticks
        self.play(200)

    @rule(codec=st.sampled_from(list(FRAME_MS)), before_ms=st.integers(0, 2000))
    def a_clock_nears_a_wrap(self, codec: Codec, before_ms: int) -> None:
        self.sources[codec] = self.wrap - before_ms * MS
        self.play(4000)

    @rule(codec=st.sampled_from(list(FRAME_MS)), ms=st.integers(1, 3000))
    def one_packet_steps_back(self, codec: Codec, ms: int) -> None:
        self.sources[codec] -= ms * MS
        self.push(codec)
        self.sources[codec] += ms * MS
        self.play(200)

    @rule(codec=st.sampled_from(list(FRAME_MS)), count=st.integers(1, 30))
    def the_same_time_again_and_again(self, codec: Codec, count: int) -> None:
        for _ in range(count):
            self.now_ms += FRAME_MS[codec]
            self.push(codec)

    @rule(codec=st.sampled_from(list(FRAME_MS)), steps=st.lists(st.integers(-3000, 3000)))
    def times_at_random(self, codec: Codec, steps: list[int]) -> None:
        for step in steps:
            self.sources[codec] += step * MS
            self.push(codec)

    @rule(cts=st.integers(-(2**23), 2**23 - 1))
    def absurd_composition_time(self, cts: int) -> None:
        self.sources[Codec.H264] += 40 * MS
        self.push(Codec.H264, cts_ms=cts)

    @rule(ms=st.integers(40, 3000), codec=st.sampled_from(list(FRAME_MS)))
    def one_track_alone(self, ms: int, codec: Codec) -> None:
        for _ in range(0, ms, FRAME_MS[codec]):
            self.now_ms += FRAME_MS[codec]
            self.sources[codec] += FRAME_MS[codec] * MS
            self.push(codec)

    @invariant()
    def memory_is_bounded(self) -> None:
        if self.count:
            assert len(self.timeline._tracks) <= 2

    def teardown(self) -> None:
        """Once its clocks are sane again, every duration is true again."""
        if not self.count:
            return
        # A run right at the limit of what is believed would cross it with the next burst.
        self.now_ms += 200
        self.play(SETTLED_MS)
        offset = None
        before = sum(self.repairs.values()) - self.repairs[Repair.DRIFT]
        before -= self.repairs[Repair.TRACK_DRIFT]
        wraps = self.repairs[Repair.WRAP]
        starts = {codec: len(out) for codec, out in self.out.items()}
        first = self.now_ms
        for at in range(0, STEADY_MS, 40):
            self.now_ms = first + at
            for codec, frame in FRAME_MS.items():
                for _ in range(40 // frame):
                    self.sources[codec] += frame * MS
                    self.push(codec)
            apart = self.out[Codec.AAC][-1] - self.out[Codec.H264][-1]
            assert offset is None or abs(apart - offset) <= 2 * MS
            offset = apart if offset is None else offset
        after = sum(self.repairs.values()) - self.repairs[Repair.DRIFT]
        after -= self.repairs[Repair.TRACK_DRIFT] + self.repairs[Repair.WRAP] - wraps
        assert after == before
        for codec, frame in FRAME_MS.items():
            out = self.out[codec][starts[codec] :]
            assert len(out) == STEADY_MS // frame
            # A millisecond for the clock's drift, and one for the track's own.
            assert all(abs(b - a - frame * MS) <= 2 * MS for a, b in pairwise(out))
            assert abs(out[-1] - out[0] - (STEADY_MS - frame) * MS) <= 2 * MS


Encoders.TestCase.settings = settings(
    max_examples=examples(25, fuzz=2000), stateful_step_count=12, deadline=None, database=None
)
TestEncoders = Encoders.TestCase
TestEncoders.pytestmark = [pytest.mark.unit]
