"""Why sessions were ended here, kept for a while for who owned them.

A peer hears only that its transport closed. Who asks for its session then (DELETE, PATCH) is told
the reason, so that it does not come back where that would take the stream from somebody else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from webrtc.session import End

KEPT = 256
"""Sessions of a door that are remembered; the oldest are forgotten first."""
KEPT_NS = 600_000_000_000
"""A telephone that slept asks late."""


class Ticket:
    """The token that a session was made with, as its digest."""

    __slots__ = ("_digest",)

    def __init__(self, token: str | None) -> None:
        """`token`: None: the session is its name's holder's."""
        self._digest = None if token is None else _digest(token)

    def admits(self, token: str | None) -> bool:
        """Tell in constant time whether a token is the one."""
        return self._digest is None or hmac.compare_digest(self._digest, _digest(token or ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A session that this server ended."""

    ticket: Ticket
    reason: End
    text: str
    """A sentence for the peer's user."""


class Departures:
    """By the session's secret name; at most `KEPT`, each for `KEPT_NS`."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._kept: OrderedDict[str, tuple[int, Departure]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def note(self, name: str, departure: Departure) -> None:
        """Remember one."""
        self._forget()
        self._kept[name] = self._now_ns() + KEPT_NS, departure
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def find(self, name: str) -> Departure | None:
        """Return one that is remembered."""
        self._forget()
        found = self._kept.get(name)
        return None if found is None else found[1]

    def _forget(self) -> None:
        now_ns = self._now_ns()
        while self._kept:
            name, (until_ns, _) = next(iter(self._kept.items()))
            if until_ns > now_ns:
                return
            del self._kept[name]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
