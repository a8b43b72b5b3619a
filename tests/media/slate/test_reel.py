"""Loops on the show clock, and the desk that orders slates."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Settings
from media.model import Codec
from media.slate.desk import RETRY, SlateDesk, SlateRecipe, recipe_for
from media.slate.loop import SlateOrder, SlateUnit
from media.slate.reel import Reel, still
from tests.support.slates import loop_for

pytestmark = pytest.mark.unit


def units(*durations: int, keys: tuple[int, ...] = (0,)) -> tuple[SlateUnit, ...]:
    made = []
    at = 0
    for number, duration in enumerate(durations):
        made.append(
            SlateUnit(
                dts=at, pts=at, duration=duration, key=number in keys, payload=bytes([number])
            )
        )
        at += duration
    return tuple(made)


@given(
    durations=st.lists(st.integers(1, 9000), min_size=1, max_size=12),
    start=st.integers(0, 10**9),
    steps=st.lists(st.integers(0, 50_000), max_size=12),
)
def test_units_follow_each_other_without_hole_or_end(
    durations: list[int], start: int, steps: list[int]
):
    reel = Reel(Codec.H264, units(*durations), start=start)
    until, expected, played = start, start, 0
    for step in steps:
        until += step
        for packet in reel.due(until, now_ns=7):
            assert packet.dts == packet.pts == expected < until
            assert packet.payload == bytes([played % len(durations)])
            assert packet.arrived_ns == 7
            assert reel.last is not None
            expected += packet.duration
            played += 1
        assert reel.next == expected
        assert reel.next >= until


def test_a_still_begins_again_with_every_segment():
    loop = units(*[7500] * 24)
    assert len(still(loop, 90_000)) == 12
    assert tuple(still(loop, 10**6)) == loop
    assert still(loop, 100) == loop[:1]


def test_moving_pictures_are_not_cut():
    film = units(*[7500] * 24, keys=(0, 12))
    assert still(film, 90_000) is film


def desk(orders: list[SlateOrder], image: Path | None = None) -> SlateDesk:
    return SlateDesk(SlateRecipe(text="Back soon", image=image), orders.append)


def test_one_order_stands_until_it_is_met_or_forgotten():
    orders: list[SlateOrder] = []
    it = desk(orders)
    it.order(0, None, None)
    it.order(10, None, None)
    assert [(o.serial, o.width, o.height, o.text) for o in orders] == [(1, 1280, 720, "Back soon")]
    assert it.waits(10, 100)
    loop = loop_for(orders[0])
    it.answered(1, loop)
    assert it.loop is loop
    assert not it.waits(10, 100)
    it.discard()
    assert it.loop is None
    it.answered(1, loop)
    assert it.loop is None
    it.order(20, loop.video, loop.audio)
    it.answered(1, loop)
    assert it.loop is None
    assert orders[-1].serial == 2


def test_an_order_that_died_with_its_worker_is_placed_again():
    orders: list[SlateOrder] = []
    it = desk(orders)
    it.order(0, None, None)
    it.order(RETRY, None, None)
    assert [o.serial for o in orders] == [1, 2]


def test_a_failure_is_kept_until_a_slate_comes():
    orders: list[SlateOrder] = []
    it = desk(orders)
    it.order(0, None, None)
    it.answered(1, "the image cannot be read")
    assert it.failure == "the image cannot be read"
    assert not it.waits(1, 100)
    it.answered(1, loop_for(orders[0]))
    assert it.failure is None


def test_no_recipe_no_order():
    orders: list[SlateOrder] = []
    it = SlateDesk(None, orders.append)
    it.order(0, None, None)
    assert not orders
    assert not it.enabled


def test_recipes_follow_the_stream():
    settings = Settings.model_validate(
        {
            "slate": {"image": "all.png"},
            "streams": {
                "list": [
                    {"name": "a", "key": "k" * 20, "language": "de-AT", "slate_image": "a.png"},
                    {"name": "b", "key": "j" * 20},
                ]
            },
        }
    )
    assert recipe_for(settings, "a") == SlateRecipe(
        text="Gleich geht es weiter", image=Path("a.png")
    )
    assert recipe_for(settings, "b") == SlateRecipe(
        text="We will be right back", image=Path("all.png")
    )
    assert recipe_for(settings, "c") == recipe_for(settings, "b")
    off = Settings.model_validate({"slate": {"enabled": False}})
    assert recipe_for(off, "a") is None
