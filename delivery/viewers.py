"""How many are watching: distinct sessions in a sliding window, in bounded memory.

Sans-IO. A session is a keyed 64-bit hash; nothing that names a viewer is kept.
"""

from __future__ import annotations

WINDOW_S = 10.0
MAX_ENTRIES = 20_000


class ViewerWindow:
    """Counts distinct sessions of one stream.

    Beyond `limit` sessions it keeps only those whose hash ends in `n` zero bits and counts
    each as `2 ** n` (adaptive sampling, Wegman), so memory stays bounded and the error of
    the count near 1 %.
    """

    def __init__(self, *, window_s: float = WINDOW_S, limit: int = MAX_ENTRIES) -> None:
        self._window_s = window_s
        self._limit = limit
        self._seen: dict[int, float] = {}
        self._shift = 0
        self._count_shift = 0
        self._warm_at = 0.0

    def note(self, session: int, now: float) -> None:
        """Hear from a session: its hash, and the monotonic time in seconds."""
        if session & ((1 << self._shift) - 1):
            return
        seen = self._seen
        # Deleting first keeps the dict in order of time, so expiry stops at the first fresh one.
        seen.pop(session, None)
        seen[session] = now
        if len(seen) > self._limit:
            self._expire(now)
            while len(self._seen) > self._limit:
                self._shift += 1
                self._count_shift = self._shift
                mask = (1 << self._shift) - 1
                self._seen = {key: at for key, at in self._seen.items() if not key & mask}

    def count(self, now: float) -> int:
        """Return the number of sessions heard within the window."""
        self._expire(now)
        if now >= self._warm_at:
            self._count_shift = self._shift
        mask = (1 << self._count_shift) - 1
        if mask and self._count_shift > self._shift:
            sampled = sum(1 for key in self._seen if not key & mask)
        else:
            sampled = len(self._seen)
        if self._shift == self._count_shift > 0 and len(self._seen) < self._limit // 8:
            # Sample more densely again; until a window has passed, count as before.
            self._shift -= 1
            self._warm_at = now + self._window_s
        return sampled << self._count_shift

    def _expire(self, now: float) -> None:
        horizon = now - self._window_s
        stale = []
        for key, at in self._seen.items():
            if at > horizon:
                break
            stale.append(key)
        for key in stale:
            del self._seen[key]
