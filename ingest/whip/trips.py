"""How long an answer to a request takes, and how late packets are that were not lost at all."""

from __future__ import annotations

_MS = 1_000_000
FIRST_NS = 60 * _MS
"""Round trip of a path that is not measured yet."""
REMEMBERED = 2048
PATIENCE_NS = 500 * _MS
"""If nothing comes a second time within this, what came first was the answer."""
MAX_NS = 1_000 * _MS
LEAST_LATE_NS = 10 * _MS
MAX_LATE_NS = 40 * _MS


class _Asked:
    __slots__ = ("asked_ns", "came_ns", "repeated")

    def __init__(self, asked_ns: int) -> None:
        self.asked_ns = asked_ns
        self.came_ns = 0
        self.repeated = False


class RoundTrips:
    """Measures one stream's requests; times are nanoseconds of one steady clock.

    Without RTX an answer looks like the packet itself, which may just have been late: then the
    answer comes as a duplicate, and tells how long to wait before asking. Asked for twice, nobody
    knows which request an answer is to.
    """

    def __init__(self) -> None:
        self.rtt_ns = 0
        """Smoothed round trip; 0 before the first measurement."""
        self.late_ns = LEAST_LATE_NS
        """How long to wait for a missing packet before it is asked for."""
        self._variation_ns = 0
        self._asked: dict[int, _Asked] = {}

    @property
    def retry_ns(self) -> int:
        """How long to wait for an answer before the next request."""
        return self.rtt_ns + 2 * self._variation_ns if self.rtt_ns else FIRST_NS

    def asked(self, sequence: int, now_ns: int) -> None:
        """Take note of a request."""
        known = self._asked.get(sequence)
        if known is not None:
            known.repeated = True
            return
        self._asked[sequence] = _Asked(now_ns)
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]

    def arrived(self, sequence: int, now_ns: int, *, answer: bool) -> None:
        """Take note of a packet; `answer`: it came by RTX, so that it cannot be the first one."""
        known = self._asked.get(sequence)
        if known is None:
            return
        if answer or known.came_ns:
            del self._asked[sequence]
            if not known.repeated:
                self._measured(now_ns - known.asked_ns)
            if known.came_ns:
                late = self.late_ns + known.came_ns - known.asked_ns
                self.late_ns += (min(late, MAX_LATE_NS) - self.late_ns) // 4
        else:
            known.came_ns = now_ns

    def expire(self, now_ns: int) -> None:
        """Draw conclusions from what has come only once."""
        while self._asked:
            sequence, known = next(iter(self._asked.items()))
            if now_ns < known.asked_ns + PATIENCE_NS + MAX_NS // 2:
                return
            del self._asked[sequence]
            if known.came_ns and not known.repeated:
                self._measured(known.came_ns - known.asked_ns)
            # Slowly back: a path that was mixed up once need not be so for ever.
            self.late_ns -= (self.late_ns - LEAST_LATE_NS) // 32

    def _measured(self, trip_ns: int) -> None:
        trip_ns = min(max(trip_ns, 1), MAX_NS)
        if not self.rtt_ns:
            self.rtt_ns, self._variation_ns = trip_ns, trip_ns // 4
            return
        self._variation_ns += (abs(trip_ns - self.rtt_ns) - self._variation_ns) // 4
        self.rtt_ns += (trip_ns - self.rtt_ns) // 8
