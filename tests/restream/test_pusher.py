"""One target over real sockets: taken, refused, stalled, restarted, gone."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.rtmp.client import RtmpPublishClient
from ingest.rtmp.events import FormatChanged, PublishEnded, PublishRequested
from media.model import Codec, Kind
from restream.model import State
from tests.restream.media import HEVC, picture
from tests.restream.stage import AUDIO, KEY, VIDEO, Server, playing, pushing, state_of, until
from tests.support.certificates import make_certificate

pytestmark = pytest.mark.component


@pytest.fixture
async def server():
    made = Server()
    await made.start()
    yield made
    await made.stop()


def url(server: Server) -> str:
    return f"rtmp://127.0.0.1:{server.port}/live"


async def test_a_stream_is_pushed_on_and_ended_politely(server: Server) -> None:
    async with pushing(url(server)) as (pusher, meter):
        assert state_of(pusher) is State.IDLE
        async with playing(pusher):
            await until(lambda: len(server.packets()) > 60)
            status = pusher.status()
        assert status.state is State.LIVE
        assert status.text is None
        assert status.sent_bytes > 20_000
        assert status.delay_s < 1
        pusher.ended()
        await until(lambda: any(isinstance(e, PublishEnded) for e in server.events))
        await until(lambda: state_of(pusher) is State.IDLE)
    asked = next(e for e in server.events if isinstance(e, PublishRequested))
    assert asked.key == KEY
    formats = [e.track_format.codec for e in server.events if isinstance(e, FormatChanged)]
    assert formats == [Codec.H264, Codec.AAC]
    first = server.packets()[0]
    assert (first.kind, first.dts, first.key) == (Kind.VIDEO, 0, True)
    assert KEY not in str(meter.calls)
    states = [call[3] for call in meter.calls if call[0] == "restream_state"]
    assert [s for s in states if s != State.IDLE.number] == [
        State.CONNECTING.number,
        State.LIVE.number,
    ]
    assert ("restream_sent", "show", "t") in {call[:3] for call in meter.calls}


async def test_it_comes_back_to_a_target_that_restarts(server: Server) -> None:
    async with pushing(url(server)) as (pusher, meter), playing(pusher):
        await until(lambda: len(server.packets()) > 10)
        await server.stop()
        await until(lambda: state_of(pusher) is State.WAITING)
        status = pusher.status()
        assert status.text is not None
        assert status.retry_at_ms is not None
        server.events.clear()
        await server.start()
        await until(lambda: len(server.packets()) > 10)
        assert server.packets()[0].dts == 0
        assert server.packets()[0].key
        assert pusher.status().reconnects >= 1
        assert ("restream_reconnected", "show", "t") in meter.calls


async def test_a_refused_key_backs_off_long_and_says_so(server: Server) -> None:
    server.refuse = f"The key {KEY} is not known."
    with capture_logs() as logs:
        async with pushing(url(server)) as (pusher, _), playing(pusher):
            await until(lambda: state_of(pusher) is State.REFUSED)
            status = pusher.status()
            assert status.text == (
                "127.0.0.1 refuses the stream "
                "(NetStream.Publish.BadName The key … is not known.); check its key."
            )
            assert status.retry_at_ms is not None
            assert status.retry_at_ms - status.since_ms > 20_000
            pusher.formats([VIDEO])  # as for a slate: what is refused is the key
            await asyncio.sleep(0.3)
            assert server.connections == 1
    assert logs
    assert KEY not in str(logs)


async def test_a_target_that_had_taken_the_key_is_not_given_up_for_its_refusals(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops, or holds a connection that broke and says that somebody publishes already."""
    monkeypatch.setattr("restream.pusher.SERVED_S", 0.2)
    async with pushing(url(server)) as (pusher, meter), playing(pusher):
        await until(lambda: len(server.packets()) > 20)
        server.refuse = "The stream has gone."
        server.send_away("The server is stopping; reconnect in a moment.")
        await until(lambda: server.connections >= 4)
        status = pusher.status()
        assert status.text == (
            "127.0.0.1 refuses the stream now (NetStream.Publish.BadName The stream has gone.); "
            "connecting again."
        )
        server.refuse = None
        await until(lambda: state_of(pusher) is State.LIVE)
        states = [call[3] for call in meter.calls if call[0] == "restream_state"]
        assert State.REFUSED.number not in states
        # For ever it is not believed: keys are changed, too.
        monkeypatch.setattr("restream.pusher.TRUST_S", 0.0)
        server.refuse = "The key is not known."
        server.send_away("Another encoder publishes this stream now.")
        await until(lambda: state_of(pusher) is State.REFUSED)


async def test_the_next_show_does_not_follow_on_the_connection_of_the_last(server: Server) -> None:
    """Its times begin anew: behind those of a show that a slow target has still to take."""
    async with pushing(url(server), queue_bytes=2**20) as (pusher, _):
        async with playing(pusher, size=400_000):
            await until(lambda: len(server.packets()) > 10)
            server.reads = False
            await until(lambda: pusher.status().dropped > 0, 20)
            pusher.ended()
        async with playing(pusher):
            server.reads = True
            await until(lambda: len(small_pictures(server)) > 20)
            assert sum(isinstance(e, PublishRequested) for e in server.events) == 2
            times = small_pictures(server)
            assert times[0] == 0
            assert times == sorted(set(times))


def small_pictures(server: Server) -> list[int]:
    """Return the times of the second show's pictures; some of the first may still come."""
    return [p.dts for p in server.packets() if p.kind is Kind.VIDEO and len(p.payload) < 10_000]


