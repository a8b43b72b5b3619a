"""How an encoder's clock drifts against UTC, told from the delays of its packets.

A packet's delay (arrival minus its time on the encoder's clock) is the path's least delay, plus
queueing that comes and goes, plus what the clocks have drifted apart. Queueing only ever adds.
So the drift is the slope of the line below all delays that lies closest to them (Moon, Skelly,
Towsley: Estimation and removal of clock skew from network delay measurements, INFOCOM 1999),
and a link that is congested for minutes does not move it. docs/decisions/0008-drift.md.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 10 * TICKS_PER_SECOND
"""Of each window only the least delay counts."""
WINDOWS = 360
"""An hour: a link may be congested for half of it."""
MAX_SLOPE = 250e-6
"""A crystal is good for 100 ppm; what looks faster is a link that fills."""
STEP = 2 * TICKS_PER_SECOND
"""A change of delay beyond this is no drift: the encoder's clock stood still, or it caught up."""
STEP_WINDOWS = 60
"""So many windows in a row that much later are no congested link."""
KNOWN_WINDOWS = 30
"""Five minutes tell the drift to some 10 ppm."""

Point = tuple[int, int]
"""Time of arrival and delay, in ticks."""


class Drift:
    """Follows one track's least delays. Times and delays in ticks of the show clock.

    `corrected`: what another track's drift has been corrected by; this one starts from there.
    """

    def __init__(self, corrected: int = 0) -> None:
        self._corrected = corrected
        self._points: deque[Point] = deque(maxlen=WINDOWS)
        self._baseline = 0
        self._slope = 0.0
        self._level = 0.0
        """Of the line, at time 0."""
        self._late = 0
        """Windows in a row that lay far above the line."""

    @property
    def ppm(self) -> float | None:
        """How fast the encoder's clock runs, in parts per million; None until it is known."""
        return -self._slope * 1e6 if len(self._points) >= KNOWN_WINDOWS else None

    def add(self, at: int, least: int) -> int:
        """Take the least delay of the window that ended at `at`, without any correction.

        Return how much of it is queueing.
        """
        if not self._points:
            self._baseline = least - self._corrected
        elif self._stepped(at, least):
            self._baseline = least - self.wanted(at)
            self._points.clear()
        self._points.append((at, least))
        self._fit()
        return round(least - self._level - self._slope * at)

    def wanted(self, at: int) -> int:
        """Return by how much the encoder's clock has lost since the start; below 0: gained."""
        if not self._points:
            return self._corrected
        return round(self._level + self._slope * at) - self._baseline

    def _stepped(self, at: int, least: int) -> bool:
        above = least - (self._level + self._slope * at)
        self._late = self._late + 1 if above > STEP else 0
        if above >= -STEP and self._late < STEP_WINDOWS:
            return False
        self._late = 0
        return True

    def _fit(self) -> None:
        slope = _middle_slope(lower_hull(self._points))
        self._slope = min(max(slope, -MAX_SLOPE), MAX_SLOPE)
        self._level = min(delay - self._slope * at for at, delay in self._points)


def lower_hull(points: Sequence[Point] | deque[Point]) -> list[Point]:
    """Return the corners of the convex line below `points`, which are in order of time."""
    hull: list[Point] = []
    for point in points:
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _turns_down(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


def _middle_slope(hull: list[Point]) -> float:
    """Slope of the edge below the middle: of all lines below the points it is the closest."""
    middle = (hull[0][0] + hull[-1][0]) / 2
    for (left, low), (right, high) in pairwise(hull):
        if left <= middle <= right:
            return (high - low) / (right - left)
    return 0.0
