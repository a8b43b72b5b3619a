"""Which pictures are encoded at all, and how long one lasts: pure rules on timestamps."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from media.model import TICKS_PER_SECOND

DEFAULT_RATE = Fraction(30)
"""Taken where the bitstream says nothing and no two pictures are known."""
USUAL_RATES = (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120)
LONGEST_DURATION = 2 * TICKS_PER_SECOND


class BoundaryMarks:
    """Turns announced boundaries into marks on pictures in presentation order."""

    def __init__(self) -> None:
        self._pending: deque[int] = deque(maxlen=64)
        self._last_pts: int | None = None
        self.started = False
        """A boundary has been met: from here on pictures are encoded."""

    def announce(self, ticks: int) -> None:
        """Expect an IDR at the first picture with pts at or after `ticks`."""
        self._pending.append(ticks)

    def mark(self, pts: int) -> bool | None:
        """Say whether the picture at `pts` is an IDR; None: do not encode it.

        Pictures before the first boundary and such as do not follow the one before are left out.
        """
        if self._last_pts is not None and pts <= self._last_pts:
            return None
        idr = False
        while self._pending and self._pending[0] <= pts:
            self._pending.popleft()
            idr = True
        if not self.started and not idr:
            return None
        self.started = True
        self._last_pts = pts
        return idr

    def restart(self) -> None:
        """Encode nothing until the next boundary."""
        self.started = False


class FrameRateCap:
    """Thins pictures to a highest rate; boundary pictures always pass."""

    def __init__(self, highest: int) -> None:
        self._interval = TICKS_PER_SECOND // highest
        self._due: int | None = None

    def keeps(self, pts: int, *, idr: bool) -> bool:
        """Whether the picture at `pts` is encoded."""
        if self._due is not None and not idr and pts < self._due - self._interval // 4:
            return False
        due = pts if self._due is None else self._due
        # Behind by more than an interval: a slower source, so start counting from here.
        self._due = max(due, pts - self._interval) + self._interval
        return True


class Halver:
    """Keeps every second picture while switched on; boundary pictures always pass."""

    def __init__(self) -> None:
        self._skip_next = False

    def keeps(self, *, idr: bool, on: bool) -> bool:
        """Whether this picture is encoded."""
        if not on or idr or not self._skip_next:
            self._skip_next = on
            return True
        self._skip_next = False
        return False


class Durations:
    """Guesses a picture's duration from the one before: only the next picture would tell."""

    def __init__(self, rate: Fraction) -> None:
        self._duration = round(TICKS_PER_SECOND / rate)
        self._last: int | None = None

    def of(self, pts: int) -> int:
        """Return ticks for the picture at `pts`."""
        if self._last is not None and 0 < pts - self._last <= LONGEST_DURATION:
            self._duration = pts - self._last
        self._last = pts
        return self._duration


def measured_rate(interval: int, highest: int) -> Fraction:
    """Frame rate from the distance of two pictures, snapped to a usual one within 8 %."""
    if interval <= 0:
        return nominal_rate((0, 1), highest)
    rate = TICKS_PER_SECOND / interval
    usual = min(USUAL_RATES, key=lambda known: abs(known - rate))
    if abs(usual - rate) <= 0.08 * usual:
        return min(Fraction(usual), Fraction(highest))
    return nominal_rate((TICKS_PER_SECOND, interval), highest)


def nominal_rate(frame_rate: tuple[int, int], highest: int) -> Fraction:
    """Frame rate that an encoder is told: the source's where sane, at most `highest`."""
    numerator, denominator = frame_rate
    if numerator <= 0 or denominator <= 0:
        return min(DEFAULT_RATE, Fraction(highest))
    rate = Fraction(numerator, denominator)
    if rate > 240 or rate < 1:
        return min(DEFAULT_RATE, Fraction(highest))
    return min(rate, Fraction(highest)).limit_denominator(1001)
