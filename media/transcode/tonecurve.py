"""From PQ and HLG to an SDR display, as arithmetic: ITU-R BT.2100, BT.2390-10 5.4, BT.2087."""

from __future__ import annotations

from functools import cache

from media.colour import HLG, PQ

SOURCE_PEAK = 1000.0
"""cd/m2 of the brightest highlight that is kept apart: what HDR encoders grade for by default."""
SDR_WHITE = 203.0
"""cd/m2 of HDR reference white (BT.2408 2.1), which SDR shows as its own white."""
GRID = 33
"""Points along each side of the table."""

_DISPLAY_GAMMA = 2.4
_HLG_SYSTEM_GAMMA = 1.2
_LUMA = (0.2627, 0.6780, 0.0593)
# BT.2020 to BT.709, linear light (BT.2087 annex 1, inverse).
_TO_709 = (
    (1.660491, -0.587641, -0.072850),
    (-0.124550, 1.132900, -0.008349),
    (-0.018151, -0.100579, 1.118730),
)
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073


def pq_to_light(signal: float) -> float:
    """Return cd/m2 of a PQ signal from 0 to 1 (BT.2100 table 4, EOTF)."""
    root = max(signal, 0.0) ** (1 / _M2)
    return float(10_000 * (max(root - _C1, 0.0) / (_C2 - _C3 * root)) ** (1 / _M1))


def light_to_pq(light: float) -> float:
    """Return the PQ signal of cd/m2 (BT.2100 table 4, inverse EOTF)."""
    power = (max(light, 0.0) / 10_000) ** _M1
    return float(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def hlg_to_scene(signal: float) -> float:
    """Return scene light from 0 to 1 of an HLG signal (BT.2100 table 5, inverse OETF)."""
    if signal <= 0.5:
        return signal * signal / 3
    return float((2.718281828459045 ** ((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def compressed(light: float) -> float:
    """Roll highlights off so that `SOURCE_PEAK` becomes `SDR_WHITE` (BT.2390-10 5.4.1)."""
    peak = light_to_pq(SOURCE_PEAK)
    target = light_to_pq(SDR_WHITE) / peak
    knee = 1.5 * target - 0.5
    signal = min(light_to_pq(light) / peak, 1.0)
    if signal > knee:
        t = (signal - knee) / (1 - knee)
        signal = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (3 * t**2 - 2 * t**3) * target
        )
    return pq_to_light(signal * peak)


@cache
def _ratio(thousandths: int) -> float:
    """Return what the brightest component of a colour is to be multiplied by."""
    light = light_to_pq(SOURCE_PEAK) * thousandths / 1000
    nits = max(pq_to_light(light), 1e-6)
    return compressed(nits) / nits


def to_sdr(light: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the BT.709 signal (0 to 1) of display light in BT.2020 primaries, in cd/m2."""
    brightest = min(max(light), SOURCE_PEAK)
    ratio = _ratio(round(1000 * light_to_pq(brightest) / light_to_pq(SOURCE_PEAK)))
    r, g, b = (min(component, SOURCE_PEAK) * ratio / SDR_WHITE for component in light)
    linear = (row[0] * r + row[1] * g + row[2] * b for row in _TO_709)
    red, green, blue = (min(max(c, 0.0), 1.0) ** (1 / _DISPLAY_GAMMA) for c in linear)
    return red, green, blue


@cache
def cube(transfer: int) -> str:
    """Return the table of a transfer characteristic in the .cube format, red fastest.

    Takes a fifth of a second. Raises `ValueError` for what is not HDR.
    """
    steps = [n / (GRID - 1) for n in range(GRID)]
    if transfer == PQ:
        decoded = [pq_to_light(step) for step in steps]
    elif transfer == HLG:
        decoded = [hlg_to_scene(step) for step in steps]
    else:
        raise ValueError(f"transfer characteristic {transfer} is not HDR")
    lines = [f"LUT_3D_SIZE {GRID}"]
    for blue in decoded:
        for green in decoded:
            for red in decoded:
                light = (red, green, blue)
                if transfer == HLG:
                    light = _displayed(light)
                lines.append("{:.5f} {:.5f} {:.5f}".format(*to_sdr(light)))
    return "\n".join(lines) + "\n"


def _displayed(scene: tuple[float, float, float]) -> tuple[float, float, float]:
    """Apply the HLG OOTF of a display of `SOURCE_PEAK` (BT.2100 table 5)."""
    luma = sum(weight * part for weight, part in zip(_LUMA, scene, strict=True))
    gain = SOURCE_PEAK * luma ** (_HLG_SYSTEM_GAMMA - 1) if luma > 0 else 0.0
    return scene[0] * gain, scene[1] * gain, scene[2] * gain
