"""A target on loopback that can refuse, stall and die, and a pusher with a stream to push."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from config.settings import RestreamSettings
from ingest.rtmp.chunks import ChunkLimits
from ingest.rtmp.events import Event, PublishRequested
from ingest.rtmp.session import ServerSession
from media.bitstream import describe
from media.model import Codec, Packet, TrackFormat
from restream.addresses import AllowList
from restream.dial import NetworkDialer
from restream.endpoint import parse_target
from restream.model import State, Target
from restream.pusher import Pusher
from tests.ingest.rtmp.support import ASC, AVCC

LIMITS = ChunkLimits(max_message_bytes=2**24, max_partial_bytes=2**24, max_chunk_streams=64)
VIDEO = TrackFormat(codec=Codec.H264, config=AVCC, codec_string="avc1", width=640, height=360)
AUDIO = TrackFormat(
    codec=Codec.AAC, config=ASC, codec_string="mp4a.40.2", sample_rate=48000, channels=2
)
KEY = "k3y-f0r-th3-target"


async def until(probe: Callable[[], object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not probe():
            await asyncio.sleep(0.01)


class Server:
    """An RTMP server of one process; `events` is what all its connections said."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.connections = 0
        self.refuse: str | None = None
        self.reads = True
        """False: it accepts and never reads."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._sessions: dict[asyncio.StreamWriter, ServerSession] = {}
        self._tls: ssl.SSLContext | None = None

    async def start(self, certificate: Path | None = None, key: Path | None = None) -> None:
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate, key)
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def send_away(self, text: str) -> None:
        """Tell everyone who publishes to leave, and close."""
        for writer, session in self._sessions.items():
            session.fail(text)
            writer.write(session.data_to_send())
            writer.close()

    def packets(self) -> list[Packet]:
        return [event for event in self.events if isinstance(event, Packet)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        session = ServerSession(limits=LIMITS, describe=describe)
        self._sessions[writer] = session
        try:
            while data := await reader.read(65536):
                session.receive_data(data, time.monotonic_ns())
                while (event := session.next_event()) is not None:
                    self.events.append(event)
                    if isinstance(event, PublishRequested):
                        if self.refuse is not None:
                            session.refuse_publish(self.refuse)
                        else:
                            session.accept_publish()
                writer.write(session.data_to_send())
                while not self.reads:
                    writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            self._sessions.pop(writer, None)
            writer.close()


class Meter:
    """Remembers everything."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.calls.append((name, *values))


class Source:
    """A stream of 25 pictures and 40 sounds a second, a key frame each second."""

    def __init__(self, pusher: Pusher, *, size: int = 2000) -> None:
        self.pusher = pusher
        self.size = size
        self.slowest_s = 0.0
        self.pushed = 0

    async def run(self, speed: float = 1.0) -> None:
        self.pusher.formats([VIDEO, AUDIO])
        number = 0
        while True:
            dts = 90_000 * 60 + number * 3600
            key = number % 25 == 0
            unit = (b"\x65" if key else b"\x41") + bytes(self.size)
            payload = len(unit).to_bytes(4, "big") + unit
            self._push(Codec.H264, dts, key, payload)
            self._push(Codec.AAC, dts, True, b"\x21\x10\x04")
            number += 1
            await asyncio.sleep(0.04 / speed)

    def _push(self, codec: Codec, dts: int, key: bool, payload: bytes) -> None:
        began = time.perf_counter()
        self.pusher.packet(
            Packet(
                track=0,
                codec=codec,
                dts=dts,
                pts=dts,
                key=key,
                payload=payload,
                arrived_ns=time.monotonic_ns(),
            )
        )
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)
        self.pushed += 1


@asynccontextmanager
async def pushing(
    url: str,
    *,
    key: str = KEY,
    codecs: frozenset[Codec] = frozenset(),
    allow: tuple[str, ...] = ("127.0.0.1",),
    certificates: Path | None = None,
    uniform: float = 0.5,
    **settings: Any,
) -> AsyncIterator[tuple[Pusher, Meter]]:
    """Run a pusher to `url`; retries are quick."""
    quick = {"retry_first_s": 0.2, "retry_max_s": 1.0, "refused_retry_s": 30.0} | settings
    endpoint, key = parse_target(url, key)
    target = Target(stream="show", name="t", url=endpoint.url, key=key, codecs=codecs)
    meter = Meter()
    pusher = Pusher(
        target,
        endpoint,
        settings=RestreamSettings(**quick),
        dialer=NetworkDialer(allow=AllowList(allow), timeout_s=2, certificates=certificates),
        meter=meter,
        uniform=lambda: uniform,
    )
    task = asyncio.get_running_loop().create_task(pusher.run())
    try:
        yield pusher, meter
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None


@asynccontextmanager
async def playing(pusher: Pusher, *, size: int = 2000, speed: float = 1.0) -> AsyncIterator[Source]:
    """Push a stream into the pusher meanwhile."""
    source = Source(pusher, size=size)
    task = asyncio.get_running_loop().create_task(source.run(speed))
    try:
        yield source
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


def state_of(pusher: Pusher) -> State:
    return pusher.status().state
