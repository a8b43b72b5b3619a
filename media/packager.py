"""Cuts a show into segments: packets on the show clock in, boundaries and renditions out.

It decides where segments start, which formats they have and what the ladder makes of them. The
encoder's own pictures and AAC sound go straight to their renditions, the rest comes back from
the worker (`media.ladder`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.grid import GridRule, SegmentGrid
from media.hls import rules
from media.hls.segmenter import TOLERANCE
from media.lineup import AUDIO, PATIENCE_SOURCE, SOURCE, Lineup
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import HlsSettings, LadderSettings
    from media.ladder import Ladder
    from media.meter import MediaMeter
    from media.run import Run
    from media.tap import PacketTap

VIDEO_WAIT = TICKS_PER_SECOND // 2
"""Sound waits this long for pictures to be announced before it starts the show alone."""
KEY_WAIT = 4 * TICKS_PER_SECOND
"""Sound waits this long for the announced pictures' first key frame."""
LONG_GOP_CUTS = 2
"""Segments in a row cut without a key frame after which the source is re-encoded."""


class Packager:
    """Feeds the renditions of one show. All methods run on the event loop."""

    def __init__(
        self,
        *,
        stream: str,
        grid: SegmentGrid,
        lineup: Lineup,
        ladder: Ladder,
        hls: HlsSettings,
        settings: LadderSettings,
        meter: MediaMeter,
        on_started: Callable[[], None],
        tap: PacketTap,
    ) -> None:
        """`on_started`: called when a run's media flows."""
        self.stream = stream
        self.grid = grid
        self.lineup = lineup
        self.ladder = ladder
        self.segment = hls.segment_ms * TICKS_PER_SECOND // 1000
        """Wanted length of a segment, in ticks."""
        self.formats: dict[Kind, TrackFormat] = {}
        """What the encoder sends now."""
        self._settings = settings
        self._meter = meter
        self._on_started = on_started
        self._tap = tap
        self._rule = GridRule(segment=self.segment, longest=safe_segment(hls.segment_ms))
        self._limit = rules.longest_segment(rules.target_duration_s(hls.segment_ms))
        self._passthrough = settings.passthrough
        self._reset_decoders = False
        self._owed_discontinuity = False
        """Formats changed where no segment could start: the next one starts with it."""
        self._hole = False
        """Nothing comes: what came before has been ended with a boundary of its own."""
        self._decoded: dict[Kind, TrackFormat] = {}
        """What decoders were last set up for."""
        self._cuts_without_key = 0

    @property
    def passthrough(self) -> bool:
        """Whether the encoder's own pictures are the source rung."""
        return self._passthrough

    def begin(self) -> None:
        """Forget what was measured of the run before: the next packets are another encoder's."""
        self._rule.restart()
        self._cuts_without_key = 0
        if self._passthrough != self._settings.passthrough:
            self._passthrough = self._settings.passthrough
            self._reset_decoders = True

    def take(self, run: Run, packet: Packet) -> None:
        """Take one access unit of `run` on the show clock."""
        self._hole = False
        if packet.kind is Kind.VIDEO:
            self._push_video(run, packet)
        else:
            self._push_audio(run, packet)

    # ── pictures ─────────────────────────────────────────────────────────────────────────────

    def _push_video(self, run: Run, packet: Packet) -> None:
        if packet.key and Kind.VIDEO in run.formats:
            self._saw_key(packet.pts)
            if not run.video_started or run.changed:
                self._start_video(run, packet.pts)
        if not run.video_started:
            return
        self._advance_by_picture(run, packet)
        self._tap.packet(packet)
        if self._passthrough:
            self.lineup.push(SOURCE, packet)
        self.ladder.push(packet)

    def _saw_key(self, pts: int) -> None:
        self._rule.saw_key(pts)
        if self._rule.key_interval:
            self._meter.keyframe_interval(self.stream, self._rule.key_interval / TICKS_PER_SECOND)

    def _start_video(self, run: Run, pts: int) -> None:
        """Begin a segment in every rendition at a run's, or a new format's, first key frame."""
        run.video_started = True
        changed = any(
            known != run.formats.get(kind, known) for kind, known in self._decoded.items()
        )
        discontinuity = changed or self._reset_decoders
        self._reset_decoders = False
        last = self.grid.last
        if last is None or pts > last.start:
            self._add_boundary(pts, discontinuity=discontinuity)
        else:
            self._owed_discontinuity |= discontinuity
        if self.lineup.get(SOURCE) is not None:
            self.lineup.hold([SOURCE])
        self._apply_formats(run)

    def _advance_by_picture(self, run: Run, packet: Packet) -> None:
        """Add the boundaries that a picture reaches."""
        last = self.grid.last
        if last is None or packet.pts <= last.start:
            return
        if not self._passthrough:
            self.advance_to(packet.pts - self.segment)
        elif packet.key and (
            self.lineup.waits(SOURCE) or self._rule.key_starts_segment(packet.pts, last.start)
        ):
            self._cuts_without_key = 0
            self._add_boundary(packet.pts)
        elif self._rule.must_cut(packet.pts, last.start):
            self._cut_without_key(run, packet.pts)

    def _cut_without_key(self, run: Run, pts: int) -> None:
        """End a segment that got too long: its successor cannot be decoded on its own."""
        self._cuts_without_key += 1
        reencode = self._cuts_without_key >= LONG_GOP_CUTS and self._settings.enabled
        self.advance_to(pts - self._limit)
        last = self.grid.last
        if reencode or last is None or self._rule.must_cut(pts, last.start):
            self._add_boundary(pts, discontinuity=reencode)
        if reencode:
            self._passthrough = False
            self._apply_formats(run)

    # ── sound ────────────────────────────────────────────────────────────────────────────────

    def _push_audio(self, run: Run, packet: Packet) -> None:
        announced = run.formats.get(Kind.AUDIO)
        if announced is None or not (run.started or self._start_sound(run, packet.dts)):
            return
        if self.formats.get(Kind.AUDIO) != announced:
            known = self._decoded.get(Kind.AUDIO)
            if known is not None and known != announced:
                if run.video_started:
                    return  # the new parameters begin with the next key frame
                last = self.grid.last
                if last is None or packet.dts > last.start:
                    self._add_boundary(packet.dts, discontinuity=True)
            self._apply_formats(run)
        # With pictures the grid is theirs, unless they stop coming.
        late = PATIENCE_SOURCE if run.video_started else 0
        self.advance_to(packet.dts - self.segment - late)
        self._tap.packet(packet)
        if packet.codec is Codec.AAC:
            self.lineup.push(AUDIO, packet)
        else:
            self.ladder.push(packet)

    def _start_sound(self, run: Run, dts: int) -> bool:
        """Start the show with sound alone once it is clear that no picture will come."""
        assert run.first is not None
        if dts - run.first < (KEY_WAIT if Kind.VIDEO in run.formats else VIDEO_WAIT):
            return False
        last = self.grid.last
        if last is None or dts > last.start:
            known = self._decoded.get(Kind.AUDIO)
            changed = known is not None and known != run.formats[Kind.AUDIO]
            self._add_boundary(dts, discontinuity=changed)
        self._apply_formats(run)
        return True

    # ── boundaries and formats ───────────────────────────────────────────────────────────────

    def _add_boundary(self, start: int, *, discontinuity: bool = False) -> None:
        """Start a segment at `start`, and regular ones before it where one would be too long."""
        self.advance_to(start - self._limit)
        discontinuity = discontinuity or self._owed_discontinuity
        self._owed_discontinuity = False
        self.grid.add(start, discontinuity=discontinuity)
        if discontinuity:
            self._meter.discontinuity(self.stream)
        self.ladder.boundary(start)

    def advance_to(self, limit: int) -> None:
        """Add regular boundaries as long as the newest one is at or before `limit`."""
        while (last := self.grid.last) is not None and last.start <= limit:
            self._add_boundary(last.start + self.segment)

    def _apply_formats(self, run: Run) -> None:
        """Bring renditions and ladder in line with what the encoder sends."""
        run.changed = False
        video = run.formats.get(Kind.VIDEO) if run.video_started else None
        audio = run.formats.get(Kind.AUDIO)
        self.formats = {f.kind: f for f in (video, audio) if f is not None}
        self._decoded |= self.formats
        self._tap.formats(list(self.formats.values()))
        last = self.grid.last
        coded = self.ladder.replan(
            video,
            audio,
            passthrough=self._passthrough,
            newest_boundary=last.start if last is not None else None,
        )
        passed = []
        if video is not None and self._passthrough:
            self.lineup.open(SOURCE, Kind.VIDEO).set_format(video)
            passed.append(SOURCE)
        if audio is not None and audio.codec is Codec.AAC:
            self.lineup.open(AUDIO, Kind.AUDIO).set_format(audio)
            passed.append(AUDIO)
        self.lineup.feed(encoder=passed, worker=coded)
        if not run.started:
            run.started = True
            self._on_started()

    def end_before_hole(self, now: int) -> None:
        """End the segment where media ends: with the hole in it, it would not be worth loading."""
        last = self.grid.last
        if self._hole or last is None:
            return
        self._hole = True
        self.lineup.flush(now)
        edge = self.lineup.edge()
        if edge is not None and edge > last.start + TOLERANCE:
            self._add_boundary(edge)


def safe_segment(segment_ms: int) -> int:
    """Ticks that still round to TARGETDURATION (4.4.3.1), less a frame at 20 fps for safety."""
    target_s = (segment_ms + 500) // 1000
    return target_s * TICKS_PER_SECOND + TICKS_PER_SECOND * 9 // 20
