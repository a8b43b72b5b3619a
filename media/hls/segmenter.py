"""Cuts one track into segments and parts; sans-IO, on the show clock.

The *declared* timeline (what DURATION and EXTINF say) is contiguous by construction: a part
begins where the one before ended, so sums and program date-time hold whatever the source's
jitter. It runs on DTS; presentation times are `shift` later (the reorder delay of B-frames).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from media.hls.pacing import Pacer
from media.model import TICKS_PER_SECOND, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from media.hls.seams import Boundary, Grid
    from media.model import Packet, TrackFormat

TOLERANCE = TICKS_PER_SECOND // 100
"""Timestamps this close are the same moment: encoders round to milliseconds."""
_SHORTEST = TICKS_PER_SECOND // 1000
_SHORT_HOLE = TICKS_PER_SECOND // 10
"""Not listed where the picture before it can last longer."""
_LEAST = 0.85
"""Share of PART-TARGET that a part lasts at least, but for the last of a segment (4.4.4.9)."""
_MAX_HELD = 512
"""Packets that wait for a boundary to be decided: over 10 s of sound."""


class SegmentSink(Protocol):
    """Receives what the segmenter cuts, in order; times are declared ticks."""

    def open_segment(self, boundary: Boundary, start: int, shift: int) -> None:
        """A segment begins; the one before was closed."""

    def move_start(self, start: int, shift: int) -> None:
        """The open segment, still empty, begins at `start` because `shift` changed."""

    def add_part(self, packets: Sequence[Packet], start: int, end: int, shift: int) -> None:
        """The open segment got a part; the last packet lasts until `end`."""

    def add_gap(self, start: int, end: int, shift: int) -> None:
        """The open segment got a part that has no media."""

    def close_segment(self, end: int) -> None:
        """The open segment is complete."""

    def restart(self) -> None:
        """What was listed is too old to be continued: forget it."""


class Segmenter:
    """Decides where parts and segments end."""

    def __init__(
        self,
        *,
        kind: Kind,
        grid: Grid,
        target: int,
        limit: int,
        longest_gap: int,
        sink: SegmentSink,
    ) -> None:
        """`target`: PART-TARGET; a segment stays below `limit`; all in ticks.

        A hole beyond `longest_gap` is not listed piece by piece: the list starts anew.
        """
        self._video = kind is Kind.VIDEO
        self._grid = grid
        self._target = target
        self._limit = limit
        self._longest_gap = longest_gap
        self._sink = sink
        self._pacer = Pacer()
        self._boundary: Boundary | None = None
        self._segment_start = 0
        self._segment_empty = True
        self._edge = 0
        self._shift = 0
        self._units: list[Packet] = []
        self._held: deque[Packet] = deque()
        self._last_dts: int | None = None
        self._nominal = 0
        self._needs_key = self._video
        self._gapped = False
        self._follows_grid = not self._video
        self.dropped = 0
        """Packets that had no place: before the first key frame, or in time already listed."""

    @property
    def boundary(self) -> Boundary | None:
        """The open segment's boundary, None before the first."""
        return self._boundary

    @property
    def edge(self) -> int:
        """Declared end of the last part; meaningful once `boundary` is set."""
        return self._edge

    @property
    def foreseen(self) -> int:
        """How much of what lies before `edge` was foreseen: the newest unit may end earlier."""
        if self._gapped or self._last_dts is None:
            return 0
        return max(0, self._edge - self._last_dts - _SHORTEST)

    @property
    def shift(self) -> int:
        """Presentation minus declared time."""
        return self._shift

    @property
    def collecting(self) -> bool:
        """Whether packets wait to become a part."""
        return bool(self._units or self._held)

    def set_format(self, fmt: TrackFormat) -> None:
        """Take over the nominal frame duration of a new format."""
        self._pacer.set_format(fmt)

    def push(self, packet: Packet) -> None:
        """Add an access unit; `dts` grows from call to call.

        One that would make the segment too long while the next boundary is undecided (sound,
        when pictures are late) is held; beyond `_MAX_HELD` the oldest is dropped and counted.
        """
        if self._continues(packet):
            nominal = self._pacer.see(packet)
            if nominal <= 2 * self._nominal:
                self._append(packet, nominal)
            else:
                self._place(packet, nominal)
            return
        self._held.append(packet)
        if len(self._held) > _MAX_HELD:
            self._held.popleft()
            self.dropped += 1
        self._drain()

    def _continues(self, packet: Packet) -> bool:
        """Whether `packet` plainly goes on with the open part, as nine out of ten do.

        Nothing is held, no boundary is decided, and a frame as long as the last two fits with
        room to spare: then none of the rules below has anything to say.
        """
        if not self._units or self._held:
            return False
        assert self._last_dts is not None
        assert self._boundary is not None
        step = packet.dts - self._last_dts
        room = packet.dts + 2 * self._nominal - self._edge
        return (
            0 < step <= 2 * self._nominal
            and room <= self._target
            and packet.dts + self._target - self._segment_start < self._limit
            and self._grid.after(self._boundary.msn) is None
        )

    def _drain(self) -> None:
        while self._held and not self._must_wait(self._held[0]):
            self._take(self._held.popleft())

    def _must_wait(self, packet: Packet) -> bool:
        if self._boundary is None:
            return False
        if self._grid.after(self._boundary.msn) is None:
            return self._too_long(packet, self._nominal)
        # Behind a hole: the packet may lie in a later segment, but not beyond the newest one.
        newest = self._grid.segment_at(packet.pts)
        if newest.msn <= self._boundary.msn or self._grid.after(newest.msn) is not None:
            return False
        end = packet.pts + min(self._nominal, self._target)
        return end - newest.start >= self._limit

    def _too_long(self, packet: Packet, nominal: int) -> bool:
        # The declared edge may be ahead of the source: a frame was shorter than foreseen.
        end = max(packet.dts + min(nominal, self._target), self._edge + 2 * _SHORTEST)
        return end - self._segment_start >= self._limit

    def _take(self, packet: Packet) -> None:
        if self._unwanted(packet):
            self.dropped += 1
            return
        self._place(packet, self._pacer.see(packet))

    def _place(self, packet: Packet, nominal: int) -> None:
        if self._boundary is None:
            self._shift = packet.pts - packet.dts
            self._edge = packet.dts
            self._open(self._grid.segment_at(packet.pts), packet.dts)
        else:
            self._make_room(packet, nominal)
            if self._segment_empty and not self._units and packet.key:
                self._set_shift(packet.pts - packet.dts)
        self._needs_key = False
        self._gapped = False
        self._append(packet, nominal)

    def _append(self, packet: Packet, nominal: int) -> None:
        self._units.append(packet)
        self._last_dts = packet.dts
        self._nominal = nominal
        if self._is_full():
            self._close_part(self._predicted_end())

    def flush(self) -> None:
        """Publish the open part as it is: its successor is late."""
        self._drain()
        if self._units:
            self._close_part(self._predicted_end())

    def fill_gap(self, until: int) -> None:
        """List the time up to presentation time `until` as missing, in whole parts.

        Video resumes at a key frame after it.
        """
        if self._boundary is None:
            return
        until -= self._shift
        if until <= (self._predicted_end() if self._units else self._edge):
            return
        self._drain()
        if self._units:
            end = self._predicted_end()
            self._close_part(until if until - end < _SHORT_HOLE else end)
        self._needs_key = self._video
        self._list_gap(until, whole=True)

    def end(self) -> None:
        """Close what is open."""
        self.flush()
        self.dropped += len(self._held)
        self._held.clear()
        if self._boundary is not None and not self._segment_empty:
            self._sink.close_segment(self._edge)
            self._segment_empty = True

    def next_starts_segment(self) -> Boundary | None:
        """Return the boundary that the next part is expected to start, if any."""
        if self._boundary is None or not self._follows_grid:
            return None
        following = self._grid.after(self._boundary.msn)
        if following is None:
            return None
        return following if self._reaches(following, self._edge) else None

    def _unwanted(self, packet: Packet) -> bool:
        if self._needs_key and not packet.key:
            return True
        if packet.dts < 0 or (self._last_dts is not None and packet.dts <= self._last_dts):
            return True
        if self._boundary is None:
            try:
                self._grid.segment_at(packet.pts)
            except LookupError:
                return True
            return False
        if self._gapped and self._declared(packet) < self._edge - TOLERANCE:
            return True
        if self._video and not packet.key:
            following = self._grid.after(self._boundary.msn)
            if following and following.discontinuity and packet.pts >= following.start:
                # The decoder is reset there: nothing before a key frame is of use.
                self._needs_key = True
                return True
        return False

    def _make_room(self, packet: Packet, nominal: int) -> None:
        """Close what has to end before `packet` and open what it starts."""
        boundary = self._segment_for(packet, nominal)
        starts = boundary is not None or self._gapped
        at = self._declared(packet) if starts else packet.dts
        end = at + min(nominal, self._target)
        crosses = end - self._edge > self._target
        if self._units and (boundary is not None or (crosses and not self._short(at))):
            self._close_part(at)
            crosses = end - self._edge > self._target
        exact = self._gapped or (crosses and boundary is not None)
        late = TOLERANCE if exact else self._target
        if not self._units and at - self._edge > late:
            self._list_gap(at)
        if boundary is not None:
            self._roll_to(boundary)
            if self._video:
                self._follows_grid = packet.key and abs(packet.pts - boundary.start) <= TOLERANCE

    def _declared(self, packet: Packet) -> int:
        """Where `packet` lies on the declared timeline, if it resumes or starts a segment.

        A new run may reorder differently: what has to join up is presentation time.
        """
        return packet.pts - self._shift if packet.key else packet.dts

    def _set_shift(self, shift: int) -> None:
        """Change the reorder delay with presentation time going on unbroken."""
        change, self._shift = shift - self._shift, shift
        if change:
            self._edge -= change
            self._segment_start = self._edge
            self._sink.move_start(self._edge, shift)

    def _segment_for(self, packet: Packet, nominal: int) -> Boundary | None:
        """Return the boundary at which `packet` starts a segment, None within the open one."""
        assert self._boundary is not None
        following = self._grid.after(self._boundary.msn)
        if following is None:
            return None
        overlong = self._too_long(packet, nominal)
        if packet.pts < following.start:
            return following if overlong else None
        if packet.key or overlong:
            return self._grid.segment_at(packet.pts)
        # No key frame yet: wait as long as this segment, and those after it that will start
        # equally late, stay below the limit.
        patience = self._limit - (following.start - self._boundary.start) - 2 * nominal
        return following if packet.pts - following.start >= patience else None

    def _is_full(self) -> bool:
        """Whether the next packet would cross PART-TARGET or start a segment."""
        end = self._predicted_end()
        if end + self._nominal - self._edge > self._target and not self._short(end):
            return True
        assert self._boundary is not None
        if not self._follows_grid:
            return False
        following = self._grid.after(self._boundary.msn)
        if following is None or not self._reaches(following, end):
            return False
        # Where the edge is there already, a picture was shorter than foreseen: one part is left.
        return not self._reaches(following, self._edge)

    def _short(self, end: int) -> bool:
        """Whether the open part may not end at `end` yet: it goes on, up to PART-TARGET."""
        return self._video and end - self._edge < _LEAST * self._target

    def _reaches(self, boundary: Boundary, end: int) -> bool:
        slack = TOLERANCE // 2 if self._video else 0
        return end + self._shift >= boundary.start - slack

    def _predicted_end(self) -> int:
        return self._capped(self._units[-1].dts + self._nominal)

    def _capped(self, end: int) -> int:
        """Keep the end of a part within PART-TARGET and its segment within the limit."""
        latest = min(self._edge + self._target, self._latest_end())
        return max(min(end, latest), self._edge + _SHORTEST)

    def _latest_end(self) -> int:
        return self._segment_start + self._limit - _SHORTEST

    def _close_part(self, end: int) -> None:
        end = self._capped(end)
        packets, self._units = self._units, []
        self._segment_empty = False
        start, self._edge = self._edge, end
        self._sink.add_part(packets, start, end, self._shift)

    def _list_gap(self, until: int, *, whole: bool = False) -> None:
        """List `[edge, until)` as GAP parts, opening segments at their boundaries.

        `whole`: leave a remainder shorter than a part for later.
        """
        assert self._boundary is not None
        if until - self._edge > self._longest_gap:
            self._skip_ahead(until - self._longest_gap)
        while True:
            following = self._grid.after(self._boundary.msn)
            segment_end = None if following is None else following.start - self._shift
            # An undecided boundary cannot be passed: the rest is listed when it is decided.
            stop = until if segment_end is None else min(until, segment_end)
            self._gap_parts(stop, whole=whole and stop != segment_end)
            if following is None or segment_end is None or segment_end > until:
                break
            self._roll_to(following)
        self._gapped = True

    def _gap_parts(self, stop: int, *, whole: bool) -> None:
        stop = min(stop, self._latest_end())
        smallest = self._target if whole else TOLERANCE
        while stop - self._edge >= smallest:
            start, self._edge = self._edge, min(stop, self._edge + self._target)
            self._segment_empty = False
            self._sink.add_gap(start, self._edge, self._shift)

    def _skip_ahead(self, ticks: int) -> None:
        boundary = self._grid.segment_at(ticks + self._shift)
        assert self._boundary is not None
        if boundary.msn <= self._boundary.msn:
            return
        self._sink.restart()
        self._edge = boundary.start - self._shift
        self._open(boundary, self._edge)

    def _roll_to(self, boundary: Boundary) -> None:
        """Close the open segment and open `boundary`; what lies between is listed as GAP."""
        assert self._boundary is not None
        while self._boundary.msn < boundary.msn:
            following = self._grid.after(self._boundary.msn) or boundary
            self._sink.close_segment(self._edge)
            self._open(following, self._edge)
            if following.msn < boundary.msn:
                after = self._grid.after(following.msn) or boundary
                self._gap_parts(after.start - self._shift, whole=False)

    def _open(self, boundary: Boundary, start: int) -> None:
        self._boundary = boundary
        self._segment_start = start
        self._segment_empty = True
        self._sink.open_segment(boundary, start, self._shift)
