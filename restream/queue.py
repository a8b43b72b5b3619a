"""What waits for one target: bounded in bytes and time, dropped to a key frame."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from media.model import Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERHEAD = 256
"""Bytes that a packet costs beside its payload: a flood of tiny ones is bounded, too."""

Formats: TypeAlias = tuple[TrackFormat, ...]


class PacketQueue:
    """Packets and format changes in order. `put_*` never wait and never raise.

    It begins with a key frame (any packet where there are no pictures). When it holds more than
    `max_bytes` or the oldest packet has waited for `max_s`, everything before the newest key frame
    is dropped; where there is none, everything, and what follows until the next one. Closed it
    holds nothing.
    """

    def __init__(self, *, max_bytes: int, max_s: float) -> None:
        self._max_bytes = max_bytes
        self._max_ns = int(max_s * 1e9)
        self._items: deque[Packet | Formats] = deque()
        self._open = False
        self._formats: Formats = ()
        self._waits_for_key = False
        self._overflowed = False
        self._size = 0
        self._oldest_ns: int | None = None
        self.dropped = 0
        """Packets given up since the beginning."""

    @property
    def bytes(self) -> int:
        """What the packets that wait cost, payload and overhead."""
        return self._size

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    @property
    def oldest_ns(self) -> int | None:
        """When the packet that waits longest arrived (monotonic), None when none waits."""
        return self._oldest_ns

    def open(self) -> None:
        """Take packets from the next key frame on; what an open queue holds stays."""
        if not self._open:
            self._open = True
            self._waits_for_key = True
            self._overflowed = False
            self._items.append(self._formats)

    def close(self) -> None:
        """Forget everything but the formats."""
        self._open = False
        self._clear()

    def put_formats(self, formats: Sequence[TrackFormat]) -> None:
        """Note what the packets from here on are."""
        self._formats = tuple(formats)
        if self._open:
            if self._items and isinstance(self._items[-1], tuple):
                self._items.pop()  # nothing was between: a flood of changes stays one
            self._items.append(self._formats)

    def put(self, packet: Packet) -> None:
        """Add an access unit, or give it up."""
        if not self._open:
            return
        if self._waits_for_key:
            if not self._starts(packet):
                self.dropped += self._overflowed
                return
            self._waits_for_key = False
        self._items.append(packet)
        self._size += _size(packet)
        if self._oldest_ns is None:
            self._oldest_ns = packet.arrived_ns
        if self._size > self._max_bytes or packet.arrived_ns - self._oldest_ns > self._max_ns:
            self._overflow()

    def pop(self) -> Packet | Formats | None:
        """Return the next item, None when there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        if isinstance(item, Packet):
            self._size -= _size(item)
            self._oldest_ns = self._head_ns()
        return item

    def push_back(self, formats: Formats) -> None:
        """Put what `pop` returned back: it is for another connection."""
        self._items.appendleft(formats)

    def _overflow(self) -> None:
        """Keep what begins with the newest key frame, where that is less; else nothing."""
        self._overflowed = True
        start = self._newest_start()
        if start is None or sum(map(_size, islice(self._items, start, None))) > self._max_bytes:
            self.dropped += sum(isinstance(item, Packet) for item in self._items)
            self._clear()
            self._items.append(self._formats)
            self._waits_for_key = True
            return
        formats: Formats | None = None
        for _ in range(start):
            item = self._items.popleft()
            self._size -= _size(item)
            if isinstance(item, Packet):
                self.dropped += 1
            else:
                formats = item
        if formats is not None:
            self._items.appendleft(formats)
        self._oldest_ns = self._head_ns()

    def _newest_start(self) -> int | None:
        """Return where the queue could begin with less than it holds."""
        items = self._items
        if not self._has_pictures():
            return len(items) // 2 or None  # sound can begin anywhere
        for back, item in enumerate(reversed(items), start=1):
            if isinstance(item, Packet) and self._starts(item):
                start = len(items) - back
                before = islice(items, start)
                return start if any(isinstance(one, Packet) for one in before) else None
        return None

    def _starts(self, packet: Packet) -> bool:
        """Whether decoding can begin here."""
        return packet.key and (packet.kind is Kind.VIDEO or not self._has_pictures())

    def _has_pictures(self) -> bool:
        return any(f.kind is Kind.VIDEO for f in self._formats)

    def _head_ns(self) -> int | None:
        return next((one.arrived_ns for one in self._items if isinstance(one, Packet)), None)

    def _clear(self) -> None:
        self._items.clear()
        self._size = 0
        self._oldest_ns = None


def _size(item: Packet | Formats) -> int:
    return OVERHEAD + len(item.payload) if isinstance(item, Packet) else 0
