from __future__ import annotations

from itertools import pairwise

import pytest

from media.transcode.testpicture import bag_box
from vitrina.demo_show import PRODUCTS, SCENE_S, SCENES, bag_path, rfc3339, scene_cues

pytestmark = pytest.mark.unit

START = 1_795_364_426_123


def test_the_hotspot_stays_on_the_bag() -> None:
    path = bag_path(START, SCENE_S)
    assert 2 <= len(path) <= 32
    assert path[0][0] == 0
    assert path[-1][0] == SCENE_S
    for (t0, x0, y0, *_), (t1, x1, y1, *_) in pairwise(path):
        assert t0 < t1
        for share in (0.0, 0.25, 0.5, 0.75):
            box = bag_box(START + (t0 + share * (t1 - t0)) * 1000)
            assert abs(x0 + share * (x1 - x0) - box.x) < 0.005
            assert abs(y0 + share * (y1 - y0) - box.y) < 0.005


@pytest.mark.parametrize("scene", SCENES)
def test_scenes_name_known_products_and_fit_the_picture(scene: object) -> None:
    for cue in scene_cues(scene, START):  # type: ignore[arg-type]
        data = cue["data"]
        assert data.get("sku", "DEMO-1") in PRODUCTS
        for _, x, y, width, height in data.get("path", []):
            assert x >= 0
            assert y >= 0
            assert x + width <= 1
            assert y + height <= 1


def test_times_are_written_as_the_api_takes_them() -> None:
    assert rfc3339(1_795_364_426_007) == "2026-11-22T16:20:26.007Z"
