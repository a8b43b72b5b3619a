"""Who has to leave when the listener is full: never one who publishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Stranger(Protocol):
    """A connection that no key vouches for."""

    @property
    def address(self) -> str:
        """Where it comes from."""

    @property
    def opened_ns(self) -> int:
        """When it was counted in, monotonic."""

    @property
    def lingers(self) -> bool:
        """Whether it was cut already and only has its answer left to read."""


S = TypeVar("S", bound=Stranger)


def whom_to_displace(strangers: Iterable[S], newcomer: str) -> S | None:
    """Return which stranger makes room for a connection from the address `newcomer`.

    First whoever was cut and lingers, else the oldest one of the address that holds the most
    places. None where that is no more than the newcomer's address would hold: from one address
    nobody can push out those of others, and an encoder alone on its own is never pushed out while
    some address has two.
    """
    present = tuple(strangers)
    lingering = [each for each in present if each.lingers]
    if lingering:
        return min(lingering, key=lambda each: each.opened_ns)
    places = Counter(each.address for each in present)
    if not places:
        return None
    crowd, count = places.most_common(1)[0]
    if count <= places[newcomer] + 1:
        return None
    return min((each for each in present if each.address == crowd), key=lambda each: each.opened_ns)
