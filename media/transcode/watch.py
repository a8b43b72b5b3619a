"""When a worker counts as hung, and how long to wait before the next: pure rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from media.transcode.messages import Report

START_S = 15.0
"""Time for a worker to say its first word: a cold import on a busy machine took 2 s."""
HANG_S = 3.0
INPUT_FRESH_S = 1.0
"""Input flows if something was pushed this recently."""
STABLE_S = 10.0
"""A worker that lived this long did not die of what it was started with."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)


class HangRule:
    """Judges one worker's life signs. All times are seconds of one monotonic clock."""

    def __init__(self, started_s: float) -> None:
        self._spoke = False
        self._alive_s = started_s
        self._pushed_s: float | None = None
        self._consumed = -1

    @property
    def spoke(self) -> bool:
        """Whether the worker has reported at all."""
        return self._spoke

    def pushed(self, now_s: float) -> None:
        """Note that input was given; after a pause the worker gets its time anew."""
        if self._pushed_s is None or now_s - self._pushed_s > INPUT_FRESH_S:
            self._alive_s = max(self._alive_s, now_s)
        self._pushed_s = now_s

    def reported(self, now_s: float, report: Report) -> None:
        """Note a heartbeat: only one that shows progress counts."""
        self._spoke = True
        stuck = any(r.queue_age_ms > HANG_S * 1000 and not r.frames for r in report.rungs)
        if report.consumed != self._consumed and not stuck:
            self._consumed = report.consumed
            self._alive_s = now_s

    def hung(self, now_s: float) -> bool:
        """Whether to kill the worker."""
        if not self._spoke:
            return now_s - self._alive_s > START_S
        flows = self._pushed_s is not None and now_s - self._pushed_s <= INPUT_FRESH_S
        return flows and now_s - self._alive_s > HANG_S


class Backoff:
    """Waits longer after each worker that died young."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def failures(self) -> int:
        """Workers in a row that died young."""
        return self._failures

    def died(self, lived_s: float) -> float:
        """Return seconds to wait before the next start."""
        if lived_s >= STABLE_S:
            self._failures = 0
        delay = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        return delay
