"""All WebRTC sessions of one door: made from offers, counted, run, ended."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from webrtc.departures import Departure, Departures
from webrtc.door import DoorRefused, Opened
from webrtc.handover import local_of
from webrtc.ice import NoPort, own_addresses
from webrtc.peer import Peer
from webrtc.sdp.errors import Refusal, SdpError
from webrtc.sdp.fragment import parse_fragment
from webrtc.sdp.parse import parse
from webrtc.session import Attendant, End, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from aiortc import RTCCertificate

    from config.settings import WhipSettings
    from webrtc.door import Call
    from webrtc.meter import SessionMeter
    from webrtc.sdp.model import Session as Description
    from webrtc.sdp.negotiate import Answer, Local

log = structlog.get_logger(__name__)

RETRY_AFTER_S = 5
PATIENCE_NS = 2_000_000_000
"""So long a peer has its place before it connects; then another may get it."""
STOP_S = 3.0
"""For goodbyes to peers at a stop."""
_STATUS = {Refusal.MALFORMED: 400, Refusal.TOO_LARGE: 413, Refusal.UNPROCESSABLE: 422}


class Running(Protocol):
    """A task that was started."""

    async def join(self) -> None:
        """Wait until it has ended; never raises its error."""


class Spawn(Protocol):
    """Starts a supervised task (`vitrina.supervise.Supervisor.spawn`)."""

    def __call__(
        self, name: str, factory: Callable[[], Coroutine[object, object, object]]
    ) -> Running:
        """Run `factory()` under the name `component:instance`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Sessions at once."""

    total: int
    per_address: int
    per_owner: int | None = None
    """Of one owner, as the door names it; None: as many as there may be."""


class Sessions:
    """See the module's docstring. `_tasks` holds a task for each session, from answer to end."""

    def __init__(
        self,
        *,
        protocol: str,
        settings: WhipSettings,
        limits: SessionLimits,
        certificate: RTCCertificate,
        meter: SessionMeter,
        spawn: Spawn,
        crowd_of: Callable[[str], str],
    ) -> None:
        """`protocol`: `whip` or `whep`. `certificate`: one for the process, only in memory.

        `crowd_of` says what addresses count as one.
        """
        self._protocol, self._settings, self._limits = protocol, settings, limits
        self._certificate, self._meter, self._spawn = certificate, meter, spawn
        self._crowd_of = crowd_of
        self._sessions: dict[str, Session] = {}
        self._tasks: dict[str, Running] = {}
        self._departures = Departures(time.monotonic_ns)
        self._addresses: Counter[str] = Counter()
        self._owners: Counter[str] = Counter()
        self._count = 0
        self._numbers = 0
        self._closing = False
        self._links = tuple(ice_links(settings))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    @property
    def links(self) -> tuple[str, ...]:
        """Values of `Link` headers, one for each ICE server."""
        return self._links

    # ── what doors call ──────────────────────────────────────────────────────────────────────

    async def open(
        self,
        call: Call,
        *,
        stream: str,
        owner: str,
        negotiate: Callable[[Description, Local], Answer],
        attend: Callable[[Session], Attendant],
    ) -> Opened:
        """Answer an offer and run its session from here on. Raises `DoorRefused`.

        `stream` is for the log, `owner` for the limit; neither holds a secret. `negotiate` may
        raise `SdpError` and `DoorRefused`. `attend` makes who takes the media; the session has its
        answer then. What it raises is a fault of ours.
        """
        try:
            return await self._open(call, stream, owner, negotiate, attend)
        except DoorRefused as refused:
            self.refused(refused)
            raise

    def refused(self, refusal: DoorRefused) -> None:
        """Count an offer that was refused, by the door itself or here."""
        self._meter.session_refused(self._protocol, refusal.status)

    async def trickle(
        self, session: str, token: str | None, fragment: str, if_match: str | None
    ) -> None:
        """As `webrtc.door.Door.trickle`."""
        found = self._owned(session, token)
        if if_match is None:
            raise DoorRefused(
                428, "Send If-Match with the ETag of the answer: the session may have a newer one."
            )
        tags = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
        if not tags & {"*", found.etag}:
            raise DoorRefused(412, "If-Match is not the session's ETag: send that of the answer.")
        try:
            parsed = parse_fragment(fragment)
        except SdpError as error:
            raise _as_refusal(error) from None
        peer = found.answer.peer
        if parsed.restarts(peer.ufrag, peer.password):
            raise DoorRefused(
                422, "ICE restarts are not taken: DELETE this session and POST a new offer."
            )
        if parsed.belongs_to(peer.ufrag):
            await found.hear_of(parsed.candidates)

    async def close(self, session: str, token: str | None) -> None:
        """As `webrtc.door.Door.close`; returns once the peer's goodbye is sent."""
        found = self._owned(session, token)
        found.finish(End.BYE)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._join(found.id)

    async def close_all(self) -> None:
        """End every session, take no more, and wait for the goodbyes (`STOP_S` at most)."""
        self._closing = True
        for each in self:
            each.finish(End.BYE, "The server is stopping.")
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                for name in tuple(self._tasks):
                    await self._join(name)

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _owned(self, name: str, token: str | None) -> Session:
        found = self._sessions.get(name)
        departure = self._departures.find(name) if found is None else found.departure
        known = found if found is not None and not found.over else departure
        if known is None:
            raise DoorRefused(404, "There is no such session (any more): POST a new offer.")
        if not known.ticket.admits(token):
            if token is None:
                raise DoorRefused(
                    401, "Send Authorization: Bearer with the key that opened the session."
                )
            raise DoorRefused(403, "The session was opened with another key: send that one.")
        if isinstance(known, Departure):
            raise DoorRefused(409, known.text, reason=known.reason.value)
        return known

    async def _join(self, name: str) -> None:
        """Wait for the end of a session that was told to finish."""
        task = self._tasks.get(name)
        if task is not None:
            await task.join()

    async def _open(
        self,
        call: Call,
        stream: str,
        owner: str,
        negotiate: Callable[[Description, Local], Answer],
        attend: Callable[[Session], Attendant],
    ) -> Opened:
        if self._closing:
            raise DoorRefused(503, "The server is stopping.", retry_after_s=RETRY_AFTER_S)
        try:
            offer = parse(call.offer)
        except SdpError as error:
            raise _as_refusal(error) from None
        crowd = self._crowd_of(call.address)
        await self._see_off(owner)
        await self._make_room(crowd)
        self._count_in(crowd, owner)
        opened = False
        try:
            self._numbers += 1
            session = Session(
                protocol=self._protocol,
                number=self._numbers,
                stream=stream,
                owner=owner,
                address=call.address,
                token=call.token,
                near=lambda address: self._crowd_of(address) == crowd,
            )
            await self._answer(session, offer, negotiate, attend)
            self._start(session, crowd, owner)
            opened = True
        finally:
            if not opened:
                self._count_out(crowd, owner)
        return Opened(
            session=session.id, answer=session.answer.text, etag=session.etag, links=self._links
        )

    async def _answer(
        self,
        session: Session,
        offer: Description,
        negotiate: Callable[[Description, Local], Answer],
        attend: Callable[[Session], Attendant],
    ) -> None:
        """Give the session its peer, answer and attendant; leaves no socket behind on failure."""
        peer = Peer(
            certificate=self._certificate,
            ports=self._settings.port_range,
            hosts=self._settings.addresses or own_addresses(),
            rtp=session.take_rtp,
            rtcp=session.take_rtcp,
            begin=lambda: self._begin(session),
        )
        try:
            await peer.open()
        except NoPort as error:
            raise DoorRefused(503, str(error), retry_after_s=RETRY_AFTER_S) from None
        try:
            answer = negotiate(offer, local_of(peer))
            if answer.peer.ice_lite:
                raise DoorRefused(
                    422, "The offer says a=ice-lite, as this server cannot: use full ICE."
                )
            session.peer, session.answer = peer, answer
            await session.hear_of(answer.peer.candidates)
            session.attendant = attend(session)  # the last: it hears of its end only once it runs
        except SdpError as error:
            await peer.close()
            raise _as_refusal(error) from None
        except BaseException:
            await peer.close()
            raise

    def _begin(self, session: Session) -> None:
        session.begin()
        self._meter.session_connected(self._protocol, session.setup_s or 0.0)
        self._line(session, "connected", setup_s=round(session.setup_s or 0.0, 3))

    def _start(self, session: Session, crowd: str, owner: str) -> None:
        self._sessions[session.id] = session
        self._meter.session_opened(self._protocol)
        self._tasks[session.id] = self._spawn(
            f"{self._protocol}:{session.number}", lambda: self._run(session, crowd, owner)
        )

    async def _run(self, session: Session, crowd: str, owner: str) -> None:
        try:
            await session.run()
        finally:
            self._sessions.pop(session.id, None)
            self._tasks.pop(session.id, None)
            self._count_out(crowd, owner)
            if (departure := session.departure) is not None:
                self._departures.note(session.id, departure)
            reason, text = session.reason
            self._meter.session_closed(self._protocol, reason)
            self._line(
                session,
                "session over",
                reason=reason.value,
                **({"detail": text} if text else {}),
                received=session.peer.received,
                sent=session.peer.sent,
                undecipherable=session.peer.undecipherable,
            )

    def _line(self, session: Session, event: str, **fields: object) -> None:
        # Viewers come by the hundred, publishers are worth a line each.
        write = log.info if self._protocol == "whip" else log.debug
        write(
            event,
            protocol=self._protocol,
            session=session.number,
            stream=session.stream,
            remote=session.address,
            **fields,
        )

    async def _see_off(self, owner: str) -> None:
        """Wait for an owner's sessions that are ending, where they hold all of its places."""
        for each in self:
            most = self._limits.per_owner
            if most is None or self._owners[owner] < most:
                return
            if each.over and each.owner == owner:
                await self._join(each.id)

    async def _make_room(self, crowd: str) -> None:
        """Where places are short, take one from who holds it without connecting.

        An offer costs nothing: without this a stranger could keep everybody else out. Of the
        address that holds the most the oldest goes.
        """
        limits = self._limits
        while True:
            full = self._count >= limits.total
            if not full and self._addresses[crowd] < limits.per_address:
                return
            late_ns = time.monotonic_ns() - PATIENCE_NS
            waiting: dict[str, list[Session]] = {}
            for each in self._sessions.values():
                if each.setup_s is None and not each.over and each.opened_ns <= late_ns:
                    waiting.setdefault(self._crowd_of(each.address), []).append(each)
            found = max(waiting.values(), key=len, default=[]) if full else waiting.get(crowd, [])
            if not found:
                return
            found[0].finish(End.TIMEOUT, "It did not connect, and another needed its place.")
            await self._join(found[0].id)

    def _count_in(self, crowd: str, owner: str) -> None:
        limits = self._limits
        if self._count >= limits.total:
            text = "The server has as many WebRTC sessions as it takes: try again later."
        elif self._addresses[crowd] >= limits.per_address:
            text = "Too many WebRTC sessions are open from your address: close one first."
        elif limits.per_owner is not None and self._owners[owner] >= limits.per_owner:
            text = "Too many sessions are open with this key: close one first."
        else:
            self._count += 1
            self._addresses[crowd] += 1
            self._owners[owner] += 1
            return
        raise DoorRefused(503, text, retry_after_s=RETRY_AFTER_S)

    def _count_out(self, crowd: str, owner: str) -> None:
        self._count -= 1
        for counter, name in ((self._addresses, crowd), (self._owners, owner)):
            counter[name] -= 1
            if counter[name] <= 0:
                del counter[name]


def ice_links(settings: WhipSettings) -> Iterator[str]:
    """Yield a `Link` value for each ICE server (RFC 9725 section 4.6)."""
    for server in settings.ice_servers:
        link = f'<{server.url}>; rel="ice-server"'
        if server.username is not None and server.credential is not None:
            link += f'; username="{server.username}"'
            link += f'; credential="{server.credential.get_secret_value()}"'
            link += '; credential-type="password"'
        yield link


def _as_refusal(error: SdpError) -> DoorRefused:
    return DoorRefused(_STATUS[error.refusal], str(error))
