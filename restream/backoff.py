"""How long to wait before a target is tried again."""

from __future__ import annotations

FLOOR_S = 0.2
_MAX_DOUBLINGS = 32


def retry_delay_s(failures: int, uniform: float, *, first_s: float, max_s: float) -> float:
    """Return the wait before try number `failures` (from 1), exponential with full jitter.

    `uniform` is in [0, 1). A platform that comes back is not to be met by everybody at once.
    """
    bound: float = min(first_s * 2.0 ** min(failures - 1, _MAX_DOUBLINGS), max_s)
    return max(FLOOR_S, bound * uniform)


def refused_delay_s(uniform: float, *, refused_s: float) -> float:
    """Return the wait after a refusal: half to the whole of `refused_s`.

    A wrong key does not become right: platforms block addresses that keep trying.
    """
    return refused_s * (0.5 + uniform / 2)
