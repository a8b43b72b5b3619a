"""What a publisher without transport-wide feedback is told that it may send (REMB).

It knows nothing of the path but what we say: more than it sends while little is lost, less when
much is (the loss-based half of draft-ietf-rmcat-gcc section 6).
"""

from __future__ import annotations

LEAST_BPS = 300_000
FIRST_BPS = 2_500_000
HEADROOM = 1.5
"""Of what arrives: an encoder may grow by half a second at a time."""
LITTLE = 0.02
MUCH = 0.1


class Bandwidth:
    """Estimates once a second; `most_bps` is the stream's limit."""

    def __init__(self, most_bps: int) -> None:
        self._most = max(most_bps, LEAST_BPS)
        self.bps = min(FIRST_BPS, self._most)

    def update(self, *, received_bps: float, loss: float) -> int:
        """Take what arrived and which part was lost in the last second; return bit/s."""
        wanted = float(self.bps)
        if loss < LITTLE:
            wanted = max(wanted, HEADROOM * received_bps)
        elif loss > MUCH:
            wanted = min(wanted, max(received_bps, LEAST_BPS)) * (1 - loss / 2)
        self.bps = round(min(max(wanted, LEAST_BPS), self._most))
        return self.bps
