"""What took other media servers down, one test each: real bytes against the listener.

The classes are those of published advisories and bug reports; each test stands on its own.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from pydantic import ValidationError

from config.settings import LimitsSettings, Settings, StreamSettings
from ingest.auth import ConfiguredKeys
from ingest.rtmp.adobe import AdobeLogins
from ingest.source import Approach, KeyRefused
from media.limits import check_format, narrow
from media.model import TrackFormat
from media.registry import Registry
from storage.database import Database, sqlite_url
from storage.keys import digest
from storage.migrate import upgrade
from storage.streams import KeyOwner, StreamStore
from tests.ingest.rtmp.support import (
    AVC_CONFIG,
    AVC_KEY,
    CONNECT,
    CREATE,
    HANDSHAKE,
    Peer,
    Running,
    amf,
    header,
    publish,
    running,
    whole,
)
from tests.media.bitstream.records import avcc, baseline_sps
from vitrina.gate import Gate

pytestmark = pytest.mark.component

MIB = 2**20
VIDEO, DATA, SHARED_OBJECT, COMMAND = 9, 18, 19, 20


def picture(body: bytes = AVC_KEY, at: int = 0) -> bytes:
    return whole(6, VIDEO, body, time=at, stream=1)


async def seen(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def beside_a_good_one(**settings: object) -> AsyncIterator[Running]:
    """A server that goes on serving a well-behaved encoder after whatever happens in between."""
    async with running(**settings) as server:
        good = await server.connect()
        await good.publish("other")
        publication = server.gate.publications[0]
        good.send(picture(AVC_CONFIG) + picture())
        await seen(lambda: len(publication.packets) == 1)
        yield server
        good.send(picture(at=40))
        await seen(lambda: len(publication.packets) == 2)
        assert publication.closed == []
        good.close()


async def hostile(server: Running, data: bytes, *, key: str | None = None) -> bytes:
    """Send, behind an accepted key if one is given, and wait for the end; return the answers."""
    peer = await server.connect()
    if key is not None:
        await peer.publish(key)
    peer.send(data)
    answer = await peer.until_closed()
    peer.close()
    return answer


class Memory:
    """Peak of what Python allocates in the block."""

    def __enter__(self) -> Memory:
        tracemalloc.start()
        tracemalloc.reset_peak()
        self.before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_exc: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self.before
        tracemalloc.stop()


async def test_set_chunk_size_of_2_gb_allocates_nothing() -> None:
    size = whole(2, 1, struct.pack(">I", 0x7FFFFFFF))
    async with beside_a_good_one() as server:
        with Memory() as memory:
            await hostile(server, HANDSHAKE + size + header(0, 3, length=0xFFFFFF, type_id=COMMAND))
            # With a key the size is taken; the message still has to be sent to cost anything.
            peer = await server.connect()
            await peer.publish("good")
            peer.send(size + header(0, 6, length=15 * MIB, type_id=VIDEO, stream=1) + b"\x17\1")
            peer.send(bytes(1000))
            peer.close()
            await seen(lambda: server.meter.closed.total() == 2)
        assert server.meter.rejections == {"too_big": 1}
        assert memory.peak < 2 * MIB


async def test_chunk_stream_explosion_is_cut() -> None:
    flood = b"".join(
        header(0, csid, length=9, type_id=SHARED_OBJECT, stream=1) + bytes(9)
        for csid in range(3, 65_000)
    )
    async with beside_a_good_one() as server:
        await hostile(server, HANDSHAKE + CONNECT + flood[:200_000])
        await hostile(server, flood, key="good")
        assert server.meter.rejections == {"chunk": 2}


async def test_interleaved_partial_messages_are_bounded_in_their_sum() -> None:
    part = bytes(128)
    flood = b"".join(
        header(0, csid, length=MIB, type_id=VIDEO, stream=1) + part for csid in range(8, 60)
    )
    more = b"".join(header(3, csid) + part for csid in range(8, 60))
    async with beside_a_good_one(max_partial_bytes=65536) as server:
        with Memory() as memory:
            answer = await hostile(server, flood + more * 12, key="good")
        assert b"NetStream.Publish.Rejected" in answer
        assert server.meter.rejections == {"too_big": 1}
        assert memory.peak < 4 * MIB


async def test_type_3_chunk_without_a_header_is_cut() -> None:
    async with beside_a_good_one() as server:
        await hostile(server, HANDSHAKE + header(3, 9) + bytes(128))
        await hostile(server, header(3, 9) + bytes(128), key="good")
        await hostile(server, header(2, 9) + bytes(128), key="good")
        assert server.meter.rejections == {"chunk": 3}


async def test_extended_timestamps_at_every_edge_are_taken() -> None:
    times = (0xFFFFFE, 0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0)
    async with beside_a_good_one() as server:
        peer = await server.connect()
        await peer.publish("good")
        nal = b"\x65" + bytes(300)  # three chunks: the time is repeated in each
        frame = b"\x17\1\0\0\0" + struct.pack(">I", len(nal)) + nal
        peer.send(picture(AVC_CONFIG))
        for at in times:
            peer.send(picture(frame, at))
        publication = server.gate.publications[1]
        await seen(lambda: len(publication.packets) == len(times))
        # A header that ends inside its extended time waits, and ends with its connection.
        peer.send(b"\x06\xff\xff\xff\0\0\x09\x09\1\0\0\0\0\0")
        peer.close()
        await seen(lambda: bool(publication.closed))
        assert server.meter.rejections == {}


AMF_BOMBS = {
    "truncated number": b"\x00\x3f\xf0",
    "truncated string": b"\x02\xff\xffabc",
    "truncated object": b"\x03\x00\x01a",
    "string of 4 GB": b"\x0c\xff\xff\xff\xff",
    "array of 4 G values": b"\x0a\xff\xff\xff\xff" + b"\x05" * 5000,
    "deep arrays": b"\x0a\0\0\0\x01" * 500,
    "deep objects": b"\x03\0\x01a" * 500,
    "itself": b"\x03\0\x01a\x07\0\0\0\0\x09",
    "references that double": b"\x0a\0\0\0\x01\x05"
    + b"".join(b"\x0a\0\0\0\x02\x07" + struct.pack(">H", n) * 1 + b"\x07" + struct.pack(">H", n)
               for n in range(64)),
}  # fmt: skip


async def test_amf0_truncated_recursive_or_huge_costs_nothing() -> None:
    async with beside_a_good_one() as server:
        with Memory() as memory:
            for bomb in AMF_BOMBS.values():
                peer = await server.connect()
                peer.send(HANDSHAKE + whole(3, COMMAND, amf("connect", 1) + bomb) + b"\xc5")
                await peer.until_closed()  # by the bomb, or by the type 3 chunk behind it
            for bomb in AMF_BOMBS.values():
                peer = await server.connect()
                await peer.publish("good")
                peer.send(whole(4, DATA, amf("onMetaData") + bomb, stream=1) + b"\xc9")
                await peer.until_closed()
        assert set(server.meter.rejections) <= {"amf", "chunk"}
        # In a command it ends the connection; in a publisher's metadata it is only left out.
        assert server.meter.rejections["chunk"] >= len(AMF_BOMBS)
        assert server.meter.rejections["amf"] > len(AMF_BOMBS) // 2
        assert memory.peak < 4 * MIB


async def test_unexpected_messages_and_orders_end_at_most_their_connection() -> None:
    calls = [
        *(CONNECT, CREATE, publish("good"), publish("nobody"), picture(AVC_CONFIG), picture()),
        *(whole(3, COMMAND, amf(name, 9, None, "good")) for name in
          ("FCUnpublish", "deleteStream", "closeStream", "releaseStream", "play", "pause", "seek",
           "_result", "_error", "onStatus", "", "connect")),
        *(whole(3, kind, b"\0" * 8, stream=1) for kind in (0, 2, 3, 5, 6, 8, 15, 16, 17, 22, 255)),
        whole(3, COMMAND, amf("deleteStream", 1, None, float("nan"))),
        whole(3, COMMAND, amf("deleteStream", 1, None, float("inf"))),
        whole(3, COMMAND, amf("publish", 1, None)),
        whole(3, COMMAND, amf("publish", float("nan"), None, {})),
    ]  # fmt: skip
    dice = random.Random(7)
    async with beside_a_good_one() as server:
        for _ in range(60):
            peer = await server.connect()
            peer.send(HANDSHAKE + b"".join(dice.choices(calls, k=12)))
            peer.writer.write_eof()
            await peer.until_closed()
            peer.close()
        assert "internal" not in server.meter.rejections


async def test_names_of_any_length_are_only_wrong_names() -> None:
    long = "a" * 30_000
    app = {"app": long, "tcUrl": f"rtmp://h/{long}"[:30_000], "flashVer": "X"}
    with structlog.testing.capture_logs() as logs:
        async with beside_a_good_one() as server:
            answer = await hostile(
                server,
                HANDSHAKE + whole(3, COMMAND, amf("connect", 1, app)) + CREATE + publish(long),
            )
            assert b"NetStream.Publish.BadName" in answer
            assert server.meter.rejections == {"key": 1}
    assert "aaaa" not in repr(logs)


async def test_a_parser_that_waits_for_more_for_ever_has_a_deadline() -> None:
    starts = [
        b"\x03",
        b"\x03" + bytes(1535),
        HANDSHAKE + header(0, 3, length=9000, type_id=COMMAND),
    ]
    async with running(handshake_timeout_s=0.4, idle_timeout_s=0.6) as server:
        peers = []
        for start in starts:
            peer = await server.connect()
            peer.send(start)
            peers.append(peer)

        async def drip(peer: Peer) -> None:
            while True:
                peer.send(b"\0")
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(drip(peer)) for peer in peers]
            started = time.monotonic()
            for peer in peers:
                await peer.until_closed()
            assert time.monotonic() - started < 8
            for task in tasks:
                task.cancel()
        assert server.meter.rejections["timeout"] == 3


async def test_no_secret_reaches_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    secret = "S3CRET"
    app = {
        "app": f"login?authmod=adobe&user=ann&response={secret}",
        "tcUrl": f"rtmp://h/?t={secret}",
    }
    async with running(users={"ann": f"{secret}-password"}) as server:
        server.gate.keys[f"{secret}-key"] = "demo"
        await hostile(server, header(3, 9) + bytes(128), key=f"{secret}-key?token={secret}")
        await hostile(server, HANDSHAKE + CONNECT + CREATE + publish(f"{secret}-wrong"))
        await hostile(server, HANDSHAKE + whole(3, COMMAND, amf("connect", 1, app)))
        server.gate.refuse = "no"
        await hostile(server, picture(AVC_CONFIG), key=f"{secret}-key")
        assert server.meter.rejections["key"] == 2
    said = capsys.readouterr()
    assert "encoder" in said.out + said.err
    assert secret not in said.out + said.err


async def test_strangers_cannot_fill_the_log() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running() as server:
            for _ in range(400):
                await hostile(server, b"GET / HTTP/1.1\r\n\r\n")
            assert server.meter.rejections == {"handshake": 400}
            # A publisher's faults are always told.
            await hostile(server, header(3, 9) + bytes(128), key="good")
    cut = [entry["reason"] for entry in logs if entry["event"] == "encoder connection cut"]
    assert 100 <= cut.count("handshake") < 200
    assert cut[-1] == "chunk"


async def test_credentials_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    names = [f"s{n}" for n in range(5)]
    keys = ConfiguredKeys([(KeyOwner(stream=name), f"key-{name}") for name in names])
    for key, found in (("key-s0", "s0"), ("key-s4", "s4"), ("none", None)):
        compared.clear()
        owner = await keys.find(digest(key))
        assert (owner and owner.stream) == found
        # Digests, all of them, wherever the right one stands.
        assert len(compared) == len(names)
        assert all(b"key" not in a + b for a, b in compared)
    compared.clear()
    AdobeLogins({"ann": "x"}, []).answer(
        {"authmod": "adobe", "user": "ann", "response": "x", "opaque": "a.b"}, address="", now_ns=0
    )
    assert compared


async def test_a_restart_forgets_no_refusal(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "a.sqlite3")
    database = Database(url)
    await upgrade(database)
    old = await StreamStore(database).add("show")
    new = await StreamStore(database).rotate("show")
    gone = await StreamStore(database).add("gone")
    await StreamStore(database).remove("gone")
    await database.dispose()
    for _ in range(2):
        database = Database(url)
        await upgrade(database)
        gate = Gate(settings=Settings(), store=StreamStore(database), registry=Registry(None))  # type: ignore[arg-type]

        def approach(key: str) -> Approach:
            return Approach(protocol="rtmp", address="192.0.2.1", key=key)

        for key in (old, gone, "", "show", "any"):
            with pytest.raises(KeyRefused):
                await gate.authorize(approach(key))
        assert (await gate.authorize(approach(new))).stream == "show"
        await database.dispose()


async def test_a_flood_of_wrong_keys_does_not_delay_the_right_one() -> None:
    async with running(max_connections_per_address=256, handshake_timeout_s=20) as server:
        gate = server.gate
        decide, slow = gate.authorize, asyncio.Event()

        async def authorize(approach: Approach) -> object:
            if approach.key == "wrong":
                await slow.wait()
            return await decide(approach)

        gate.authorize = authorize  # type: ignore[method-assign,assignment]
        flood = [await server.connect() for _ in range(150)]
        for peer in flood:
            peer.send(HANDSHAKE + CONNECT + CREATE + publish("wrong"))
        for peer in flood:
            await peer.until(b"NetConnection.Connect.Success")
        started = time.monotonic()
        good = await server.connect()
        await good.publish("good")
        assert time.monotonic() - started < 2
        slow.set()
        for peer in flood:
            assert b"BadName" in await peer.until_closed()
        assert server.meter.rejections == {"key": 150}


async def test_a_picture_of_16k_by_16k_is_refused_ahead_of_any_decoder() -> None:
    limits = narrow(LimitsSettings())

    def set_format(_track: int, track_format: TrackFormat) -> None:
        check_format(track_format, limits)

    config = b"\x17\0\0\0\0" + avcc(baseline_sps(1000, 1000))
    async with beside_a_good_one() as server:
        peer = await server.connect()
        await peer.publish("good")
        server.gate.publications[-1].set_format = set_format  # type: ignore[method-assign]
        with Memory() as memory:
            peer.send(picture(config))
            answer = await peer.until_closed()
        assert b"The picture is 16000x16000; this server accepts at most 4096x4096" in answer
        assert server.meter.rejections == {"format": 1}
        assert memory.peak < MIB


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2f..%2fetc", "<script>alert(1)</script>",
                                  "a/b", "A", "", "x" * 65, "a\0b", "é"])  # fmt: skip
async def test_no_name_is_a_path_or_markup(name: str) -> None:
    with pytest.raises(ValidationError):
        StreamSettings(name=name)
    with structlog.testing.capture_logs() as logs:
        async with running() as server:
            answer = await hostile(server, HANDSHAKE + CONNECT + CREATE + publish(name))
            assert b"NetStream.Publish.BadName" in answer
            assert server.gate.publications == []
            if len(name) > 2:
                assert name.encode() not in answer
    if len(name) > 2:
        assert name not in repr(logs)


async def test_a_stranger_cannot_end_the_stream_of_another() -> None:
    stops = b"".join(
        whole(3, COMMAND, amf(name, 5, None, what))
        for name in ("FCUnpublish", "deleteStream", "closeStream", "releaseStream")
        for what in ("second", "other", 1)
    )
    async with beside_a_good_one() as server:
        await hostile(server, HANDSHAKE + CONNECT + stops + CREATE + stops + publish("wrong"))
        (publication,) = server.gate.publications
        assert publication.closed == []


CONFIG_1 = AVC_CONFIG[:9] + bytes((AVC_CONFIG[9] & 0xFC,)) + AVC_CONFIG[10:]
"""The same with NAL unit lengths of one byte."""
MEDIA_BOMBS = {
    "prefixes without end": (b"", b"\x97" + b"\0\0\x07" * MIB),
    "a million tracks": (AVC_CONFIG, b"\xa6\x13avc1" + b"\0\0\0\1\x01" * MIB),
    "a million unknown tracks": (AVC_CONFIG, b"\xa6\x20" + b"zzzz\x01\0\0\0" * MIB),
    "a million empty NAL units": (CONFIG_1, b"\x17\1\0\0\0" + bytes(MIB)),
    "a million SEI messages": (
        AVC_CONFIG,
        b"\x17\1\0\0\0" + struct.pack(">I", 2 * MIB + 1) + b"\x06" + b"\1\0" * MIB,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bomb", MEDIA_BOMBS)
async def test_a_message_that_unfolds_into_millions_costs_no_time(bomb: str) -> None:
    config, frame = MEDIA_BOMBS[bomb]
    loop = asyncio.get_running_loop()
    async with beside_a_good_one(max_connections_per_address=9) as server:
        peer = await server.connect()
        await peer.publish("good")
        publication = server.gate.publications[-1]
        peer.send(picture(config) if config else b"")
        peer.send(picture(frame))
        peer.send(picture(b"\x57\0", at=40))  # a command frame: nothing
        spent = -time.process_time()
        began = loop.time()
        peer.writer.write_eof()
        await seen(lambda: bool(publication.closed))
        spent += time.process_time()
        # Unfolded, each took half a second and more, and some of them gigabytes.
        assert spent < 0.3, (spent, loop.time() - began)
        assert len(publication.packets) <= 1
        peer.close()


async def test_a_flood_that_nothing_can_decode_counts_against_the_limit() -> None:
    limits = LimitsSettings(max_bitrate_kbps=500, excess_s=1)
    junk = picture(b"\x27\1\0\0\0" + bytes(9000))  # no sequence header ahead of it
    async with beside_a_good_one(idle_timeout_s=5) as server:
        server.gate.limits = narrow(limits)
        peer = await server.connect()
        await peer.publish("good")
        peer.send(junk * 60)
        answer = await peer.until_closed()
        assert b"nothing that could be played" in answer
        assert server.meter.rejections == {"excess": 1}
        assert server.gate.publications[-1].packets == []
