"""Between a show and its transcode worker: the plan, and which rung feeds which rendition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from media.lineup import AUDIO, SOURCE, Lineup
from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat
from media.realtime_source import RealtimeSource
from media.transcode.plan import Plan, Sizes, plan_ladder, square_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from config.settings import LadderSettings
    from media.realtime import RealtimeFeed
    from media.slate.loop import SlateLoop, SlateOrder
    from media.transcode.pressure import Strain
    from media.transcode.sink import RungSink

log = structlog.get_logger(__name__)

KEEP_ROUTES = 30 * TICKS_PER_SECOND
"""No worker is further behind: what a rung fed before a change may still come."""
MOST_SIZES = 6
"""Sizes of an encoder's tracks that are made in their place: as many as OBS sends."""
NEAR = 0.75
"""A rung with at least this share of the lines of an encoder's smallest track is not worth making:
the encoder decides on the ladder down to there."""


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

    def listen(self, sound: TrackFormat | None) -> None:
        """Encode `sound` to the rung `opus` from now on; None: no sound any more."""

    def hear(self, packet: Packet) -> None:
        """Hand over an access unit of that sound; never blocks."""

    def want_key(self, rung: str) -> None:
        """Make the next picture of a rung an IDR, beside those on boundaries."""

    async def stop(self) -> None:
        """End the worker."""


@dataclass(slots=True, kw_only=True)
class Route:
    """A rung feeds a rendition from one boundary to another, in ticks."""

    rung: str
    name: str
    since: int
    until: int | None = None
    format: TrackFormat | None = None
    """What the rendition was told last."""

    def holds(self, pts: int) -> bool:
        """Whether a picture of this time goes this way."""
        return self.since <= pts and (self.until is None or pts < self.until)


