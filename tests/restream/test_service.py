"""Targets over restarts, changes and the end of their stream."""

from __future__ import annotations

import pytest

from config.settings import RestreamSettings, TargetSettings
from media.tap import Taps
from restream.model import NoSuchTarget, State, TargetRefused
from restream.pusher import Pusher
from restream.service import Restreamer
from storage.database import Database, sqlite_url
from storage.migrate import upgrade
from storage.streams import StreamStore
from storage.targets import TargetRecord, TargetStore
from tests.restream.media import AAC, sound
from tests.restream.stage import Meter

pytestmark = pytest.mark.component


class NoDialer:
    async def dial(self, endpoint, make):
        raise AssertionError("nothing is pushed in these tests")


class House:
    """Restreamers over one database, whose tasks are only noted."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = TargetStore(database)
        self.taps = Taps()
        self.meter = Meter()
        self.tasks: dict[str, bool] = {}
        self.streams = {"show", "other"}

    def make(self, *configured: TargetSettings, **settings: int) -> Restreamer:
        return Restreamer(
            settings=RestreamSettings(**settings),
            configured={"show": configured},
            store=self.store,
            taps=self.taps,
            dialer=NoDialer(),
            meter=self.meter,
            spawn=self.spawn,
            utc_ms=lambda: 0,
            exists=self.streams.__contains__,
        )

    def spawn(self, name, factory, *, restart=False):
        assert restart
        self.tasks[name] = True
        house = self

        class Task:
            async def stop(self) -> None:
                house.tasks[name] = False

        return Task()

    def hears(self, stream: str = "show") -> int:
        """How many of the stream's pushers hear it."""
        listeners = self.taps.of(stream)._listeners
        assert all(isinstance(one, Pusher) for one in listeners)
        return len(listeners)


@pytest.fixture
async def house(tmp_path):
    database = Database(sqlite_url(tmp_path / "x.sqlite3"))
    await upgrade(database)
    yield House(database)
    await database.dispose()


async def add(restreamer: Restreamer, name: str = "tube", stream: str = "show", **more) -> None:
    values = {"url": "rtmp://t.example/app", "key": "k1", "enabled": True, "codecs": []} | more
    await restreamer.add(stream, name, **values)


async def test_targets_outlive_the_process(house: House) -> None:
    first = house.make()
    await first.load()
    await add(first, codecs=["hevc"])
    await add(first, "off", enabled=False)
    second = house.make()
    await second.load()
    (off, off_status), (tube, status) = second.list("show")
    assert (off.name, off.enabled, off_status.state) == ("off", False, State.OFF)
    assert (tube.key, sorted(tube.codecs), status.state) == ("k1", ["hevc"], State.IDLE)
    assert "k1" not in repr(tube)


async def test_a_change_replaces_who_hears_the_stream(house: House) -> None:
    restreamer = house.make()
    await restreamer.load()
    await add(restreamer)
    assert house.hears() == 1
    assert house.tasks == {"restream:show/tube": True}
    before = house.taps.of("show")._listeners
    await restreamer.change("show", "tube", enabled=True)  # nothing new: not cut off
    assert house.taps.of("show")._listeners == before
    await restreamer.change("show", "tube", key="k2")
    assert house.taps.of("show")._listeners != before
    assert house.hears() == 1
    await restreamer.change("show", "tube", enabled=False)
    assert house.hears() == 0
    assert house.tasks == {"restream:show/tube": False}
    assert [record.key for record in await house.store.list()] == ["k2"]


async def test_a_stream_that_goes_takes_its_targets_along(house: House) -> None:
    streams = StreamStore(house.database)
    for name in ("show", "other"):
        await streams.add(name)
    restreamer = house.make()
    await restreamer.load()
    await add(restreamer)
    await add(restreamer, stream="other")
    await streams.remove("show")
    await restreamer.forget("show")
    assert house.tasks == {"restream:show/tube": False, "restream:other/tube": True}
    with pytest.raises(NoSuchTarget):
        restreamer.get("show", "tube")
    assert [record.stream for record in await house.store.list()] == ["other"]
    assert ("restream_forget", "show", "tube") in house.meter.calls


async def test_a_target_that_comes_while_its_stream_goes_is_not_kept_for_the_next_owner(
    house: House,
) -> None:
    streams = StreamStore(house.database)
    await streams.add("show")
    restreamer = house.make()
    await restreamer.load()
    await streams.remove("show")
    await add(restreamer)  # its request came between the two halves of the removal
    await restreamer.forget("show")
    house.streams.remove("show")
    with pytest.raises(NoSuchTarget):
        await add(restreamer, "late")
    assert await house.store.list() == []
    assert house.hears() == 0
    assert restreamer.list("show") == []


async def test_a_stored_target_that_cannot_be_used_harms_no_other(house: House) -> None:
    good = TargetRecord(
        stream="show", name="good", url="rtmp://t.example/app", key="k", enabled=True,
        codecs=(), source="source",
    )  # fmt: skip
    for name, change in (
        ("bad-codec", {"codecs": ("vvc",)}),
        ("bad-url", {"url": "http://x"}),
        ("good", {}),
        ("twice", {}),
    ):
        values = {field: getattr(good, field) for field in TargetRecord.__slots__}
        await house.store.put(TargetRecord(**(values | {"name": name} | change)))
    restreamer = house.make(TargetSettings(name="twice", url="rtmp://c.example/app", key="c"))
    await restreamer.load()
    assert [target.name for target, _ in restreamer.list("show")] == ["good", "twice"]
    assert restreamer.get("show", "twice")[0].configured


async def test_a_wrong_target_in_the_configuration_is_named_without_its_key(house: House) -> None:
    restreamer = house.make(TargetSettings(name="t", url="rtmp://a..b/s3cret/s3cret"))
    with pytest.raises(TargetRefused) as caught:
        await restreamer.load()
    assert str(caught.value) == ("streams.list: show: target t: url: names no host")


async def test_a_show_costs_a_target_that_is_not_connected_nothing(house: House) -> None:
    restreamer = house.make()
    await restreamer.load()
    await add(restreamer)
    tap = house.taps.of("show")
    tap.formats([AAC])
    for number in range(10_000):
        tap.packet(sound(number))
    (pusher,) = tap._listeners
    assert isinstance(pusher, Pusher)
    assert pusher._queue.empty
    assert pusher.status().dropped == 0
