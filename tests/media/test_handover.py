"""What the worker still makes comes before what follows as it came."""

from __future__ import annotations

import pytest

from media.handover import LONGEST, MAX_ITEMS, Handover
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet

pytestmark = pytest.mark.unit


def packet(at: int) -> Packet:
    return Packet(track=0, codec=Codec.H264, dts=at, pts=at, key=True, payload=b"x", arrived_ns=0)


def test_it_waits_for_the_time_before_it():
    assert Handover.reached(Kind.VIDEO, 90_000, 90_000)
    assert Handover.reached(Kind.VIDEO, 89_200, 90_000)
    assert not Handover.reached(Kind.VIDEO, 80_000, 90_000)
    assert Handover.reached(Kind.AUDIO, 84_000, 90_000)


def test_it_waits_a_second_at_most():
    handover = Handover(kind=Kind.VIDEO, since=TICKS_PER_SECOND)
    assert not handover.overdue(TICKS_PER_SECOND + LONGEST - 1)
    assert handover.overdue(TICKS_PER_SECOND + LONGEST)


def test_it_is_bounded():
    handover = Handover(kind=Kind.VIDEO, since=0)
    held = [handover.hold(packet(n)) for n in range(MAX_ITEMS)]
    assert all(held[:-1])
    assert not held[-1]
