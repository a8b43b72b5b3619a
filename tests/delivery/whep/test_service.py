"""The door of viewers with aiortc on the other side, decoding."""

from __future__ import annotations

import pytest

from tests.delivery.whep.house import house, viewer
from tests.webrtc.callers import until

pytestmark = pytest.mark.component


async def test_a_viewer_sees_and_hears() -> None:
    async with house() as made, viewer(made) as guest:
        await until(lambda: len(guest.pictures) > 40 and len(guest.sounds) > 60)
        assert made.door.viewers("shop") == 1
        _, frame = guest.pictures[-1]
        assert (frame.width, frame.height) == (320, 240)
    await until(lambda: made.meter.closed == ["bye"])