class Ladder:
    """Implements `media.transcode.sink.RungSink`. `make` makes the worker's supervisor."""

    def __init__(
        self,
        *,
        stream: str,
        settings: LadderSettings,
        lineup: Lineup,
        make: Callable[[RungSink], Encoders],
        feed: RealtimeFeed,
        now_ns: Callable[[], int],
    ) -> None:
        """`feed`: where the worker's pictures go beside the renditions, as soon as they come."""
        self.encoders = make(self)
        self.realtime = RealtimeSource(feed, self.encoders, now_ns)
        self._stream = stream
        self._settings = settings
        self._lineup = lineup
        self._plan: Plan | None = None
        self._routes: list[Route] = []
        self._from_tracks: set[str] = set()
        """Renditions that tracks of an encoder have fed."""
        self._formats: dict[str, TrackFormat] = {}
        self._ended = False
        self.restarts = 0
        """Workers lost since the start of the show."""
        self.on_slate: Callable[[int, SlateLoop | str], None] = self._no_slate
        """Takes the serial of an order with its loop, or the sentence that says why not."""
        self.on_sound: Callable[[Packet], None] = self._no_sound
        """Takes what the audio rendition gets from the worker, too."""

    def replan(
        self,
        video: TrackFormat | None,
        audio: TrackFormat | None,
        *,
        passthrough: bool,
        newest_boundary: int | None,
        tracks: Collection[str] = (),
    ) -> set[str]:
        """Tell the worker what to make of the source; return the renditions it feeds.

        All that is listed stays fed. Where the source's own pictures cannot be used, its top
        rung takes the place of `source` for the viewers who are there. Rungs larger than the
        source become the source's own size: scaled up they would cost more and show no more.
        `tracks`: renditions that further tracks of the encoder feed, and rungs of about their
        lines are not made.
        """
        self._from_tracks.update(tracks)
        plan, feeds = self._plan_for(video, audio, passthrough=passthrough, tracks=set(tracks))
        before = {route.name for route in self._routes if route.until is None}
        fed = {name for names in feeds.values() for name in names}
        for name in fed:
            self._lineup.open(name, Kind.AUDIO if name == AUDIO else Kind.VIDEO)
        self._route(feeds, newest_boundary or 0)
        if self._plan is None and plan.empty:
            # No worker runs, but slates of this source's pictures may be ordered.
            self.encoders.configure(plan, video=video, audio=audio)
            return set()
        # What was fed before goes on: the worker's last pictures of the time before still come.
        self._lineup.hold(fed - before - {AUDIO})
        self._plan = plan
        self.realtime.keep(rung.name for rung in plan.rungs)
        self.encoders.configure(plan, video=video, audio=audio)
        if newest_boundary is not None:
            self.encoders.boundary(newest_boundary)
        return fed

    def _plan_for(
        self,
        video: TrackFormat | None,
        audio: TrackFormat | None,
        *,
        passthrough: bool,
        tracks: set[str],
    ) -> tuple[Plan, dict[str, list[str]]]:
        """Return what to encode, and by rung the renditions that it feeds."""
        listed = self._listed() - tracks
        due = {lines_of(name) for name in listed}
        sizes = Sizes(
            without=self._covered(tracks) - due,
            also=spread({lines_of(name) for name in listed & self._from_tracks}),
        )
        plan = plan_ladder(
            video, audio, self._settings, reencode_source=not passthrough, sizes=sizes
        )
        if plan.rungs or listed:
            short = min(square_pixels(video)) if video is not None else 0
            larger = {name for name in listed if lines_of(name) > short}
            if larger - {rung.name for rung in plan.rungs}:
                plan = plan_ladder(video, audio, self._settings, reencode_source=True, sizes=sizes)
        feeds: dict[str, list[str]] = {rung.name: [] for rung in plan.rungs}
        wanted = {f"{rung.height}p" for rung in self._settings.rungs}
        stands_in = not passthrough and self._lineup.get(SOURCE) is not None
        for name, names in feeds.items():
            # The source's own size is a rendition of its own only where nothing else shows it.
            if name in listed or name in wanted or not (stands_in or passthrough):
                names.append(name)
        if plan.rungs and stands_in:
            feeds[plan.rungs[0].name].append(SOURCE)
        for name in listed - set(feeds) if plan.rungs else ():
            fits = [rung.name for rung in plan.rungs if lines_of(rung.name) <= lines_of(name)]
            feeds[(fits or [plan.rungs[-1].name])[0]].append(name)
        if plan.audio is not None:
            feeds[AUDIO] = [AUDIO]
        return plan, feeds

    def _covered(self, tracks: set[str]) -> set[int]:
        """Lines of the wanted rungs that the encoder's tracks make unnecessary."""
        if not tracks:
            return set()
        enough = min(map(lines_of, tracks)) * NEAR
        return {rung.height for rung in self._settings.rungs if rung.height >= enough}

    def _listed(self) -> set[str]:
        """Re-encoded pictures that viewers know of."""
        renditions = self._lineup.renditions.values()
        return {r.name for r in renditions if r.kind is Kind.VIDEO and r.name != SOURCE}

    def _route(self, feeds: dict[str, list[str]], since: int) -> None:
        """Let each rung feed its renditions from the boundary at `since` on."""
        wanted = {(rung, name) for rung, names in feeds.items() for name in names}
        kept = []
        for route in self._routes:
            if route.until is None:
                if (route.rung, route.name) in wanted:
                    wanted.remove((route.rung, route.name))
                else:
                    route.until = since
            if route.until is None or since - route.until < KEEP_ROUTES:
                kept.append(route)
        self._routes = kept + [Route(rung=r, name=n, since=since) for r, n in sorted(wanted)]

    @property
    def rungs(self) -> bool:
        """Whether pictures are re-encoded beside the source."""
        return self._plan is not None and bool(self._plan.rungs)

    @property
    def paused(self) -> set[str]:
        """Renditions that get nothing because the worker is too slow for all of them."""
        rungs = self.encoders.strain.relief.paused
        return {r.name for r in self._routes if r.until is None and r.rung in rungs}

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
        if not self._ended:
            self._formats[rung] = fmt
            self.realtime.rung_format(rung, fmt)

    def rung_packet(self, rung: str, packet: Packet) -> None:
        """Take one access unit of a rung, on the show clock."""
        fmt = self._formats.get(rung)
        if self._ended or fmt is None:
            return
        self.realtime.rung_packet(rung, packet)
        for route in self._routes:
            if route.rung != rung or not route.holds(packet.pts):
                continue
            if route.format is not fmt:
                route.format = fmt
                self._lineup.set_coded_format(route.name, fmt, declared_bps=self._bits(rung))
            self._lineup.push_coded(route.name, packet)
            if route.name == AUDIO:
                self.on_sound(packet)

    def worker_lost(self, reason: str) -> None:
        """Note that the rungs pause; each starts again with an IDR on a later boundary."""
        log.warning("transcode worker lost", stream=self._stream, reason=reason)
        self.restarts += 1
        self._formats.clear()
        self.realtime.keep(())
        self._lineup.hold(route.name for route in self._routes if route.until is None)

    def _bits(self, rung: str) -> int:
        """Bits a second that a rung never exceeds; 0 where it is not planned any more."""
        if self._plan is None:
            return 0
        if rung == AUDIO:
            return self._plan.audio.bitrate if self._plan.audio is not None else 0
        return next((r.maxrate for r in self._plan.rungs if r.name == rung), 0)

    def order_slate(self, order: SlateOrder) -> None:
        """Have a slate made; the answer comes by `on_slate`."""
        self.encoders.order_slate(order)

    def slate_made(self, serial: int, loop: SlateLoop) -> None:
        """Pass a slate on to who ordered it."""
        if not self._ended:
            self.on_slate(serial, loop)

    def slate_failed(self, serial: int, text: str) -> None:
        """Pass on why a slate cannot be made."""
        log.warning("slate cannot be made", stream=self._stream, reason=text)
        if not self._ended:
            self.on_slate(serial, text)

    def _no_sound(self, packet: Packet) -> None:
        del packet

    def _no_slate(self, serial: int, answer: SlateLoop | str) -> None:
        log.debug("nobody waits for this slate", stream=self._stream, serial=serial)


def spread(sizes: set[int]) -> set[int]:
    """Return `MOST_SIZES` of them at most, the smallest and the largest among them."""
    if len(sizes) <= MOST_SIZES:
        return sizes
    ordered = sorted(sizes)
    last = len(ordered) - 1
    return {ordered[round(number * last / (MOST_SIZES - 1))] for number in range(MOST_SIZES)}


def lines_of(name: str) -> int:
    """Lines that the name of a rung tells: 720 for `720p`; 0 where it tells none."""
    lines = name.partition("p")[0]
    return int(lines) if lines.isdecimal() else 0
