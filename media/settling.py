"""Holds the first moments of a publisher's run until it is known how late they arrived.

A busy server reads an encoder's first second late and all at once. Mapped as it comes, the whole
run would lie that much too late on the show clock, and every cue with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLE = TICKS_PER_SECOND // 4
"""A backlog is read within this; live viewers of a returning encoder wait as long."""
MAX_PACKETS = 1024
MAX_BYTES = 16 * 2**20
MAX_BACKLOG = 4 * TICKS_PER_SECOND
"""More media than this at once is no backlog but a file pushed at full speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackChange:
    """A further track was announced, with its format, or ended."""

    track: int
    kind: Kind
    format: TrackFormat | None


Item = Packet | TrackFormat | Kind | TrackChange
"""A format or a kind alone is that of the main track."""


class Settling:
    """Collects packets in source time, and what changes their tracks between them, in order.

    `now` turns a packet's arrival into show ticks.
    """

    def __init__(self, now: Callable[[int], int]) -> None:
        self._now = now
        self._items: list[Item] = []
        self._first: Packet | None = None
        self._bytes = 0
        self._late = 0

    def hold(self, packet: Packet) -> None:
        """Keep a packet."""
        self._items.append(packet)
        self._bytes += len(packet.payload)
        first = self._first = self._first or packet
        if packet.kind is first.kind and packet.track == first.track:
            passed = self._now(packet.arrived_ns) - self._now(first.arrived_ns)
            self._late = max(self._late, packet.dts - first.dts - passed)

    def hold_change(self, change: TrackFormat | Kind | TrackChange) -> bool:
        """Keep a new format, or the end of a track; False while no packet came before it."""
        if self._first is None:
            return False
        self._items.append(change)
        return True

    @property
    def first_arrival(self) -> int:
        """Show time at which the first packet arrived; 0 before it."""
        return 0 if self._first is None else self._now(self._first.arrived_ns)

    def due(self, now: int) -> bool:
        """Whether the packets held tell enough; `now` in show ticks."""
        if self._first is None:
            return False
        waited = now - self._now(self._first.arrived_ns)
        if waited >= SETTLE or self._late > MAX_BACKLOG:
            return True
        return len(self._items) >= MAX_PACKETS or self._bytes >= MAX_BYTES

    def release(self) -> tuple[list[Item], int]:
        """Return what was held, and by how many ticks the first packet arrived late."""
        items, self._items = self._items, []
        late, self._late = self._late, 0
        self._first = None
        return items, late if late <= MAX_BACKLOG else 0
