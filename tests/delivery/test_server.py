"""The listener: limits, clients that misbehave, and a stop that takes its time but not more."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
import uvloop

import delivery.server
from config.settings import LimitsSettings
from delivery.connections import GRACE_S, SLOWEST
from delivery.deps import PARTS
from media.hls.window import Resource

pytestmark = pytest.mark.component

SEGMENT = "/live/demo/audio/r1-0.m4s"


async def raw(site, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(data)
    return reader, writer


async def test_keep_alive_and_pipelining(site):
    request = f"GET {SEGMENT} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-3\r\n\r\n".encode()
    last = request.replace(b"Host: x", b"Host: x\r\nConnection: close")
    reader, writer = await raw(site, request * 3 + last)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.count(b"HTTP/1.1 206 ") == 4
    assert answer.count(b"Connection: close") == 1


async def test_http_1_0_ends_the_connection(site):
    reader, writer = await raw(site, f"GET {SEGMENT} HTTP/1.0\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer


async def test_absolute_form_reaches_the_same_media(site):
    path = f"http://127.0.0.1:{site.port}{SEGMENT}"
    reader, writer = await raw(
        site, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 9 + b"x\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_counted_not_logged(site, garbage, caplog):
    with caplog.at_level(logging.DEBUG, "delivery.http"):
        reader, writer = await raw(site, garbage)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert "malformed" in site.meter.refusals
    assert "Traceback" not in caplog.text


async def test_an_endless_header_is_refused(site):
    reader, writer = await raw(site, b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert b" 400 " in answer.split(b"\r\n")[0]


async def test_a_head_of_many_lines_is_refused(site):
    lines = b"".join(b"X-%d: a\r\n" % number for number in range(70))
    reader, writer = await raw(site, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + lines)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert b" 400 " in answer.split(b"\r\n")[0]


async def test_connections_of_one_address_are_bounded(serve):
    async with serve(limits=LimitsSettings(max_http_connections_per_address=4)) as site:
        open_now = []
        for _ in range(4):
            reader, writer = await raw(site, f"HEAD {SEGMENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            open_now.append(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert site.meter.refusals == ["address"]
        open_now.pop().close()
        async with asyncio.timeout(10):
            while site.server._table.count > 3:
                await asyncio.sleep(0.01)
        async with site.get(SEGMENT) as response:
            assert response.status == 200
        for writer in open_now:
            writer.close()


async def test_connections_are_bounded(serve):
    async with serve(limits=LimitsSettings(max_http_connections=10)) as site:
        open_now = []
        for _ in range(10):
            reader, writer = await raw(site, f"HEAD {SEGMENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            open_now.append(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"}")
        assert site.meter.refusals == ["connections"]
        open_now.pop().close()
        async with asyncio.timeout(10):
            while site.server._table.count == 10:
                await asyncio.sleep(0.01)
        async with site.get(SEGMENT) as response:
            assert response.status == 200
        for writer in open_now:
            writer.close()


def with_a_big_segment(site, size=8 * 2**20):
    resource = Resource(body=bytes(size), content_type="video/iso.segment")
    site.stream.audio.resource = lambda _name: resource


async def test_a_client_that_does_not_read_is_cut_off(site):
    with_a_big_segment(site)
    table = site.server._table
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
    writer.write(f"GET {SEGMENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not any(t.get_write_buffer_size() for t in table._open.values()):
            await asyncio.sleep(0.01)
    (transport,) = [t for t in table._open.values() if t.get_write_buffer_size()]
    stuck = transport.get_write_buffer_size()
    begun = time.monotonic()
    assert table.sweep(begun) == 0
    assert table.sweep(begun + GRACE_S) == 0, "a slow client gets time for what is left"
    assert table.sweep(begun + GRACE_S + stuck / SLOWEST + 1) == 1
    async with asyncio.timeout(10):
        while table.count:
            await asyncio.sleep(0.01)
    assert site.meter.refusals == ["slow"]
    writer.close()
    del reader


async def test_a_client_that_reads_is_not_cut_off(site):
    with_a_big_segment(site)
    table = site.server._table
    async with site.get(SEGMENT) as response:
        table.sweep(1000.0)
        body = await response.read()
        table.sweep(1_000_000.0)
    assert len(body) == 8 * 2**20
    assert site.meter.refusals == []


async def test_clients_that_leave_in_the_middle_are_no_error(site, caplog):
    with_a_big_segment(site)
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            _, writer = await raw(site, f"GET {SEGMENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
            await writer.drain()
            writer.transport.abort()
        async with asyncio.timeout(10):
            while site.server._table.count:
                await asyncio.sleep(0.01)
    assert "Traceback" not in caplog.text
    assert site.meter.refusals == []


async def test_a_stop_lets_waiters_go(serve):
    async with serve() as site:
        msn, part, _ = site.stream.audio.next_part
        media = site.app[PARTS].media

        async def wait():
            path = f"/live/demo/audio/index.m3u8?_HLS_msn={msn}&_HLS_part={part}"
            async with site.get(path) as response:
                await response.read()
                return response.status

        async def listen():
            async with site.get("/live/demo/events") as response:
                return await response.read()

        async with asyncio.TaskGroup() as tasks:
            held = tasks.create_task(wait())
            events = tasks.create_task(listen())
            async with asyncio.timeout(10):
                while not (media.waiting and site.app[PARTS].events.count):
                    await asyncio.sleep(0.01)
            begun = time.monotonic()
            site.task.cancel()
            await asyncio.wait([site.task])
            assert time.monotonic() - begun < 3
        assert held.result() == 503
        assert b"event: state" in events.result()
        with pytest.raises(OSError, match=r"(?i)connect|refused"):
            await asyncio.open_connection("127.0.0.1", site.port)


async def test_a_stop_does_not_wait_for_a_stuck_client(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivery.server, "STOP_S", 1.0)
    async with serve() as site:
        with_a_big_segment(site, 32 * 2**20)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        writer.write(f"GET {SEGMENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.read(100)
        begun = time.monotonic()
        site.task.cancel()
        await asyncio.wait([site.task])
        assert time.monotonic() - begun < 3
        writer.close()


def test_the_same_on_uvloop(serve):
    async def main():
        async with serve() as site:
            async with site.get(SEGMENT) as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "video/iso.segment"
            async with site.get("/healthz") as response:
                assert response.status == 200

    uvloop.run(main())
