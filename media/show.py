"""One broadcast of a stream: from its first publisher until its grace has run out.

A show owns a clock, a grid of segment boundaries, the renditions and the transcoder. Packets of
the encoder come in by `push` and are mapped onto the clock; `media.programme` puts them on air, or
the slate; `media.packager` makes segments of them. Whatever fails on one side leaves holes in its
renditions (EXT-X-GAP), never in the line of media sequence numbers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from media.diagnosis.findings import Change, Finding, Findings
from media.diagnosis.health import Health
from media.grid import SegmentGrid
from media.hls.rendition import Rendition
from media.ladder import Ladder
from media.lineup import PATIENCE_IDLE, Lineup
from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat
from media.packager import Packager
from media.programme import HESITATION, Feeder, Programme
from media.realtime import RealtimeFeed
from media.run import Run
from media.settling import Settling, TrackChange
from media.slate.desk import SlateDesk, SlateRecipe
from media.slate.notes import SlateNotes
from media.tap import Tap
from media.timeline import Timeline
from media.tracks.further import FurtherTracks, TrackView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from config.settings import HlsSettings, LadderSettings
    from media.clock import ShowClock
    from media.hls.seams import TimedMetadata
    from media.ladder import Encoders
    from media.meter import MediaMeter
    from media.tap import PacketTap
    from media.timeline import Repair
    from media.transcode.sink import RungSink

log = structlog.get_logger(__name__)

TICK_S = 0.1
LADDER_WAIT = 5 * TICKS_PER_SECOND
"""A rung that has not started by then is missing in the first multivariant playlists."""
SILENCE_SEGMENTS = 2
"""A publisher silent for this many segments is given up until its next key frame."""

TICK_SLATE_S = 0.04
"""While a slate plays: its sound comes every 21 ms, its parts must not come in bursts."""
SLATE_WAIT = 2 * TICKS_PER_SECOND
"""A slate that comes within this after its order leaves no gap."""
MAX_LEAD = TICKS_PER_SECOND // 2
"""An encoder may be placed this far ahead of its time to take over from a slate at once."""
MAX_LEAD_TAKEOVER = 3 * TICKS_PER_SECOND // 2
"""And this far to take over from another encoder, or to go on after it."""


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
        feed: RealtimeFeed | None = None,
        slate: SlateRecipe | None = None,
        languages: Sequence[str] = (),
    ) -> None:
        """`slate`: what stands in for an encoder that is not there; None: gaps.

        `feed`: who watches without a segment's delay; `languages`: of the encoder's audio tracks
        (BCP 47), where it does not tell them.
        """
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
        self.ladder = Ladder(
            stream=stream,
            settings=ladder,
            lineup=self.lineup,
            make=encoders,
            feed=feed if feed is not None else RealtimeFeed(),
            now_ns=now_ns,
        )
        self._tap = tap if tap is not None else Tap()
        self._further = FurtherTracks(
            stream=stream,
            multitrack=ladder.multitrack,
            languages=languages,
            grid=self.grid,
            lineup=self.lineup,
            findings=self.findings,
            meter=meter,
            on_air=lambda: self.feeder is Feeder.ENCODER,
            now_ms=lambda: clock.utc_ms(self.now),
            realtime=self.ladder.realtime,
        )
        self.ladder.on_sound = self._further.sounds.main
        self._packager = Packager(
            stream=stream,
            grid=self.grid,
            lineup=self.lineup,
            ladder=self.ladder,
            hls=hls,
            settings=ladder,
            meter=meter,
            tap=self._tap,
            tracks=self._further.pictures,
            sounds=self._further.sounds,
        )
        self._health = Health(
            findings=self.findings,
            clock=clock,
            hls=hls,
            settings=ladder,
            ladder=self.ladder,
            packager=self._packager,
        )
        self._desk = SlateDesk(slate, self.ladder.order_slate)
        self.ladder.on_slate = self._desk.answered
        self._programme = Programme(
            packager=self._packager,
            lineup=self.lineup,
            grid=self.grid,
            desk=self._desk,
            now_ns=now_ns,
            on_live=on_started,
        )
        self._notes = SlateNotes(
            stream=stream,
            clock=clock,
            findings=self.findings,
            meter=meter,
            desk=self._desk,
            packager=self._packager,
        )
        self._meter = meter
        self._now_ns = now_ns
        self._heard = 0
        """When the newest packet of all runs arrived, or the slate played."""
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
        return self._programme.newest

    @property
    def on_air(self) -> bool:
        """Whether media flows, from a publisher or a slate."""
        return self._programme.feeder is not None

    @property
    def feeder(self) -> Feeder | None:
        """Who is on air."""
        return None if self.ended else self._programme.feeder

    @property
    def lead(self) -> int:
        """Ticks by which the publisher is ahead of real time."""
        timeline = self._run.timeline if self._run is not None else None
        return timeline.lead if timeline is not None else 0

    def open_ahead(self) -> None:
        """Play the slate until the first publisher comes."""
        self._programme.ahead = True

    def begin_run(
        self,
        *,
        protocol: str,
        wrap_ticks: int,
        switched: bool = False,
        contested: bool = False,
    ) -> None:
        """Start mapping a new publisher; a run in progress ends.

        `switched`: it was connected before and stood by, so it is no reconnect; `contested`: the
        one in progress was still sending.
        """
        self._forget_run()
        settling = Settling(self.clock.now)
        self._run = Run(protocol=protocol, wrap_ticks=wrap_ticks, settling=settling)
        self._further.begin()
        self._programme.begin(self._run, self.now)
        if not switched:
            self._health.began(self.now, contested=contested)

    def end_run(self) -> None:
        """Note that the publisher left: what it sent is published, then come slate or gaps."""
        if self._run is not None:
            self._forget_run()
            self._further.begin()
            self._programme.end(self.now)

    def rival_refused(self) -> None:
        """Note that an encoder was refused that fought with the one on air."""
        self._health.rival_refused(self.now)

    def _forget_run(self) -> None:
        if self._run is not None:
            self._run.report(self._meter, self.stream)
            self._health.left()
        self._run = None

    def set_format(self, track_format: TrackFormat) -> None:
        """Note a track's parameters; they take effect at its next key frame."""
        run = self._run
        if run is None:
            return
        if run.settling is None or not run.settling.hold_change(track_format):
            self._programme.set_format(run, track_format)

    def drop_track(self, kind: Kind) -> None:
        """Note that the encoder ended a track; the other goes on alone."""
        run = self._run
        if run is None:
            return
        if run.settling is None or not run.settling.hold_change(kind):
            self._programme.drop_track(run, kind)

    def change_track(self, change: TrackChange) -> None:
        """Note that a further track was announced, changed or ended."""
        run = self._run
        if run is not None and (run.settling is None or not run.settling.hold_change(change)):
            self._further.change(run, change)

    def describe_sound(self, languages: Mapping[int, str]) -> None:
        """Note the languages (BCP 47) of the encoder's audio tracks by their number."""
        self._further.sounds.describe(languages)

    def declare_rates(self, rates: Mapping[tuple[Kind, int], int]) -> None:
        """Note the bits a second that the encoder is set to, by a track's kind and number."""
        if self._run is not None:
            self._run.declared = rates

    def note_loss(self, *, lost: int, packets: int, pictures: int) -> None:
        """Note what the network lost of `packets`, and how many pictures that cost."""
        if self._run is not None:
            self._run.observer.note_loss(lost=lost, packets=packets, pictures=pictures)

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
        arrived = run.settling.first_arrival
        items, late = run.settling.release()
        run.settling = None
        floor = self._floor(arrived - late)
        run.behind = not floor
        timeline = run.timeline = Timeline(
            clock=self.clock,
            wrap_ticks=run.wrap_ticks,
            floor=floor,
            repaired=self._repaired,
            late=late,
        )
        for item in items:
            if isinstance(item, Packet):
                self._take(run, timeline, item)
            elif isinstance(item, TrackFormat):
                self._programme.set_format(run, item)
            elif isinstance(item, TrackChange):
                self._further.change(run, item)
            else:
                self._programme.drop_track(run, item)

    def _floor(self, expected: int) -> int:
        """Return the show time before which a run that should begin at `expected` may not lie."""
        last = self.grid.last
        # Open parts reach beyond the edge: what lies before their end would be dropped.
        edge = max(self.lineup.edge() or 0, last.start + 1 if last else 0, self._programme.newest)
        # What a dead link held back is too old: the slate stays until the next key frame. So is
        # the head start of each of many runs: in a row they would add up without end.
        lead = MAX_LEAD if self._programme.feeder is Feeder.SLATE else MAX_LEAD_TAKEOVER
        if edge - expected > lead:
            return 0
        return edge

    def _take(self, run: Run, timeline: Timeline, packet: Packet) -> None:
        packet = timeline.map(packet)
        if timeline.early and packet.kind is Kind.AUDIO:
            return  # its time has its sound
        if packet.track:
            self._further.push(run, packet)
            return
        run.mapped(packet, self.clock.now(packet.arrived_ns))
        self._heard = run.heard
        self._programme.take(run, packet)
        if packet.kind is Kind.VIDEO:
            self._further.pictures.follow(packet)

    def _repaired(self, reason: Repair) -> None:
        self._meter.repaired(self.stream, reason.value)
        self._health.repaired(reason)

    # ── time passing ─────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep time and supervise the worker until `end`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ladder.encoders.run(), name=f"transcoder:{self.stream}")
            while not self.ended:
                await asyncio.sleep(TICK_SLATE_S if self.feeder is Feeder.SLATE else TICK_S)
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
        if self._programme.late(now) and run is not None:
            # A link that stays behind would never reach the slate: the run is placed anew.
            run.settling, run.timeline = Settling(self.clock.now), None
            run.observer.pictures_changed()
        self._programme.tick(now)
        if self.feeder is Feeder.SLATE:
            self._heard = now
        self._notes.look(
            now, self.feeder, connected=run is not None, sound=self._programme.sound_feeder
        )
        self.ladder.realtime.tick()
        self._fill_holes(now)
        if self._ready_at is None and self._packager.formats:
            self._ready_at = now + LADDER_WAIT
        ready_at = self._ready_at
        self.lineup.check_ready(deadline_passed=ready_at is not None and now >= ready_at)
        if run is not None:
            run.measure(self._meter, self.stream, now)
            if self.feeder is Feeder.ENCODER:
                self._further.claim(run, passthrough=self._packager.passthrough)
        self._health.look(now, run)

    def _fill_holes(self, now: int) -> None:
        expected = self.on_air or self._programme.waits_for_slate(now, SLATE_WAIT)
        # Media ahead of its time is no hole yet.
        silence = now - max(self._heard, self.newest)
        patience = SILENCE_SEGMENTS * self._packager.segment if expected else PATIENCE_IDLE
        silent = silence > HESITATION or not expected
        if silence > patience:
            self._packager.end_before_hole(now)
            self._packager.advance_to(now - self._packager.segment - PATIENCE_IDLE)
        # What a congested link delays is not lost: patience counts from when it is due here.
        congested = not silent and self.feeder is Feeder.ENCODER
        delay = max(0, -self.lead) if congested else 0
        self.lineup.fill_holes(
            now - delay, on_air=expected, silent=silent, paused=self.ladder.paused
        )

    def end(self) -> None:
        """End every playlist; nothing is published afterwards. Idempotent."""
        if not self.ended:
            self._forget_run()
            self.findings.clear_all()
            self.ended = True
            self.ladder.end()
            self.lineup.end()
            self._tap.ended()
            self.ladder.realtime.ended()

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

    @property
    def speeds(self) -> dict[str, float]:
        """Seconds of media that each rung's encoder makes in a second of work."""
        return self.ladder.encoders.speeds

    @property
    def frame_rate(self) -> float | None:
        """Pictures a second measured since the run began, None in its first second."""
        return self._run.frame_rate if self._run is not None else None

    def tracks(self) -> list[TrackView]:
        """Return what the encoder sends: pictures first, by their numbers."""
        run = self._run
        if run is None or not run.started:
            return []
        return self._further.views(run, passthrough=self._packager.passthrough)

    def language_of(self, name: str) -> str | None:
        """Return the language of an audio rendition, None where nobody told it."""
        return self._further.sounds.language_of(name)
