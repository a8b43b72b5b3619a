"""Counters that wrap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc.sequence import Unwrapper, nearest

pytestmark = pytest.mark.unit


@given(
    st.sampled_from([16, 32]).flatmap(
        lambda bits: st.tuples(
            st.just(bits),
            st.integers(0, 2**bits - 1),
            st.lists(st.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1)),
        )
    )
)
def test_any_walk_of_less_than_half_turns_is_followed(case: tuple[int, int, list[int]]) -> None:
    bits, start, steps = case
    unwrapper = Unwrapper(bits)
    position = start
    assert unwrapper.unwrap(start) == start
    for step in steps:
        position += step
        assert unwrapper.unwrap(position % 2**bits) == position


def test_wraps_forwards_and_backwards() -> None:
    unwrapper = Unwrapper(16)
    assert [unwrapper.unwrap(value) for value in (65535, 0, 65534, 1)] == [
        65535, 65536, 65534, 65537,
    ]  # fmt: skip
    assert [Unwrapper(16).unwrap(0)] == [0]
    early = Unwrapper(16)
    assert [early.unwrap(value) for value in (0, 65535, 1)] == [0, -1, 1]


def test_nearest_is_within_half_a_turn() -> None:
    assert nearest(0xFFFFFFF0, 5, 32) == -16
    assert nearest(5, 0xFFFFFFF0, 32) == 2**32 + 5
    assert nearest(0x8000, 0, 16) == -0x8000
