"""The listener: real sockets, one good client and many bad ones."""

from __future__ import annotations

import asyncio
import socket

import pytest
import structlog

from ingest.rtmp.strangers import EARLY_TURN_COST, TURN_COST
from ingest.source import MAX_LEAD_S, RESUME_LEAD_S
from media.model import Codec, Kind
from tests.ingest.rtmp.support import (
    AAC_CONFIG,
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
from tests.support.server import free_port

pytestmark = pytest.mark.component


def video(body: bytes, time: int = 0) -> bytes:
    return whole(6, 9, body, time=time, stream=1)


async def test_a_publication_from_hello_to_goodbye() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(video(AVC_CONFIG) + video(AVC_KEY, 40))
        publication = server.gate.publications[0]
        await server.until(lambda: bool(publication.packets))
        assert publication.stream == "demo"
        assert server.gate.wraps == {2**32 * 90}
        assert [f.codec for _, f in publication.formats] == [Codec.H264]
        assert publication.packets[0].dts == 3600
        peer.send(whole(3, 20, amf("FCUnpublish", 6, None, "good")))
        await server.until(lambda: publication.closed == ["bye"])
        peer.close()
        await server.until(lambda: server.meter.closed["bye"] == 1)
        assert server.meter.rejections == {}
        assert server.meter.bytes > 3000


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
async def test_both_families_are_served_where_every_address_is_meant() -> None:
    async with running(host="*", port=free_port()) as server:
        for loopback in ("127.0.0.1", "::1"):
            peer = Peer(*await asyncio.open_connection(loopback, server.server.port))
            await peer.publish("good")
        assert len(server.gate.publications) == 2


async def test_the_languages_of_sound_are_passed_on() -> None:
    tracks = {"audioTrackIdInfoMap": {"1": {"language": "de"}}}
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(whole(4, 18, amf("@setDataFrame", "onMetaData", tracks), stream=1))
        publication = server.gate.publications[0]
        await server.until(lambda: publication.languages == {1: "de"})


async def test_the_bit_rates_an_encoder_declares_are_passed_on() -> None:
    values = {"videodatarate": 2500.0, "audiodatarate": 128.0}
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(whole(4, 18, amf("@setDataFrame", "onMetaData", values), stream=1))
        publication = server.gate.publications[0]
        rates = {(Kind.VIDEO, 0): 2_500_000, (Kind.AUDIO, 0): 128_000}
        await server.until(lambda: publication.rates == rates)


async def test_the_encoder_vanishing_is_an_error_end() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(video(AVC_CONFIG) + video(AVC_KEY)[:-3])
        publication = server.gate.publications[0]
        await server.until(lambda: bool(publication.formats))
        peer.close()
        await server.until(lambda: publication.closed == ["error"])
        assert publication.packets == []


async def test_a_wrong_key_is_told_and_closed_and_never_logged() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running() as server:
            peer = await server.connect()
            peer.send(HANDSHAKE + CONNECT + CREATE)
            await peer.until(b"NetConnection.Connect.Success")
            peer.send(publish("S3CRET-KEY?token=S3CRET"))
            answer = await peer.until_closed()
            assert b"NetStream.Publish.BadName" in answer
            assert b"The stream key is unknown." in answer
            assert b"Publish.Start" not in answer
            assert server.gate.asked == ["S3CRET-KEY"]
            assert server.gate.publications == []
            await server.until(lambda: server.meter.closed["rejected"] == 1)
            assert server.meter.rejections == {"key": 1}
    assert "S3CRET" not in repr(logs)
    (cut,) = [entry for entry in logs if entry["event"] == "encoder connection cut"]
    assert cut["protocol"] == "rtmp"
    assert cut["reason"] == "key"
    assert cut["remote"].startswith("127.0.0.1:")


async def test_nothing_is_read_while_the_key_is_checked() -> None:
    async with running() as server:
        server.gate.hold = asyncio.Event()
        peer = await server.connect()
        peer.send(HANDSHAKE + CONNECT + CREATE + publish("good") + video(AVC_CONFIG))
        await peer.until(b"NetConnection.Connect.Success")
        peer.send(video(AVC_KEY))
        assert server.gate.publications == []
        server.gate.hold.set()
        await peer.until(b"NetStream.Publish.Start")
        await server.until(lambda: bool(server.gate.publications[0].packets))


async def test_a_key_check_that_hangs_ends_the_connection() -> None:
    async with running(handshake_timeout_s=0.2) as server:
        server.gate.hold = asyncio.Event()
        peer = await server.connect()
        peer.send(HANDSHAKE + CONNECT + CREATE + publish("good"))
        assert b"could not be checked in time" in await peer.until_closed()


async def test_a_key_check_that_fails_is_our_fault_and_ends_only_its_connection(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running() as server:
        good = await server.connect()
        await good.publish("other")

        async def broken(_key: str) -> str:
            raise RuntimeError("database is gone")

        monkeypatch.setattr(server.gate, "authorize", broken)
        bad = await server.connect()
        bad.send(HANDSHAKE + CONNECT + CREATE + publish("S3CRET"))
        await bad.until_closed()
        assert server.meter.rejections == {"internal": 1}
        await still_alive(server, good)
    said = capsys.readouterr()
    assert "database is gone" in said.out + said.err
    assert "S3CRET" not in said.out + said.err


async def test_a_client_ahead_of_real_time_is_held_back_and_read_on() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        publication = server.gate.publications[0]
        publication.lead_s = MAX_LEAD_S + 0.1
        peer.send(video(AVC_CONFIG))
        await server.until(lambda: bool(publication.formats))
        publication.lead_s = 0.0
        held = asyncio.get_running_loop().time()
        peer.send(video(AVC_KEY))
        await server.until(lambda: bool(publication.packets))
        waited = asyncio.get_running_loop().time() - held
        assert waited > MAX_LEAD_S - RESUME_LEAD_S - 0.1
        assert publication.closed == []


async def still_alive(server: Running, peer: object) -> None:
    publication = next(p for p in server.gate.publications if p.stream == "second")
    before = len(publication.packets)
    peer.send(video(AVC_CONFIG) + video(AVC_KEY))  # type: ignore[attr-defined]
    await server.until(lambda: len(publication.packets) > before)
    assert publication.closed == []


async def test_a_newer_encoder_takes_over_at_once() -> None:
    async with running() as server:
        older, newer = await server.connect(), await server.connect()
        await older.publish("good")
        await newer.publish("good")
        first, second = server.gate.publications
        assert first.closed == ["revoked"]
        answer = await older.until_closed()
        assert b"Another encoder publishes this stream now." in answer
        older.close()
        await server.until(lambda: server.meter.closed["revoked"] == 1)
        newer.send(video(AVC_CONFIG) + video(AVC_KEY))
        await server.until(lambda: bool(second.packets))
        assert first.packets == []
        assert second.closed == []


async def test_a_refused_format_is_told_to_the_encoder() -> None:
    async with running() as server:
        server.gate.refuse = "The picture is 16384x16384, at most 4096x2304 is accepted."
        peer = await server.connect()
        await peer.publish("good")
        peer.send(video(AVC_CONFIG) + video(AVC_KEY))
        answer = await peer.until_closed()
        assert b"NetStream.Publish.Rejected" in answer
        assert server.gate.refuse.encode() in answer
        assert server.gate.publications[0].closed == ["error"]
        assert server.gate.publications[0].packets == []
        assert server.meter.rejections == {"format": 1}


@pytest.mark.parametrize("start", [b"", b"\x03", HANDSHAKE[:2000], HANDSHAKE[:-1]])
async def test_a_handshake_that_never_ends(start: bytes) -> None:
    async with running(handshake_timeout_s=0.2) as server:
        peer = await server.connect()
        peer.send(start)
        await peer.until_closed()
        peer.close()
        await server.until(lambda: server.meter.closed["timeout"] == 1)
        assert server.meter.rejections == {"timeout": 1}


async def test_a_drip_of_bytes_does_not_prolong_the_handshake() -> None:
    async with running(handshake_timeout_s=0.3) as server:
        peer = await server.connect()

        async def drip() -> None:
            for byte in HANDSHAKE:
                peer.send(bytes((byte,)))
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(drip())
            await peer.until_closed()
            task.cancel()
        assert server.meter.rejections == {"timeout": 1}


async def test_an_idle_publisher_is_pinged_then_cut() -> None:
    async with running(idle_timeout_s=0.4, ping_interval_s=0.1) as server:
        peer = await server.connect()
        await peer.publish("good")
        answer = await peer.until_closed()
        assert server.gate.publications[0].closed == ["timeout"]
        assert b"\x02\0\0\0\0\0\x06\x04\0\0\0\0\0\x06" in answer
        assert b"The client sent nothing for 0.4 s." in answer


async def test_an_answered_ping_keeps_a_silent_publisher() -> None:
    async with running(idle_timeout_s=0.3, ping_interval_s=0.1) as server:
        peer = await server.connect()
        await peer.publish("good")
        pong = whole(2, 4, b"\0\x07\0\0\0\0")
        for _ in range(8):
            peer.seen = b""
            await peer.until(b"\x04\0\0\0\0\0\x06")
            peer.send(pong)
        assert server.gate.publications[0].closed == []


async def test_a_client_that_never_publishes_is_cut() -> None:
    async with running(handshake_timeout_s=0.1, idle_timeout_s=0.3, ping_interval_s=0.1) as server:
        peer = await server.connect()
        peer.send(HANDSHAKE + CONNECT)

        async def chat() -> None:
            while True:
                peer.send(whole(2, 4, b"\0\x07\0\0\0\0"))
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(chat())
            await peer.until_closed()
            task.cancel()
        assert server.meter.rejections == {"timeout": 1}


async def test_connection_limits() -> None:
    async with running(max_connections_per_address=2) as server:
        peers = [await server.connect() for _ in range(2)]
        third = await server.connect()
        assert await third.until_closed() == b""
        assert server.meter.rejections == {"limit": 1}
        peers[0].close()
        await server.until(lambda: server.meter.closed.total() == 1)
        fourth = await server.connect()
        await fourth.publish("good")
    async with running(max_connections=1) as server:
        await server.connect()
        second = await server.connect()
        assert await second.until_closed() == b""


async def test_only_listed_addresses_are_read() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(allow=["192.0.2.0/24"]) as server:
            for _ in range(20):
                peer = await server.connect()
                peer.send(HANDSHAKE)
                assert await peer.until_closed() == b""
            assert server.meter.rejections == {"address": 20}
            assert server.meter.bytes == 0
    away = [entry for entry in logs if entry["event"] == "encoders turned away"]
    # A knock a millisecond must not be a line a millisecond.
    assert 1 <= len(away) < 5
    assert away[0]["remote"] == "127.0.0.1"
    async with running(allow=["127.0.0.1"]) as server:
        peer = await server.connect()
        await peer.publish("good")


async def test_a_client_that_does_not_read_is_cut() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
        ping = whole(2, 4, b"\0\x06\0\0\0\0") * 5000

        async def flood() -> None:
            while True:
                peer.send(ping)
                await peer.writer.drain()

        with pytest.raises((ConnectionError, ExceptionGroup)):
            async with asyncio.timeout(20):
                await flood()
        assert server.meter.rejections == {"slow_reader": 1}


HOSTILE = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "rtmpe": b"\x06" + bytes(1536),
    "tls": b"\x16\x03\x01\x02\x00",
    "fresh type 3": HANDSHAKE + b"\xc5",
    "chunk size 0": HANDSHAKE + whole(2, 1, bytes(4)),
    "huge message": HANDSHAKE + header(0, 3, length=0xFFFFFF, type_id=20),
    "many streams": HANDSHAKE
    + b"".join(header(0, c, length=9, type_id=9) + bytes(9) for c in range(3, 60)),
    "deep amf": HANDSHAKE + whole(3, 20, b"\x0a\0\0\0\x01" * 100),
    "media first": HANDSHAKE + CONNECT + video(AVC_CONFIG),
    "flood": HANDSHAKE + CONNECT + whole(2, 4, b"\0\x06\0\0\0\0") * 40_000,
}


async def test_a_hundred_hostile_clients_beside_a_good_one() -> None:
    async with running(max_connections_per_address=200, handshake_timeout_s=1) as server:
        good = await server.connect()
        await good.publish("other")
        await still_alive(server, good)

        async def attack(data: bytes) -> None:
            peer = await server.connect()
            peer.send(data)
            await peer.until_closed()
            peer.close()

        async with asyncio.TaskGroup() as group:
            for data in list(HOSTILE.values()) * 10:
                group.create_task(attack(data))
            for number in range(20):
                good.send(video(AVC_KEY, number))
        await server.until(lambda: server.meter.closed.total() == 100)
        assert server.meter.rejections.total() == 100
        assert set(server.meter.rejections) == {
            "handshake",
            "chunk",
            "too_big",
            "amf",
            "protocol",
        }
        (publication,) = server.gate.publications
        await server.until(lambda: len(publication.packets) == 21)
        assert publication.closed == []


async def test_stopping_ends_publications_and_connections() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(whole(4, 8, AAC_CONFIG, stream=1))
        await server.until(lambda: bool(server.gate.publications[0].formats))
    assert server.gate.publications[0].closed == ["bye"]
    assert server.meter.closed == {"shutdown": 1}
    await peer.until_closed()


async def test_a_port_in_use_is_said() -> None:
    async with running() as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with running(port=server.server.port):
                pass
        assert caught.group_contains(OSError)


async def test_a_client_ahead_of_real_time_waits_and_goes_on() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(video(AVC_CONFIG) + video(AVC_KEY))
        publication = server.gate.publications[0]
        await server.until(lambda: len(publication.packets) == 1)
        publication.lead_s = 2.3
        peer.send(video(AVC_KEY, 2300))
        await server.until(lambda: len(publication.packets) == 2)
        began = asyncio.get_running_loop().time()
        publication.lead_s = 0.5
        peer.send(video(AVC_KEY, 2340))
        await server.until(lambda: len(publication.packets) == 3)
        assert asyncio.get_running_loop().time() - began > 2.3 - RESUME_LEAD_S - 0.2
        assert publication.closed == []


async def test_a_long_read_is_held_back_in_the_middle() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(video(AVC_CONFIG))
        await server.until(lambda: bool(server.gate.publications))
        publication = server.gate.publications[0]
        await server.until(lambda: bool(publication.formats))
        publication.lead_s = MAX_LEAD_S + 0.1
        frames = [video(AVC_KEY + bytes(2000), 40 * n) for n in range(100)]
        peer.send(b"".join(frames))
        await server.until(lambda: bool(publication.packets))
        assert len(publication.packets) < 20
        publication.lead_s = 0.0
        await server.until(lambda: len(publication.packets) == 100)
        assert publication.closed == []


async def test_a_flood_of_empty_messages_waits_its_turn_and_loses_nothing() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(video(AVC_CONFIG))
        await server.until(lambda: bool(server.gate.publications))
        publication = server.gate.publications[0]
        flood = header(0, 3, type_id=3) + header(3, 3) * 60_000
        # As many turns of the loop as the flood needs, each with room for everybody else.
        turns = 0
        peer.send(flood + video(AVC_KEY))
        async with asyncio.timeout(10):
            while not publication.packets:
                await asyncio.sleep(0)
                turns += 1
        assert turns > 60_000 // TURN_COST
        assert publication.closed == []


@pytest.mark.parametrize("before", range(EARLY_TURN_COST - 40, EARLY_TURN_COST, 3))
async def test_publish_at_the_end_of_a_turn_waits_for_the_key(before: int) -> None:
    async with running() as server:
        server.gate.hold = asyncio.Event()
        peer = await server.connect()
        peer.send(HANDSHAKE + CONNECT + CREATE + header(0, 3, type_id=3) + header(3, 3) * before)
        peer.send(publish("good") + video(AVC_CONFIG) + video(AVC_KEY))
        async with asyncio.timeout(10):
            while server.gate.asked != ["good"]:
                await asyncio.sleep(0)
        server.gate.hold.set()
        await peer.until(b"NetStream.Publish.Start")
        publication = server.gate.publications[0]
        await server.until(lambda: len(publication.packets) == 1)


async def test_media_is_gathered_and_the_last_byte_still_arrives() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.publish("good")
        peer.send(video(AVC_CONFIG))
        publication = server.gate.publications[0]
        picture = AVC_KEY + bytes(5000)
        sent = 0
        began = asyncio.get_running_loop().time()
        # 200 kB/s: after a second the kernel is asked to gather about 4 kB.
        while asyncio.get_running_loop().time() - began < 2.5:
            peer.send(video(picture, sent * 25))
            sent += 1
            await server.until(lambda sent=sent: len(publication.packets) >= sent)
            await asyncio.sleep(0.025)
        peer.send(video(AVC_KEY, sent * 25))
        await server.until(lambda: len(publication.packets) == sent + 1, 5)


async def test_a_drain_waits_for_those_who_leave_at_a_key_frame() -> None:
    connect = amf("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", "capsEx": 1})
    async with running() as server, asyncio.timeout(20):
        able, other = await server.connect(), await server.connect()
        await other.publish("other")
        able.send(HANDSHAKE + whole(3, 20, connect) + CREATE)
        await able.until(b"NetConnection.Connect.Success")
        able.send(publish("good"))
        await able.until(b"NetStream.Publish.Start")
        publications = {p.stream: p for p in server.gate.publications}
        async with asyncio.TaskGroup() as group:
            drain = group.create_task(server.server.drain())
            await able.until(b"NetConnection.Connect.ReconnectRequest")
            able.send(whole(6, 9, AVC_CONFIG, stream=1) + whole(6, 9, AVC_KEY, stream=1))
            await server.until(lambda: bool(publications["demo"].packets))
            assert not drain.done()
            late = await server.connect()
            assert await late.until_closed() == b""
            able.send(whole(3, 20, amf("deleteStream", 7, None, 1)))
        assert publications["demo"].closed == ["bye"]
        assert publications["second"].closed == []
        assert b"ReconnectRequest" not in other.seen
