"""How often offers may come, by whoever sends them (sans-IO).

An offer needs no connection, but costs an answer: some milliseconds, sockets, and a place for up
to 15 s.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_REMEMBERED = 4096
"""Senders; who has been quiet for the longest is forgotten, and may then begin anew."""
AT_ONCE_S = 10
"""Seconds' worth that may come at once."""
_SECOND_NS = 1_000_000_000


class OfferRate:
    """A token bucket for each sender; memory and time are bounded whoever calls."""

    def __init__(
        self,
        per_minute: int,
        *,
        spread_s: int = 0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`spread_s`: seconds over which those who wait come again, `chance`: 0 to 1, for that."""
        self._rate = per_minute / 60
        self._room = max(self._rate * AT_ONCE_S, 1.0)
        self._spread_s, self._chance = spread_s, chance
        self._spent: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """By sender: tokens spent, and when that was so; the quietest one first."""

    def __len__(self) -> int:
        return len(self._spent)

    def take(self, sender: str, now_ns: int) -> int | None:
        """Spend a token; where there is none, return the seconds after which to try again."""
        spent, at_ns = self._spent.get(sender, (0.0, now_ns))
        spent = max(spent - self._rate * (now_ns - at_ns) / _SECOND_NS, 0.0) + 1
        if (over := spent - self._room) > 0:
            return math.ceil(over / self._rate + self._spread_s * self._chance())
        self._spent[sender] = spent, now_ns
        self._spent.move_to_end(sender)
        if len(self._spent) > MAX_REMEMBERED:
            self._spent.popitem(last=False)
        return None

    def give_back(self, sender: str) -> None:
        """Return a token that was taken: the offer proved to be welcome."""
        if sender in self._spent:
            spent, at_ns = self._spent[sender]
            self._spent[sender] = max(spent - 1, 0.0), at_ns
