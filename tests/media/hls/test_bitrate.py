"""BANDWIDTH: never below what is listed, in time, steady, and bounded where an encoder lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.hls.bitrate import LARGEST_CLAIM, MEASURED_SEGMENTS, SHORTEST, BitRate
from media.model import TICKS_PER_SECOND

pytestmark = pytest.mark.unit

SEGMENT = 2 * TICKS_PER_SECOND
PART = TICKS_PER_SECOND // 3


def play(rate: BitRate, kbps: float, *, segments: int = 1, parts: int = 6) -> list[int]:
    """Send segments of 2 s in parts; return the peak after each part."""
    peaks = []
    for _ in range(segments):
        bits = 0
        for part in range(parts):
            bits = round(kbps * 2000 * (part + 1) / parts)
            rate.open(bits, SEGMENT * (part + 1) // parts)
            peaks.append(rate.figures()[0])
        rate.close(bits, SEGMENT)
    return peaks


def test_a_rise_shows_before_the_segment_is_complete():
    rate = BitRate()
    play(rate, 1000, segments=5)
    assert rate.figures() == (1_000_000, 1_000_000)
    during = play(rate, 6000)
    # After a third of a second nothing is sure; every part after that says more.
    assert during == [1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000]
    assert rate.figures()[0] == 6_000_000


def test_what_the_encoder_declares_holds_from_the_first_moment():
    rate = BitRate()
    rate.claim(6_000_000)
    assert rate.figures() == (6_000_000, 6_000_000)
    peaks = play(rate, 2000, segments=10)
    assert set(peaks) == {6_000_000}
    assert rate.figures() == (6_000_000, 2_000_000)
    assert set(play(rate, 6000, segments=3)) == {6_000_000}


def test_what_is_measured_counts_where_it_is_more_than_was_declared():
    rate = BitRate()
    rate.claim(1_000_000)
    play(rate, 3000)
    assert rate.figures()[0] == 3_000_000
    play(rate, 3000, segments=5)
    assert rate.figures() == (3_000_000, 3_000_000)
    own = BitRate()
    own.declare(800_000)
    play(own, 900, segments=1)
    assert own.figures()[0] == 900_000


def test_a_claim_in_another_unit_does_not_hold():
    rate = BitRate()
    rate.claim(50_000_000)
    play(rate, 1000, segments=3)
    assert rate.figures() == (4_000_000, 1_000_000)
    # What our own encoder is held to takes its place, and is no claim.
    rate.declare(700_000)
    assert rate.figures()[0] == 1_000_000


def test_short_segments_have_no_peak_and_say_nothing_of_the_next_ones_length():
    rate = BitRate()
    rate.close(3_000_000, TICKS_PER_SECOND // 4)
    play(rate, 1000, segments=3)
    peak, average = rate.figures()
    assert peak == average == round(9_000_000 / 6.25)
    # A short one in between does not make the next one's beginning a peak.
    rate.close(600_000, TICKS_PER_SECOND * 6 // 10)
    rate.open(1_500_000, PART)
    assert rate.figures()[0] < 1_500_000


@given(
    st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 10 * TICKS_PER_SECOND)), max_size=20),
    st.integers(0, 10**8),
)
def test_it_is_never_below_a_listed_segment_and_never_far_above(
    segments: list[tuple[int, int]], claim: int
):
    rate = BitRate()
    rate.claim(claim)
    measured = largest = 0.0
    for number, (bits, ticks) in enumerate(segments):
        rate.open(bits // 2, (ticks + 1) // 2)
        rate.open(bits, ticks)
        rate.close(bits, ticks)
        peak, average = rate.figures()
        if ticks >= SHORTEST:
            measured = max(measured, bits * TICKS_PER_SECOND / ticks)
        largest = max(largest, bits * TICKS_PER_SECOND / max(ticks, SHORTEST))
        assert peak >= round(measured)
        assert peak >= average
        if number + 1 >= MEASURED_SEGMENTS:
            assert peak <= LARGEST_CLAIM * (max(largest, average) + 1)
