"""Between a show and its transcode worker: the plan, and which rung feeds which rendition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from media.lineup import AUDIO, SOURCE, Lineup
from media.model import Kind, Packet, TrackFormat
from media.transcode.plan import Plan, plan_ladder

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import LadderSettings
    from media.slate import SlateLoop, SlateOrder
    from media.transcode.pressure import Strain
    from media.transcode.process import RungSink

log = structlog.get_logger(__name__)


class Encoders(Protocol):
    """The transcode worker of a show, as `media.transcode.process.Transcoder` provides it."""

    speeds: dict[str, float]
    """By rung: seconds of media that its encoder makes in a second of work."""

    @property
    def strain(self) -> Strain:
        """What the worker gave up since the start of the show."""

    async def run(self) -> None:
        """Supervise the worker until `stop`."""

    def configure(
        self, plan: Plan, *, video: TrackFormat | None, audio: TrackFormat | None
    ) -> None:
        """Start with, or change to, a plan."""

    def push(self, packet: Packet) -> None:
        """Hand over a source packet; never blocks."""

    def boundary(self, ticks: int) -> None:
        """Force an IDR on the first picture at or after `ticks` on every rung."""

    def order_slate(self, order: SlateOrder) -> None:
        """Have a slate made; `RungSink.slate_made` or `slate_failed` answers, always later."""

    async def stop(self) -> None:
        """End the worker."""


class Ladder:
    """Implements `media.transcode.process.RungSink`. `make` makes the worker's supervisor."""

    def __init__(
        self,
        *,
        stream: str,
        settings: LadderSettings,
        lineup: Lineup,
        make: Callable[[RungSink], Encoders],
    ) -> None:
        self.encoders = make(self)
        self._stream = stream
        self._settings = settings
        self._lineup = lineup
        self._plan: Plan | None = None
        self._substitute: str | None = None
        """Rung that feeds `source` too, because the encoder's own pictures cannot be used."""
        self._formats: dict[str, TrackFormat] = {}
        self._ended = False
        self.restarts = 0
        """Workers lost since the start of the show."""
        self.on_slate: Callable[[int, SlateLoop | str], None] = self._no_slate
        """Takes the serial of an order with its loop, or the sentence that says why not."""

    def replan(
        self,
        video: TrackFormat | None,
        audio: TrackFormat | None,
        *,
        passthrough: bool,
        newest_boundary: int | None,
    ) -> set[str]:
        """Tell the worker what to make of the source; return the renditions it feeds."""
        plan = plan_ladder(video, audio, self._settings, reencode_source=not passthrough)
        self._substitute = None
        if not passthrough and plan.rungs and self._lineup.get(SOURCE) is not None:
            # Viewers on `source` stay there: the top rung takes its place in this show.
            self._substitute = plan.rungs[0].name
        rungs = {rung.name for rung in plan.rungs}
        if self._substitute is not None and self._lineup.get(self._substitute) is None:
            rungs.remove(self._substitute)
        for name in rungs:
            self._lineup.open(name, Kind.VIDEO)
        if self._substitute is not None:
            rungs.add(SOURCE)
        if plan.audio is not None:
            self._lineup.open(AUDIO, Kind.AUDIO)
        if self._plan is None and plan.empty:
            # No worker runs, but slates of this source's pictures may be ordered.
            self.encoders.configure(plan, video=video, audio=audio)
            return set()
        self._lineup.hold(rungs)
        self._plan = plan
        if self._substitute in self._formats:
            # Its encoder runs already and will not announce itself again.
            self.rung_format(self._substitute, self._formats[self._substitute])
        self.encoders.configure(plan, video=video, audio=audio)
        if newest_boundary is not None:
            self.encoders.boundary(newest_boundary)
        return rungs | ({AUDIO} if plan.audio is not None else set())

    @property
    def rungs(self) -> bool:
        """Whether pictures are re-encoded beside the source."""
        return self._plan is not None and bool(self._plan.rungs)

    def push(self, packet: Packet) -> None:
        """Hand a source packet to the worker, which takes what its plan and slates need."""
        self.encoders.push(packet)

    def boundary(self, ticks: int) -> None:
        """Start a segment at `ticks` on every rung."""
        if self._plan is not None:
            self.encoders.boundary(ticks)

    def end(self) -> None:
        """Take nothing from the worker any more."""
        self._ended = True

    # ── what comes back from the worker ──────────────────────────────────────────────────────

    def rung_format(self, rung: str, fmt: TrackFormat) -> None:
        """Take the parameters of a rung; its next packet is an IDR on a boundary."""
        if self._ended or self._plan is None:
            return
        self._formats[rung] = fmt
        bits = {r.name: r.maxrate for r in self._plan.rungs}
        if self._plan.audio is not None:
            bits[AUDIO] = self._plan.audio.bitrate
        for name in self._fed_by(rung):
            self._lineup.set_format(name, fmt, declared_bps=bits.get(rung, 0))

    def rung_packet(self, rung: str, packet: Packet) -> None:
        """Take one access unit of a rung, on the show clock."""
        if not self._ended:
            for name in self._fed_by(rung):
                self._lineup.push(name, packet)

    def worker_lost(self, reason: str) -> None:
        """Note that the rungs pause; each starts again with an IDR on a later boundary."""
        log.warning("transcode worker lost", stream=self._stream, reason=reason)
        self.restarts += 1
        self._formats.clear()
        if self._plan is not None:
            for rung in self._plan.rungs:
                self._lineup.hold(self._fed_by(rung.name))
            if self._plan.audio is not None:
                self._lineup.hold([AUDIO])

    def slate_made(self, serial: int, loop: SlateLoop) -> None:
        """Pass a slate on to who ordered it."""
        if not self._ended:
            self.on_slate(serial, loop)

    def slate_failed(self, serial: int, text: str) -> None:
        """Pass on why a slate cannot be made."""
        log.warning("slate cannot be made", stream=self._stream, reason=text)
        if not self._ended:
            self.on_slate(serial, text)

    def _no_slate(self, serial: int, answer: SlateLoop | str) -> None:
        log.debug("nobody waits for this slate", stream=self._stream, serial=serial)

    def _fed_by(self, rung: str) -> tuple[str, ...]:
        return (rung, SOURCE) if rung == self._substitute else (rung,)
