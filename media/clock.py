"""The show clock: one 90 kHz line per show, anchored once to UTC.

Program date-time, `tfdt`, cues and logs all read it. It is driven by the machine's monotonic
clock, so a step of the system clock during a show moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from media.model import TICKS_PER_SECOND

TICKS_PER_MS = TICKS_PER_SECOND // 1000
START_TICKS = 10 * TICKS_PER_SECOND
"""Where a show begins: above zero, for priming samples and for media that arrive late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowClock:
    """Converts between show ticks, UTC and the monotonic clock of this process."""

    epoch_ms: int
    """UTC of tick 0, in milliseconds since 1970."""
    origin_ns: int
    """`time.monotonic_ns()` of tick 0."""

    @classmethod
    def anchored(cls, *, utc_ms: int, now_ns: int) -> ShowClock:
        """Return a clock on which this moment is `START_TICKS`."""
        return cls(
            epoch_ms=utc_ms - START_TICKS // TICKS_PER_MS,
            origin_ns=now_ns - START_TICKS * 1_000_000_000 // TICKS_PER_SECOND,
        )

    def utc_ms(self, ticks: int) -> int:
        """Program date-time of a moment, floored to the millisecond."""
        return self.epoch_ms + ticks // TICKS_PER_MS

    def ticks(self, utc_ms: int) -> int:
        """First tick of a UTC millisecond; negative before the show."""
        return (utc_ms - self.epoch_ms) * TICKS_PER_MS

    def monotonic_ns(self, ticks: int) -> int:
        """Monotonic moment of a show time."""
        return self.origin_ns + ticks * 1_000_000_000 // TICKS_PER_SECOND

    def now(self, now_ns: int) -> int:
        """Show time of a monotonic moment."""
        return (now_ns - self.origin_ns) * TICKS_PER_SECOND // 1_000_000_000
