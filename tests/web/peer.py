"""A WHEP sender and a WHIP receiver out of stock aiortc: the other side of the pages' tests.

The pictures carry their number as those of `tests.web.origin` do; RTP time begins shortly before
its wrap at 2^32.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from aiohttp import web
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import AudioStreamTrack
from av import VideoFrame

from tests.web.origin import BITS, FPS, Origin, rfc3339

WIDTH, HEIGHT, STRIP = 640, 360, 30
CLOCK = 90_000
RTP_ORIGIN = 2**32 - 4 * CLOCK
SDP = "application/sdp"
LOST_PORT = 9
"""Discard: nobody answers there."""


class Numbered(VideoStreamTrack):
    """Picture `n` is due at content second n / FPS of `origin`."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self._origin = origin
        self._number = int(origin.position() * FPS)
        self._first = self._number
        self.paused = False

    def rtp(self, second: float) -> int:
        """RTP timestamp of a moment of the content."""
        return (RTP_ORIGIN + round((second - self._first / FPS) * CLOCK)) % 2**32

    async def recv(self) -> VideoFrame:
        while self.paused:
            await asyncio.sleep(0.02)
        # A picture that would come late is left out, as a camera does.
        self._number = max(self._number + 1, int(self._origin.position() * FPS))
        await asyncio.sleep(max(0, self._number / FPS - self._origin.position()))
        image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        left = (self._number * 8) % WIDTH
        image[HEIGHT // 2 :, left : left + 80] = (40, 160, 220)
        for bit in range(BITS):
            block = WIDTH // BITS
            level = 255 if self._number >> bit & 1 else 0
            image[:STRIP, bit * block : (bit + 1) * block] = level
        frame = VideoFrame.from_ndarray(image, "rgb24")
        frame.pts = (self._number - self._first) * (CLOCK // FPS)
        frame.time_base = fractions.Fraction(1, CLOCK)
        return frame


class Silence(AudioStreamTrack):
    """As aiortc's, but it stops with the picture."""

    def __init__(self, picture: Numbered) -> None:
        super().__init__()
        self._picture = picture

    async def recv(self) -> Any:
        while self._picture.paused:
            await asyncio.sleep(0.02)
        return await super().recv()


@dataclass(slots=True)
class Viewing:
    """One WHEP session."""

    peer: RTCPeerConnection
    picture: Numbered
    channel: Any = None


@dataclass(slots=True, kw_only=True)
class WhepPeer:
    """`/whep/s` for an `Origin`."""

    origin: Origin
    refuse: tuple[int, str, dict[str, str]] | None = None
    """Status, detail, headers."""
    lost: bool = False
    """Answer with an address where nobody is."""
    sessions: list[Viewing] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    ended: int = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/whep/s", self._open),
            web.delete("/whep/session/{id}", self._delete),
        ]

    def cue(self, ident: str, second: float, data: dict[str, Any], *, end: float) -> None:
        """Send a hotspot on the data channel of every session, ahead of its picture."""
        at = rfc3339(self.origin.epoch + second)
        for session in self.sessions:
            if session.channel is None or session.channel.readyState != "open":
                continue
            body = {
                "event": "cue", "id": ident, "rev": 1, "seq": 1, "type": "hotspot", "state": "live", "at": at,
                "end": rfc3339(self.origin.epoch + end), "effective": at, "data": data,
                "rtp": session.picture.rtp(second),
                "utc": round((self.origin.epoch + second) * 1000),
            }  # fmt: skip
            session.channel.send(json.dumps(body))

    async def _open(self, request: web.Request) -> web.Response:
        offer = await request.text()
        self.offers.append(offer)
        if self.refuse is not None:
            return refusal(*self.refuse)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        session = Viewing(peer, Numbered(self.origin))
        peer.on("datachannel", lambda channel: setattr(session, "channel", channel))
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        peer.addTrack(session.picture)
        peer.addTrack(Silence(session.picture))
        await peer.setLocalDescription(await peer.createAnswer())
        # Both senders begin where RTP time is about to wrap.
        wrapping = mock.patch("aiortc.rtcrtpsender.random32", return_value=RTP_ORIGIN)
        wrapping.start()
        peer.on("connectionstatechange", lambda: _once_connected(peer, wrapping))
        self.sessions.append(session)
        answer = peer.localDescription.sdp
        if self.lost:
            answer = re.sub(r"(a=candidate:\S+ \d udp \d+ \S+) \d+", rf"\1 {LOST_PORT}", answer)
        location = f"session/{len(self.sessions) - 1}"
        return web.Response(
            status=201, text=answer, content_type=SDP, headers={"Location": location}
        )

    async def _delete(self, request: web.Request) -> web.Response:
        self.ended += 1
        await self.sessions[int(request.match_info["id"])].peer.close()
        return web.Response()

    async def close(self) -> None:
        mock.patch.stopall()
        for session in self.sessions:
            await session.peer.close()


def _once_connected(peer: RTCPeerConnection, wrapping: Any) -> None:
    if peer.connectionState in ("connected", "failed", "closed"):
        loop = asyncio.get_running_loop()
        loop.call_later(1, wrapping.stop)


def refusal(
    status: int, detail: str, headers: dict[str, str] | None = None, **more: str
) -> web.Response:
    body = json.dumps({"type": "about:blank", "status": status, "detail": detail, **more})
    return web.Response(
        status=status, text=body, content_type="application/problem+json", headers=headers
    )


@dataclass(slots=True)
class Publishing:
    """One WHIP session."""

    peer: RTCPeerConnection
    offer: str
    tracks: dict[str, MediaStreamTrack] = field(default_factory=dict)
    deleted: bool = False
    ended: dict[str, str] | None = None
    """Why this side ended it: `detail` and `reason`."""


@dataclass(slots=True, kw_only=True)
class WhipPeer:
    """`/whip/{stream}`: takes one key, receives what is sent."""

    key: str
    refuse: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    """Answers to the next offers, before any is taken."""
    lost: bool = False
    sessions: list[Publishing] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path with query, Authorization."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/whip/{stream}", self._open),
            web.delete("/whip/session/{id}", self._delete),
        ]

    def _note(self, request: web.Request) -> str:
        token = request.headers.get("Authorization", "")
        self.requests.append((request.method, request.path_qs, token))
        return token

    async def _open(self, request: web.Request) -> web.Response:
        token = self._note(request)
        offer = await request.text()
        if self.refuse:
            return refusal(*self.refuse.pop(0))
        if token != f"Bearer {self.key}":
            return refusal(401, "No stream has this key.", {"WWW-Authenticate": "Bearer"})
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        session = Publishing(peer, offer)
        peer.on("track", lambda track: session.tracks.update({track.kind: track}))
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        self.sessions.append(session)
        answer = peer.localDescription.sdp
        if self.lost:
            answer = re.sub(r"(a=candidate:\S+ \d udp \d+ \S+) \d+", rf"\1 {LOST_PORT}", answer)
        location = f"session/{len(self.sessions) - 1}"
        return web.Response(
            status=201, text=answer, content_type=SDP, headers={"Location": f"/whip/{location}"}
        )

    async def _delete(self, request: web.Request) -> web.Response:
        if self._note(request) != f"Bearer {self.key}":
            return refusal(401, "That is another's session.")
        session = self.sessions[int(request.match_info["id"])]
        session.deleted = True
        if session.ended is not None:
            return refusal(409, **session.ended)
        await session.peer.close()
        return web.Response()

    @property
    def posts(self) -> int:
        """Offers that came."""
        return sum(method == "POST" for method, _, _ in self.requests)

    async def end(self, session: Publishing, detail: str, reason: str) -> None:
        """End a session as the server does: DTLS closes, DELETE tells why."""
        session.ended = {"detail": detail, "reason": reason}
        await session.peer.close()

    async def close(self) -> None:
        for session in self.sessions:
            await session.peer.close()


async def until(probe: Any, timeout_s: float, what: str) -> Any:
    """Poll until `probe()` is true."""
    deadline = time.monotonic() + timeout_s
    while not (value := probe()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        await asyncio.sleep(0.02)
    return value
