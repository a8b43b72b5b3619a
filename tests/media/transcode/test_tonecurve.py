"""The way from HDR to SDR against figures of the recommendations."""

from __future__ import annotations

import pytest

from media.colour import HLG, PQ
from media.transcode.tonecurve import (
    GRID,
    SDR_WHITE,
    compressed,
    cube,
    hlg_to_scene,
    light_to_pq,
    pq_to_light,
    to_sdr,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("light", "signal"), [(0, 0.0), (100, 0.508), (203, 0.5807), (1000, 0.7518), (10_000, 1.0)]
)
def test_pq_of_known_luminances(light: float, signal: float) -> None:
    # BT.2408 table 1 and the end points of BT.2100.
    assert light_to_pq(light) == pytest.approx(signal, abs=0.0005)
    assert pq_to_light(light_to_pq(light)) == pytest.approx(light, rel=1e-6, abs=1e-6)


def test_hlg_of_known_signals() -> None:
    # BT.2100 table 5: E' = 0.5 is one twelfth, 1 is full scale; 0.75 is reference white.
    assert hlg_to_scene(0.5) == pytest.approx(1 / 12)
    assert hlg_to_scene(1) == pytest.approx(1, abs=1e-4)
    assert 1000 * hlg_to_scene(0.75) ** 1.2 == pytest.approx(203, abs=1)


def test_shadows_stay_and_highlights_roll_off() -> None:
    for light in (0.1, 1, 10, 50):
        assert compressed(light) == pytest.approx(light, rel=1e-6)
    steps = [compressed(light) for light in range(1, 2000, 7)]
    assert steps == sorted(steps)
    assert steps[-1] == pytest.approx(SDR_WHITE, rel=1e-3)
    assert 120 < compressed(203) < 180


def test_grey_stays_grey_and_saturated_colours_stay_in_range() -> None:
    for light in (0.0, 5.0, 80.0, 500.0, 5000.0):
        red, green, blue = to_sdr((light, light, light))
        assert red == pytest.approx(green, abs=0.002)
        assert green == pytest.approx(blue, abs=0.002)
    for colour in ((900.0, 0.0, 0.0), (0.0, 900.0, 0.0), (0.0, 0.0, 900.0)):
        assert all(0 <= part <= 1 for part in to_sdr(colour))


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_the_table_is_complete(transfer: int) -> None:
    head, *rows = cube(transfer).splitlines()
    assert head == f"LUT_3D_SIZE {GRID}"
    values = [tuple(map(float, row.split())) for row in rows]
    assert len(values) == GRID**3
    assert values[0] == (0, 0, 0)
    assert min(values[-1]) > 0.99
    # Red runs fastest: the second entry is a dark red.
    assert values[GRID - 1][0] > values[GRID - 1][2]


def test_what_is_not_hdr_has_no_table() -> None:
    with pytest.raises(ValueError, match="not HDR"):
        cube(1)
