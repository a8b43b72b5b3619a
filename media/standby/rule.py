"""Which of a stream's two encoders is on air: the rule, without clock, media or network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from media.model import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

ILL = 0.5
"""Below this score an encoder harms the show."""
ILL_S = 2.0
"""It is left after this long, for lines recover within a second or two."""
MARGIN = 0.3
"""The other one must be better by this: what both suffer from is no reason to move."""
WELL = 0.8
"""From this score on an encoder may be returned to."""


class Reason(StrEnum):
    """Why another encoder went on air."""

    CLOSED = "closed"
    SILENT = "silent"
    UNHEALTHY = "unhealthy"
    RETURNED = "returned"
    REQUESTED = "requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is known of a connected encoder."""

    score: float
    """0 to 1 (`media.standby.vitals`)."""
    silent: bool
    ready: bool
    """It has sent what a decoder can begin with."""
    well_s: float = 0.0
    """For so long its score was `WELL` or more."""
    ill_s: float = 0.0
    """For so long it was below `ILL`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Another encoder goes on air."""

    role: Role
    reason: Reason

    @property
    def at_once(self) -> bool:
        """The one on air sends nothing any more; else its pictures last until a key frame."""
        return self.reason in (Reason.CLOSED, Reason.SILENT)


def other(role: Role) -> Role:
    """Return the role of the other encoder."""
    return Role.BACKUP if role is Role.PRIMARY else Role.PRIMARY


class StandbyRule:
    """Decides; `return_s`: an encoder that failed is returned to after so long, None never."""

    def __init__(self, *, return_s: float | None) -> None:
        self._return_s = return_s
        self._chosen: Role | None = None
        self._asked = False

    @property
    def chosen(self) -> Role | None:
        """The role that somebody asked for, None for the rule's own."""
        return self._chosen

    @property
    def preferred(self) -> Role:
        """The role that is on air when both are well."""
        return self._chosen or Role.PRIMARY

    def choose(self, role: Role | None) -> None:
        """Prefer a role from now on and move to it; None: back to the rule."""
        self._chosen = role
        self._asked = role is not None

    def gone(self, role: Role) -> None:
        """Forget a wish for an encoder that left before it was granted."""
        if role is self._chosen:
            self._asked = False

    def decide(self, on_air: Role, conditions: Mapping[Role, Condition]) -> Move | None:
        """Say whether the other encoder shall go on air; `conditions` of those connected."""
        target = other(on_air)
        theirs, ours = conditions.get(target), conditions.get(on_air)
        if self._chosen is on_air:
            self._asked = False
        if theirs is None:
            return None
        if ours is None:
            return Move(role=target, reason=Reason.CLOSED)
        if theirs.silent:
            return None
        reason = self._reason(target, ours, theirs)
        return Move(role=target, reason=reason) if reason is not None else None

    def _reason(self, target: Role, ours: Condition, theirs: Condition) -> Reason | None:
        if self._asked and not ours.silent:
            return Reason.REQUESTED
        if not theirs.ready:
            return None
        if ours.silent:
            return Reason.SILENT
        if ours.ill_s >= ILL_S and theirs.score >= ours.score + MARGIN:
            return Reason.UNHEALTHY
        due = self._return_s is not None and theirs.well_s >= self._return_s
        if target is self.preferred and due and theirs.score >= WELL:
            return Reason.RETURNED
        return None
