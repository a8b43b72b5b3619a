"""A stream: its publishers one after the other, its shows, its state.

The newest authenticated publisher of a role always wins: it takes over at once. Which of the two
roles is on air is decided by `media.standby`. The last publisher that leaves opens the grace; one
that comes back within it continues the same show, clock and media sequence numbers. When the
grace runs out the show ends; the next publisher starts a new one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import structlog

from media.clock import ShowClock
from media.diagnosis.findings import Code, Severity
from media.excess import ExcessWatch
from media.keys import KeyRequests
from media.limits import LimitExceeded, Limits, check_format, check_tracks, narrow
from media.lineup import SOURCE
from media.model import Kind, Packet, Role, TrackFormat
from media.realtime import RealtimeFeed
from media.settling import TrackChange
from media.show import Show
from media.slate.desk import recipe_for
from media.standby.switcher import Switcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Settings
    from media.hls.seams import TimedMetadata
    from media.ladder import Encoders
    from media.meter import MediaMeter
    from media.standby.source import Source
    from media.tap import PacketTap
    from media.transcode.sink import RungSink

log = structlog.get_logger(__name__)

KEEP_ENDED_S = 120.0
"""An ended show can be played to its end for this long; then its bytes are freed."""


class State(StrEnum):
    """What a viewer may expect."""

    IDLE = "idle"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    ENDED = "ended"


class OpenRefused(Exception):
    """The stream cannot be opened ahead of its encoder; the text says why."""


class Host(Protocol):
    """What a stream needs from the process around it."""

    settings: Settings
    meter: MediaMeter

    def now_ns(self) -> int:
        """Read the monotonic clock, in nanoseconds."""

    def utc_ms(self) -> int:
        """Read the wall clock, in milliseconds since 1970."""

    def new_run_id(self) -> str:
        """Return a short name, unique over restarts, for the URIs of a show."""

    def metadata(self, stream: str, clock: ShowClock) -> TimedMetadata:
        """Return the cues of a new show."""

    def encoders(self, stream: str, sink: RungSink) -> Encoders:
        """Return the transcoder of a new show of `stream`."""

    def tap(self, stream: str) -> PacketTap:
        """Return who listens to the source of `stream`, over all its shows."""

    def start(self, show: Show) -> None:
        """Run `show.run()` in the background; a fault in it must not harm others."""


class Publication:
    """One publisher's hold on a stream (`ingest.source.Publication`)."""

    def __init__(
        self,
        stream: Stream,
        source: Source,
        *,
        on_revoked: Callable[[str], None],
        limits: Limits,
        on_key_wanted: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self.source = source
        self._limits = limits
        self._watch = ExcessWatch(limits)
        self._excess = False
        self._tracks: set[tuple[Kind, int]] = set()
        self._on_revoked = on_revoked
        self.keys = KeyRequests(on_key_wanted or _nobody, stream.host.now_ns)
        """Asks the encoder for key frames."""
        self.closed = False
        self.packets = 0

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self._stream.name

    @property
    def lead_s(self) -> float:
        """Seconds by which the encoder is ahead of real time: slow its reading down above 1."""
        return 0.0 if self.closed else self._stream.switcher.lead_s(self.source)

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        """Announce or change a track; raises `media.model.FormatRefused`."""
        check_format(track_format, self._limits)
        self._tracks.add((track_format.kind, track))
        check_tracks(len(self._tracks), self._limits)
        if self.closed:
            return
        if track == 0:
            self._stream.switcher.set_format(self.source, track_format)
        else:
            change = TrackChange(track=track, kind=track_format.kind, format=track_format)
            self._stream.switcher.change_track(self.source, change)

    def describe_sound(self, languages: Mapping[int, str]) -> None:
        """Note the languages (BCP 47) of the encoder's audio tracks by their number."""
        if not self.closed:
            self._stream.switcher.describe_sound(self.source, languages)

    def drop_track(self, track: int, kind: Kind) -> None:
        """Note that the encoder ended a track."""
        self._tracks.discard((kind, track))
        if self.closed:
            return
        if track == 0:
            self._stream.switcher.drop_track(self.source, kind)
        else:
            change = TrackChange(track=track, kind=kind, format=None)
            self._stream.switcher.change_track(self.source, change)

    def push(self, packet: Packet) -> None:
        """Take one access unit in source time; raises `media.limits.LimitExceeded`."""
        excess = self._watch.add(packet)
        if excess is not None or self._excess:
            self._note(excess)
        if not self.closed:
            self.packets += 1
            if packet.key and packet.track == 0 and packet.kind is Kind.VIDEO:
                self.keys.came()
            self._stream.switcher.push(self.source, packet)

    def _note(self, excess: str | None) -> None:
        """Close the connection of an encoder that sends too much, or keep its finding current."""
        if self.closed:
            return
        findings = self._stream.require_show().findings
        if excess is None:
            if self._watch.calm:
                self._excess = False
                findings.clear(Code.EXCESS)
            return
        if self._limits.on_excess == "close":
            raise LimitExceeded(excess)
        if not self._excess:
            self._excess = True
            log.warning("finding", stream=self.stream, code="excess", text=excess)
            now_ms = self._stream.host.utc_ms()
            findings.report(Code.EXCESS, Severity.WARNING, excess, now_ms=now_ms)

    def close(self, reason: str) -> None:
        """Let go of the stream. Idempotent."""
        if not self.closed:
            self._end()
            self._stream.left(self, reason)

    def revoke(self, text: str) -> None:
        """Take the stream away; `text` tells the producer why."""
        self._end()
        self._on_revoked(text)

    def _end(self) -> None:
        self.closed = True
        if self._excess:
            self._stream.require_show().findings.clear(Code.EXCESS)


class Stream:
    """See the module's docstring. All methods run on the event loop."""

    def __init__(self, name: str, host: Host) -> None:
        self.name = name
        self.host = host
        self.show: Show | None = None
        self.state = State.IDLE
        self.realtime = RealtimeFeed()
        """What viewers without a segment's delay are sent, over all shows."""
        self.switcher = Switcher(
            stream=name,
            show=self.require_show,
            meter=host.meter,
            return_s=_return_s(host.settings),
            now_ns=host.now_ns,
        )
        self._publications: dict[Role, Publication] = {}
        self._left_ns: int | None = None
        self._ended_ns: int | None = None
        self._ahead_ns: int | None = None
        """When the stream was opened ahead of an encoder; None once one is on air."""

    @property
    def live(self) -> bool:
        """Whether the show clock runs and its edge moves: live or reconnecting."""
        return self.state in (State.LIVE, State.RECONNECTING)

    @property
    def clock(self) -> ShowClock | None:
        """The clock of the current or last show."""
        return self.show.clock if self.show is not None else None

    @property
    def protocol(self) -> str | None:
        """Protocol of the publisher on air, None without one."""
        source = self.switcher.on_air
        return source.protocol if source is not None else None

    def edge(self) -> int | None:
        """First moment (ticks) that no rendition of the show has published."""
        return self.show.lineup.edge() if self.show is not None else None

    def place(self, ticks: int) -> dict[str, tuple[int, int]]:
        """Return for each rendition the media sequence number and part that hold a moment."""
        return self.show.lineup.place(ticks) if self.show is not None else {}

    def require_show(self) -> Show:
        """Return the show that a publisher pushes into."""
        assert self.show is not None
        return self.show

    # ── publishers ───────────────────────────────────────────────────────────────────────────

    def publish(
        self,
        *,
        protocol: str,
        wrap_ticks: int,
        on_revoked: Callable[[str], None],
        limits: Limits | None = None,
        role: Role = Role.PRIMARY,
        on_key_wanted: Callable[[], None] | None = None,
    ) -> Publication:
        """Start a publisher's run; one in progress in the same role is taken over at once.

        `limits` bound what it may send; None: the server's. `on_key_wanted`: `request_key`.
        """
        if (previous := self._publications.pop(role, None)) is not None:
            log.info("publisher taken over", stream=self.name, role=role.value, protocol=protocol)
            previous.revoke("Another encoder publishes this stream now.")
        if self.show is None or self.show.ended:
            self._new_show()
        self._left_ns = None
        publication = self._publications[role] = Publication(
            self,
            self.switcher.connect(role=role, protocol=protocol, wrap_ticks=wrap_ticks),
            on_revoked=on_revoked,
            limits=limits or narrow(self.host.settings.limits),
            on_key_wanted=on_key_wanted,
        )
        log.info("publisher connected", stream=self.name, role=role.value, protocol=protocol)
        return publication

    def request_key(self, rung: str = SOURCE) -> None:
        """Have a rung's encoder make a key frame, at most once a second.

        Of what the worker does not make, the publisher on air is asked; not all of them can be.
        """
        if self.show is None or self.show.ended or self.show.ladder.realtime.request_key(rung):
            return
        on_air = self.switcher.on_air
        for publication in self._publications.values():
            if publication.source is on_air:
                publication.keys.want()

    def left(self, publication: Publication, reason: str) -> None:
        """Note that a publisher is gone (called by `Publication.close`)."""
        role = publication.source.role
        if self._publications.get(role) is not publication:
            return
        del self._publications[role]
        log.info(
            "publisher left",
            stream=self.name,
            role=role.value,
            reason=reason,
            packets=publication.packets,
        )
        self.switcher.leave(publication.source)
        if self._publications or self._ahead_ns is not None:
            return
        self._left_ns = self.host.now_ns()
        if not self._grace_s:
            self.end()  # before a slate could become its last picture
        elif self.state is State.LIVE:
            self._change(State.RECONNECTING)

    def _new_show(self) -> None:
        host = self.host
        clock = ShowClock.anchored(utc_ms=host.utc_ms(), now_ns=host.now_ns())
        own = host.settings.streams.of(self.name)
        self.show = Show(
            stream=self.name,
            run_id=host.new_run_id(),
            hls=host.settings.hls,
            ladder=host.settings.ladder,
            clock=clock,
            metadata=host.metadata(self.name, clock),
            meter=host.meter,
            encoders=lambda sink: host.encoders(self.name, sink),
            on_started=self._started,
            now_ns=host.now_ns,
            tap=host.tap(self.name),
            feed=self.realtime,
            slate=recipe_for(host.settings, self.name),
            languages=own.audio_languages if own is not None else (),
        )
        self._ended_ns = None
        host.start(self.show)

    def _started(self) -> None:
        self._ahead_ns = None
        self._change(State.LIVE)

    def open_ahead(self) -> None:
        """Start a show with its slate, or keep one from ending, until an encoder is on air.

        Raises `OpenRefused` where slates are off.
        """
        if not self.host.settings.slate.enabled:
            raise OpenRefused(
                "Slates are off (slate.enabled), so there is nothing to show before an encoder "
                "comes."
            )
        if self.state is State.LIVE:
            return
        if self.show is None or self.show.ended:
            self._new_show()
        self.require_show().open_ahead()
        self._ahead_ns, self._left_ns = self.host.now_ns(), None
        log.info("stream opened ahead", stream=self.name)
        self._change(State.RECONNECTING)

    # ── time passing ─────────────────────────────────────────────────────────────────────────

    def tick(self) -> None:
        """End the show when its grace has run out, free it when nobody needs it any more."""
        now = self.host.now_ns()
        if self._publications:
            self.switcher.tick()
            for publication in self._publications.values():
                publication.keys.tick()
        elif self._ahead_ns is not None:
            if now - self._ahead_ns >= self.host.settings.streams.open_ahead_s * 1e9:
                self.end()
        elif self._left_ns is not None and now - self._left_ns >= self._grace_s * 1e9:
            self.end()
        if self._ended_ns is not None and now - self._ended_ns >= KEEP_ENDED_S * 1e9:
            self._ended_ns = None
            self.show = None
            self._change(State.IDLE)

    @property
    def _grace_s(self) -> float:
        own = self.host.settings.streams.of(self.name)
        if own is not None and own.grace_s is not None:
            return own.grace_s
        return self.host.settings.streams.grace_s

    def end(self, text: str = "The show was ended.") -> None:
        """End the show now: ENDLIST in every playlist. Idempotent.

        `text` tells a publisher why it is sent away.
        """
        self._left_ns = self._ahead_ns = None
        publications, self._publications = self._publications, {}
        self.switcher.clear()
        for publication in publications.values():
            publication.revoke(text)
        if self.show is None or self.show.ended:
            return
        started = bool(self.show.lineup.listed())
        self.show.end()
        self._ended_ns = self.host.now_ns()
        log.info("show ended", stream=self.name)
        self._change(State.ENDED if started else State.IDLE)

    def _change(self, state: State) -> None:
        if state is not self.state:
            log.info("stream state", stream=self.name, state=state.value)
            self.state = state


def _nobody() -> None:
    """Ask an encoder that cannot be asked."""


def _return_s(settings: Settings) -> float | None:
    wanted = settings.streams.standby_return_s
    return None if wanted == "manual" else wanted
