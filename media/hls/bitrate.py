"""What a rendition's bit rate is said to be: its encoder's word, and what was measured."""

from __future__ import annotations

from media.model import TICKS_PER_SECOND

MEASURED_SEGMENTS = 3
"""Fewer than these say little of the next one."""
SHORTEST = TICKS_PER_SECOND // 2
"""A shorter segment has no peak of its own (4.4.6.2)."""
LARGEST_CLAIM = 4
"""Times the measured peak: an encoder that declares more than this means another unit."""


class BitRate:
    """Peak and average of one rendition, in bits per second.

    The peak never falls by what is measured: players read it once, and what they read has to hold
    for the segments to come. A declared rate counts beside it, since a quiet scene says nothing of
    the next one.
    """

    def __init__(self) -> None:
        self._limit = 0
        self._claim = 0
        self._segments = 0
        self._peak = 0.0
        self._bits = 0
        self._ticks = 0
        self._longest = 0
        """Ticks of a segment."""

    def declare(self, limit_bps: int) -> None:
        """Note what our own encoder is held to; it takes the place of another one's claim."""
        if limit_bps:
            self._limit, self._claim = limit_bps, 0

    def claim(self, bps: int) -> None:
        """Note what the publisher's encoder says of itself, in place of what it said before."""
        self._limit, self._claim = 0, bps

    def open(self, bits: int, ticks: int) -> None:
        """Note the size so far of the open segment, which will hardly outlast all before it.

        So a rise is told before the segment that shows it is complete.
        """
        if self._longest:
            self._raise(bits, max(ticks, self._longest))

    def close(self, bits: int, ticks: int) -> None:
        """Note a complete segment."""
        self._segments += 1
        self._bits += bits
        self._ticks += ticks
        if ticks >= SHORTEST:
            self._longest = max(self._longest, ticks)
            self._raise(bits, ticks)

    def _raise(self, bits: int, ticks: int) -> None:
        self._peak = max(self._peak, bits * TICKS_PER_SECOND / ticks)

    @property
    def known(self) -> bool:
        """Whether anything was declared or measured."""
        return bool(self._limit or self._claim or self._ticks)

    def figures(self) -> tuple[int, int]:
        """Peak and average; the latter as declared while little is measured."""
        declared = self._limit or self._claim
        average = self._bits * TICKS_PER_SECOND / max(self._ticks, 1)
        if declared and self._segments < MEASURED_SEGMENTS:
            return max(round(self._peak), declared), declared
        peak = round(max(self._peak, average))
        if self._claim:
            declared = min(declared, LARGEST_CLAIM * peak)
        return max(peak, declared), round(average)
