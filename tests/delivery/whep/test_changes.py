"""Shows that change under their viewers, and answers that must last through it."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pylibsrtp
import pytest

from delivery.whep import stage as stages
from delivery.whep.cues import MAX_WAITING_BYTES, CueFan, CueLine
from delivery.whep.outgoing import Outgoing, StreamTerms
from delivery.whep.programme import Lane
from media.realtime import OPUS
from overlay.times import parse_ms
from tests.delivery.whep.entries import entry
from tests.delivery.whep.house import Log, Viewer, house, hurry, viewer
from tests.delivery.whep.material import SOUND_FORMAT, Stage, film
from tests.webrtc.callers import until
from webrtc.door import DoorRefused
from webrtc.extensions import ExtensionMap

pytestmark = pytest.mark.component

OFFERS = Path(__file__).parents[2] / "webrtc" / "sdp" / "offers"


def agreed(answer: str) -> list[str]:
    return re.findall(r"profile-level-id=(\w+)", answer)


@pytest.mark.parametrize("ladder", [False, True], ids=["rungs come later", "rungs are there"])
async def test_who_is_sent_a_browsers_pictures_can_be_sent_the_ladders_too(ladder: bool) -> None:
    """Browsers publish constrained baseline, the worker's rungs are of High."""
    rungs = {"source": film(profile="baseline", bit_rate=2_000_000)}
    if ladder:
        rungs["240p"] = film(width=160, height=120, profile="high", bit_rate=200_000)
    async with house(Stage(rungs)) as made:
        opened = await made.open((OFFERS / "chromium-view.sdp").read_text())
        assert agreed(opened.answer) == ["64001f"]
        opened = await made.open(await Viewer().offer())
        assert agreed(opened.answer) == ["42e01f"]


async def test_sound_that_comes_later_is_heard() -> None:
    stage = Stage(audio=False)
    async with house(stage) as made, viewer(made) as guest:
        await until(lambda: len(guest.pictures) > 5)
        assert not guest.sounds
        stage.realtime.set_format(OPUS, SOUND_FORMAT)
        stage.audio = True
        await until(lambda: len(guest.sounds) > 20)


async def test_who_came_before_the_pictures_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports = hurry(monkeypatch)
    stage = Stage({})
    async with house(stage) as made:
        async with viewer(made) as guest:
            await until(lambda: guest.sounds)
            stage.rungs = {"source": film()}
            stage.start()
            await until(lambda: guest.connection.connectionState == "closed", 6)
        async with viewer(made) as guest:
            await until(lambda: len(guest.pictures) > 5)
        # Who wants no pictures is let be.
        listener = Viewer()
        listener.connection.getTransceivers()[0].direction = "inactive"
        await listener.come(made)
        await until(lambda: listener.sounds)
        heard, reported = len(listener.sounds), len(reports)
        await until(lambda: len(reports) > reported + 5 and len(listener.sounds) > heard + 20)
        await listener.close()


async def test_pictures_of_which_there_is_no_rung_are_no_show_of_sound_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hurry(monkeypatch)
    stage = Stage({})
    stage.realtime.pictures = True  # HEVC without a ladder
    async with house(stage) as made:
        with pytest.raises(DoorRefused, match=r"Set the encoder to H\.264") as caught:
            await made.open(await Viewer().offer())
        assert caught.value.status == 409


async def test_an_encoder_that_is_away_is_not_blamed_for_its_codec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hurry(monkeypatch)
    stage = Stage()
    async with house(stage) as made:
        async with viewer(made) as guest:
            await until(lambda: guest.pictures)
        stage.rungs = {}
        (lane,) = made.door._stages["shop"].fanout.lanes.values()
        await until(lambda: not lane.fresh(time.monotonic_ns()))
        with pytest.raises(DoorRefused, match="Nothing comes from the stream's encoder"):
            await made.open(await Viewer().offer())


