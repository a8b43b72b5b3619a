"""How often offers are taken, in virtual time."""

from __future__ import annotations

import pytest

from webrtc.offers import MAX_REMEMBERED, OfferRate

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


def test_a_sixth_of_a_minute_at_once_and_then_as_time_passes() -> None:
    rate = OfferRate(60)
    assert [rate.take("a", 0) for _ in range(12)] == [None] * 10 + [1, 1]
    assert rate.take("a", SECOND // 2) == 1
    assert rate.take("a", SECOND) is None
    assert rate.take("a", SECOND) == 1
    # Whoever keeps asking waits no longer for it.
    assert [rate.take("a", 12 * SECOND) for _ in range(11)] == [None] * 10 + [1]
    assert rate.take("b", SECOND) is None


def test_a_rare_one_is_taken_too() -> None:
    rate = OfferRate(1)
    assert rate.take("a", 0) is None
    assert rate.take("a", 0) == 60
    assert rate.take("a", 59 * SECOND) == 1
    assert rate.take("a", 60 * SECOND) is None


def test_what_is_given_back_was_not_spent() -> None:
    rate = OfferRate(60)
    for _ in range(100):
        assert rate.take("a", 0) is None
        rate.give_back("a")
    rate.give_back("unheard of")
    assert [rate.take("a", 0) for _ in range(11)] == [None] * 10 + [1]


def test_those_who_wait_do_not_come_again_all_at_once() -> None:
    chances = iter([0.0, 0.5, 1.0])
    rate = OfferRate(60, spread_s=10, chance=lambda: next(chances))
    for _ in range(10):
        rate.take("a", 0)
    assert [rate.take("a", 0) for _ in range(3)] == [1, 6, 11]


def test_five_hundred_viewers_behind_one_proxy_come_within_a_minute() -> None:
    rate = OfferRate(600)
    assert all(rate.take("proxy", SECOND * 60 * n // 500) is None for n in range(500))


def test_what_is_remembered_is_bounded() -> None:
    rate = OfferRate(60)
    for _ in range(10):
        rate.take("flood", 0)
    for number in range(3 * MAX_REMEMBERED):
        assert rate.take(str(number), number) is None
        rate.take("flood", number)
    assert len(rate) == MAX_REMEMBERED