async def test_a_target_that_is_busy_is_tried_again_soon(server: Server) -> None:
    """It holds a connection of before this server's restart."""
    server.refuse = "Already publishing"
    async with pushing(url(server)) as (pusher, meter), playing(pusher):
        await until(lambda: server.connections >= 2)
        server.refuse = None
        await until(lambda: state_of(pusher) is State.LIVE)
        assert ("restream_state", "show", "t", State.REFUSED.number) not in meter.calls


async def test_a_target_that_never_reads_slows_nothing_and_is_left(server: Server) -> None:
    async with (
        pushing(url(server), queue_s=1.0, stall_timeout_s=5.0) as (pusher, meter),
        playing(pusher, size=60_000) as source,
    ):
        await until(lambda: len(server.packets()) > 5)
        server.reads = False
        await until(lambda: pusher.status().dropped > 20, 20)
        await until(lambda: "lower the bitrate" in (pusher.status().text or ""))
        assert state_of(pusher) in (State.LIVE, State.WAITING, State.CONNECTING)
        await until(lambda: "has read next to nothing" in (pusher.status().text or ""), 20)
        assert source.slowest_s < 0.25  # a write that waits would take seconds
        server.reads = True
        server.events.clear()
        await until(lambda: len(server.packets()) > 5, 20)
        assert server.packets()[0].dts == 0
    assert sum(call[3] for call in meter.calls if call[0] == "restream_dropped") > 0


async def test_a_peer_that_is_no_rtmp_server_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)
        await reader.read(1)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with pushing(f"rtmp://127.0.0.1:{port}/live") as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) is State.WAITING)
        assert "does not speak RTMP as it should" in (pusher.status().text or "")
    listener.close()


async def test_a_peer_that_says_nothing_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    settings = {"handshake_timeout_s": 0.5}
    async with pushing(f"rtmp://127.0.0.1:{port}/live", **settings) as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) is State.WAITING)
        assert pusher.status().text == "127.0.0.1 did not take the stream within 0.5 s."
    listener.close()


async def test_a_peer_that_floods_us_is_cut_off(server: Server) -> None:
    ping = bytes.fromhex("0200000000000604 00000000 0006 00000001".replace(" ", ""))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.readexactly(1537)
        writer.write(b"\x03" + bytes(1536) + hello[1:])
        try:
            while not writer.is_closing():
                writer.write(ping * 1000)
                await writer.drain()
        except ConnectionError:
            pass

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with pushing(f"rtmp://127.0.0.1:{port}/live") as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) is State.WAITING)
        assert "sends more than a server has to say" in (pusher.status().text or "")
        assert pusher.status().sent_bytes < 500_000
    listener.close()


async def test_nobody_listens() -> None:
    async with pushing("rtmp://127.0.0.1:9/live") as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) is State.WAITING)
        text = "127.0.0.1 takes no connections on port 9; check the address."
        assert pusher.status().text == text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
async def test_local_addresses_are_refused_in_every_spelling(server: Server, host: str) -> None:
    target = f"rtmp://{host}:{server.port}/live"
    async with pushing(target, allow=()) as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) in (State.REFUSED, State.WAITING))
        text = pusher.status().text or ""
        assert "has a loopback address" in text or "cannot be resolved" in text
    assert server.connections == 0


async def test_what_the_target_cannot_take_is_said_and_mended_by_the_stream(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RtmpPublishClient, "accepts", frozenset())
    async with pushing(url(server)) as (pusher, _):
        pusher.formats([HEVC, AUDIO])
        pusher.packet(picture(0, key=True, codec=Codec.HEVC, at_s=time.monotonic()))
        await until(lambda: state_of(pusher) is State.REFUSED)
        assert (pusher.status().text or "").startswith("The stream is HEVC, and the target does")
        async with playing(pusher):  # H.264 now
            await until(lambda: len(server.packets()) > 10)
            assert state_of(pusher) is State.LIVE


async def test_another_codec_is_another_connection(server: Server) -> None:
    async with pushing(url(server)) as (pusher, _):
        async with playing(pusher):
            await until(lambda: len(server.packets()) > 10)
            assert server.connections == 1
        pusher.formats([VIDEO])
        server.events.clear()
        async with playing(pusher):  # pictures and sound again: a track more
            await until(lambda: len(server.packets()) > 10)
        assert server.connections == 1  # known to the connection already
        pusher.formats([HEVC, AUDIO])
        await until(lambda: server.connections == 2)
        assert state_of(pusher) in (State.CONNECTING, State.LIVE)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_rtmps_is_verified(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "localhost")
    server = Server()
    await server.start(certificate, key)
    target = f"rtmps://localhost:{server.port}/live"
    allow = ("localhost",)
    async with pushing(target, allow=allow) as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) is State.WAITING)
        assert (pusher.status().text or "").startswith(
            "The certificate of localhost does not verify ("
        )
    trusted = {"certificates": certificate}
    async with pushing(target, allow=allow, **trusted) as (pusher, _), playing(pusher):
        await until(lambda: len(server.packets()) > 10)
    wrong = f"rtmps://127.0.0.1:{server.port}/live"
    async with pushing(wrong, **trusted) as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) is State.WAITING)
        assert "does not verify" in (pusher.status().text or "")
    await server.stop()


async def test_tls_to_a_plain_port(server: Server) -> None:
    target = f"rtmps://127.0.0.1:{server.port}/live"
    async with pushing(target) as (pusher, _), playing(pusher):
        await until(lambda: state_of(pusher) is State.WAITING)
        assert "127.0.0.1" in (pusher.status().text or "")
