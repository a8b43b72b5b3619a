"""Segment boundaries."""

from __future__ import annotations

from itertools import pairwise

import pytest

from media.grid import GridRule, SegmentGrid

pytestmark = pytest.mark.unit

S = 180_000
LONGEST = 220_500


def cut(keys: list[int]) -> list[int]:
    grid = SegmentGrid()
    rule = GridRule(segment=S, longest=LONGEST)
    for key in keys:
        rule.saw_key(key)
        if grid.last is None or rule.key_starts_segment(key, grid.last.start):
            grid.add(key)
    return [grid.segment_at(k).start for k in keys]


def test_two_second_gop_is_one_segment():
    keys = [90_000 + i * S for i in range(5)]
    assert cut(keys) == keys


def test_one_second_gop_is_cut_at_every_other_key_frame():
    assert cut([0, 90_000, 180_000, 270_000, 360_000]) == [0, 0, 180_000, 180_000, 360_000]


def test_odd_gop_never_makes_a_segment_too_long():
    keys = [i * 135_000 for i in range(6)]
    starts = sorted(set(cut(keys)))
    assert starts == keys
    assert all(b - a <= LONGEST for a, b in pairwise(starts))


def test_jittered_ntsc_gop_stays_on_its_key_frames():
    keys = [round(i * 2.002 * 1000) * 90 for i in range(50)]
    assert cut(keys) == keys


def test_cut_without_key_frame_is_due_at_the_longest_length():
    rule = GridRule(segment=S, longest=LONGEST)
    assert not rule.must_cut(LONGEST - 1, 0)
    assert rule.must_cut(LONGEST, 0)


def test_numbers_follow_the_boundaries():
    grid = SegmentGrid()
    for start in (10, 20, 30):
        grid.add(start)
    assert grid.segment_at(5).msn == 0
    assert grid.segment_at(20).msn == 1
    assert grid.segment_at(29).msn == 1
    assert grid.after(1) is not None
    assert grid.after(2) is None
    with pytest.raises(ValueError, match="does not follow"):
        grid.add(30)


def test_discontinuities_before_a_boundary_are_counted():
    grid = SegmentGrid()
    for start, discontinuity in ((0, False), (10, True), (20, False), (30, True)):
        grid.add(start, discontinuity=discontinuity)
    assert [grid.segment_at(t).discontinuities_before for t in (0, 10, 20, 30)] == [0, 0, 1, 1]
