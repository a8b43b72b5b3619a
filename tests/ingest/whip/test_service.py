"""The door of publishers, before real aiortc peers: who is let in, what arrives, how it ends."""

from __future__ import annotations

import asyncio
import time

import pytest
import structlog.testing
from aiortc import RTCPeerConnection

from config.settings import LimitsSettings
from ingest.source import KeyRefused, Refusal
from media.limits import LimitExceeded, narrow
from media.model import Codec, FormatRefused, Kind
from tests.ingest.whip.house import KEY, house, refusal
from tests.support.whip import Peer
from tests.webrtc.callers import HOST, until
from tests.webrtc.sdp.support import text
from webrtc.door import DoorRefused
from webrtc.session import End

pytestmark = pytest.mark.component


async def test_pictures_and_sound_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrtc.ice.CONSENT_S", 0.2)
    with structlog.testing.capture_logs() as lines:
        async with house() as home:
            peer, opened = await home.publish()
            await until(lambda: home.gate.publications, 10)
            publication = home.publication
            await until(lambda: publication.packets[Kind.VIDEO] > 30, 20)
            assert publication.packets[Kind.AUDIO] > 20
            video, audio = publication.formats[Kind.VIDEO], publication.formats[Kind.AUDIO]
            assert (video.codec, video.width, video.height) == (Codec.H264, 640, 360)
            assert (audio.codec, audio.sample_rate) == (Codec.OPUS, 48_000)
            # Somebody waits for a key frame: the encoder is asked.
            before = publication.keys
            assert publication.on_key_wanted is not None
            publication.on_key_wanted()
            await until(lambda: publication.keys > before, 5)
            await home.door.close(opened.session, KEY)
            assert publication.closed == ["bye"]
            assert home.meter.opened == 1
            assert home.meter.closed == {"bye": 1}
            assert home.meter.bytes > 10_000
            assert home.rtp.counts["video"] > 30
            assert home.rtp.counts["audio"] > 20
            # Of the pictures the show hears what the network lost: here nothing.
            assert [lost for lost, _, _ in publication.losses if lost] == []
            assert sum(packets for _, packets, _ in publication.losses) == home.rtp.counts["video"]
            assert home.rtp.counts["video keys"] >= 1
            assert home.rtp.paths
            # Known without a loss, which is what requests would tell it by.
            assert home.rtp.trips
            await until(lambda: peer.connection.connectionState == "closed")
            (approach,) = home.gate.approaches
            assert (approach.protocol, approach.address) == ("whip", HOST)
            assert approach.query == {"a": "b"}
    assert KEY not in str(lines)
    assert opened.session not in str(lines)


async def test_who_may_not_publish_is_told_why() -> None:
    with structlog.testing.capture_logs() as lines:
        async with house() as home:
            offer = text("obs-30")
            with refusal(401, "Authorization: Bearer KEY"):
                await home.post(offer, token=None)
            assert home.gate.approaches == []
            with refusal(401, "key is unknown"):
                await home.post(offer, token="wrong")
            with refusal(403, "for another stream"):
                await home.post(offer, stream="other")
            home.gate.refusal = KeyRefused("Not from there.", reason=Refusal.ADDRESS)
            with refusal(403, "Not from there"):
                await home.post(offer)
            home.gate.refusal = KeyRefused("Sold out.", reason=Refusal.HOOK)
            with refusal(403, "Sold out"):
                await home.post(offer)
            home.gate.refusal = KeyRefused("Another one publishes.", reason=Refusal.CONTESTED)
            with refusal(409, "Another one publishes"):
                await home.post(offer)
            home.gate.refusal = KeyRefused("Sold out.", reason=Refusal.HOOK)
            undecided = KeyRefused("Not found out.", reason=Refusal.HOOK, undecided=True)
            sold_out, home.gate.refusal = home.gate.refusal, undecided
            with refusal(503, "Not found out"):
                await home.post(offer)
            home.gate.refusal = sold_out
            home.gate.hold = asyncio.Event()
            with refusal(503, "could not be checked in time"):
                await home.post(offer)
            assert home.session_meter.refused == [401, 401, 403, 403, 403, 409, 503, 503]
            assert home.meter.rejections == {"key": 2, "address": 1, "hook": 2, "contested": 1}
            assert len(home.sessions) == 0
            home.gate.hold.set()
            for _ in range(300):
                with pytest.raises(DoorRefused):
                    await home.post(offer)
    assert KEY not in str(lines)
    assert len(lines) < 200, "who knocks for ever must not fill the disk"


