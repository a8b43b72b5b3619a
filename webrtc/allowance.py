"""How many packets of a kind are taken; those beyond it are dropped (sans-IO)."""

from __future__ import annotations

_SECOND_NS = 1_000_000_000


class Allowance:
    """Tokens over time. What is refused spends none: in a flood, some still get through."""

    __slots__ = ("_at_ns", "_left", "_most", "_rate")

    def __init__(self, *, rate: float, seconds: float) -> None:
        """`rate` a second, of which `seconds`' worth may be taken at once."""
        self._rate = rate
        self._left = self._most = rate * seconds
        self._at_ns: int | None = None

    def spend(self, now_ns: int, amount: float = 1) -> bool:
        """Whether `amount` more is taken; `now_ns` is monotonic."""
        if self._at_ns is not None:
            past_s = max(now_ns - self._at_ns, 0) / _SECOND_NS
            self._left = min(self._left + self._rate * past_s, self._most)
        self._at_ns = now_ns
        if self._left < amount:
            return False
        self._left -= amount
        return True
