"""How long the newest access unit will last, before its successor says so."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND, Kind

if TYPE_CHECKING:
    from media.model import Packet, TrackFormat

_WINDOW = 9
_FIRST_GUESS = TICKS_PER_SECOND // 30
_LONGEST_GUESS = TICKS_PER_SECOND


class Pacer:
    """Keeps a track's nominal access-unit duration, in ticks.

    RTMP carries no durations and rounds to milliseconds, so the spacing of the last units
    decides, and the bitstream's frame rate only where it agrees with them: VUI timing is
    often off by a factor of two.
    """

    def __init__(self) -> None:
        self._deltas: deque[int] = deque(maxlen=_WINDOW)
        self._last_dts: int | None = None
        self._declared = 0
        self._exact = False
        self._nominal = _FIRST_GUESS

    def set_format(self, fmt: TrackFormat) -> None:
        """Take what the format promises; spacing seen before no longer counts."""
        self._deltas.clear()
        self._last_dts = None
        self._declared = 0
        self._exact = False
        if fmt.kind is Kind.AUDIO and fmt.samples_per_frame and fmt.sample_rate:
            self._declared = round(fmt.samples_per_frame * TICKS_PER_SECOND / fmt.sample_rate)
            self._exact = True
        elif fmt.frame_rate:
            self._declared = round(TICKS_PER_SECOND / fmt.frame_rate)
        self._nominal = self._declared or _FIRST_GUESS

    def see(self, packet: Packet) -> int:
        """Note `packet` and return the duration to count on for it."""
        last, self._last_dts = self._last_dts, packet.dts
        if packet.duration > 0:
            return packet.duration
        if not self._exact and last is not None and 0 < packet.dts - last <= _LONGEST_GUESS:
            self._deltas.append(packet.dts - last)
            self._nominal = self._estimate()
        return self._nominal

    def _estimate(self) -> int:
        ordered = sorted(self._deltas)
        median = ordered[len(ordered) // 2]
        if 2 * self._deltas[-1] < median:
            # A still picture begins to move. What is declared too long pushes all that follows.
            return self._deltas[-1]
        if self._declared and abs(self._declared - median) * 20 <= median:
            return self._declared
        near = [delta for delta in ordered if abs(delta - median) * 5 <= median]
        return round(sum(near) / len(near))


class MediaTime:
    """Show-clock ticks to a track's media timescale, steady where frames are exact.

    Millisecond timestamps of an audio track wobble around a perfectly regular clock; written
    as they are, every part would start with a hole or an overlap of some samples. As long as
    the regular clock stays within `_SNAP_S` of the source, it is used.
    """

    _SNAP_S = 0.005

    def __init__(self, timescale: int, *, frame: int) -> None:
        """`frame`: exact access-unit duration in `timescale` units, 0 where it varies."""
        self.timescale = timescale
        self._frame = frame
        self._tolerance = int(timescale * self._SNAP_S)
        self._next: int | None = None
        self._last = -1

    def place(self, dts: int) -> int:
        """Return the decode time of the next access unit, in `timescale` units."""
        source = self.span(dts)
        expected = self._next
        at = source
        if self._frame and expected is not None and self._near(source, expected):
            at = expected
        if at <= self._last:
            # Two access units of the source's clock may fall on one unit of a coarser one.
            at = self._last + 1
        self._last = at
        self._next = at + self._frame
        return at

    def span(self, ticks: int) -> int:
        """Return a duration or offset in `timescale` units."""
        if self.timescale == TICKS_PER_SECOND:
            return ticks
        return (ticks * self.timescale + TICKS_PER_SECOND // 2) // TICKS_PER_SECOND

    def frame(self, ticks: int) -> int:
        """Return the duration of an access unit that counts as `ticks`."""
        exact = self.span(ticks)
        return self._frame if self._frame and self._near(exact, self._frame) else exact

    def _near(self, one: int, other: int) -> bool:
        return abs(one - other) <= self._tolerance