async def test_who_guesses_keys_is_told_to_wait_and_keeps_no_publisher_out() -> None:
    offer = text("obs-30")
    async with house(wrong_keys_per_minute=60) as home:
        await home.post(offer)
        before = len(home.gate.approaches)
        for number in range(10):
            with refusal(401, "key is unknown"):
                await home.post(offer, token=f"guess {number}")
        for number in range(50):
            with refusal(429, "unknown keys came from your address"):
                await home.post(offer, token=f"another guess {number}")
        # Nobody looked for them.
        assert len(home.gate.approaches) == before + 10
        assert home.meter.rejections == {"key": 10, "limit": 50}
        # Who was on air before comes back, although a stranger shares its address.
        home.now_ns += 1
        await home.post(offer)
        home.now_ns += 1_000_000_000
        with refusal(401, "key is unknown"):
            await home.post(offer, token="one more guess")
        assert home.session_meter.refused.count(429) == 50


async def test_a_key_opens_so_many_sessions_a_minute() -> None:
    offer = text("obs-30")
    async with house() as home:
        for _ in range(11):  # it is known from the first one on
            await home.post(offer)
        with refusal(429, "came with this key"):
            await home.post(offer)
        home.now_ns += 1_000_000_000
        await home.post(offer)
        with refusal(429, "came with this key"):
            await home.post(offer)


async def test_an_encoder_that_tries_for_ever_keeps_no_other_one_with_its_key_out() -> None:
    offer = text("obs-30")
    async with house() as home:
        await home.post(offer)
        home.gate.refusal = KeyRefused("Another one publishes.", reason=Refusal.CONTESTED)
        for _ in range(10):
            with refusal(409, "Another one publishes"):
                await home.post(offer, address="192.0.2.7")
        with refusal(429, "came with this key"):
            await home.post(offer, address="192.0.2.7")
        home.gate.refusal = None
        await home.post(offer)


async def test_a_key_that_is_void_is_a_wrong_one() -> None:
    offer = text("obs-30")
    async with house(wrong_keys_per_minute=60) as home:
        await home.post(offer)
        home.gate.refusal = KeyRefused("The stream key is unknown.")
        for _ in range(11):
            with refusal(401, "key is unknown"):
                await home.post(offer)
        with refusal(429, "unknown keys"):
            await home.post(offer)


async def test_the_streams_own_address_is_taken() -> None:
    async with house() as home:
        opened = await home.post(text("obs-30"), stream="shop")
        assert "a=recvonly" in opened.answer


async def test_obs_gets_all_of_its_layers() -> None:
    async with house() as home:
        opened = await home.post(text("obs-32-simulcast"))
        assert "a=simulcast:recv 0;1;2" in opened.answer
        assert opened.answer.count("a=rid:") == 3
        assert "a=candidate:" in opened.answer
        assert "a=end-of-candidates" in opened.answer


async def test_layers_are_bounded_by_the_streams_tracks() -> None:
    async with house() as home:
        home.gate.limits = narrow(LimitsSettings(max_tracks=2))
        with refusal(422, "3 simulcast layers; at most 2"):
            await home.post(text("obs-32-simulcast"))


@pytest.mark.parametrize(
    ("error", "reason", "left"),
    [
        (LimitExceeded("Too many Mbit/s."), "limit", "error"),
        (FormatRefused("No such codec."), "error", "error"),
    ],
)
async def test_what_is_too_much_ends_it(error: Exception, reason: str, left: str) -> None:
    with structlog.testing.capture_logs() as lines:
        async with house() as home:
            peer, _ = await home.publish(video=False)
            await until(lambda: home.gate.publications)
            home.publication.refusal = error
            await until(lambda: not len(home.sessions))
            assert home.publication.closed == [left]
            assert home.meter.closed == {reason: 1}
            await until(lambda: peer.connection.connectionState == "closed")
    assert str(error) in [line.get("detail") for line in lines]


