"""What producers hear of a stream, over a real socket."""

from __future__ import annotations

import asyncio
import json

import pytest

from delivery import producers, sse
from delivery.deps import PARTS

pytestmark = pytest.mark.component

PATH = "/api/v1/streams/demo/events"


def finding(code="uplink_slow", *, since="2026-11-22T10:00:00.000Z", until=None, text="A."):
    return {"code": code, "severity": "warning", "text": text, "since": since, "until": until}


class Listener:
    def __init__(self, response):
        self._lines = response.content

    async def next(self):
        """Return (event, data, id) of the next event."""
        fields = {}
        async with asyncio.timeout(10):
            while True:
                line = (await self._lines.readline()).decode()
                assert line, "the connection ended"
                line = line.rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    return fields["event"], json.loads(fields["data"]), int(fields["id"])


async def test_a_snapshot_then_every_change(site):
    site.stream.found = [finding()]
    async with site.call("GET", PATH, token="demo-only") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in response.headers
        listener = Listener(response)
        event, data, number = await listener.next()
        assert (event, number) == ("snapshot", 0)
        assert data == {"state": "live", "findings": [finding()]}
        site.stream.found = [finding(text="B.")]
        assert await listener.next() == (
            "finding",
            {"change": "updated", "finding": finding(text="B.")},
            1,
        )
        second = finding("too_fast", since="2026-11-22T10:00:05.000Z")
        site.stream.found = [finding(text="B."), second]
        assert (await listener.next())[1] == {"change": "opened", "finding": second}
        closed = finding(text="B.", until="2026-11-22T10:00:09.000Z")
        site.stream.found = [second, closed]
        assert (await listener.next())[1] == {"change": "closed", "finding": closed}
        site.stream.state = "reconnecting"
        assert await listener.next() == ("state", {"state": "reconnecting"}, 4)


async def test_one_who_comes_back_gets_a_snapshot_with_what_was_missed(site):
    async with site.call("GET", PATH) as response:
        assert (await Listener(response).next())[1]["findings"] == []
    closed = finding(until="2026-11-22T10:00:09.000Z")
    site.stream.found = [closed]
    async with site.call("GET", PATH, headers={"Last-Event-ID": "3"}) as response:
        assert (await Listener(response).next())[1]["findings"] == [closed]


async def test_a_second_listener_is_told_no_old_news(site):
    async with site.call("GET", PATH) as first:
        early = Listener(first)
        await early.next()
        site.stream.found = [finding()]
        async with site.call("GET", PATH) as second:
            late = Listener(second)
            event, data, _ = await late.next()
            assert (event, data["findings"]) == ("snapshot", [finding()])
            assert (await early.next())[1]["change"] == "opened"
            site.stream.state = "ended"
            assert (await late.next())[0] == "state"


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [
        (None, PATH, 401),
        ("nobody", PATH, 401),
        ("demo-only", "/api/v1/streams/other/events", 403),
        ("any", "/api/v1/streams/nothing/events", 404),
    ],
)
async def test_who_may_listen(site, token, path, status):
    async with site.call("GET", path, token=token) as response:
        assert response.status == status
        assert response.headers["Content-Type"] == "application/problem+json"


async def test_there_is_a_limit(site, monkeypatch):
    monkeypatch.setattr(producers, "LIMIT", 1)
    async with site.call("GET", PATH) as first:
        assert first.status == 200
        async with site.call("GET", PATH) as second:
            assert second.status == 503
            assert second.headers["Retry-After"] == "2"
    assert site.meter.refusals == ["event_streams"]


async def test_a_stream_that_is_removed_ends(site):
    async with site.call("GET", PATH) as response:
        listener = Listener(response)
        await listener.next()
        await site.streams.remove("demo")
        assert (await listener.next())[:2] == ("state", {"state": "ended"})


async def test_one_who_leaves_is_forgotten(site, monkeypatch):
    hub = site.app[PARTS].events
    monkeypatch.setattr(hub.producers, "_heartbeat_s", 0.02)
    response = await site.call("GET", PATH)
    assert hub.count == 1
    response.close()
    async with asyncio.timeout(10):
        while hub.count:
            await asyncio.sleep(0.01)
    assert not hub.producers._channels


async def test_one_who_does_not_read_is_cut_off_and_counted(site):
    hub = site.app[PARTS].events
    async with site.call("GET", PATH) as response:
        assert response.status == 200
        (channel,) = hub.producers._channels.values()
        (reader,) = channel.readers
        # Without a turn of the loop nothing is written: all of it waits for this reader.
        for number in range(sse.QUEUE + 2):
            site.stream.state = "live" if number % 2 else "reconnecting"
            hub.producers.check()
        assert reader.cut
        assert "slow" in site.meter.refusals


async def test_head_and_drain(site):
    async with site.call("HEAD", PATH) as response:
        assert response.status == 200
    hub = site.app[PARTS].events
    async with site.call("GET", PATH) as response:
        listener = Listener(response)
        await listener.next()
        hub.drain()
        assert await response.content.read() == b""
        async with site.call("GET", PATH) as refused:
            assert refused.status == 503