@pytest.mark.parametrize("change", ["b pictures", "no rung"])
async def test_who_can_be_sent_none_of_the_pictures_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    hurry(monkeypatch)
    stage = Stage()
    stage.realtime.pictures = True
    async with house(stage) as made, viewer(made) as guest:
        await until(lambda: guest.pictures)
        if change == "b pictures":
            monkeypatch.setattr(stage.realtime, "reorders", lambda _: True)
            made.door._stages["shop"].fanout.lanes["source"]._reorders = lambda _: True
        else:
            stage.rungs = {}
            stage.realtime.close("source")
        await until(lambda: guest.connection.connectionState == "closed", 8)


async def test_while_nothing_comes_viewers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = hurry(monkeypatch)
    stage = Stage()
    stage.realtime.pictures = True
    async with house(stage) as made, viewer(made) as guest:
        await until(lambda: guest.pictures)
        rungs, stage.rungs = stage.rungs, {}
        (lane,) = made.door._stages["shop"].fanout.lanes.values()
        await until(lambda: not lane.fresh(time.monotonic_ns()))
        reported = len(reports)
        await until(lambda: len(reports) > reported + 10)  # five times STRANDED_NS
        stage.rungs = rungs
        before = len(guest.pictures)
        await until(lambda: len(guest.pictures) > before + 5)
        assert made.door.viewers("shop") == 1


async def test_a_stage_is_not_closed_before_a_viewer_who_is_about_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stages, "LINGER_NS", 1_000_000_000)
    async with house() as made:
        async with viewer(made) as guest:
            await until(lambda: guest.pictures)
        await until(lambda: not made.door._stages["shop"].sitting)
        answer = made.sessions._answer

        async def slowly(*what: Any) -> None:
            await asyncio.sleep(0.4)  # sockets are bound
            await answer(*what)

        monkeypatch.setattr(made.sessions, "_answer", slowly)
        late = Viewer()
        offer = await late.offer()
        await asyncio.sleep(0.8)
        await late.take((await made.open(offer)).answer)
        await until(lambda: len(late.pictures) > 60)
        await late.close()


async def test_a_show_that_ends_while_an_offer_is_answered_takes_no_viewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    async with house(stage) as made:
        answer = made.sessions._answer

        async def slowly(*what: Any) -> None:
            stage.live = False
            stage.realtime.end()
            await answer(*what)

        monkeypatch.setattr(made.sessions, "_answer", slowly)
        with pytest.raises(DoorRefused, match="not live"):
            await made.open(await Viewer().offer())
        assert not made.door._stages["shop"].sitting


async def test_a_stream_that_was_removed_and_made_again_starts_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulse = hurry(monkeypatch)
    first = Stage()
    async with house(first) as made:
        async with viewer(made) as guest:
            await until(lambda: guest.pictures and made.meter.bandwidths)
            # As `media.registry` does: forgotten by the metrics, too.
            del made.streams["shop"]
            first.live = False
            first.realtime.end()
            reports = len(made.meter.bandwidths)
            await until(lambda: made.meter.closed)
            await until(lambda: guest.connection.connectionState == "closed")
            reported = len(pulse)
            await until(lambda: len(pulse) > reported + 2)
            assert len(made.meter.bandwidths) == reports
        again = made.streams["shop"] = Stage()
        playing = asyncio.get_running_loop().create_task(again.play())
        async with viewer(made) as guest:
            await until(lambda: len(guest.pictures) > 5)
            assert made.door.viewers("shop") == 1
        playing.cancel()
        assert not first.realtime.listening


async def test_a_stage_that_is_closed_while_an_offer_is_answered_takes_no_viewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house() as made:
        answer = made.sessions._answer

        async def slowly(*what: Any) -> None:
            made.door._stages["shop"].close()
            await answer(*what)

        with monkeypatch.context() as patch:
            patch.setattr(made.sessions, "_answer", slowly)
            with pytest.raises(DoorRefused, match="try again") as caught:
                await made.open(await Viewer().offer())
            assert caught.value.retry_after_s == 1
        async with viewer(made) as guest:
            await until(lambda: len(guest.pictures) > 5)


