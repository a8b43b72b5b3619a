"""A stream whose parts are published by hand, and the real service on a real SQLite file."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from commerce.catalog import Catalog, Price, Product
from config.settings import CuesSettings
from media.clock import ShowClock
from overlay.log import CueLog
from overlay.service import CueService
from storage.database import Database, sqlite_url
from storage.migrate import upgrade

EPOCH_MS = 1_800_000_000_000
PART = 30_000
"""A third of a second of ticks."""
PARTS_IN_SEGMENT = 6


@dataclass
class Meter:
    written: list = field(default_factory=list)
    listed: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    dropped: int = 0

    def cue_written(self, stream, type, verb):  # noqa: A002
        self.written.append((stream, type, verb))

    def cue_listed(self, stream, seconds):
        self.listed.append(seconds)

    def cue_refused(self, reason):
        self.refused.append(reason)

    def subscriber_dropped(self, stream):
        self.dropped += 1


@dataclass
class Lane:
    """One rendition: its closed parts and the events in them."""

    timescale: int
    parts: list = field(default_factory=list)

    @property
    def edge(self):
        return len(self.parts) * PART


class HandStream:
    """Implements `LiveStream`; parts are closed by `publish`."""

    def __init__(self, name, *, epoch_ms=EPOCH_MS, lanes=None):
        self.name = name
        self.live = True
        self.clock = ShowClock(epoch_ms=epoch_ms, origin_ns=0)
        self.lanes = {
            rendition: Lane(timescale=scale)
            for rendition, scale in (lanes or {"source": 90_000, "360p": 15_360}).items()
        }
        self.feed = None

    def edge(self):
        edge = max(lane.edge for lane in self.lanes.values())
        return edge or None

    def place(self, ticks):
        index = ticks // PART
        return {
            name: divmod(index, PARTS_IN_SEGMENT)
            for name, lane in self.lanes.items()
            if 0 <= index <= len(lane.parts)
        }

    def publish(self, *names, count=1):
        for _ in range(count):
            for name in names or self.lanes:
                lane = self.lanes[name]
                index = len(lane.parts)
                msn, part = divmod(index, PARTS_IN_SEGMENT)
                lane.parts.append(
                    self.feed.take_events(
                        name,
                        start=index * PART,
                        end=(index + 1) * PART,
                        timescale=lane.timescale,
                        msn=msn,
                        part=part,
                    )
                )

    def ms(self, ticks):
        return self.clock.utc_ms(ticks)


class Clock:
    """Monotonic seconds and wall milliseconds, moved by hand."""

    def __init__(self):
        self.s = 1000.0
        self.wall_ms = EPOCH_MS + 60_000


class Stage:
    def __init__(self, database, settings):
        self.database = database
        self.clock = Clock()
        self.meter = Meter()
        self.streams = {}
        self.catalog = Catalog(database)
        self.settings = settings
        self.service = self.new_service()

    def new_service(self):
        return CueService(
            log=CueLog(self.database),
            streams=self.streams,
            products=self.catalog,
            meter=self.meter,
            settings=self.settings,
            wall_ms=lambda: self.clock.wall_ms,
            now_s=lambda: self.clock.s,
        )

    def stream(self, name="shop", *, published=3, **kwargs):
        stream = self.streams[name] = HandStream(name, **kwargs)
        stream.feed = self.service.feed(name, stream.clock)
        stream.publish(count=published)
        return stream


@asynccontextmanager
async def staged(tmp_path, **settings):
    database = Database(sqlite_url(tmp_path / "cues.sqlite3"))
    await upgrade(database)
    settings = {"writes_per_second": 1000.0, **settings}
    stage = Stage(database, CuesSettings(**settings))
    await stage.catalog.import_many(
        [
            Product(
                sku=f"DEMO-{n}", title=f"Product {n}", price=Price(amount=100 * n, currency="EUR")
            )
            for n in range(1, 7)
        ]
    )
    try:
        yield stage
    finally:
        await database.dispose()
