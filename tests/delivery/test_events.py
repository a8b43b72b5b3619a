"""Server-Sent Events over a real socket."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from config.settings import LimitsSettings
from delivery import sse as module
from delivery.deps import PARTS

pytestmark = pytest.mark.component

EVENTS = "/live/demo/events"


def notice(text):
    return {"type": "notice", "data": {"text": text}}


class Source:
    """Reads events from a response."""

    def __init__(self, response):
        self._lines = response.content

    async def next(self):
        fields = {}
        async with asyncio.timeout(10):
            while True:
                line = (await self._lines.readline()).decode()
                if not line:
                    return None
                line = line.rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    return fields

    async def cue(self):
        while True:
            event = await self.next()
            if event is None or event.get("event") == "cue":
                return event


async def test_state_then_cues_as_they_come(site):
    async with site.get(EVENTS, headers={"Origin": "https://shop.example"}) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        source = Source(response)
        assert await source.next() == {"retry": "2000"}
        assert await source.next() == {"event": "state", "data": '{"state":"live"}'}
        text = "line\nbreak\r and 👋 عربى \u2028"
        fired = await site.cues.fire("demo", notice(text))
        event = await source.cue()
    assert event["id"] == str(fired["seq"])
    data = json.loads(event["data"])
    assert data["data"]["text"] == text
    assert data["id"] == fired["id"]
    assert "effective" in data


async def test_resuming_misses_nothing(site):
    fired = [await site.cues.fire("demo", notice(f"n{n}")) for n in range(5)]
    async with site.get(EVENTS, headers={"Last-Event-ID": str(fired[1]["seq"])}) as response:
        source = Source(response)
        got = [(await source.cue())["id"] for _ in range(3)]
    assert got == [str(cue["seq"]) for cue in fired[2:]]
    async with site.get(f"{EVENTS}?after=0") as response:
        assert (await Source(response).cue())["id"] == str(fired[0]["seq"])
    async with site.get(EVENTS, headers={"Last-Event-ID": "not a number"}) as response:
        assert response.status == 200


async def test_changes_of_state(site):
    async with site.get(EVENTS) as response:
        source = Source(response)
        await source.next()
        await source.next()
        site.stream.state = "reconnecting"
        assert json.loads((await source.next())["data"]) == {"state": "reconnecting"}
        site.stream.state = "live"
        assert json.loads((await source.next())["data"]) == {"state": "live"}


async def test_a_heartbeat(site, monkeypatch):
    hub = site.app[PARTS].events
    monkeypatch.setattr(hub, "_heartbeat_s", 0.05)
    async with site.get(EVENTS) as response:
        async with asyncio.timeout(10):
            while (await response.content.readline()) != b": still here\n":
                pass


async def test_unknown_stream_and_too_many(serve):
    async with serve(limits=LimitsSettings(max_event_streams=1)) as site:
        async with site.get("/live/nobody/events") as response:
            assert response.status == 404
        async with site.get(EVENTS) as first:
            assert first.status == 200
            async with site.get(EVENTS) as second:
                assert second.status == 503
                assert second.headers["Retry-After"] == "2"
                assert second.headers["Access-Control-Allow-Origin"] == "*"
        assert site.meter.refusals == ["event_streams"]


async def test_a_client_that_leaves_is_forgotten(site, monkeypatch):
    hub = site.app[PARTS].events
    monkeypatch.setattr(hub, "_heartbeat_s", 0.02)
    response = await site.get(EVENTS)
    assert hub.count == 1
    response.close()
    async with asyncio.timeout(10):
        while hub.count:
            await asyncio.sleep(0.01)
    assert not hub._readers


async def test_a_slow_reader_is_ended_and_resumes():
    reader = module.Reader()
    event = module.format_event("state", {"state": "live"})
    assert all(reader.offer(event) for _ in range(module.QUEUE))
    assert reader.offer(event) is False
    assert reader.cut
    assert reader.queue.qsize() == 1
    assert reader.queue.get_nowait() is None


async def test_a_client_that_does_not_read_is_cut_off(site, monkeypatch):
    monkeypatch.setattr(module, "WRITE_TIMEOUT_S", 0.2)
    hub = site.app[PARTS].events
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
    writer.write(f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not hub.count:
            await asyncio.sleep(0.01)
    (stuck,) = hub._readers["demo"]
    big = b": " + b"x" * 400_000 + b"\n\n"
    async with asyncio.timeout(20):
        while hub.count:
            if stuck.queue.qsize() < 3 and not stuck.cut:
                stuck.offer(big)
            await asyncio.sleep(0.01)
    assert "slow" in site.meter.refusals
    writer.close()
    del reader


async def test_head_ends_at_once_without_a_body(site):
    async with site.session.head(site.url + EVENTS) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert await response.read() == b""
    assert site.app[PARTS].events.count == 0


async def test_what_is_ready_is_written_at_once(site, monkeypatch):
    for number in range(30):
        await site.cues.fire("demo", {**notice(str(number)), "duration": 1, "at": f"+{2 * number}"})
    writes = []
    write = web.StreamResponse.write

    async def counted(self, data):
        writes.append(data)
        await write(self, data)

    monkeypatch.setattr(web.StreamResponse, "write", counted)
    async with site.get(EVENTS + "?after=0") as response:
        source = Source(response)
        seqs = [int((await source.cue())["id"]) for _ in range(30)]
    assert seqs == list(range(1, 31))
    assert len(writes) < 10
