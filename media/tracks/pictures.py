"""An encoder's further video tracks: renditions as they came, where they fit the main track's.

The main track (0) decides where segments start. A further track is used while its key frames lie
there too; one that misses two boundaries in a row is given up for the rest of the run, and the
ladder makes its rendition instead. Tracks join and leave where a segment starts, so no viewer
gets a segment of two sources.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from media.diagnosis import sentences
from media.diagnosis.findings import Code, Severity
from media.lineup import fits_hls, plays
from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat
from media.transcode.plan import square_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from media.diagnosis.findings import Findings
    from media.grid import Boundary, SegmentGrid
    from media.lineup import Lineup
    from media.meter import MediaMeter
    from media.realtime_source import RealtimeSource

log = structlog.get_logger(__name__)

MISSES = 2
"""Boundaries in a row without a key frame of its own after which a track is given up."""
WAIT = TICKS_PER_SECOND
"""How long a picture waits for the main track's picture of its time."""
MAX_PACKETS = 512
MAX_BYTES = 16 * 2**20
"""Bounds of what waits."""
MAX_NAMES = 16
"""Renditions of a show that tracks have fed: they stay listed, and rungs go on in them."""
USUAL_FRAME = TICKS_PER_SECOND // 30
LONGEST_FRAME = TICKS_PER_SECOND // 10


@dataclass(slots=True, kw_only=True)
class _Track:
    number: int
    announced: TrackFormat
    format: TrackFormat | None = None
    """Of the pictures on air."""
    name: str | None = None
    """Rendition that it feeds."""
    told: bool = False
    """The rendition knows the format."""
    since: int | None = None
    """Media sequence number of the first segment that it has to feed; None until it starts."""
    begun: int = -1
    """Media sequence number of the newest segment that began with a key frame of its own."""
    missed: int = 0
    given_up: bool = False
    refused: bool = False
    """There is no rendition for it any more."""

    def leave(self) -> None:
        self.name = self.format = None
        self.told = False
        self.since = None
        self.begun = -1
        self.missed = 0


