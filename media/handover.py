"""From the worker's pictures or sound back to those that came: none of either is lost.

The worker is some tenths of a second behind. What lies before the change still comes from it,
after the first packets of what follows; these wait here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat

LONGEST = TICKS_PER_SECOND
"""The worker's last packets are given up when they are this late."""
MAX_ITEMS = 512
MAX_BYTES = 16 * 2**20
TOLERANCE = {Kind.VIDEO: TICKS_PER_SECOND // 100, Kind.AUDIO: TICKS_PER_SECOND // 10}
"""Timestamps are rounded; an audio encoder keeps its run-up to itself."""


@dataclass(slots=True, kw_only=True)
class Handover:
    """What one rendition gets from the boundary `since` (ticks) on, in order."""

    kind: Kind
    since: int
    items: deque[Packet | TrackFormat] = field(default_factory=deque)
    needs_key: bool = False
    """What follows has to begin with a key frame on a boundary."""
    _bytes: int = 0

    def hold(self, item: Packet | TrackFormat) -> bool:
        """Keep a packet or format; False where no more may wait."""
        self.items.append(item)
        if isinstance(item, Packet):
            self._bytes += len(item.payload)
        return len(self.items) < MAX_ITEMS and self._bytes < MAX_BYTES

    def overdue(self, now: int) -> bool:
        """Whether the wait has been too long at show time `now`."""
        return now - self.since >= LONGEST

    @staticmethod
    def reached(kind: Kind, end: int, since: int) -> bool:
        """Whether the worker's packets that end at `end` fill the time before `since`."""
        return end >= since - TOLERANCE[kind]
