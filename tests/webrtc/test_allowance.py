"""What is dropped of a flood, in virtual time."""

from __future__ import annotations

import pytest

from webrtc.allowance import Allowance

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


def test_a_burst_and_then_as_many_as_the_rate_however_many_come() -> None:
    made = Allowance(rate=100, seconds=2)
    taken = [
        sum(made.spend(s * SECOND + n * SECOND // 5000) for n in range(5000)) for s in range(4)
    ]
    assert 290 <= taken[0] <= 300
    assert all(98 <= each <= 102 for each in taken[1:])
    assert sum(made.spend(20 * SECOND) for _ in range(500)) == 200


def test_who_stays_below_the_rate_loses_nothing() -> None:
    made = Allowance(rate=100, seconds=0.02)
    assert all(made.spend(n * SECOND // 99) for n in range(1000))


def test_a_clock_that_seems_to_go_back_gives_nothing() -> None:
    made = Allowance(rate=100, seconds=0.05)
    assert [made.spend(SECOND - n) for n in range(10)] == [True] * 5 + [False] * 5
