"""Tells of the slate: in findings for the producer, in the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.diagnosis import sentences
from media.diagnosis.findings import Code, Severity
from media.model import TICKS_PER_SECOND
from media.programme import Feeder

if TYPE_CHECKING:
    from media.clock import ShowClock
    from media.diagnosis.findings import Findings
    from media.meter import MediaMeter
    from media.packager import Packager
    from media.slate.desk import SlateDesk


class SlateNotes:
    """One show's. Times are show ticks."""

    def __init__(
        self,
        *,
        stream: str,
        clock: ShowClock,
        findings: Findings,
        meter: MediaMeter,
        desk: SlateDesk,
        packager: Packager,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._findings = findings
        self._meter = meter
        self._desk = desk
        self._packager = packager
        self._counted: int | None = None
        """Until when the slate's time on air was counted; None while it is not on air."""

    def look(self, now: int, feeder: Feeder | None) -> None:
        """Bring findings and metrics up to date."""
        now_ms = self._clock.utc_ms(now)
        if feeder is Feeder.SLATE:
            if self._counted is None:
                self._counted = now
                self._findings.report(
                    Code.SLATE, Severity.WARNING, sentences.slate(now_ms), now_ms=now_ms
                )
            self._meter.slate(self._stream, (now - self._counted) / TICKS_PER_SECOND)
            self._counted = now
        elif self._counted is not None:
            self._counted = None
            self._findings.clear(Code.SLATE)
        if self._desk.failure is not None:
            text = sentences.slate_failed(self._desk.failure)
            self._findings.report(Code.SLATE_FAILED, Severity.ERROR, text, now_ms=now_ms)
        else:
            self._findings.clear(Code.SLATE_FAILED)
        if self._packager.unplayable is not None:
            text = sentences.codec_changed(*self._packager.unplayable)
            self._findings.report(Code.CODEC_CHANGED, Severity.WARNING, text, now_ms=now_ms)
        else:
            self._findings.clear(Code.CODEC_CHANGED)
