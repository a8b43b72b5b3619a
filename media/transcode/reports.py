"""What a stream's workers say of themselves: to metrics, and to the pressure rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from media.model import TICKS_PER_SECOND
from media.transcode.messages import Relief
from media.transcode.pressure import PressureRule, Strain, load_of, reliefs

if TYPE_CHECKING:
    from media.meter import MediaMeter
    from media.transcode.messages import Report
    from media.transcode.plan import Plan

log = structlog.get_logger(__name__)

MUCH = 0.9
"""A plan with less than this share of the work before is worth to be tried whole."""


class Reports:
    """One stream's reports, over all its workers. Times are seconds of one monotonic clock."""

    def __init__(self, stream: str, meter: MediaMeter) -> None:
        self._stream = stream
        self._meter = meter
        self._log = log.bind(stream=stream)
        self._steps: tuple[Relief, ...] = (Relief(),)
        self._work = 0
        self._pressure = PressureRule(0)
        self._decode_errors = 0
        self._dropped = 0
        self._damaged = 0
        self.speeds: dict[str, float] = {}
        """Media time to busy time of each rung's encoder in the worker's last report."""

    @property
    def step(self) -> int:
        """Step of the pressure rule in force; 0 is full quality."""
        return self._pressure.step

    @property
    def relief(self) -> Relief:
        """What the rungs give up now."""
        return self._steps[min(self._pressure.step, len(self._steps) - 1)]

    @property
    def strain(self) -> Strain:
        """What was given up since the start of the show."""
        return Strain(relief=self.relief, dropped=self._dropped, damaged=self._damaged)

    def plan(self, plan: Plan) -> None:
        """Judge by a new plan from now on."""
        self._steps = reliefs(plan)
        before = self._pressure.step
        # Without pictures nothing is learnt: the same ones may come back.
        lighter = 0 < plan.work < MUCH * self._work
        self._pressure.limit(len(self._steps) - 1, lighter=lighter)
        self._work = plan.work or self._work
        if self._pressure.step != before:
            self._meter.pressure(self._stream, self._pressure.step)

    def begin(self) -> None:
        """Note that a new worker counts from 0."""
        self._decode_errors = 0

    def dropped(self) -> None:
        """Note an access unit that did not fit into the pipe."""
        self._dropped += 1
        self._meter.dropped(self._stream, "pipe", 1)

    def take(self, report: Report, now_s: float) -> Relief | None:
        """Note a heartbeat; return what the rungs shall give up where that changes."""
        for rung in report.rungs:
            busy = rung.busy_ns / 1e9
            self.speeds[rung.rung] = rung.media_ticks / TICKS_PER_SECOND / busy if busy > 0 else 0.0
            self._meter.rung(
                self._stream,
                rung.rung,
                frames=rung.frames,
                speed=self.speeds[rung.rung],
                queue_age_s=rung.queue_age_ms / 1000,
            )
        late = sum(rung.dropped for rung in report.rungs)
        if late:
            self._dropped += late
            self._meter.dropped(self._stream, "rung", late)
        if report.decode_errors > self._decode_errors:
            damaged = report.decode_errors - self._decode_errors
            self._damaged += damaged
            self._meter.dropped(self._stream, "decoder", damaged)
            self._log.warning("pictures or sound cannot be decoded", errors=damaged)
            self._decode_errors = report.decode_errors
        before = self._pressure.step
        step = self._pressure.observe(now_s, load_of(report))
        return None if step == before else self._relieve(step)

    def _relieve(self, step: int) -> Relief:
        relief = self._steps[step]
        self._log.info("ladder pressure", step=step, paused=relief.paused, halved=relief.halved)
        self._meter.pressure(self._stream, step)
        return relief
