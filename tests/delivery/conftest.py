"""A real server on loopback over a real rendition; storage is a real SQLite file."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import aiohttp
import pytest

from commerce.catalog import Catalog, Price, Product
from config.settings import (
    CuesSettings,
    HlsSettings,
    HttpSettings,
    LimitsSettings,
    RestreamSettings,
    TargetSettings,
)
from delivery.app import build_app
from delivery.deps import Deps
from delivery.meter import NoDeliveryMeter
from delivery.seams import NotLive, Principal, SourceUnavailable
from delivery.server import HttpServer
from media.hls.rendition import Rendition
from media.hls.seams import NoMetadata
from media.meter import NoMeter
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat
from media.tap import Taps
from overlay.log import CueLog
from overlay.service import CueService
from restream.service import Restreamer
from storage.database import Database, sqlite_url
from storage.migrate import upgrade
from storage.streams import StreamExists
from storage.targets import TargetStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EPOCH_MS = 1_795_363_200_000
FRAME = 1920
"""Ticks of an AAC frame: 1024 samples at 48 kHz."""
MULTIVARIANT = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=128000\naudio/index.m3u8\n"


@dataclass(frozen=True)
class Edge:
    msn: int
    start: int
    discontinuity: bool = False
    discontinuities_before: int = 0


class TwoSeconds:
    def segment_at(self, ticks):
        return self._edge(ticks // (2 * TICKS_PER_SECOND))

    def after(self, msn):
        return self._edge(msn + 1)

    def _edge(self, msn):
        return Edge(msn, msn * 2 * TICKS_PER_SECOND)


class ShowClock:
    def utc_ms(self, ticks):
        return EPOCH_MS + ticks // 90

    def ticks(self, utc_ms):
        return (utc_ms - EPOCH_MS) * 90


@dataclass
class FakeStream:
    """A stream with one real audio rendition, fed by `feed`."""

    name: str
    state: str = "live"
    rendered: int = 0
    found: list = field(default_factory=list)
    clock: ShowClock = field(default_factory=ShowClock)

    def __post_init__(self):
        self.audio = Rendition(
            stream=self.name,
            name="audio",
            kind=Kind.AUDIO,
            settings=HlsSettings(),
            clock=self.clock,
            grid=TwoSeconds(),
            metadata=NoMetadata(),
            run_id="r1",
            meter=NoMeter(),
            now_ns=time.monotonic_ns,
        )
        self.audio.set_format(
            TrackFormat(
                codec=Codec.AAC,
                config=bytes([0x11, 0x90]),
                codec_string="mp4a.40.2",
                sample_rate=48000,
                channels=2,
                samples_per_frame=1024,
            ),
            declared_bps=128000,
        )
        self._frames = 0
        self.source = "auto"

    @property
    def live(self):
        return self.state in {"live", "reconnecting"}

    def feed(self, seconds):
        for _ in range(round(seconds * 48000 / 1024)):
            ticks = self._frames * FRAME
            self._frames += 1
            self.audio.push(
                Packet(
                    track=0,
                    codec=Codec.AAC,
                    dts=ticks,
                    pts=ticks,
                    key=True,
                    payload=self._frames.to_bytes(4, "big") * 80,
                    arrived_ns=0,
                    duration=FRAME,
                )
            )

    def edge(self):
        return self.audio.edge

    def place(self, ticks):
        ref = self.audio.part_at(ticks)
        return {} if ref is None else {"audio": (ref.msn, ref.part)}

    async def multivariant(self):
        if not self.live:
            raise NotLive(f"The stream is {self.state}.")
        return MULTIVARIANT

    def rendition(self, name):
        return self.audio if name == "audio" else None

    def open_ahead(self):
        if self.state == "live":
            raise SourceUnavailable("Slates are off.")
        self.state = "reconnecting"

    def end(self):
        self.state = "ended"

    def choose_source(self, role):
        if role == "primary":
            raise SourceUnavailable("No primary encoder is connected.")
        self.source = role

    def yield_to_next(self, role):
        self.source = f"next {role}"

    def summary(self):
        tracks: list = []
        return {
            "name": self.name,
            "state": self.state,
            "tracks": tracks,
            "findings": self.findings(),
            "source": self.source,
        }

    def findings(self):
        return list(self.found)


class FakeStreams:
    """Directory and admin in one."""

    def __init__(self, *streams):
        self.streams = {stream.name: stream for stream in streams}

    def get(self, name):
        return self.streams.get(name)

    def all(self):
        return list(self.streams.values())

    async def add(self, name):
        if name in self.streams:
            raise StreamExists(f"there is a stream {name!r} already")
        self.streams[name] = FakeStream(name, state="idle")
        return "new-key"

    async def remove(self, name):
        del self.streams[name]

    async def rotate_key(self, name, *, backup=False):
        return f"{name}-backup-2" if backup else f"{name}-key-2"


class FakeTokens:
    known: ClassVar = {
        "admin": Principal(role="admin"),
        "any": Principal(role="producer"),
        "demo-only": Principal(role="producer", stream="demo"),
    }

    async def check(self, token):
        return self.known.get(token)


class CountingMeter(NoDeliveryMeter):
    def __init__(self):
        self.requests = []
        self.bytes = 0
        self.refusals = []
        self.viewers_seen = {}

    def request(self, route, status, seconds):
        self.requests.append((route, status))

    def bytes_out(self, stream, count):
        self.bytes += count

    def refused(self, reason):
        self.refusals.append(reason)

    def viewers(self, stream, protocol, count):
        self.viewers_seen[stream, protocol] = count


def metrics_page():
    return b"# TYPE up gauge\nup 1\n", "text/plain; version=0.0.4"


@dataclass
class Site:
    """A running server and what is behind it."""

    url: str
    port: int
    session: aiohttp.ClientSession
    stream: FakeStream
    streams: FakeStreams
    meter: CountingMeter
    server: HttpServer
    task: asyncio.Task
    app: object
    cues: CueService
    database: Database

    def get(self, path, **options):
        return self.session.get(self.url + path, **options)

    def call(self, method, path, *, token="admin", **options):
        headers = options.pop("headers", {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.session.request(method, self.url + path, headers=headers, **options)


@asynccontextmanager
async def serving(tmp_path, *, limits=None, http=None, **more) -> AsyncIterator[Site]:
    stream = FakeStream("demo")
    stream.feed(9.0)
    streams = FakeStreams(stream, FakeStream("other", state="idle"))
    meter = CountingMeter()
    limits = limits or LimitsSettings()
    http = http or HttpSettings(host="127.0.0.1", port=0)
    async with shop(tmp_path, streams) as parts:
        database = parts.pop("database")
        deps = Deps(
            directory=streams,
            admin=streams,
            tokens=FakeTokens(),
            http=http,
            hls=HlsSettings(),
            limits=limits,
            version="0.0.1",
            meter=meter,
            **{"metrics": metrics_page, **parts, **more},
        )
        app = build_app(deps)
        server = HttpServer(settings=http, limits=limits, app=app)
        task = asyncio.get_running_loop().create_task(server.run())
        await server.started.wait()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            yield Site(
                url=f"http://127.0.0.1:{server.port}",
                port=server.port,
                session=session,
                stream=stream,
                streams=streams,
                meter=meter,
                server=server,
                task=task,
                app=app,
                cues=deps.cues,
                database=database,
            )
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()


class QuietOverlayMeter:
    def __getattr__(self, name):
        return lambda *_args, **_kwargs: None


class NoDialer:
    async def dial(self, endpoint, make):
        raise AssertionError("nothing is pushed in these tests")


class Spawned:
    """A task that never runs."""

    def __init__(self, name, factory, *, restart=False):
        self.name = name

    async def stop(self):
        pass


@asynccontextmanager
async def shop(tmp_path, streams):
    """The real catalogue and cue service over a SQLite file."""
    database = Database(sqlite_url(tmp_path / "shop.sqlite3"))
    await upgrade(database)
    catalog = Catalog(database)
    await catalog.put(Product(sku="DEMO-1", title="Cup", price=Price(amount=1999, currency="EUR")))
    cues = CueService(
        log=CueLog(database),
        streams=streams,
        products=catalog,
        meter=QuietOverlayMeter(),
        settings=CuesSettings(writes_per_second=50),
        wall_ms=lambda: EPOCH_MS + 9000,
        now_s=lambda: asyncio.get_running_loop().time(),
    )
    targets = Restreamer(
        settings=RestreamSettings(max_targets=3),
        configured={"demo": [TargetSettings(name="fixed", url="rtmp://fixed.example/live/FIXED")]},
        store=TargetStore(database),
        taps=Taps(),
        dialer=NoDialer(),
        meter=QuietOverlayMeter(),
        spawn=Spawned,
        utc_ms=lambda: EPOCH_MS,
        exists=lambda _name: True,
    )
    await targets.load()
    try:
        yield {"cues": cues, "catalog": catalog, "database": database, "targets": targets}
    finally:
        await database.dispose()


@pytest.fixture
async def site(tmp_path):
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def serve(tmp_path):
    """Return an async context manager that takes limits and other settings."""
    return partial(serving, tmp_path)
