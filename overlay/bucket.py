"""A token bucket: how fast cues may be written."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, up to `burst`; full at the beginning. Pure: the caller has time."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at_s: float | None = None

    def take(self, count: int, now_s: float) -> float:
        """Take `count` tokens and return 0.0, or take none and return the seconds to wait."""
        if self._at_s is not None:
            elapsed = max(0.0, now_s - self._at_s)
            self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        self._at_s = now_s
        wanted = min(float(count), self._burst)
        # A bucket refilled in steps of a millisecond may lack a rounding error.
        if self._tokens + 1e-9 >= wanted:
            self._tokens = max(0.0, self._tokens - wanted)
            return 0.0
        return (wanted - self._tokens) / self._rate
