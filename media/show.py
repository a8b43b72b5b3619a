"""One broadcast of a stream: from its first publisher until its grace has run out.

A show owns a clock, a grid of segment boundaries, the renditions and the transcoder. Packets of
the encoder come in by `push`; the source rung and AAC sound go straight to their renditions, the
rest comes back from the worker (`media.ladder`). Whatever fails on one side leaves holes in
its renditions (EXT-X-GAP), never in the line of media sequence numbers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from media import findings
from media.findings import Findings, Severity
from media.grid import GridRule, SegmentGrid
from media.hls import rules
from media.hls.rendition import Rendition
from media.hls.segmenter import TOLERANCE
from media.ladder import Ladder
from media.lineup import AUDIO, PATIENCE_IDLE, PATIENCE_SOURCE, SOURCE, Lineup
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat
from media.run import Run
from media.settling import Settling
from media.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import HlsSettings, LadderSettings
    from media.clock import ShowClock
    from media.hls.seams import TimedMetadata
    from media.ladder import Encoders
    from media.meter import MediaMeter
    from media.transcode.process import RungSink

log = structlog.get_logger(__name__)

TICK_S = 0.1
VIDEO_WAIT = TICKS_PER_SECOND // 2
"""Sound waits this long for pictures to be announced before it starts the show alone."""
KEY_WAIT = 4 * TICKS_PER_SECOND
"""Sound waits this long for the announced pictures' first key frame."""
LADDER_WAIT = 5 * TICKS_PER_SECOND
"""A rung that has not started by then is missing in the first multivariant playlists."""
HESITATION = TICKS_PER_SECOND
"""An encoder whose link hiccups is back within this; its open parts wait."""
SILENCE_SEGMENTS = 2
"""A publisher silent for this many segments is given up until its next key frame."""
LONG_GOP_CUTS = 2
"""Segments in a row cut without a key frame after which the source is re-encoded."""