async def test_a_flood_of_packets_ends_it() -> None:
    async with house() as home:
        home.gate.limits = narrow(LimitsSettings(max_bitrate_kbps=4000))
        peer, _ = await home.publish(video=False)
        await until(lambda: home.gate.publications)
        (session,) = home.sessions
        now_ns = time.monotonic_ns()
        # As many as fit into the bit rate, and then as many again.
        for number in range(1500 * 20):
            session.take_rtp(b"\x80\x7f" + bytes(18), now_ns + number * 1_000_000_000 // 1500)
        assert not session.over
        now_ns += 20_000_000_000
        for number in range(1500 * 12):
            session.take_rtcp(b"\x80\xc9" + bytes(6), now_ns + number * 1_000_000_000 // 3000)
        await until(lambda: not len(home.sessions))
        assert session.reason[0] is End.LIMIT
        assert "packets a second; 1500 are taken" in session.reason[1]
        assert home.meter.rejections == {"excess": 1}
        assert home.meter.closed == {"limit": 1}
        assert home.publication.closed == ["error"]
        assert home.rtp.discarded["flooded"] > 1000
        assert home.rtp.discarded["unrouted"] > 1000
        await until(lambda: peer.connection.connectionState == "closed")


async def test_where_excess_is_only_reported_a_flood_is_dropped() -> None:
    async with house() as home:
        home.gate.limits = narrow(LimitsSettings(max_bitrate_kbps=4000, on_excess="finding"))
        await home.publish(video=False)
        await until(lambda: home.gate.publications and home.publication.packets)
        (session,) = home.sessions
        now_ns = time.monotonic_ns()
        for _ in range(20_000):
            session.take_rtp(b"\x80\x7f" + bytes(18), now_ns)
        await until(lambda: home.rtp.discarded["flooded"] > 12_000)
        seen = home.publication.packets[Kind.AUDIO]
        await until(lambda: home.publication.packets[Kind.AUDIO] > seen + 10)
        assert not session.over


async def test_a_newer_publisher_takes_over() -> None:
    async with house() as home:
        first, taken = await home.publish(video=False)
        await until(lambda: home.gate.publications)
        await home.publish(video=False)
        await until(lambda: len(home.gate.publications) == 2)
        with refusal(409, "Another encoder publishes this stream now"):
            await home.door.close(taken.session, KEY)
        await until(lambda: first.connection.connectionState == "closed")
        older, newer = home.gate.publications
        await until(lambda: older.closed == ["revoked"])
        await until(lambda: newer.packets[Kind.AUDIO] > 5)
        assert newer.closed == []
        assert home.meter.closed == {"revoked": 1}


async def test_the_newest_wins_among_those_on_their_way() -> None:
    async with house() as home:
        for _ in range(10):
            await home.post(text("obs-30"))
        await until(lambda: len(home.sessions) == 1)
        assert home.gate.publications == []


async def test_a_publisher_without_media_is_let_go() -> None:
    async with house(media_timeout_s=1) as home:
        peer = Peer(video=False)
        home.peers.append(peer)
        silent = asyncio.Event()

        async def nothing() -> None:
            await silent.wait()

        sender = peer.connection.getSenders()[0]
        sender.track.recv = nothing
        opened = await home.post(await peer.offer())
        await peer.take(opened.answer)
        await until(lambda: home.gate.publications)
        await until(lambda: not len(home.sessions))
        assert home.publication.closed == ["timeout"]
        assert home.meter.rejections == {"timeout": 1}


async def test_a_publisher_that_vanishes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrtc.ice.CONSENT_S", 0.05)
    monkeypatch.setattr("webrtc.ice.CONSENT_LASTS_S", 0.5)
    monkeypatch.setattr("webrtc.ice.CONSENT_REPEATS", 0)
    monkeypatch.setattr("aioice.stun.RETRY_MAX", 1)
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.05)
    async with house() as home:
        peer, _ = await home.publish(video=False)
        await until(lambda: home.gate.publications and home.publication.packets)
        vanish(peer.connection)
        await until(lambda: not len(home.sessions))
        assert home.publication.closed == ["timeout"]


def vanish(connection: RTCPeerConnection) -> None:
    """Close the sockets under a peer, without a word."""
    ice = connection.getSenders()[0].transport.transport
    for protocol in ice._connection._protocols:
        protocol.transport.abort()
