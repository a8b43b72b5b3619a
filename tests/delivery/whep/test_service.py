"""The door of viewers with aiortc on the other side, decoding."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import pytest

from delivery.whep.cues import LABEL
from delivery.whep.service import AGAIN_WITHIN_S
from delivery.whep.stage import PACKETS_PER_S, Attendance
from media.model import Codec
from overlay.times import format_ms
from tests.delivery.whep.entries import entry
from tests.delivery.whep.house import House, Viewer, house, hurry, viewer
from tests.delivery.whep.material import Stage, film
from tests.delivery.whep.relay import Relay
from tests.webrtc.callers import until
from webrtc.door import DoorRefused
from webrtc.rtcp import PictureLoss, serialise_rtcp
from webrtc.session import End
from webrtc.sessions import SessionLimits

pytestmark = pytest.mark.component


async def test_a_viewer_sees_and_hears_and_leaves() -> None:
    async with house() as made:
        async with viewer(made) as guest:
            await until(lambda: len(guest.pictures) > 40 and len(guest.sounds) > 60)
            assert made.door.viewers("shop") == 1
            _, frame = guest.pictures[-1]
            assert (frame.width, frame.height) == (320, 240)
            # A pulse of aiortc's receiver reports.
            await until(lambda: made.meter.rtts and made.meter.jitters)
            assert made.meter.rtts[-1] < 0.5
        await until(lambda: made.meter.closed == ["bye"])
        assert made.door.viewers("shop") == 0
        counted = made.meter.counted
        assert counted["video", "packets"] > 60
        assert counted["audio", "packets"] > 60


async def test_sound_and_picture_are_of_one_clock() -> None:
    """By the sender reports alone, as a browser does it."""
    async with house() as made, viewer(made) as guest:
        receivers = guest.connection.getReceivers()
        await until(lambda: len(guest.sounds) > 120 and len(guest.pictures) > 70)
        moments = []
        for receiver in receivers:
            stats = await receiver.getStats()
            (report,) = [e for e in stats.values() if e.type == "remote-outbound-rtp"]
            moments.append(report.timestamp)
        assert abs((moments[0] - moments[1]).total_seconds()) < 1.5


async def test_the_first_viewer_begins_at_once_where_the_group_is_long() -> None:
    """In the midst of a group of ten seconds: from its beginning, in fast motion."""
    stage = Stage({"source": film(seconds=4, gop=1000)})
    async with house(stage) as made:
        await asyncio.sleep(1.5)
        async with viewer(made) as guest:
            await until(lambda: guest.pictures, 5)
            await until(lambda: len(guest.pictures) > 60, 10)
            times = [at for at, _ in guest.pictures]
            # The first forty pictures took less than half of the time they stand for.
            assert times[35] - times[0] < 0.7
            stamps = [frame.pts for _, frame in guest.pictures]
            assert all(b > a for a, b in itertools.pairwise(stamps))


async def test_losses_and_jitter_are_got_over() -> None:
    relay = await Relay(loss=0.03, jitter_s=0.03).start()
    stage = Stage({"source": film(bit_rate=1_500_000, gop=60)})
    async with house(stage) as made:
        guest = Viewer()
        try:
            opened = await made.open(await guest.offer())
            await guest.take(relay.answer(opened.answer))
            await until(lambda: len(guest.pictures) > 150, 20)
            times = [at for at, _ in guest.pictures]
            longest = max(b - a for a, b in itertools.pairwise(times))
            sounds = len(guest.sounds)
            counted = made.meter.counted
            print(
                f"{len(times)} pictures in {times[-1] - times[0]:.1f} s, longest gap"
                f" {longest:.2f} s, {sounds} sounds,"
                f" {relay.lost} of {relay.lost + relay.passed} packets lost,"
                f" {dict(counted)}"
            )
            assert longest < 1.0
            assert counted["video", "rtx"] > 5
            assert counted["video", "nacks"] > 5
            assert sounds > 180
        finally:
            await guest.close()
            relay.close()


async def test_many_in_need_ask_the_encoder_once() -> None:
    async with house() as made:
        guests = [Viewer() for _ in range(6)]
        try:
            for guest in guests:
                await guest.come(made)
            await until(lambda: all(guest.pictures for guest in guests))
            before = made.stage.keys_asked
            for _ in range(5):
                for session in made.sessions:
                    ssrc = session.answer.sections[0].ssrcs[0]
                    session.attendant.rtcp(
                        serialise_rtcp([PictureLoss(sender_ssrc=1, media_ssrc=ssrc)]),
                        made.door._now_ns(),
                    )
            assert made.stage.keys_asked - before <= 1
            await until(lambda: made.meter.counted["video", "key_requests"] >= 30)
            assert made.stage.keys_asked - before <= 2
        finally:
            for guest in guests:
                await guest.close()


async def test_a_viewer_that_floods_is_let_go() -> None:
    async with house() as made, viewer(made) as flooding, viewer(made) as beside:
        await until(lambda: flooding.pictures and beside.pictures)
        session = next(iter(made.sessions))
        attendance = session.attendant
        assert isinstance(attendance, Attendance)
        # Some reports as large as they get, each second: more than is read.
        for number in range(100):
            session.take_rtcp(b"\x80\xc9" + bytes(1200), number)
        assert not session.over
        assert attendance.viewer.counters.flooded > 50
        for number in range(4 * PACKETS_PER_S):
            session.take_rtp(b"\x80\x60" + bytes(18), number)
        await until(lambda: len(made.sessions) == 1)
        assert session.reason[0] is End.LIMIT
        assert "packets a second" in session.reason[1]
        assert made.meter.closed == ["limit"]
        assert made.meter.discarded["flooded"] > 50
        assert made.meter.discarded["malformed"] > 10
        await until(lambda: flooding.connection.connectionState == "closed")
        seen = len(beside.pictures)
        await until(lambda: len(beside.pictures) > seen + 20)


async def test_a_flood_of_messages_ends_the_channels_alone() -> None:
    async with house() as made:
        guest = Viewer()
        channel = guest.connection.createDataChannel(LABEL)
        try:
            await guest.come(made)
            (session,) = made.sessions
            await until(lambda: channel.readyState == "open")
            for _ in range(3000):
                channel.send("!")
            await until(lambda: session.peer.flooded)
            seen = len(guest.pictures)
            await until(lambda: len(guest.pictures) > seen + 20)
            await until(lambda: made.meter.discarded["flooded"])
            assert not session.over
        finally:
            await guest.close()


async def test_what_is_refused() -> None:
    async def refused(made: House, offer: str, stream: str | None = "shop") -> DoorRefused:
        with pytest.raises(DoorRefused) as caught:
            await made.open(offer, stream=stream)
        return caught.value

    async with house(limits=SessionLimits(total=1, per_address=1)) as made:
        guest = Viewer()
        offer = await guest.offer()
        assert (await refused(made, offer, None)).status == 404
        assert (await refused(made, offer, "nobody")).status == 404
        assert (await refused(made, "nothing of the kind")).status == 400
        no_h264 = re.sub(r"a=rtpmap:\d+ H264/90000\r\n", "", offer)
        other = await refused(made, no_h264)
        assert other.status == 422
        assert "H264" in str(other)
        await guest.come(made)
        more = await refused(made, offer)
        assert (more.status, more.retry_after_s) == (503, 5)
        made.stage.live = False
        idle = await refused(made, offer)
        assert idle.status == 409
        assert idle.retry_after_s
        await guest.close()
        assert made.meter.refused == [404, 404, 400, 422, 503, 409]


async def test_who_offers_too_often_is_told_to_wait_and_costs_nothing() -> None:
    async with house(offers_per_minute=12) as made:
        guest = Viewer()
        offer = await guest.offer()
        made.stage.live = False
        for _ in range(20):  # they wait for the encoder
            with pytest.raises(DoorRefused, match="not live"):
                await made.open(offer, address="2001:db8::1")
        made.stage.live = True
        made.meter.refused.clear()
        await made.open(offer, address="2001:db8::1")
        with pytest.raises(DoorRefused):
            await made.open("nonsense", address="2001:db8::2")
        for number in range(20):
            with pytest.raises(DoorRefused, match=r"http\.trusted_proxies") as refused:
                await made.open(offer, address=f"2001:db8::{number}")
            assert refused.value.status == 429
            assert 1 <= refused.value.retry_after_s <= 5 + AGAIN_WITHIN_S
        assert len(made.sessions) == 1
        await made.open(offer, address="2001:db8:0:1::1")
        assert len(made.sessions) == 2
        assert made.meter.refused == [400] + [429] * 20
        await guest.close()


async def test_a_source_that_no_browser_shows_is_no_programme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """H.264 with B-frames, and no rung beside it."""
    hurry(monkeypatch)
    stage = Stage()
    stage.realtime.reorders = lambda rung: True  # type: ignore[method-assign]
    async with house(stage) as made:
        guest = Viewer()
        with pytest.raises(DoorRefused, match="0 B-frames") as caught:
            await made.open(await guest.offer())
        assert caught.value.status == 409
        await guest.close()


async def test_a_show_of_sound_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    async with house(Stage({})) as made, viewer(made) as guest:
        await until(lambda: len(guest.sounds) > 20)
        assert not guest.pictures


async def test_the_end_of_the_show_is_the_end_of_its_viewers() -> None:
    async with house() as made, viewer(made) as guest:
        await until(lambda: guest.pictures)
        made.stage.realtime.end()
        await until(lambda: guest.connection.connectionState == "closed")
        await until(lambda: made.meter.closed == ["bye"])


async def test_a_pulse_that_fails_leaves_nobody_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault() -> None:
        raise ZeroDivisionError

    async with house() as made, viewer(made) as guest:
        await until(lambda: guest.pictures)
        monkeypatch.setattr(made.door, "_report", fault)
        await until(lambda: guest.connection.connectionState == "closed")
        assert not made.stage.realtime.listening
        assert made.meter.failed == ["whep"]
        made.meter.failed.clear()


async def test_a_stop_says_goodbye() -> None:
    async with house() as made, viewer(made) as guest:
        await until(lambda: guest.pictures)
        await made.door.drain()
        await until(lambda: guest.connection.connectionState == "closed")
        with pytest.raises(DoorRefused) as caught:
            await made.open(await Viewer().offer())
        assert caught.value.status == 503


@pytest.mark.parametrize("ours", [False, True], ids=["the viewer's channel", "our channel"])
async def test_cues_come_over_the_data_channel(ours: bool) -> None:
    async with house() as made:
        now_ms = made.log.now_ms
        active = entry(1, effective_ms=now_ms - 5000)
        ahead = entry(2, effective_ms=now_ms + 4000)
        made.log.active = [active.event()]
        made.log.entries = [active.event(), ahead.event()]
        guest = Viewer()
        if ours:
            # An association without a channel of that name.
            guest.connection.createDataChannel("something else")

            @guest.connection.on("datachannel")
            def _(channel: Any) -> None:
                assert channel.label == LABEL
                channel.on("message", guest.hear)

        else:
            guest.connection.createDataChannel(LABEL).on("message", guest.hear)
        try:
            await guest.come(made)
            await until(lambda: len(guest.messages) >= 2)
            state, first = guest.messages
            assert (state["event"], state["seq"], state["utc"]) == ("state", 2, now_ms)
            assert [each["id"] for each in state["cues"]] == ["c_1"]
            assert first["event"] == "cue"
            assert first["id"] == "c_2"
            assert (first["rtp"] - state["rtp"]) & 0xFFFFFFFF == 4000 * 90
            assert (state["rtp"] - state["cues"][0]["rtp"]) & 0xFFFFFFFF == 5000 * 90
            third = entry(3, effective_ms=now_ms + 100)
            await until(lambda: made.log.queues)
            made.log.queues[-1].put_nowait(third)
            await until(lambda: guest.messages[-1].get("id") == "c_3")
            last = guest.messages[-1]
            assert last == {
                "event": "cue",
                **third.event(),
                "rtp": (state["rtp"] + 9000) & 0xFFFFFFFF,
                "utc": now_ms + 100,
            }
            assert last["effective"] == format_ms(now_ms + 100)
        finally:
            await guest.close()


async def test_the_rung_is_h264_that_the_viewer_decodes() -> None:
    """aiortc offers baseline alone: High goes to nobody there, a rung of baseline does."""
    stage = Stage(
        {
            "source": film(width=640, height=480, profile="high"),
            "240p": film(),
        }
    )
    assert stage.rungs["source"].format.codec is Codec.H264
    async with house(stage) as made, viewer(made) as guest:
        await until(lambda: len(guest.pictures) > 10)
        assert {(frame.width, frame.height) for _, frame in guest.pictures} == {(320, 240)}
