"""Peers that call our doors: aiortc's, and what tests of sessions share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from config.settings import WhipSettings
from webrtc.door import Opened
from webrtc.session import End, Session

HOST = "127.0.0.1"
SETTINGS = WhipSettings(ports="0", addresses=(HOST,))


async def until(probe: Callable[[], object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not probe():
            await asyncio.sleep(0.005)


class Tasks:
    """Starts tasks as a supervisor does, and keeps what went wrong in them."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.failed: list[Exception] = []

    def __call__(
        self,
        name: str,
        factory: Callable[[], Coroutine[object, object, object]],
        *,
        restart: bool = False,
    ) -> Task:
        async def child() -> None:
            try:
                await factory()
            except Exception as error:
                self.failed.append(error)

        return Task(self._group.create_task(child(), name=name))


class Task:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def join(self) -> None:
        await asyncio.wait([self._task])


class Meter:
    """Keeps what sessions report."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.connected: list[float] = []
        self.closed: list[str] = []
        self.refused: list[int] = []

    def session_opened(self, protocol: str) -> None:
        self.opened.append(protocol)

    def session_connected(self, protocol: str, setup_s: float) -> None:
        self.connected.append(setup_s)

    def session_closed(self, protocol: str, reason: str) -> None:
        self.closed.append(reason)

    def session_refused(self, protocol: str, status: int) -> None:
        self.refused.append(status)


class Listener:
    """An attendant that notes everything."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.begun = 0
        self.rtps: list[bytes] = []
        self.rtcps: list[bytes] = []
        self.ended: list[End] = []
        self.on_rtp: Callable[[], None] = lambda: None

    def begin(self) -> None:
        self.begun += 1

    async def run(self) -> None:
        await asyncio.Event().wait()

    def rtp(self, data: bytes, arrived_ns: int) -> None:
        assert self.begun
        self.rtps.append(data)
        self.on_rtp()

    def rtcp(self, data: bytes, arrived_ns: int) -> None:
        self.rtcps.append(data)

    def end(self, reason: End) -> None:
        self.ended.append(reason)


class Publisher:
    """aiortc sending silence; its offer is candidate-less, as OBS's, unless asked otherwise."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTrack(AudioStreamTrack())

    async def offer(self, *, candidates: bool = False) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp: str = self.connection.localDescription.sdp
        if not candidates:
            sdp = re.sub(r"a=(candidate|end-of-candidates).*\r\n", "", sdp)
        return sdp

    async def take(self, opened: Opened) -> None:
        await self.connection.setRemoteDescription(
            RTCSessionDescription(sdp=opened.answer, type="answer")
        )

    async def close(self) -> None:
        await self.connection.close()
