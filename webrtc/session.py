"""One WebRTC session from its answer to its end."""

from __future__ import annotations

import asyncio
import secrets
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from webrtc.departures import Departure, Ticket
from webrtc.handover import credentials_of
from webrtc.peer import PeerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webrtc.peer import Peer
    from webrtc.sdp.candidates import Candidate
    from webrtc.sdp.negotiate import Answer

MAX_REMOTE_CANDIDATES = 32
"""Of one peer, from offer and trickle: each costs checks sent to where it says."""


class End(StrEnum):
    """Why a session ended; the fixed words of the metrics."""

    BYE = "bye"
    """The peer left, or we are stopping."""
    TIMEOUT = "timeout"
    """It never connected, or fell silent."""
    ERROR = "error"
    """What it sent cannot be used, or a fault of ours."""
    REVOKED = "revoked"
    """The stream was taken away from it: a newer publisher, the stream's removal."""
    LIMIT = "limit"
    """It sent more than is allowed."""


class SessionOver(Exception):
    """Raised by an attendant to end its session; the text is a sentence for the peer's user."""

    def __init__(self, end: End, text: str) -> None:
        super().__init__(text)
        self.end = end


class Attendant(Protocol):
    """What a door does with the media of one session. All on the event loop.

    Every method but `end` may raise `SessionOver`; anything else is a fault, and loud.
    """

    def begin(self) -> None:
        """The peer has connected; comes ahead of the first packet."""

    async def run(self) -> None:
        """Work that goes on while the peer is connected: cancelled at its end."""

    def rtp(self, data: bytes, arrived_ns: int) -> None:
        """Take a decrypted RTP packet; `arrived_ns` is monotonic."""

    def rtcp(self, data: bytes, arrived_ns: int) -> None:
        """Take a decrypted compound RTCP packet."""

    def end(self, reason: End) -> None:
        """The session is over; called once, also where the peer never connected."""


class Session:
    """A peer with its answer and its attendant; `Sessions` makes and runs it."""

    def __init__(
        self,
        *,
        protocol: str,
        number: int,
        stream: str,
        owner: str,
        address: str,
        token: str | None,
        near: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`near`: whether an IP address may be that of who made the offer."""
        self.id = secrets.token_urlsafe(24)
        """Its secret name, never logged."""
        self.etag = f'"{secrets.token_urlsafe(12)}"'
        self.protocol, self.number, self.stream = protocol, number, stream
        self.owner, self.address = owner, address
        self.ticket = Ticket(token)
        self._over = asyncio.Event()
        self._end = End.BYE
        self._text = ""
        self._near = near
        self._candidates = 0
        self.opened_ns = time.monotonic_ns()
        self.setup_s: float | None = None
        """From the offer to the connection; None until then."""
        self.peer: Peer
        self.answer: Answer
        self.attendant: Attendant

    # ── for attendants ───────────────────────────────────────────────────────────────────────

    @property
    def over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._over.is_set()

    def finish(self, reason: End, text: str = "") -> None:
        """End it from any callback; `text` goes to the log. The first reason stands."""
        if not self._over.is_set():
            self._end, self._text = reason, text
            self._over.set()

    def send_rtp(self, data: bytes) -> None:
        """Encrypt and send an RTP packet; nothing once the peer is gone."""
        self._send_through("rtp", data)

    def send_rtcp(self, data: bytes) -> None:
        """Encrypt and send a compound RTCP packet; nothing once the peer is gone."""
        self._send_through("rtcp", data)

    def _send_through(self, kind: str, data: bytes) -> None:
        if self._over.is_set():
            return
        try:
            (self.peer.send_rtp if kind == "rtp" else self.peer.send_rtcp)(data)
        except PeerLost as lost:
            # Once it is leaving, its `run` says why.
            if self.peer.connected.is_set() and not self.peer.leaving:
                self.finish(End.TIMEOUT, str(lost))

    # ── for `Sessions` ───────────────────────────────────────────────────────────────────────

    async def hear_of(self, candidates: Sequence[Candidate]) -> None:
        """Take the peer's candidates, of its offer or trickled; beyond the bound, none.

        Only those that may be its own: anybody could name a third party, and have it sent checks.
        Its other addresses are found by its own checks. The end of candidates is not passed on:
        ICE would give up once those told have failed, although a check may be on its way.
        """
        for each in candidates:
            if self.over or self._candidates >= MAX_REMOTE_CANDIDATES:
                return
            if self._near(each.address):
                self._candidates += 1
                await self.peer.add_text(each.text)

    def take_rtp(self, data: bytes, arrived_ns: int) -> None:
        """Pass a packet on."""
        if not self._over.is_set():
            try:
                self.attendant.rtp(data, arrived_ns)
            except SessionOver as over:
                self.finish(over.end, str(over))

    def take_rtcp(self, data: bytes, arrived_ns: int) -> None:
        """Pass a packet on."""
        if not self._over.is_set():
            try:
                self.attendant.rtcp(data, arrived_ns)
            except SessionOver as over:
                self.finish(over.end, str(over))

    def begin(self) -> None:
        """Hear that the peer has connected."""
        self.setup_s = (time.monotonic_ns() - self.opened_ns) / 1e9
        try:
            self.attendant.begin()
        except SessionOver as over:
            self.finish(over.end, str(over))

    async def run(self) -> End:
        """Connect, and stay until the end; returns why. Raises a fault of ours."""
        try:
            async with asyncio.TaskGroup() as group:
                connection = group.create_task(self._connection(), name="webrtc-peer")
                attendance = group.create_task(self._attendance(), name="webrtc-attendant")
                await self._over.wait()
                attendance.cancel()
                if not self.peer.leaving:  # cancelled while it closes, it would stay half open
                    connection.cancel()
        except Exception:
            self.finish(End.ERROR)
            raise
        finally:
            self.finish(End.BYE)  # cancelled: we are stopping
            self.attendant.end(self._end)
            await self.peer.close()  # once more: its task may not even have begun
        return self._end

    @property
    def reason(self) -> tuple[End, str]:
        """Why it ended, and the sentence about it, perhaps empty; of use once it is over."""
        return self._end, self._text

    @property
    def departure(self) -> Departure | None:
        """What its owner may ask for later; None unless this server ended it, and said why."""
        if not self.over or self._end is End.BYE or not self._text:
            return None
        return Departure(ticket=self.ticket, reason=self._end, text=self._text)

    async def _connection(self) -> None:
        try:
            await self.peer.run(credentials_of(self.answer.peer))
        except PeerLost as lost:
            self.finish(End.TIMEOUT, str(lost))
        self.finish(End.BYE)

    async def _attendance(self) -> None:
        await self.peer.connected.wait()
        if self.over:
            return
        try:
            await self.attendant.run()
        except SessionOver as over:
            self.finish(over.end, str(over))
