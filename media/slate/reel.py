"""Coded units played again and again on the show clock: pictures of a slate, its sound, silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND, Packet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from media.model import Codec
    from media.slate.loop import SlateUnit


SHORTEST = TICKS_PER_SECOND // 200
"""What is cut shorter than this is not worth a unit of its own."""


class Reel:
    """Plays one track from `start` (show ticks) on, a unit whenever it is due."""

    def __init__(self, codec: Codec, units: Sequence[SlateUnit], *, start: int) -> None:
        """`units`: at least one; the end of the last is where the first comes again."""
        self._codec = codec
        self._units = units
        self._length = units[-1].pts + units[-1].duration
        self._start = start
        self._index = 0
        self.last: int | None = None
        """Time of the newest unit that was played."""

    @property
    def next(self) -> int:
        """Time of the unit that comes next; where the newest one ends."""
        return self._start + self._units[self._index].dts

    def due(self, until: int, *, now_ns: int, end: int | None = None) -> list[Packet]:
        """Return the units that begin before `until`; `now_ns` counts as their arrival.

        None reaches beyond `end`, where something else takes over.
        """
        packets = []
        while self.next < until:
            unit = self._units[self._index]
            duration = unit.duration
            if end is not None:
                duration = min(duration, end - self.next)
                if duration < SHORTEST:
                    break
            self.last = self.next
            packets.append(
                Packet(
                    track=0,
                    codec=self._codec,
                    dts=self._start + unit.dts,
                    pts=self._start + unit.pts,
                    key=unit.key,
                    payload=unit.payload,
                    arrived_ns=now_ns,
                    duration=duration,
                )
            )
            self._index += 1
            if self._index == len(self._units):
                self._index = 0
                self._start += self._length
        return packets


def still(units: Sequence[SlateUnit], longest: int) -> Sequence[SlateUnit]:
    """Return the part of a loop to play so that a key frame comes every `longest` ticks.

    Only a loop with one key frame can be cut: it shows one picture all the time.
    """
    if any(unit.key for unit in units[1:]):
        return units
    kept = [unit for unit in units if unit.pts + unit.duration <= longest]
    return kept or units[:1]
