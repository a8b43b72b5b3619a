"""Round trips out of answers, with and without RTX."""

from __future__ import annotations

import pytest

from ingest.whip.trips import FIRST_NS, LEAST_LATE_NS, MAX_LATE_NS, REMEMBERED, RoundTrips

pytestmark = pytest.mark.unit

MS = 1_000_000


def test_an_answer_by_rtx_is_measured_at_once() -> None:
    trips = RoundTrips()
    assert trips.retry_ns == FIRST_NS
    trips.asked(7, 0)
    trips.arrived(7, 80 * MS, answer=True)
    assert trips.rtt_ns == 80 * MS
    assert trips.retry_ns == 120 * MS


def test_what_was_only_late_is_no_answer() -> None:
    trips = RoundTrips()
    for number in range(50):
        at = number * 200 * MS
        trips.asked(number, at)
        trips.arrived(number, at + 5 * MS, answer=False)
        trips.arrived(number, at + 90 * MS, answer=False)
    assert trips.rtt_ns == pytest.approx(90 * MS, rel=0.01)
    assert LEAST_LATE_NS < trips.late_ns <= MAX_LATE_NS


def test_what_came_once_was_the_answer_after_a_while() -> None:
    trips = RoundTrips()
    trips.asked(7, 0)
    trips.arrived(7, 70 * MS, answer=False)
    trips.expire(900 * MS)
    assert trips.rtt_ns == 0
    trips.expire(1_001 * MS)
    assert trips.rtt_ns == 70 * MS
    assert trips.late_ns == LEAST_LATE_NS


def test_asked_twice_nobody_knows() -> None:
    trips = RoundTrips()
    trips.asked(7, 0)
    trips.asked(7, 60 * MS)
    trips.arrived(7, 80 * MS, answer=True)
    trips.asked(8, 0)
    trips.asked(8, 60 * MS)
    trips.arrived(8, 80 * MS, answer=False)
    trips.expire(2_000 * MS)
    assert trips.rtt_ns == 0


def test_a_path_that_calms_down_is_asked_sooner_again() -> None:
    trips = RoundTrips()
    trips.late_ns = MAX_LATE_NS
    for number in range(300):
        trips.asked(number, number * MS)
    trips.expire(10_000 * MS)
    assert trips.late_ns < LEAST_LATE_NS + MS


def test_what_is_remembered_is_bounded() -> None:
    trips = RoundTrips()
    for number in range(2 * REMEMBERED):
        trips.asked(number, 0)
    trips.arrived(0, MS, answer=True)
    assert trips.rtt_ns == 0
    trips.arrived(2 * REMEMBERED - 1, MS, answer=True)
    assert trips.rtt_ns == MS
