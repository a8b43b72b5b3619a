"""Segment boundaries: decided once per show, followed by every rendition.

Media sequence numbers are numbers of boundaries, so they agree over renditions, reconnects
and worker restarts by construction.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from media.model import TICKS_PER_SECOND

KEEP = 16_384
"""Boundaries remembered: more than any live window (`hls.window_segments`) can list."""
EARLY_KEY_TICKS = TICKS_PER_SECOND // 10
"""A key frame this much before the grid still starts the segment: timestamps jitter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """Where segment `msn` starts."""

    msn: int
    start: int
    """Presentation time on the show clock, in ticks."""
    discontinuity: bool = False
    """Decoders must be reset here: EXT-X-DISCONTINUITY in every rendition."""
    discontinuities_before: int = 0
    """EXT-X-DISCONTINUITY-SEQUENCE of a list that begins with this segment."""


class SegmentGrid:
    """The growing list of boundaries of one show."""

    def __init__(self) -> None:
        self._boundaries: list[Boundary] = []
        self._starts: list[int] = []

    @property
    def last(self) -> Boundary | None:
        """The newest boundary, None before the first."""
        return self._boundaries[-1] if self._boundaries else None

    def add(self, start: int, *, discontinuity: bool = False) -> Boundary:
        """Start a segment at `start` ticks, later than every boundary so far."""
        last = self.last
        if last is not None and start <= last.start:
            raise ValueError(f"a boundary at {start} does not follow the one at {last.start}")
        boundary = Boundary(
            msn=0 if last is None else last.msn + 1,
            start=start,
            discontinuity=discontinuity,
            discontinuities_before=0
            if last is None
            else last.discontinuities_before + last.discontinuity,
        )
        self._boundaries.append(boundary)
        self._starts.append(start)
        if len(self._boundaries) > 2 * KEEP:
            del self._boundaries[:KEEP]
            del self._starts[:KEEP]
        return boundary

    def segment_at(self, ticks: int) -> Boundary:
        """Return the boundary of the segment that holds `ticks` (the first, if earlier)."""
        if not self._boundaries:
            raise LookupError("the show has no segment yet")
        return self._boundaries[max(0, bisect_right(self._starts, ticks) - 1)]

    def after(self, msn: int) -> Boundary | None:
        """Return boundary `msn + 1` if it is decided."""
        if not self._boundaries:
            return None
        index = msn + 1 - self._boundaries[0].msn
        return self._boundaries[index] if 0 <= index < len(self._boundaries) else None


@dataclass(kw_only=True, slots=True)
class GridRule:
    """Decides where the source's pictures start a segment.

    `segment`: wanted length; `longest`: length that still rounds to TARGETDURATION
    (draft-pantos-hls-rfc8216bis 4.4.3.1), both in ticks.
    """

    segment: int
    longest: int
    _last_key: int | None = None
    _key_interval: int = 0

    @property
    def key_interval(self) -> int:
        """Ticks between the last two key frames, 0 before the second."""
        return self._key_interval

    def restart(self) -> None:
        """Forget the run before: its key frames say nothing of the next."""
        self._last_key = None
        self._key_interval = 0

    def saw_key(self, pts: int) -> None:
        """Note a key frame of the source."""
        if self._last_key is not None:
            self._key_interval = pts - self._last_key
        self._last_key = pts

    def key_starts_segment(self, pts: int, segment_start: int) -> bool:
        """Whether a key frame at `pts` ends the segment that began at `segment_start`.

        At the grid, or earlier where waiting for the next key frame would make the segment
        too long.
        """
        elapsed = pts - segment_start
        if elapsed >= self.segment - EARLY_KEY_TICKS:
            return True
        return elapsed > 0 and elapsed + self._key_interval > self.longest

    def must_cut(self, pts: int, segment_start: int) -> bool:
        """Whether the segment has to end before `pts` even without a key frame."""
        return pts - segment_start >= self.longest
