"""One broadcast of a stream: from its first publisher until its grace has run out.

A show owns a clock, a grid of segment boundaries, the renditions and the transcoder. Packets of
the encoder come in by `push` and are mapped onto the clock; `media.packager` makes segments of
them. Whatever fails on one side leaves holes in its renditions (EXT-X-GAP), never in the line of
media sequence numbers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from media.findings import Change, Finding, Findings
from media.grid import SegmentGrid
from media.health import Health
from media.hls.rendition import Rendition
from media.ladder import Ladder
from media.lineup import PATIENCE_IDLE, Lineup
from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat
from media.packager import Packager
from media.run import Run
from media.settling import Settling
from media.tap import Tap
from media.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import HlsSettings, LadderSettings
    from media.clock import ShowClock
    from media.hls.seams import TimedMetadata
    from media.ladder import Encoders
    from media.meter import MediaMeter
    from media.tap import PacketTap
    from media.timeline import Repair
    from media.transcode.process import RungSink

log = structlog.get_logger(__name__)

TICK_S = 0.1
LADDER_WAIT = 5 * TICKS_PER_SECOND
"""A rung that has not started by then is missing in the first multivariant playlists."""
HESITATION = TICKS_PER_SECOND
"""An encoder whose link hiccups is back within this; its open parts wait."""
SILENCE_SEGMENTS = 2
"""A publisher silent for this many segments is given up until its next key frame."""


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
        tap: PacketTap | None = None,
    ) -> None:
        self.stream = stream
        self.clock = clock
        self.grid = SegmentGrid()
        self.findings = Findings(now_ms=lambda: clock.utc_ms(self.now), watch=self._noted)
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
        self.ladder = Ladder(stream=stream, settings=ladder, lineup=self.lineup, make=encoders)
        self._tap = tap if tap is not None else Tap()
        self._packager = Packager(
            stream=stream,
            grid=self.grid,
            lineup=self.lineup,
            ladder=self.ladder,
            hls=hls,
            settings=ladder,
            meter=meter,
            on_started=self._started,
            tap=self._tap,
        )
        self._health = Health(
            findings=self.findings,
            clock=clock,
            hls=hls,
            settings=ladder,
            ladder=self.ladder,
            packager=self._packager,
        )
        self._meter = meter
        self._now_ns = now_ns
        self._on_started = on_started
        self._newest = 0
        """Presentation time of the newest packet of all runs."""
        self._heard = 0
        """When the newest packet of all runs arrived."""
        self._run: Run | None = None
        self._ready_at: int | None = None

    # ── one publisher after the other ────────────────────────────────────────────────────────

    @property
    def now(self) -> int:
        """Show time of this moment, in ticks."""
        return self.clock.now(self._now_ns())

    @property
    def newest(self) -> int:
        """Presentation time of the newest packet of all runs, in ticks; 0 before the first."""
        return self._newest

    @property
    def on_air(self) -> bool:
        """Whether a publisher's media flows."""
        return self._run is not None and self._run.started

    @property
    def lead(self) -> int:
        """Ticks by which the publisher is ahead of real time."""
        timeline = self._run.timeline if self._run is not None else None
        return timeline.lead if timeline is not None else 0

    def begin_run(self, *, protocol: str, wrap_ticks: int, switched: bool = False) -> None:
        """Start mapping a new publisher; a run in progress ends.

        `switched`: it was connected before and stood by, so it is no reconnect.
        """
        self.end_run()
        settling = Settling(self.clock.now)
        self._run = Run(protocol=protocol, wrap_ticks=wrap_ticks, settling=settling)
        self._packager.begin()
        if not switched:
            self._health.began(self.now)

    def end_run(self) -> None:
        """Note that the publisher left: what it sent is published, then come gaps."""
        if self._run is not None:
            self._run.report(self._meter, self.stream)
            self._health.left()
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
            repaired=self._repaired,
            late=late,
        )
        for packet in packets:
            self._take(run, timeline, packet)

    def _take(self, run: Run, timeline: Timeline, packet: Packet) -> None:
        packet = timeline.map(packet)
        run.mapped(packet, self.clock.now(packet.arrived_ns))
        self._newest = max(self._newest, packet.pts)
        self._heard = run.heard
        self._packager.take(run, packet)

    def _repaired(self, reason: Repair) -> None:
        self._meter.repaired(self.stream, reason.value)
        self._health.repaired(reason)

    def _started(self) -> None:
        """Note that a run's media flows."""
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
        patience = SILENCE_SEGMENTS * self._packager.segment if self.on_air else PATIENCE_IDLE
        silent = silence > HESITATION or not self.on_air
        if silence > patience:
            self._packager.end_before_hole(now)
            self._packager.advance_to(now - self._packager.segment - PATIENCE_IDLE)
        # What a congested link delays is not lost: patience counts from when it is due here.
        delay = 0 if silent else max(0, -self.lead)
        self.lineup.fill_holes(now - delay, on_air=self.on_air, silent=silent)
        ready_at = self._ready_at
        self.lineup.check_ready(deadline_passed=ready_at is not None and now >= ready_at)
        if run is not None:
            run.measure(self._meter, self.stream, now)
        self._health.look(now, run)

    def end(self) -> None:
        """End every playlist; nothing is published afterwards. Idempotent."""
        if not self.ended:
            self.end_run()
            self.findings.clear_all()
            self.ended = True
            self.ladder.end()
            self.lineup.end()
            self._tap.ended()

    def _noted(self, change: Change, finding: Finding) -> None:
        self._meter.finding(self.stream, finding.code, change.value)
        if change is not Change.UPDATED:
            log.info(
                f"finding {change.value}",
                stream=self.stream,
                code=finding.code,
                severity=finding.severity.value,
                text=finding.text,
            )

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
        return list(self._packager.formats.values())
