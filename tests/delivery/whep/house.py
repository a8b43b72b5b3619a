"""A door of viewers in this process, and aiortc's peers that come through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import av
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from delivery.whep import programme, service
from delivery.whep import stage as stages
from delivery.whep.service import WhepDoor
from ingest.addresses import crowd_of
from overlay.errors import NotFound
from overlay.times import format_ms, parse_ms
from tests.delivery.whep.material import Stage
from tests.webrtc.callers import HOST, SETTINGS, Meter
from vitrina.supervise import Supervisor
from webrtc.door import Call, Opened
from webrtc.meter import RtpCounts
from webrtc.peer import make_certificate
from webrtc.sessions import SessionLimits, Sessions

CERTIFICATE = make_certificate()


class Reports(Meter):
    """Keeps what sessions and viewers report."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[tuple[str, str]] = Counter()
        """(kind, what) of all viewers."""
        self.discarded: Counter[str] = Counter()
        self.jitters: list[float] = []
        self.rtts: list[float] = []
        self.bandwidths: list[float] = []
        self.dropped = self.switched = self.keys_asked = 0
        self.failed: list[str] = []

    def rtp_counted(self, stream: str, protocol: str, kind: str, counts: RtpCounts) -> None:
        assert (stream, protocol) == ("shop", "whep")
        for name, value in asdict(counts).items():
            assert value >= 0
            self.counted[kind, name] += value

    def rtp_jitter(self, stream: str, protocol: str, kind: str, seconds: float) -> None:
        self.jitters.append(seconds)

    def rtp_discarded(self, stream: str, protocol: str, reason: str, count: int) -> None:
        assert (stream, protocol) == ("shop", "whep")
        assert count > 0
        self.discarded[reason] += count

    def rtp_path(
        self, stream: str, protocol: str, *, rtt_s: float | None, bandwidth_bps: float | None
    ) -> None:
        self.rtts += [] if rtt_s is None else [rtt_s]
        self.bandwidths += [] if bandwidth_bps is None else [bandwidth_bps]

    def whep_dropped(self, stream: str, pictures: int) -> None:
        self.dropped += pictures

    def whep_switched(self, stream: str, count: int) -> None:
        self.switched += count

    def whep_keys_asked(self, stream: str, count: int) -> None:
        self.keys_asked += count

    def component_failed(self, component: str) -> None:
        self.failed.append(component)


class Log:
    """A stream's cues (`delivery.whep.cues.CueSource`)."""

    def __init__(self) -> None:
        self.active: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.queues: list[asyncio.Queue[Any]] = []
        self.now_ms = 1_795_000_000_000

    def state_at(self, stream: str, utc_ms: int | None = None) -> dict[str, Any]:
        return {
            "stream": stream,
            "at": format_ms(self.now_ms),
            "seq": len(self.entries),
            "cues": self.active,
        }

    def subscribe(self, stream: str, after_seq: int | None = None) -> Any:
        if stream == "gone":
            raise NotFound("there is no such stream")
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.queues.append(queue)
        return Subscription(queue)

    def pending(self, stream: str, *, after: int, at_ms: int, limit: int) -> list[dict[str, Any]]:
        return [
            each
            for each in self.entries
            if each["seq"] > after or parse_ms(each["effective"]) > at_ms
        ][-limit:]


class Subscription:
    def __init__(self, queue: asyncio.Queue[Any]) -> None:
        self._queue = queue

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        return await self._queue.get()

    async def aclose(self) -> None:
        pass


class House:
    """A door with one stream, `shop`."""

    def __init__(
        self,
        supervisor: Supervisor,
        meter: Reports,
        stage: Stage,
        limits: SessionLimits,
        offers_per_minute: int,
    ) -> None:
        self.stage, self.meter = stage, meter
        self.log = Log()
        self.streams = {"shop": stage}
        self.sessions = Sessions(
            protocol="whep",
            settings=SETTINGS,
            limits=limits,
            certificate=CERTIFICATE,
            meter=meter,
            spawn=supervisor.spawn,
            crowd_of=lambda address: address,
        )
        self.door = WhepDoor(
            sessions=self.sessions,
            stream_of=self.streams.get,
            cues=self.log,
            meter=meter,
            spawn=supervisor.spawn,
            offers_per_minute=offers_per_minute,
            crowd_of=crowd_of,
        )

    async def open(self, offer: str, *, stream: str | None = "shop", address: str = HOST) -> Opened:
        return await self.door.open(Call(offer=offer, address=address, stream=stream))


def hurry(patch: pytest.MonkeyPatch) -> list[int]:
    """Shorten what a door waits for, without changing the order of it.

    The list grows by one with every report of a stage's viewers, a tenth of a second apart.
    """
    reports: list[int] = []
    report = stages.Stage.report

    def counted(stage: stages.Stage) -> None:
        report(stage)
        reports.append(len(reports))

    patch.setattr(service, "REPORT_NS", 100_000_000)
    patch.setattr(programme, "FRESH_NS", 300_000_000)
    patch.setattr(stages, "READY_S", 0.3)
    patch.setattr(stages, "_ONLY_SOUND_S", 0.3)
    patch.setattr(stages, "STRANDED_NS", 200_000_000)
    patch.setattr(stages.Stage, "report", counted)
    return reports


@contextlib.asynccontextmanager
async def house(
    stage: Stage | None = None,
    *,
    limits: SessionLimits | None = None,
    offers_per_minute: int = 6000,
) -> AsyncIterator[House]:
    """A door whose stream plays; nothing in it may have failed at the end."""
    meter = Reports()
    stage = stage or Stage()
    async with Supervisor(meter=meter) as supervisor:
        limits = limits or SessionLimits(total=99, per_address=99)
        made = House(supervisor, meter, stage, limits, offers_per_minute)
        supervisor.spawn("play", stage.play)
        supervisor.spawn("whep", made.door.run)
        try:
            yield made
        finally:
            await made.sessions.close_all()
    assert meter.failed == []


class Viewer:
    """aiortc as a viewer: decodes what it gets."""

    def __init__(self, *, data: bool = False, audio: bool = True) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTransceiver("video", direction="recvonly")
        if audio:
            self.connection.addTransceiver("audio", direction="recvonly")
        self.pictures: list[tuple[float, av.VideoFrame]] = []
        """(when, picture)."""
        self.sounds: list[av.AudioFrame] = []
        self.messages: list[dict[str, Any]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", self._track)
        self.opened: Opened | None = None
        if data:
            channel = self.connection.createDataChannel("vitrina.cues")
            channel.on("message", self.hear)

    def hear(self, text: str) -> None:
        self.messages.append(json.loads(text))

    def _track(self, track: Any) -> None:
        async def take() -> None:
            with contextlib.suppress(MediaStreamError):
                while True:
                    frame = await track.recv()
                    if track.kind == "video":
                        self.pictures.append((time.monotonic(), frame))
                    else:
                        self.sounds.append(frame)

        self._tasks.append(asyncio.get_running_loop().create_task(take()))

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp: str = self.connection.localDescription.sdp
        return sdp

    async def come(self, to: House, *, stream: str = "shop") -> Opened:
        self.opened = await to.open(await self.offer(), stream=stream)
        await self.take(self.opened.answer)
        return self.opened

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def close(self) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def viewer(to: House, *, data: bool = False) -> AsyncIterator[Viewer]:
    made = Viewer(data=data)
    try:
        await made.come(to)
        yield made
    finally:
        await made.close()
