"""Settings of each H.264 encoder by FFmpeg name: low delay, IDRs only where they are forced.

libx264 is what is tested. The hardware names are written from FFmpeg's documentation of their
options; no such device was at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

    from media.transcode.plan import Rung

SAFETY_SECONDS = 10
"""An IDR of the encoder's own comes after this long without a boundary."""
NVENC_PRESETS = frozenset(f"p{n}" for n in range(1, 8))
X264_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
RELIEF_PRESET = "superfast"
"""Costs 0.001 SSIM against veryfast for 28 % less CPU; ultrafast is visibly worse."""


def keyframe_interval(frame_rate: Fraction) -> int:
    """Pictures in the longest GOP an encoder may make."""
    return max(1, round(frame_rate * SAFETY_SECONDS))


def pixel_format(encoder: str) -> str:
    """Return the input format an encoder takes."""
    return "nv12" if encoder.endswith("_qsv") else "yuv420p"


def relieved_preset(encoder: str, preset: str) -> str:
    """Return the preset under pressure: a cheaper one where there is one, else the same."""
    if encoder != "libx264" or preset not in X264_PRESETS:
        return preset
    slower = X264_PRESETS.index(preset) > X264_PRESETS.index(RELIEF_PRESET)
    return RELIEF_PRESET if slower else preset


def options_for(rung: Rung, *, preset: str, frame_rate: Fraction) -> dict[str, str]:
    """Return the encoder's private options for a rung."""
    rate = {"maxrate": str(rung.maxrate), "bufsize": str(rung.bufsize)}
    if rung.encoder == "libx264":
        return rate | _x264(preset, frame_rate)
    if rung.encoder.endswith("_nvenc"):
        return rate | {
            "preset": preset if preset in NVENC_PRESETS else "p4",
            "tune": "ull",
            "rc": "cbr",
            "forced-idr": "1",
            "no-scenecut": "1",
            "zerolatency": "1",
            "delay": "0",
        }
    if rung.encoder.endswith("_qsv"):
        return rate | {"preset": preset, "forced_idr": "1", "async_depth": "1"}
    if rung.encoder.endswith("_amf"):
        return rate | {"usage": "ultralowlatency", "forced_idr": "1"}
    return rate


def _x264(preset: str, frame_rate: Fraction) -> dict[str, str]:
    interval = keyframe_interval(frame_rate)
    return {
        "preset": preset,
        "tune": "zerolatency",
        "profile": "high",
        "forced-idr": "1",
        "sc_threshold": "0",
        # zerolatency slices every picture by default: more bits for the same quality.
        "x264-params": (
            f"sliced-threads=0:scenecut=0:keyint={interval}:min-keyint={interval}:repeat-headers=0"
        ),
    }
