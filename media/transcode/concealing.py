"""What is heard where packets of sound are missing: an echo of what came before, then silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from av.audio.frame import AudioFrame

from media.transcode.libav import TIME_BASE

if TYPE_CHECKING:
    import numpy.typing as npt

ECHO_S = 0.02
"""So much of the sound before is played backwards and faded out: it goes on without a step."""
FADE_S = 0.0025
"""The sound behind the hole fades in within this."""


def conceal(before: AudioFrame, after: AudioFrame, *, pts: int, samples: int) -> AudioFrame:
    """Return sound for a hole of `samples` from `pts` (ticks) on, and let `after` fade in.

    Both frames are of one planar float format, as decoders of Opus give them; any other is filled
    with silence.
    """
    shape = (after.format.name, after.layout.name, after.sample_rate)
    hole = AudioFrame(*shape[:2], samples)
    hole.sample_rate, hole.pts, hole.time_base = after.sample_rate, pts, TIME_BASE
    alike = (before.format.name, before.layout.name, before.sample_rate) == shape
    for index, plane in enumerate(hole.planes):
        row = np.zeros(plane.buffer_size // 4, np.float32)
        if alike and shape[0] == "fltp":
            echo = _samples(before, index)[::-1][: min(samples, int(ECHO_S * after.sample_rate))]
            row[: len(echo)] = echo * np.linspace(1, 0, len(echo), dtype=np.float32)
            _fade_in(after, index)
        plane.update(row.tobytes())
    return hole


def _samples(frame: AudioFrame, plane: int) -> npt.NDArray[np.float32]:
    return np.frombuffer(memoryview(frame.planes[plane]), np.float32)[: frame.samples]


def _fade_in(frame: AudioFrame, index: int) -> None:
    plane = frame.planes[index]
    row = np.frombuffer(memoryview(plane), np.float32).copy()
    count = min(frame.samples, int(FADE_S * frame.sample_rate))
    row[:count] *= np.linspace(0, 1, count, dtype=np.float32)
    plane.update(row.tobytes())
