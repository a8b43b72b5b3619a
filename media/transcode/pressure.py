"""How the ladder gives way when the machine is too slow: a pure rule machine.

Steps are applied one by one and undone one by one. Sound is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from media.transcode.encoders import relieved_preset
from media.transcode.messages import Relief

if TYPE_CHECKING:
    from media.transcode.messages import Report
    from media.transcode.plan import Plan

LATE_S = 0.2
"""Eight queued pictures at 30 fps are 0.27 s: beyond this the next pictures are dropped."""
EASY_S = 0.05
UP_AFTER_S = 1.0
"""Pressure that lasts this long is not a hiccup."""
SETTLE_S = 3.0
"""A step up is judged only after this; a new preset waits for a boundary up to 2 s."""
DOWN_AFTER_S = 20.0
MAX_DOWN_AFTER_S = 320.0
RELAPSE_S = 30.0
"""Pressure so soon after a step down: wait twice as long before the next try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """What a stream's worker gave up so far."""

    relief: Relief = field(default_factory=Relief)
    """In force now."""
    dropped: int = 0
    """Pictures left out of rungs, or before the worker, for lack of time."""
    damaged: int = 0
    """Access units that could not be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One look at the worker."""

    queue_age_s: float
    """Age of the oldest thing that waits for a thread."""
    dropped: int
    """Pictures dropped since the last look."""

    @property
    def high(self) -> bool:
        """Whether the ladder cannot keep up."""
        return self.dropped > 0 or self.queue_age_s > LATE_S

    @property
    def low(self) -> bool:
        """Whether there is certainly room."""
        return self.dropped == 0 and self.queue_age_s < EASY_S


def load_of(report: Report) -> Load:
    """Read the load from a worker's report; a worker that is catching up is not overloaded."""
    if report.catching_up:
        return Load(queue_age_s=0.0, dropped=0)
    ages = [rung.queue_age_ms for rung in report.rungs]
    return Load(
        queue_age_s=max([report.decode_age_ms, *ages]) / 1000,
        dropped=sum(rung.dropped for rung in report.rungs),
    )


def reliefs(plan: Plan) -> tuple[Relief, ...]:
    """Return the steps that this plan allows, from full quality to the least.

    First a cheaper preset, then the top rung pauses, then the rungs below the highest that
    is left run at half the frame rate. The last rung never pauses.
    """
    rungs = plan.rungs
    steps = [Relief()]
    if not rungs:
        return tuple(steps)
    faster = any(relieved_preset(rung.encoder, rung.preset) != rung.preset for rung in rungs)
    if faster:
        steps.append(Relief(faster=True))
    paused = (rungs[0].name,) if len(rungs) > 1 else ()
    if paused:
        steps.append(Relief(faster=faster, paused=paused))
    left = [rung.name for rung in rungs if rung.name not in paused]
    halved = tuple(left[1:] or left)
    steps.append(Relief(faster=faster, paused=paused, halved=halved))
    return tuple(steps)


class PressureRule:
    """Decides the step from a series of looks, with hysteresis."""

    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._step = 0
        self._high_since: float | None = None
        self._low_since: float | None = None
        self._changed_at = float("-inf")
        self._eased_at = float("-inf")
        self._down_after = DOWN_AFTER_S

    @property
    def step(self) -> int:
        """The step in force; 0 is full quality."""
        return self._step

    def limit(self, highest: int, *, lighter: bool) -> None:
        """Take the number of steps of a new plan; with a `lighter` one all begins anew."""
        self._highest = highest
        self._step = min(self._step, 0 if lighter else highest)
        if lighter:
            self._high_since = self._low_since = None
            self._changed_at = self._eased_at = float("-inf")
            self._down_after = DOWN_AFTER_S

    def observe(self, now_s: float, load: Load) -> int:
        """Return the step that should be in force after this look."""
        self._high_since = _since(self._high_since, now_s, holds=load.high)
        self._low_since = _since(self._low_since, now_s, holds=load.low)
        if now_s - self._changed_at < SETTLE_S:
            return self._step
        if self._high_since is not None and now_s - self._high_since >= UP_AFTER_S:
            self._harder(now_s)
        elif self._low_since is not None and now_s - self._low_since >= self._down_after:
            self._easier(now_s)
        return self._step

    def _harder(self, now_s: float) -> None:
        if self._step >= self._highest:
            return
        if now_s - self._eased_at < RELAPSE_S:
            self._down_after = min(2 * self._down_after, MAX_DOWN_AFTER_S)
        self._move(self._step + 1, now_s)

    def _easier(self, now_s: float) -> None:
        if self._step == 0:
            self._down_after = DOWN_AFTER_S
            return
        self._eased_at = now_s
        self._move(self._step - 1, now_s)

    def _move(self, step: int, now_s: float) -> None:
        self._step = step
        self._changed_at = now_s
        self._high_since = self._low_since = None


def _since(since: float | None, now_s: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now_s if since is None else since
