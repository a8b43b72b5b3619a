"""Which rung a viewer gets (sans-IO).

Down as soon as the estimate is below what the rung needs. Up is tried: what is sent bounds what can
be measured, so after some time without congestion the next rung is sent; if the path fills up
soon after, it was a mistake, and the next try waits twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass

_SECOND_NS = 1_000_000_000
FIRST_TRY_NS = 5 * _SECOND_NS
LAST_TRY_NS = 120 * _SECOND_NS
TRIAL_NS = 8 * _SECOND_NS
"""Congestion so soon after a step up means that it was one too many."""
SETTLED_NS = 30 * _SECOND_NS
"""A step up that has lasted so long was right: tries come early again."""
SHORT_NS = 600_000_000
"""So long the estimate must be too low, and congestion go on: one late packet is no reason."""
_FRESH_NS = 800_000_000
_FAR_SHORT = 0.6
"""Below this share of the rung's rate there is nothing to wait for."""
_NEEDS = 1.05
_ENOUGH = 0.95
"""Share of the estimate that a rung may take on the way down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A rung that can be had now."""

    name: str
    bps: int
    """As measured; 0 while unknown."""


class Choice:
    """Decides for one viewer. Times are nanoseconds of one steady clock."""

    def __init__(self) -> None:
        self._wait_ns = FIRST_TRY_NS
        self._calm_since_ns: int | None = None
        self._congested_ns: int | None = None
        self._tried_ns: int | None = None
        self._short_since_ns: int | None = None

    def choose(
        self,
        offers: list[Offer],
        current: str | None,
        *,
        estimate_bps: int,
        congested_ns: int | None,
        now_ns: int,
    ) -> str | None:
        """Return the name of the rung to send; `offers` begin with the best one."""
        if not offers:
            return None
        at = next((i for i, each in enumerate(offers) if each.name == current), None)
        if at is None:
            self._calm_since_ns = now_ns
            self._short_since_ns = None
            return _fitting(offers, estimate_bps)
        if self._calm_since_ns is None:
            self._calm_since_ns = now_ns
        if congested_ns is not None and congested_ns != self._congested_ns:
            self._congested_ns = congested_ns
            self._calm_since_ns = now_ns
            if self._tried_ns is not None and now_ns - self._tried_ns < TRIAL_NS:
                self._wait_ns = min(2 * self._wait_ns, LAST_TRY_NS)
                self._tried_ns = None
        elif self._tried_ns is not None and now_ns - self._tried_ns >= SETTLED_NS:
            self._wait_ns = FIRST_TRY_NS
            self._tried_ns = None
        # What was sent before a step up bounds the estimate: only congestion speaks against it.
        trying = self._tried_ns is not None
        too_much = not trying and self._too_much(offers[at].bps, estimate_bps, now_ns)
        if too_much and at + 1 < len(offers):
            self._short_since_ns = None
            return _fitting(offers[at + 1 :], estimate_bps)
        if at and now_ns - self._calm_since_ns >= self._wait_ns:
            self._calm_since_ns = self._tried_ns = now_ns
            return offers[at - 1].name
        return current

    def _too_much(self, bps: int, estimate_bps: int, now_ns: int) -> bool:
        if estimate_bps * _NEEDS >= bps:
            self._short_since_ns = None
            return False
        if self._short_since_ns is None:
            self._short_since_ns = now_ns
        if estimate_bps < _FAR_SHORT * bps:
            return True
        going_on = self._congested_ns is not None and now_ns - self._congested_ns < _FRESH_NS
        return going_on and now_ns - self._short_since_ns >= SHORT_NS


def _fitting(offers: list[Offer], estimate_bps: int) -> str:
    """Return the best rung that fits, the lowest where none does."""
    room = _ENOUGH * estimate_bps
    return next((each.name for each in offers if each.bps <= room), offers[-1].name)
