"""One of a stream's encoders, as the switcher keeps it and as the API shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from media.model import Kind, Role, TrackFormat
from media.standby.hold import KeyHold
from media.standby.rule import ILL, WELL, Condition
from media.standby.vitals import SECOND_NS, Assessment, Vitals

SOUND_ALONE_NS = SECOND_NS // 2
"""Sound that comes first waits this long for pictures to be announced."""
UNANNOUNCED_NS = 3 * SECOND_NS
"""The same where their first key frame announces them: a camera opens, layers are waited for."""
UNANNOUNCED = ("whip",)
"""Protocols of which that is true."""


class SourceState(StrEnum):
    """What an encoder is to the show."""

    ON_AIR = "on_air"
    STANDBY = "standby"
    FAILED = "failed"
    """Connected but silent, or gone while the other one is on air."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """An encoder as the API shows it."""

    role: Role
    protocol: str
    state: SourceState
    health: float
    bitrate_bps: int
    since_ms: int
    """UTC milliseconds since which it is in this state."""


class SourceRefused(Exception):
    """The encoder asked for cannot go on air; the text says why."""


@dataclass(slots=True, kw_only=True)
class Source:
    """One encoder's run, as the switcher keeps it."""

    role: Role
    protocol: str
    wrap_ticks: int
    vitals: Vitals
    formats: dict[Kind, TrackFormat] = field(default_factory=dict)
    further: dict[tuple[Kind, int], TrackFormat] = field(default_factory=dict)
    """Formats of the tracks beside the main ones."""
    languages: Mapping[int, str] = field(default_factory=dict)
    """Of its audio tracks (BCP 47), as far as it tells them."""
    rates: Mapping[tuple[Kind, int], int] = field(default_factory=dict)
    """Bits a second that it is set to, as far as it tells them."""
    hold: KeyHold = field(default_factory=KeyHold)
    assessment: Assessment = field(default_factory=lambda: Assessment(score=1.0))
    well_ns: int | None = None
    """Since when its score is `WELL` or more."""
    ill_ns: int | None = None
    """Since when it is below `ILL`."""

    @property
    def pictures(self) -> bool:
        """Whether the encoder announced pictures."""
        return Kind.VIDEO in self.formats

    @property
    def sends_pictures(self) -> bool:
        """Whether it sent pictures that a decoder can begin with."""
        return self.pictures and self.vitals.key_ns is not None

    @property
    def sound_alone(self) -> bool:
        """Whether it has sent sound for so long that it is clear that it announces no pictures."""
        patience_ns = UNANNOUNCED_NS if self.protocol in UNANNOUNCED else SOUND_ALONE_NS
        vitals = self.vitals
        if self.pictures or vitals.begun_ns is None:
            return False
        return vitals.heard_ns - vitals.begun_ns >= patience_ns

    def judge(self, now_ns: int) -> Condition:
        """Assess the run and remember for how long it has been well or ill."""
        self.assessment = self.vitals.assess(now_ns)
        score = self.assessment.score
        ready = self.hold.since_ns is not None
        self.well_ns = _since(self.well_ns, now_ns, holds=score >= WELL and ready)
        self.ill_ns = _since(self.ill_ns, now_ns, holds=score < ILL)
        return Condition(
            score=score,
            silent=self.vitals.silent(now_ns),
            ready=ready,
            well_s=(now_ns - self.well_ns) / SECOND_NS if self.well_ns is not None else 0.0,
            ill_s=(now_ns - self.ill_ns) / SECOND_NS if self.ill_ns is not None else 0.0,
        )

    def view(self, state: SourceState, since_ms: int) -> SourceView:
        """Return what the API shows of it."""
        return SourceView(
            role=self.role,
            protocol=self.protocol,
            state=state,
            health=round(self.assessment.score, 2),
            bitrate_bps=self.vitals.bitrate_bps,
            since_ms=since_ms,
        )


def _since(known: int | None, now_ns: int, *, holds: bool) -> int | None:
    """Return since when something holds, None while it does not."""
    if not holds:
        return None
    return now_ns if known is None else known
