"""Asks for key frames on behalf of many: at most once a second, and not for one that came."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_INTERVAL_NS = 1_000_000_000
"""However many viewers ask, whoever encodes makes one key frame a second for them at most."""


class KeyRequests:
    """The requests to one encoder. `ask` reaches it, `now_ns` is the monotonic clock."""

    def __init__(self, ask: Callable[[], None], now_ns: Callable[[], int]) -> None:
        self._ask = ask
        self._now_ns = now_ns
        self._wanted = False
        self._asked_ns: int | None = None

    def want(self) -> None:
        """Ask at once, or a second after the last time if no key frame came by then."""
        self._wanted = True
        self.tick()

    def came(self) -> None:
        """Note a key frame: whoever waited for one has it."""
        self._wanted = False

    def tick(self) -> None:
        """Ask for the key frame that is wanted, where that is due."""
        if not self._wanted:
            return
        now_ns = self._now_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= KEY_INTERVAL_NS:
            self._wanted = False
            self._asked_ns = now_ns
            self._ask()
