"""Tells of the slate: in findings for the producer, in the metrics."""

from __future__ import annotations

from enum import Enum, auto
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


SETTLED = 2 * TICKS_PER_SECOND
"""An encoder that has just come takes over within this; until then nothing new is said."""


class _Lack(Enum):
    """What is missing while the slate is on air."""

    ENCODER = auto()
    PICTURES = auto()
    """Its sound is heard."""
    KEY_FRAME = auto()


_SENTENCES = {
    _Lack.ENCODER: sentences.slate,
    _Lack.PICTURES: sentences.slate_over_sound,
    _Lack.KEY_FRAME: sentences.slate_awaits_picture,
}


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
        self._began_ms = 0
        """UTC at which the slate came on air."""
        self._lack = _Lack.ENCODER
        self._lack_since = 0
        self._said: _Lack | None = None

    def look(
        self, now: int, feeder: Feeder | None, *, connected: bool, sound: Feeder | None
    ) -> None:
        """Bring findings and metrics up to date.

        `feeder`: of the pictures, `sound`: of the sound; `connected`: whether there is an encoder.
        """
        now_ms = self._clock.utc_ms(now)
        if feeder is Feeder.SLATE:
            if self._counted is None:
                self._counted, self._began_ms, self._said = now, now_ms, None
            self._say_what_is_missing(now, now_ms, connected=connected, sound=sound)
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

    def _say_what_is_missing(
        self, now: int, now_ms: int, *, connected: bool, sound: Feeder | None
    ) -> None:
        lack = _Lack.KEY_FRAME if connected else _Lack.ENCODER
        if sound is Feeder.ENCODER:
            lack = _Lack.PICTURES
        if lack is not self._lack:
            self._lack, self._lack_since = lack, now
        if lack is self._said or (self._said is not None and now - self._lack_since < SETTLED):
            return
        self._said = lack
        text = _SENTENCES[lack](self._began_ms)
        self._findings.report(Code.SLATE, Severity.WARNING, text, now_ms=now_ms)
