"""A stream: its publishers one after the other, its shows, its state.

The newest authenticated publisher of a role wins: the stream is its own at once, and what the one
before sends stays on air only until the new one's first key frame. Who goes on fighting for a key
is refused (`media.standby.contest`). Which of the two roles is on air is decided by
`media.standby.switcher`. The last publisher that leaves opens the grace; one that comes back
within it continues the same show, clock and media sequence numbers. When the grace runs out the
show ends; the next publisher starts a new one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import structlog

from media.clock import ShowClock
from media.diagnosis import sentences
from media.limits import Limits, narrow
from media.lineup import SOURCE
from media.model import Role
from media.publication import Publication
from media.realtime import RealtimeFeed
from media.show import Show
from media.slate.desk import recipe_for
from media.standby.contest import Contest
from media.standby.switcher import TAKEN_OVER_TEXT, Switcher

if TYPE_CHECKING:
    from collections.abc import Callable

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
            dismiss=self._dismiss,
        )
        self._publications: dict[Role, Publication] = {}
        self._outgoing: Publication | None = None
        """On air, though a newer publisher has its role, until that one can begin."""
        self._contests = {role: Contest() for role in Role}
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

        Its pictures stay on air until the newer one's first key frame; then it is revoked.
        `limits` bound what it may send; None: the server's. `on_key_wanted`: `request_key`.
        """
        took_over = self.switcher.is_well(role)
        self._contests[role].let_in(self.host.now_ns(), took_over=took_over)
        if took_over:
            self.host.meter.taken_over(self.name, role.value)
        previous = self._publications.pop(role, None)
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
        if previous is not None:
            log.info("publisher taken over", stream=self.name, role=role.value, protocol=protocol)
            if self.switcher.outgoing is previous.source:
                self._outgoing = previous
            else:
                previous.revoke(TAKEN_OVER_TEXT)
        log.info("publisher connected", stream=self.name, role=role.value, protocol=protocol)
        return publication

    def refusal(self, role: Role) -> str | None:
        """Say why a newcomer may not publish in a role now; None where it may.

        Each refusal is counted and prolongs the time (`media.standby.contest`).
        """
        if not self.switcher.is_well(role) or not self._contests[role].refuses(self.host.now_ns()):
            return None
        self.require_show().rival_refused()
        return sentences.KEY_TAKEN

    def yield_to_next(self, role: Role) -> None:
        """Let the next newcomer of a role take over for good; the one on air then is the rival."""
        log.info("next publisher wanted", stream=self.name, role=role.value)
        self._contests[role].settle()

    def _dismiss(self, source: Source, text: str) -> None:
        """Send away the older or the newer publisher of a role: the other one is on air."""
        outgoing, self._outgoing = self._outgoing, None
        assert outgoing is not None
        if outgoing.source is not source:
            role = source.role
            outgoing, self._publications[role] = self._publications[role], outgoing
        outgoing.revoke(text)

    def request_key(self, rung: str = SOURCE) -> None:
        """Have a rung's encoder make a key frame, at most once a second.

        Of what the worker does not make, the publisher on air is asked; not all of them can be.
        """
        if self.show is None or self.show.ended or self.show.ladder.realtime.request_key(rung):
            return
        on_air = self.switcher.on_air
        for publication in self._present():
            if publication.source is on_air:
                publication.keys.want()

    def _present(self) -> list[Publication]:
        """Return everyone who publishes."""
        present = list(self._publications.values())
        return present if self._outgoing is None else [*present, self._outgoing]

    def left(self, publication: Publication, reason: str) -> None:
        """Note that a publisher is gone (called by `Publication.close`)."""
        role = publication.source.role
        outgoing = self._outgoing
        if publication is outgoing:
            self._outgoing = None
        elif self._publications.get(role) is not publication:
            return
        elif outgoing is not None and outgoing.source.role is role:
            self._publications[role], self._outgoing = outgoing, None
        else:
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
            for publication in self._present():
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
        publications = self._present()
        self._publications, self._outgoing = {}, None
        self._contests = {role: Contest() for role in Role}
        self.switcher.clear()
        for publication in publications:
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


def _return_s(settings: Settings) -> float | None:
    wanted = settings.streams.standby_return_s
    return None if wanted == "manual" else wanted