class PictureTracks:
    """See the module's docstring. All methods run on the event loop, times are show ticks.

    `on_air`: whether the encoder's pictures are on air; `now_ms`: UTC of the show clock.
    """

    def __init__(
        self,
        *,
        stream: str,
        enabled: bool,
        grid: SegmentGrid,
        lineup: Lineup,
        findings: Findings,
        meter: MediaMeter,
        on_air: Callable[[], bool],
        now_ms: Callable[[], int],
        realtime: RealtimeSource,
    ) -> None:
        self._stream = stream
        self._enabled = enabled
        self._grid = grid
        self._lineup = lineup
        self._findings = findings
        self._meter = meter
        self._on_air = on_air
        self._now_ms = now_ms
        self._realtime = realtime
        self._tracks: dict[int, _Track] = {}
        self._opened: set[str] = set()
        """Every rendition that a track of the show has fed."""
        self._waiting: deque[Packet] = deque()
        self._waiting_bytes = 0
        self._main: int | None = None
        """Decoding time of the main track's newest picture."""
        self._frame = USUAL_FRAME
        self._passing = False
        self._seen = -1
        """Media sequence number of the newest boundary that was looked at."""
        self.stale = False
        """Other tracks should feed renditions: start a segment with the next key frame."""

    # ── the encoder ──────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Forget the run before."""
        for track in self._tracks.values():
            if track.name is not None:
                self._lineup.hold([track.name])
                self._realtime.track_gone(track.name)
        self._tracks.clear()
        self._forget_waiting()
        self._main = None
        self.stale = False
        self._findings.clear(Code.TRACKS_MISALIGNED)

    def set_format(self, number: int, track_format: TrackFormat) -> None:
        """Note a further track's parameters; they take effect where a segment starts."""
        if not self._enabled or not fits_hls(track_format):
            return
        track = self._tracks.get(number)
        if track is None:
            self._tracks[number] = _Track(number=number, announced=track_format)
        elif track.announced != track_format:
            track.announced = track_format
            track.refused = False
            if track.name is not None:
                self._interrupt(track, track.name)
                self.stale = True

    def drop(self, number: int) -> None:
        """Note that the encoder ended a track; the ladder makes its rendition from then on."""
        track = self._tracks.pop(number, None)
        if track is not None and track.name is not None:
            self._lineup.hold([track.name])
            self._realtime.track_gone(track.name)
            self.stale = True

    def push(self, packet: Packet) -> None:
        """Take a picture of a further track; it waits for the main track's of the same time."""
        if packet.track not in self._tracks:
            return
        self._waiting.append(packet)
        self._waiting_bytes += len(packet.payload)
        self._release()
        while self._waiting and (
            len(self._waiting) > MAX_PACKETS
            or self._waiting_bytes > MAX_BYTES
            or packet.dts - self._waiting[0].dts > WAIT
        ):
            self._lose(self._next_waiting())

    def _lose(self, packet: Packet) -> None:
        track = self._tracks.get(packet.track)
        if track is not None and track.name is not None and self._on_air():
            self._meter.dropped(self._stream, "tracks", 1)
            self._interrupt(track, track.name)

    def follow(self, packet: Packet) -> None:
        """Note a picture of the main track that was taken: what waited for it goes on."""
        if self._main is not None and 0 < packet.dts - self._main <= LONGEST_FRAME:
            self._frame = packet.dts - self._main
        self._main = packet.dts
        last = self._grid.last
        for track in self._tracks.values():
            if track.since is None and track.name is not None and last is not None:
                track.since = last.msn
        self._release()
        self._look()

    # ── which renditions they feed ───────────────────────────────────────────────────────────

    def start(self, *, passing: bool) -> bool:
        """Choose who feeds what from the next boundary on.

        `passing`: the encoder's pictures are passed through. True where decoders of a rendition
        that has been played have to be set up anew.
        """
        self.stale = False
        self._passing = passing
        before = self.names
        for track in self._tracks.values():
            track.leave()
        if passing and self._on_air():
            for number in sorted(self._tracks):
                self._join(self._tracks[number])
        for name in sorted(before - self.names):
            self._realtime.track_gone(name)
        played = {name for name in before - self.names if self._edge(name) is not None}
        return bool(played) or any(map(self._changes, self._tracks.values()))

    def _changes(self, track: _Track) -> bool:
        rendition = self._lineup.get(track.name) if track.name is not None else None
        if rendition is None or rendition.edge is None:
            return False
        return rendition.format != track.format

    def _edge(self, name: str) -> int | None:
        rendition = self._lineup.get(name)
        return rendition.edge if rendition is not None else None

    def _join(self, track: _Track) -> None:
        if track.given_up or track.refused:
            return
        name = self._free_name(track.announced)
        if name not in self._opened and len(self._opened) >= MAX_NAMES:
            track.refused = True
            log.warning("track without a rendition", stream=self._stream, track=track.number)
            return
        self._opened.add(name)
        track.format = track.announced
        track.name = name
        self._lineup.open(track.name, Kind.VIDEO)
        self._lineup.hold([track.name])

    def _free_name(self, track_format: TrackFormat) -> str:
        """Name a rendition by its lines; of two with the same lines the second is `720p-2`."""
        lines = short_side(track_format)
        taken = {track.name for track in self._tracks.values()}
        name, number = f"{lines}p", 1
        while name in taken or not self._suits(name, track_format):
            number += 1
            name = f"{lines}p-{number}"
        return name

    def _suits(self, name: str, track_format: TrackFormat) -> bool:
        """Whether those who chose the rendition by its CODECS can decode these pictures."""
        known = self._lineup.offered(name)
        return known is None or plays(known, track_format)

    @property
    def names(self) -> set[str]:
        """The renditions that further tracks feed."""
        return {track.name for track in self._tracks.values() if track.name is not None}

    def used_as(self, number: int) -> str | None:
        """Return the rendition that a track feeds."""
        track = self._tracks.get(number)
        return track.name if track is not None else None

    # ── pictures ─────────────────────────────────────────────────────────────────────────────

    def _release(self) -> None:
        while self._main is not None and self._waiting and self._waiting[0].dts <= self._main:
            packet = self._next_waiting()
            track = self._tracks.get(packet.track)
            if track is not None and self._grid.last is not None:
                self._take(track, packet)

    def _take(self, track: _Track, packet: Packet) -> None:
        boundary = self._boundary_at(packet)
        if track.name is None:
            # The worker feeds its rendition still; once it fits it takes over.
            fits = boundary is not None and not (track.given_up or track.refused)
            self.stale |= fits and self._passing and self._on_air()
            return
        if track.announced is not track.format:
            return
        if boundary is not None:
            track.begun = boundary.msn
            # A segment starts at its boundary, not some milliseconds before it.
            packet = replace(packet, pts=max(packet.pts, boundary.start))
            if not track.told and track.format is not None:
                track.told = True
                self._lineup.set_format(track.name, track.format)
                self._realtime.track_format(track.name, track.format)
        else:
            segment = self._grid.segment_at(packet.pts)
            late = packet.pts - segment.start > self._frame
            if track.begun < segment.msn - (0 if late else 1):
                self._interrupt(track, track.name)
        if track.since is not None and track.begun >= track.since:
            self._realtime.track_packet(track.name, packet)
            self._lineup.push(track.name, packet)

    def _boundary_at(self, packet: Packet) -> Boundary | None:
        """Return the boundary that a key frame lies on, as exactly as a frame lasts."""
        if not packet.key:
            return None
        boundary = self._grid.segment_at(packet.pts + self._frame // 2)
        return boundary if abs(packet.pts - boundary.start) <= self._frame else None

    def _interrupt(self, track: _Track, name: str) -> None:
        """Take no more pictures of a track until a key frame starts a segment."""
        track.begun = -1
        self._lineup.hold([name])

    def _look(self) -> None:
        """Judge the tracks when a segment is complete; give up those that do not fit."""
        last = self._grid.last
        if last is None or last.msn == self._seen:
            return
        complete = range(max(self._seen, 0), last.msn)
        self._seen = last.msn
        lost = []
        for track in self._tracks.values():
            for msn in complete:
                if track.since is not None and msn >= track.since:
                    track.missed = 0 if track.begun >= msn else track.missed + 1
            if track.missed >= MISSES:
                lost.append(track)
        for track in lost:
            self._give_up(track)

    def _give_up(self, track: _Track) -> None:
        assert track.name is not None
        log.warning("track given up", stream=self._stream, track=track.number, used_as=track.name)
        self._lineup.hold([track.name])
        self._realtime.track_gone(track.name)
        track.leave()
        track.given_up = True
        self.stale = True
        numbers = sorted(t.number for t in self._tracks.values() if t.given_up)
        text = sentences.tracks_misaligned(numbers)
        self._findings.report(Code.TRACKS_MISALIGNED, Severity.WARNING, text, now_ms=self._now_ms())

    def _next_waiting(self) -> Packet:
        packet = self._waiting.popleft()
        self._waiting_bytes -= len(packet.payload)
        return packet

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0


def short_side(track_format: TrackFormat) -> int:
    """Lines of a landscape picture, the short side of a portrait one; always even."""
    short = min(square_pixels(track_format))
    return short - short % 2