async def test_a_fault_in_what_hears_the_feed_is_got_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house() as made:
        async with viewer(made) as guest:
            await until(lambda: guest.pictures)

            def fail(*_: Any) -> None:
                raise RuntimeError("as a fault of ours would")

            with monkeypatch.context() as patch:
                patch.setattr(Lane, "take", fail)
                await until(lambda: not made.stage.realtime.listening)
            await until(lambda: guest.connection.connectionState == "closed")
        async with viewer(made) as guest:
            await until(lambda: len(guest.pictures) > 5)


async def test_a_pulse_that_failed_leaves_no_viewer_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house() as made, viewer(made) as guest:
        await until(lambda: guest.pictures)

        def fail(_: Any) -> None:
            raise RuntimeError("as a fault of ours would")

        with monkeypatch.context() as patch:
            patch.setattr(stages.Stage, "report", fail)
            await until(lambda: made.meter.failed)
        await until(lambda: guest.connection.connectionState == "closed")
        made.meter.failed.clear()


def test_without_rtx_what_is_sent_again_is_within_the_window_of_srtp() -> None:
    """libsrtp refuses older numbers (replay_old), which would end the session."""
    terms = StreamTerms(
        ssrc=1,
        payload_type=96,
        clock_rate=90_000,
        mid=None,
        ids=ExtensionMap(),
        first_sequence=65_000,
        offset=0,
    )
    # As aiortc sets them.
    policy = pylibsrtp.Policy(key=bytes(30), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    session = pylibsrtp.Session(policy=policy)
    sender = Outgoing(terms)
    for _ in range(2000):
        session.protect(
            sender.packet(
                b"x", marker=True, timestamp=1, now_ns=0, transport_sequence=0, send_time=0
            )
        )
    every = [(65_000 + number) & 0xFFFF for number in range(2000)]
    again = sender.again(every, 1, send_time=0, transport_sequence=lambda: 0)
    assert 900 < len(again) <= 1024
    for data in again:
        session.protect(data)


class Slow:
    """A channel to a viewer that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.open = True
        self.waiting_bytes = 0
        self.said: list[str] = []

    def send(self, text: str) -> bool:
        self.said.append(text)
        return True


def test_who_falls_behind_misses_no_revision() -> None:
    log, slow = Log(), Slow()
    fan = CueFan("shop", log)
    line = CueLine(slow, lambda _: 0)
    fan.open(line)
    slow.waiting_bytes = MAX_WAITING_BYTES
    # One that lies ahead, and one that is taken back: neither stands in any state.
    for each in (
        entry(1, effective_ms=log.now_ms + 3000),
        entry(2, effective_ms=log.now_ms - 10),
    ):
        log.entries.append(each.event())
        fan._pass_on(each)
    assert line.behind
    fan.refresh()
    assert len(slow.said) == 1
    slow.waiting_bytes = 0
    fan.refresh()
    assert not line.behind
    assert ['"event":"state"' in each for each in slow.said] == [True, True, False, False]
    assert '"c_1"' in slow.said[2]
    assert '"c_2"' in slow.said[3]
    assert parse_ms(log.entries[0]["effective"]) > log.now_ms


def test_who_comes_is_told_of_what_lies_ahead_once_and_in_order() -> None:
    log, slow = Log(), Slow()
    log.entries = [
        entry(seq, effective_ms=log.now_ms + (9000 if seq in (1, 500) else -9000)).event()
        for seq in range(1, 501)
    ]
    fan = CueFan("shop", log)
    fan.open(CueLine(slow, lambda _: 0))
    assert ['"c_1"' in slow.said[1], '"c_500"' in slow.said[2], len(slow.said)] == [True, True, 3]
