"""Whether a path is filling up, told by when packets arrive (sans-IO).

After the trendline estimator of Google's congestion control (draft-ietf-rmcat-gcc-02 section 5.4,
and the linear regression that replaced its Kalman filter in libwebrtc): packets that were sent
together are a group; where groups arrive ever later after each other than they were sent, a queue
grows on the way.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

GROUP_NS = 5_000_000
"""Packets sent within so long are one group."""
WINDOW = 20
"""Groups of the regression."""
_SMOOTHING = 0.9
_GAIN = 4.0
_MAX_COUNT = 60
_THRESHOLD_MS = 12.5
_MIN_THRESHOLD_MS, _MAX_THRESHOLD_MS = 6.0, 600.0
_UP, _DOWN = 0.0087, 0.039
_FAR_MS = 15.0
"""The threshold does not follow a trend that is farther from it."""
_OVERUSE_MS = 10.0
"""So long the trend must be above the threshold."""


class Use(Enum):
    """What the path is put to."""

    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


class DelayTrend:
    """Takes (sent, arrived) of every packet, in the order of sending; says how the path stands."""

    def __init__(self) -> None:
        self.use = Use.NORMAL
        self._group: tuple[int, int, int] | None = None
        """Of the group that is being filled: first sent, last sent, last arrived."""
        self._before: tuple[int, int] | None = None
        """Of the one before it: last sent, last arrived."""
        self._origin_ns = 0
        self._total_ms = self._smooth_ms = 0.0
        self._points: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._count = 0
        self._threshold_ms = _THRESHOLD_MS
        self._over_ms = 0.0
        self._last_trend = 0.0
        self._updated_ns: int | None = None

    def add(self, sent_ns: int, arrived_ns: int) -> None:
        """Take a packet; the two clocks need not agree."""
        group = self._group
        if group is None:
            self._origin_ns = arrived_ns
            self._group = sent_ns, sent_ns, arrived_ns
        elif sent_ns < group[0]:
            return
        elif sent_ns - group[0] <= GROUP_NS:
            self._group = group[0], max(group[1], sent_ns), max(group[2], arrived_ns)
        else:
            if self._before is not None:
                self._delta(group[1] - self._before[0], group[2] - self._before[1], group[2])
            self._before = group[1], group[2]
            self._group = sent_ns, sent_ns, arrived_ns

    def _delta(self, sent_ns: int, arrived_ns: int, at_ns: int) -> None:
        self._count = min(self._count + 1, _MAX_COUNT)
        self._total_ms += (arrived_ns - sent_ns) / 1e6
        self._smooth_ms += (1 - _SMOOTHING) * (self._total_ms - self._smooth_ms)
        self._points.append(((at_ns - self._origin_ns) / 1e6, self._smooth_ms))
        if len(self._points) == WINDOW:
            self._judge(self._slope(), sent_ns / 1e6, at_ns)

    def _slope(self) -> float:
        count = len(self._points)
        # From the first point on, to keep the squares small.
        first_x, first_y = self._points[0]
        sum_x = sum_y = sum_xx = sum_xy = 0.0
        for x, y in self._points:
            x -= first_x
            y -= first_y
            sum_x += x
            sum_y += y
            sum_xx += x * x
            sum_xy += x * y
        below = count * sum_xx - sum_x * sum_x
        return (count * sum_xy - sum_x * sum_y) / below if below > 0 else 0.0

    def _judge(self, slope: float, step_ms: float, at_ns: int) -> None:
        trend = slope * self._count * _GAIN
        if trend > self._threshold_ms:
            self._over_ms += step_ms
            if self._over_ms > _OVERUSE_MS and trend >= self._last_trend:
                self._over_ms = 0.0
                self.use = Use.OVER
        else:
            self._over_ms = 0.0
            self.use = Use.UNDER if trend < -self._threshold_ms else Use.NORMAL
        self._last_trend = trend
        self._adapt(abs(trend), at_ns)

    def _adapt(self, trend: float, at_ns: int) -> None:
        """Let the threshold follow the trend, so that other traffic does not starve this one."""
        before, self._updated_ns = self._updated_ns, at_ns
        if before is None or trend > self._threshold_ms + _FAR_MS:
            return
        gain = _UP if trend > self._threshold_ms else _DOWN
        past_ms = min(max((at_ns - before) / 1e6, 0.0), 100.0)
        moved = self._threshold_ms + gain * (trend - self._threshold_ms) * past_ms
        self._threshold_ms = min(max(moved, _MIN_THRESHOLD_MS), _MAX_THRESHOLD_MS)
