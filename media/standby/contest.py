"""Two encoders that fight for one key: who may take over, without clock, media or network.

Encoders connect again by themselves. Two with the same key would end each other's connection for
ever, so after two takeovers in a row the third is refused, and whoever is on air stays.
"""

from __future__ import annotations

from collections import deque

TAKEOVERS = 2
"""Granted at once: a newcomer that was wanted, and one more for a mistake."""
WINDOW_NS = 30_000_000_000
"""They count for this long; so does a refusal, for encoders try again every few seconds."""


class Contest:
    """What happened to one key; bounded. Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._takeovers: deque[int] = deque(maxlen=TAKEOVERS)
        self._refused_ns: int | None = None
        self._yields = False

    def settle(self) -> None:
        """Let the next newcomer take over, whatever was before; after it, nobody for a while."""
        self._yields = True

    def let_in(self, now_ns: int, *, took_over: bool) -> None:
        """Note that a newcomer was let in.

        `took_over`: from an encoder that was well; else that had left or failed, and all is
        forgotten.
        """
        if took_over:
            self._takeovers.append(now_ns)
        else:
            self._takeovers.clear()
            self._refused_ns = None
        if self._yields:
            self._yields = False
            self._refused_ns = now_ns

    def refuses(self, now_ns: int) -> bool:
        """Whether a newcomer has to go while the one on air is well; that prolongs it."""
        if self._yields:
            return False
        row = self._takeovers
        fought = len(row) == TAKEOVERS and now_ns - row[0] < WINDOW_NS
        kept = self._refused_ns is not None and now_ns - self._refused_ns < WINDOW_NS
        if fought or kept:
            self._refused_ns = now_ns
        return fought or kept
