"""Turns measurements into findings by small rules (`judgements.py`), judged once a second.

A rule opens its finding after its measurement was bad for some seconds in a row and closes it
after it was good for some seconds in a row; between the two its threshold is lower where the
rule says so. So none flaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from media.diagnosis.findings import Code, Findings, Severity
    from media.diagnosis.observer import Observed
    from media.model import TrackFormat
    from media.transcode.messages import Relief

TEXT_EVERY_MS = 5000
"""An open finding's sentence follows its measurement this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All that the rules look at, one second of a show."""

    now_ms: int
    """UTC of the show clock."""
    segment_s: float
    longest_s: float
    """A segment with one key frame may be this long."""
    video: TrackFormat | None
    audio: TrackFormat | None
    """What the encoder announced."""
    passthrough_wanted: bool
    passthrough: bool
    """Whether the encoder's own pictures are the source rung."""
    long_gop: bool
    """They are not, because their key frames were too far apart."""
    rungs: bool
    """Whether there are re-encoded rungs."""
    lead_s: float
    """How far the encoder is ahead of real time."""
    repairs: Mapping[str, int]
    """Timestamps repaired since the last look, by `media.timeline.Repair`."""
    drift_ppm: float | None
    """Encoder's clock against arrival, positive: fast; None until it is known."""
    tracks_apart: bool
    """Sound is moved because its clock differs from the pictures'."""
    relief: Relief
    """What the ladder gave up."""
    pictures_dropped: int
    pictures_damaged: int
    worker_restarts: int
    """Since the last look, all three."""
    reconnects: int
    """In the last five minutes."""
    takeovers: int
    """In the last five minutes, from an encoder that was still sending."""
    rivals_refused: int
    """In the last five minutes, because two encoders fought for a key."""
    observed: Observed | None
    """The publisher's packets; None while there is none."""
    protocol: str = ""
    """The publisher's; empty while there is none."""


class Unknown(Enum):
    """A rule's answer where this second tells nothing."""

    UNKNOWN = 0


UNKNOWN = Unknown.UNKNOWN
Opinion = str | None | Literal[Unknown.UNKNOWN]
"""The sentence where something is wrong, None where all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One finding. `judge` gets the measurements and whether the finding is open."""

    code: Code
    severity: Severity
    judge: Callable[[Measurements, bool], Opinion]
    opens: int = 1
    """Bad looks in a row until it opens."""
    closes: int = 1
    """Good looks in a row until it closes."""
    momentary: bool = False
    """It says nothing of an encoder that is gone."""


class Diagnosis:
    """Applies the rules to a show's findings."""

    def __init__(self, findings: Findings, rules: tuple[Rule, ...]) -> None:
        self._findings = findings
        self._rules = rules
        self._bad: dict[Code, int] = {}
        self._good: dict[Code, int] = {}
        self._said_ms: dict[Code, int] = {}

    def look(self, measured: Measurements) -> None:
        """Judge one second."""
        for rule in self._rules:
            is_open = self._findings.is_open(rule.code)
            opinion = rule.judge(measured, is_open)
            if opinion is UNKNOWN:
                continue
            if opinion is None:
                self._bad.pop(rule.code, None)
                if is_open:
                    self._close(rule)
            else:
                self._good.pop(rule.code, None)
                self._hold(rule, opinion, measured.now_ms, is_open=is_open)

    def publisher_left(self) -> None:
        """Close what can only be said of an encoder that sends."""
        for rule in self._rules:
            self._bad.pop(rule.code, None)
            if rule.momentary:
                self._findings.clear(rule.code)

    def _close(self, rule: Rule) -> None:
        good = self._good[rule.code] = self._good.get(rule.code, 0) + 1
        if good >= rule.closes:
            del self._good[rule.code]
            self._findings.clear(rule.code)

    def _hold(self, rule: Rule, text: str, now_ms: int, *, is_open: bool) -> None:
        bad = self._bad[rule.code] = self._bad.get(rule.code, 0) + 1
        if bad < rule.opens and not is_open:
            return
        if is_open and now_ms - self._said_ms.get(rule.code, 0) < TEXT_EVERY_MS:
            return
        self._said_ms[rule.code] = now_ms
        self._findings.report(rule.code, rule.severity, text, now_ms=now_ms)
