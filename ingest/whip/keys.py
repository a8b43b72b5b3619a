"""When a key frame is asked for: after a loss, on the segment grid, and for those who wait."""

from __future__ import annotations

_MS = 1_000_000
LEAST_NS = 500 * _MS
"""Between two requests for one stream: an encoder needs time, and keys cost bits."""
GRACE_NS = 250 * _MS
"""The first key frame, which comes unasked, may take so long."""
MAX_RESPONSE_NS = 250 * _MS
MAX_PATIENCE_NS = 4_000 * _MS
"""Between requests on the grid that an encoder never answers; OBS keeps its own interval."""


class KeyRequests:
    """Decides when to ask one stream for a key frame; times are nanoseconds of one steady clock.

    `interval_ns`: the wanted distance of key frames, that of segments.
    """

    def __init__(self, *, interval_ns: int, now_ns: int) -> None:
        self.interval_ns = interval_ns
        self.sent = 0
        """Requests that went out; counted by whoever sends them."""
        self._asked_ns: int | None = None
        self._unanswered = 0
        self._key_ns = now_ns
        self._keyed = False
        self._wanted = False
        self._begun_ns = now_ns
        self._response_ns = 0

    def request(self) -> None:
        """Take note that somebody waits for a key frame."""
        self._wanted = True

    def key(self, now_ns: int) -> None:
        """Take note of a key frame."""
        if self._asked_ns is not None and self._unanswered:
            response = min(now_ns - self._asked_ns, MAX_RESPONSE_NS)
            self._response_ns += (response - self._response_ns) // 4
        self._key_ns = now_ns
        self._keyed = True
        self._wanted = False
        self._unanswered = 0

    def due(self, now_ns: int, *, broken: bool, grid: bool = True) -> bool:
        """Whether to ask now; counts as asked.

        `broken`: pictures are not right without one; `grid`: one is wanted each interval.
        """
        if self._asked_ns is not None and now_ns < self._asked_ns + self._pause_ns(broken):
            return False
        if broken and not self._keyed and now_ns < self._begun_ns + GRACE_NS:
            return False
        aim = self._key_ns + self.interval_ns - self._response_ns
        if not (broken or self._wanted or (grid and now_ns >= aim)):
            return False
        self._asked_ns = now_ns
        self._unanswered += 1
        return True

    def _pause_ns(self, broken: bool) -> int:
        if broken or self._wanted:
            return LEAST_NS if self._unanswered < 4 else 2 * LEAST_NS
        return min(LEAST_NS << min(self._unanswered, 3), MAX_PATIENCE_NS)
