"""The cues of a running show, as its renditions carry them.

One feed belongs to one show clock. It implements `media.hls.seams.TimedMetadata`; everything
runs on the event loop, nothing blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from overlay.carriers.daterange import date_range
from overlay.carriers.emsg import cue_event
from overlay.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from overlay.entry import Entry
    from overlay.meter import OverlayMeter
    from overlay.seams import ShowClock

LIST_AHEAD_MS = 30_000
"""A scheduled cue is listed this long before the playlist's edge reaches it."""
SHOW_TICKS_PER_SECOND = 90_000
LAG_MS = 120_000
"""No rendition's window begins so much earlier than another's."""
KEEP_PLACEMENTS = 1000
KEEP_AWAITED = 200
SILENT_AFTER_S = 10.0
"""A rendition that rendered no playlist for so long is not waited for."""


@dataclass(slots=True)
class _Track:
    """What one rendition has carried."""

    due: dict[int, Entry] = field(default_factory=dict)
    """Entries not yet emitted, by `seq`."""
    end: int = 0
    """End of its last closed part, in show ticks."""


@dataclass(slots=True)
class _Awaited:
    entry: Entry
    revision: int
    accepted_s: float


class CueFeed:
    """Implements `TimedMetadata` for one show of one stream."""

    def __init__(
        self,
        *,
        stream: str,
        timeline: Timeline,
        clock: ShowClock,
        meter: OverlayMeter,
        now_s: Callable[[], float],
    ) -> None:
        """`timeline` is shared with the service, which tells the feed of growth by `added`.

        `now_s`: a monotonic clock in seconds.
        """
        self._stream = stream
        self._timeline = timeline
        self._clock = clock
        self._meter = meter
        self._now_s = now_s
        self._revision = 1
        self._tracks: dict[str, _Track] = {}
        self._placements: OrderedDict[int, dict[str, tuple[int, int]]] = OrderedDict()
        self._rendered: dict[str, tuple[int, float]] = {}
        self._awaited: list[_Awaited] = []
        self._listable = timeline.entries()
        self._lines: dict[int, tuple[bool, str]] = {}
        self._edge_ms = 0

    @property
    def revision(self) -> int:
        """A number that grows with the log."""
        return self._revision

    def added(self, entries: Iterable[Entry], *, accepted_s: float | None = None) -> None:
        """Hear of entries that the timeline has just got.

        `accepted_s`: when the producer's request came in, on `now_s`; None where nobody waits.
        """
        self._revision += 1
        for entry in entries:
            self._listable.append(entry)
            for track in self._tracks.values():
                track.due[entry.seq] = entry
            if accepted_s is not None and len(self._awaited) < KEEP_AWAITED:
                self._awaited.append(
                    _Awaited(entry=entry, revision=self._revision, accepted_s=accepted_s)
                )

    def date_ranges(self, start_ms: int, end_ms: int) -> list[str]:
        """Return the tags that belong into a playlist of this window of program date-time.

        A revision is listed from 30 s before its time until it no longer overlaps the window;
        one that was cut short leaves when it was cut, so that no late joiner takes it for live.
        """
        self._edge_ms = max(self._edge_ms, end_ms)
        lines = []
        gone = False
        for entry in self._listable:
            if entry.effective_ms > end_ms + LIST_AHEAD_MS:
                continue
            until = self._timeline.valid_until(entry)
            gone = gone or until < start_ms - LAG_MS
            if until >= start_ms and not self._timeline.moot(entry):
                lines.append(self._line(entry))
        if gone:
            # A revision's end only ever comes nearer: what has left the window stays out.
            self._listable = [
                entry
                for entry in self._listable
                if self._timeline.valid_until(entry) >= start_ms - LAG_MS
            ]
        return lines

    def take_events(
        self, rendition: str, *, start: int, end: int, timescale: int, msn: int, part: int
    ) -> bytes:
        """Return the boxes of a part that covers `[start, end)` show ticks, and note where.

        Every revision rides once per rendition: in the part that holds its effective time, or,
        where that is published already, in this one, at its first moment.
        """
        track = self._tracks.get(rendition)
        if track is None:
            track = self._tracks[rendition] = _Track(due=self._due_at(start))
        track.end = end
        if not track.due:
            return b""
        boxes: list[tuple[int, bytes]] = []
        for seq, entry in list(track.due.items()):
            effective = self._clock.ticks(entry.effective_ms)
            if self._timeline.moot(entry):
                del track.due[seq]
            elif effective < end:
                del track.due[seq]
                moment = max(effective, start)
                boxes.append(
                    (
                        moment,
                        cue_event(
                            entry,
                            timescale=timescale,
                            presentation_time=moment * timescale // SHOW_TICKS_PER_SECOND,
                            late_ms=(moment - effective) * 1000 // SHOW_TICKS_PER_SECOND,
                        ),
                    )
                )
                self._placements.setdefault(seq, {})[rendition] = (msn, part)
        while len(self._placements) > KEEP_PLACEMENTS:
            self._placements.popitem(last=False)
        boxes.sort(key=itemgetter(0))  # Stable: within one moment the order of the log.
        return b"".join(box for _, box in boxes)

    def rendered(self, rendition: str, revision: int) -> None:
        """Hear that a playlist of `rendition` with the tags of `revision` became servable."""
        now = self._now_s()
        self._rendered[rendition] = (revision, now)
        if not self._awaited:
            return
        everywhere = min(
            known for known, seen in self._rendered.values() if now - seen <= SILENT_AFTER_S
        )
        waiting = []
        for awaited in self._awaited:
            if awaited.entry.effective_ms > self._edge_ms + LIST_AHEAD_MS:
                continue  # Not due in any playlist yet: its delay is the producer's wish.
            if awaited.revision <= everywhere:
                self._meter.cue_listed(self._stream, now - awaited.accepted_s)
            else:
                waiting.append(awaited)
        self._awaited = waiting

    def placement(self, entry: Entry) -> dict[str, tuple[int, int]]:
        """Return, per rendition, the (media sequence number, part) that carries the event."""
        return dict(self._placements.get(entry.seq, ()))

    def carried_until(self, rendition: str) -> int | None:
        """Return the end of the last part that asked for events, in ticks; None for none yet."""
        track = self._tracks.get(rendition)
        return None if track is None else track.end

    def prune(self) -> None:
        """Drop what the timeline has forgotten."""
        kept = {entry.seq for entry in self._timeline.entries()}
        self._listable = [entry for entry in self._listable if entry.seq in kept]
        self._lines = {seq: line for seq, line in self._lines.items() if seq in kept}
        for track in self._tracks.values():
            track.due = {seq: entry for seq, entry in track.due.items() if seq in kept}

    def _due_at(self, start: int) -> dict[int, Entry]:
        """Return what a rendition that begins at `start` still has to carry.

        What is active then, for the viewer who joins there, and all that lies ahead.
        """
        start_ms = self._clock.utc_ms(start)
        due = {entry.seq: entry for entry in self._timeline.active(start_ms)}
        for entry in self._timeline.entries():
            if self._clock.ticks(entry.effective_ms) >= start:
                due[entry.seq] = entry
        return dict(sorted(due.items()))

    def _line(self, entry: Entry) -> str:
        successor = self._timeline.successor(entry)
        cached = self._lines.get(entry.seq)
        if cached is not None and cached[0] == (successor is not None):
            return cached[1]
        line = date_range(entry, successor)
        self._lines[entry.seq] = (successor is not None, line)
        return line
