"""What came of `clapper`'s pictures and sound: which pictures, holes in the sound, their offset."""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
import numpy as np

from media import blockcode
from tests.support.clapper import FPS


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Decoded pictures, in the order of their times."""

    numbers: list[int]
    """Of those whose block code can be read."""
    pts: list[float]
    """Seconds, of the same."""
    unreadable: int

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two pictures."""
        return max(b - a for a, b in zip(self.pts, self.pts[1:], strict=False))


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Decoded sound."""

    first_pts: float
    rate: int
    samples: np.ndarray
    """One channel, from -1 to 1; nothing is put into holes."""
    holes_s: list[float]
    """By how much a frame begins after the end of the one before it, 5 ms and more."""
    beeps: list[float]
    """When beeps begin, seconds."""


def read_pictures(data: bytes) -> Pictures:
    """Decode fMP4 bytes (init segment and segments); a decoder's error fails."""
    numbers, times, unreadable = [], [], 0
    with av.open(io.BytesIO(data), options={"err_detect": "explode"}) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            stamp = blockcode.decode(luma[:, : plane.width])
            if stamp is None:
                unreadable += 1
                continue
            assert frame.time is not None
            numbers.append(stamp.frame)
            times.append(frame.time)
    return Pictures(numbers=numbers, pts=times, unreadable=unreadable)


def read_sound(data: bytes) -> Sound:
    """Decode fMP4 bytes; a decoder's error fails."""
    parts: list[np.ndarray] = []
    holes: list[float] = []
    first = ends = None
    rate = 0
    starts: list[tuple[float, int]] = []
    with av.open(io.BytesIO(data), options={"err_detect": "explode"}) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()[0]
            rate = frame.sample_rate
            assert frame.time is not None
            first = frame.time if first is None else first
            if ends is not None and frame.time - ends > 0.005:
                holes.append(frame.time - ends)
            ends = frame.time + samples.size / rate
            starts += [(frame.time, samples.size)]
            parts.append(samples)
    assert first is not None
    joined = np.concatenate(parts)
    return Sound(
        first_pts=first,
        rate=rate,
        samples=joined,
        holes_s=holes,
        beeps=_beeps(joined, starts, rate),
    )


def _beeps(samples: np.ndarray, starts: list[tuple[float, int]], rate: int) -> list[float]:
    """Return when beeps begin: loud after 200 ms of silence."""
    times = np.concatenate([start + np.arange(size) / rate for start, size in starts])
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    if not loud.size:
        return []
    before = np.diff(loud, prepend=loud[0])
    return [float(times[at]) for at, gap in zip(loud, before, strict=True) if gap > 0.2 * rate]


def offsets_s(pictures: Pictures, sound: Sound) -> list[float]:
    """Return of each beep by how much it comes after its picture, +-0.5 s."""
    found = []
    for beep in sound.beeps:
        near = min(range(len(pictures.pts)), key=lambda at: abs(pictures.pts[at] - beep))
        if abs(pictures.pts[near] - beep) < 0.1:
            zero = pictures.pts[near] - pictures.numbers[near] / FPS
            found.append((beep - zero + 0.5) % 1 - 0.5)
    return found