class Show:
    """See the module's docstring. All methods run on the event loop."""

    def __init__(
        self,
        *,
        stream: str,
        run_id: str,
        hls: HlsSettings,
        ladder: LadderSettings,
        clock: ShowClock,
        metadata: TimedMetadata,
        meter: MediaMeter,
        encoders: Callable[[RungSink], Encoders],
        on_started: Callable[[], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.stream = stream
        self.clock = clock
        self.grid = SegmentGrid()
        self.findings = Findings()
        self.lineup = Lineup(
            self.grid,
            lambda name, kind: Rendition(
                stream=stream,
                name=name,
                kind=kind,
                settings=hls,
                clock=clock,
                grid=self.grid,
                metadata=metadata,
                run_id=run_id,
                meter=meter,
                now_ns=now_ns,
            ),
        )
        self.ended = False
        self._hls = hls
        self._settings = ladder
        self.ladder = Ladder(stream=stream, settings=ladder, lineup=self.lineup, make=encoders)
        self._meter = meter
        self._now_ns = now_ns
        self._on_started = on_started
        self._segment = hls.segment_ms * TICKS_PER_SECOND // 1000
        self._rule = GridRule(segment=self._segment, longest=safe_segment(hls.segment_ms))
        self._limit = rules.longest_segment(rules.target_duration_s(hls.segment_ms))
        self._passthrough = ladder.passthrough
        self._reset_decoders = False
        self._owed_discontinuity = False
        """Formats changed where no segment could start: the next one starts with it."""
        self._newest = 0
        """Presentation time of the newest packet of all runs."""
        self._heard = 0
        """When the newest packet of all runs arrived."""
        self._hole = False
        """Nothing comes: what came before has been ended with a boundary of its own."""
        self._formats: dict[Kind, TrackFormat] = {}
        """What the encoder sends now."""
        self._decoded: dict[Kind, TrackFormat] = {}
        """What decoders were last set up for."""
        self._run: Run | None = None
        self._cuts_without_key = 0
        self._ready_at: int | None = None

    # ── one publisher after the other ────────────────────────────────────────────────────────

    @property
    def now(self) -> int:
        """Show time of this moment, in ticks."""
        return self.clock.now(self._now_ns())

    @property
    def on_air(self) -> bool:
        """Whether a publisher's media flows."""
        return self._run is not None and self._run.started

    @property
    def lead(self) -> int:
        """Ticks by which the publisher is ahead of real time."""
        timeline = self._run.timeline if self._run is not None else None
        return timeline.lead if timeline is not None else 0

    def begin_run(self, *, protocol: str, wrap_ticks: int) -> None:
        """Start mapping a new publisher; a run in progress ends."""
        self.end_run()
        settling = Settling(self.clock.now)
        self._run = Run(protocol=protocol, wrap_ticks=wrap_ticks, settling=settling)
        self._rule.restart()
        self._cuts_without_key = 0
        if self._passthrough != self._settings.passthrough:
            self._passthrough = self._settings.passthrough
            self._reset_decoders = True

    def end_run(self) -> None:
        """Note that the publisher left: what it sent is published, then come gaps."""
        if self._run is not None:
            self._run.report(self._meter, self.stream)
        self._run = None

    def set_format(self, track_format: TrackFormat) -> None:
        """Note a track's parameters; they take effect at its next key frame."""
        run = self._run
        if run is not None and run.formats.get(track_format.kind) != track_format:
            run.formats[track_format.kind] = track_format
            run.changed = True

    def drop_track(self, kind: Kind) -> None:
        """Note that the encoder ended a track; the other goes on alone."""
        run = self._run
        if run is None or kind not in run.formats:
            return
        del run.formats[kind]
        if kind is Kind.VIDEO:
            run.video_started = False

    def push(self, packet: Packet) -> None:
        """Take one access unit in the encoder's time."""
        run = self._run
        if run is None or self.ended:
            return
        run.received(packet.kind, len(packet.payload))
        if run.timeline is not None:
            self._take(run, run.timeline, packet)
        elif run.settling is not None:
            run.settling.hold(packet)
            self._settle(run)

    def _settle(self, run: Run) -> None:
        """Place the run on the show clock once its first packets tell how late they came."""
        if run.settling is None or not run.settling.due(self.now):
            return
        packets, late = run.settling.release()
        run.settling = None
        last = self.grid.last
        timeline = run.timeline = Timeline(
            clock=self.clock,
            wrap_ticks=run.wrap_ticks,
            # Open parts reach beyond the edge: what lies before their end would be dropped.
            floor=max(self.lineup.edge() or 0, last.start + 1 if last else 0, self._newest + 1),
            repaired=lambda reason: self._meter.repaired(self.stream, reason.value),
            late=late,
        )
        for packet in packets:
            self._take(run, timeline, packet)

    def _take(self, run: Run, timeline: Timeline, packet: Packet) -> None:
        packet = timeline.map(packet)
        run.mapped(packet, self.clock.now(packet.arrived_ns))
        self._newest = max(self._newest, packet.pts)
        self._heard = run.heard
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
            self._advance_to(packet.pts - self._segment)
        elif packet.key and (
            self.lineup.waits(SOURCE) or self._rule.key_starts_segment(packet.pts, last.start)
        ):
            self._cuts_without_key = 0
            self.findings.clear("no_keyframe")
            self._add_boundary(packet.pts)
        elif self._rule.must_cut(packet.pts, last.start):
            self._cut_without_key(run, packet.pts)

    def _cut_without_key(self, run: Run, pts: int) -> None:
        """End a segment that got too long: its successor cannot be decoded on its own."""
        self._cuts_without_key += 1
        seconds = self._cuts_without_key * self._rule.longest / TICKS_PER_SECOND
        reencode = self._cuts_without_key >= LONG_GOP_CUTS and self._settings.enabled
        self._advance_to(pts - self._limit)
        last = self.grid.last
        if reencode or last is None or self._rule.must_cut(pts, last.start):
            self._add_boundary(pts, discontinuity=reencode)
        if not reencode:
            self._report("no_keyframe", findings.no_keyframe(seconds))
            return
        self.findings.clear("no_keyframe")
        text = findings.keyframe_interval(seconds, self._hls.segment_ms / 1000)
        self._report("keyframe_interval", text)
        self._passthrough = False
        self._apply_formats(run)

    # ── sound ────────────────────────────────────────────────────────────────────────────────

    def _push_audio(self, run: Run, packet: Packet) -> None:
        announced = run.formats.get(Kind.AUDIO)
        if announced is None or not (run.started or self._start_sound(run, packet.dts)):
            return
        if self._formats.get(Kind.AUDIO) != announced:
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
        self._advance_to(packet.dts - self._segment - late)
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
        self._advance_to(start - self._limit)
        discontinuity = discontinuity or self._owed_discontinuity
        self._owed_discontinuity = False
        self.grid.add(start, discontinuity=discontinuity)
        if discontinuity:
            self._meter.discontinuity(self.stream)
        self.ladder.boundary(start)

    def _advance_to(self, limit: int) -> None:
        """Add regular boundaries as long as the newest one is at or before `limit`."""
        while (last := self.grid.last) is not None and last.start <= limit:
            self._add_boundary(last.start + self._segment)

    def _apply_formats(self, run: Run) -> None:
        """Bring renditions and ladder in line with what the encoder sends."""
        run.changed = False
        video = run.formats.get(Kind.VIDEO) if run.video_started else None
        audio = run.formats.get(Kind.AUDIO)
        self._formats = {f.kind: f for f in (video, audio) if f is not None}
        self._decoded |= self._formats
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
            if self._ready_at is None:
                self._ready_at = self.now + LADDER_WAIT
            self._on_started()

    # ── time passing ─────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep time and supervise the worker until `end`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ladder.encoders.run(), name=f"transcoder:{self.stream}")
            while not self.ended:
                await asyncio.sleep(TICK_S)
                self.tick()
            await self.ladder.encoders.stop()

    def tick(self) -> None:
        """Publish what is due, list gaps where nothing came, measure."""
        if self.ended:
            return
        now = self.now
        run = self._run
        if run is not None:
            run.report(self._meter, self.stream)
            self._settle(run)
        silence = now - self._heard
        patience = SILENCE_SEGMENTS * self._segment if self.on_air else PATIENCE_IDLE
        silent = silence > HESITATION or not self.on_air
        if silence > patience:
            self._end_before_hole(now)
            self._advance_to(now - self._segment - PATIENCE_IDLE)
        # What a congested link delays is not lost: patience counts from when it is due here.
        delay = 0 if silent else max(0, -self.lead)
        self.lineup.fill_holes(now - delay, on_air=self.on_air, silent=silent)
        ready_at = self._ready_at
        self.lineup.check_ready(deadline_passed=ready_at is not None and now >= ready_at)
        if run is not None:
            run.measure(self._meter, self.stream, now)

    def _end_before_hole(self, now: int) -> None:
        """End the segment where media ends: with the hole in it, it would not be worth loading."""
        last = self.grid.last
        if self._hole or last is None:
            return
        self._hole = True
        self.lineup.flush(now)
        edge = self.lineup.edge()
        if edge is not None and edge > last.start + TOLERANCE:
            self._add_boundary(edge)

    def end(self) -> None:
        """End every playlist; nothing is published afterwards. Idempotent."""
        if not self.ended:
            self.end_run()
            self.ended = True
            self.ladder.end()
            self.lineup.end()

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def bitrates(self) -> dict[Kind, int]:
        """Return the encoder's bits per second by kind, measured over the last second."""
        return dict(self._run.bitrates) if self._run is not None else {}

    @property
    def speeds(self) -> dict[str, float]:
        """Seconds of media that each rung's encoder makes in a second of work."""
        return self.ladder.encoders.speeds

    @property
    def frame_rate(self) -> float | None:
        """Pictures a second measured since the run began, None in its first second."""
        return self._run.frame_rate if self._run is not None else None

    def formats(self) -> list[TrackFormat]:
        """Return what the encoder sends, pictures first."""
        return list(self._formats.values())

    def _report(self, code: str, text: str) -> None:
        log.warning("finding", stream=self.stream, code=code, text=text)
        now_ms = self.clock.utc_ms(self.now)
        self.findings.report(code, Severity.WARNING, text, now_ms=now_ms)


def safe_segment(segment_ms: int) -> int:
    """Ticks that still round to TARGETDURATION (4.4.3.1), less a frame at 20 fps for safety."""
    target_s = (segment_ms + 500) // 1000
    return target_s * TICKS_PER_SECOND + TICKS_PER_SECOND * 9 // 20
