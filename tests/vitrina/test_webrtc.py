"""How many viewers fit beside publishers."""

from __future__ import annotations

import pytest

from config.settings import WhipSettings
from vitrina.webrtc import places_for_viewers

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({}, 200),
        ({"ports": "0", "whep_max_viewers": 5000}, 5000),
        ({"ports": "20000-20099"}, 75),
        ({"ports": "20000-20099", "max_sessions": 4}, 96),
        ({"ports": "20000-20099", "enabled": False}, 100),
        ({"ports": "20000-20999", "whep_max_viewers": 1000}, 936),
        ({"ports": "20000"}, 1),
    ],
)
def test_strangers_leave_ports_to_publishers(settings: dict[str, object], places: int) -> None:
    assert places_for_viewers(WhipSettings.model_validate(settings)) == places
