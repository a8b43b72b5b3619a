"""What a rendition needs from the rest of the server; implemented elsewhere, wired by the stream.

The show clock, the segment grid and the cues are per stream and shared by all its renditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class ProgramClock(Protocol):
    """Maps the show clock to wall-clock time."""

    def utc_ms(self, ticks: int) -> int:
        """Program date-time of a show-clock moment: milliseconds since the epoch, UTC."""


class Boundary(Protocol):
    """Where a segment starts in every rendition (a frozen value)."""

    @property
    def msn(self) -> int:
        """Media sequence number, stream-wide."""

    @property
    def start(self) -> int:
        """Show-clock ticks; the segment starts at the first packet with pts at or after it."""

    @property
    def discontinuity(self) -> bool:
        """EXT-X-DISCONTINUITY stands before this segment in every rendition."""

    @property
    def discontinuities_before(self) -> int:
        """How many boundaries before this one are discontinuities (6.2.4)."""


class Grid(Protocol):
    """Segment boundaries, decided once per stream for all its renditions.

    A boundary, once returned, never changes; `msn` grows by one from boundary to boundary.
    """

    def segment_at(self, ticks: int) -> Boundary:
        """Return the latest boundary with `start <= ticks`."""

    def after(self, msn: int) -> Boundary | None:
        """Return boundary `msn + 1` if it is already decided."""


class TimedMetadata(Protocol):
    """The cues of a stream, as they ride in playlists and parts."""

    @property
    def revision(self) -> int:
        """A number that changes whenever `date_ranges` may answer differently."""

    def date_ranges(self, start_ms: int, end_ms: int) -> Sequence[str]:
        """Return complete `#EXT-X-DATERANGE` lines for a window of program date-time.

        `start_ms` is the start of the first listed segment, `end_ms` the playlist's edge,
        both UTC milliseconds. Lines carry no line end.
        """

    def take_events(
        self, rendition: str, *, start: int, end: int, timescale: int, msn: int, part: int
    ) -> bytes:
        """Return the `emsg` boxes due in `[start, end)` show-clock ticks, mostly `b""`.

        Called once per part of each video rendition, when the part closes, in order.
        `timescale` is the rendition's media timescale, on the show clock's zero.
        """

    def rendered(self, rendition: str, revision: int) -> None:
        """Hear that a playlist of `rendition` with the tags of `revision` became servable."""


class NoMetadata:
    """A `TimedMetadata` without cues."""

    @property
    def revision(self) -> int:
        """Return always the same number: nothing ever changes."""
        return 0

    def date_ranges(self, start_ms: int, end_ms: int) -> Sequence[str]:
        """Return nothing."""
        del start_ms, end_ms
        return ()

    def take_events(
        self, rendition: str, *, start: int, end: int, timescale: int, msn: int, part: int
    ) -> bytes:
        """Return no box."""
        del rendition, start, end, timescale, msn, part
        return b""

    def rendered(self, rendition: str, revision: int) -> None:
        """Ignore."""
