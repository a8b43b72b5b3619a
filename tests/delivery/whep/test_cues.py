"""Cues to viewers' channels: bounded, in order, and made good where one falls behind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from delivery.whep.cues import MAX_WAITING_BYTES, CueFan, CueLine
from tests.delivery.whep.entries import entry
from tests.delivery.whep.house import Log
from tests.webrtc.callers import until

pytestmark = pytest.mark.component


class Line:
    """A channel whose reader takes what it likes."""

    def __init__(self) -> None:
        self.open = True
        self.waiting_bytes = 0
        self.told: list[dict[str, Any]] = []

    def send(self, text: str) -> bool:
        self.told.append(json.loads(text))
        return self.open


async def test_one_slow_reader_is_told_the_state_again_and_what_it_missed() -> None:
    log = Log()
    fan = CueFan("shop", log)
    quick, slow = Line(), Line()
    lines = [CueLine(quick, lambda ms: ms & 0xFFFFFFFF), CueLine(slow, lambda _: None)]
    running = asyncio.get_running_loop().create_task(fan.run())
    try:
        await until(lambda: log.queues)
        for line in lines:
            fan.open(line)
        slow.waiting_bytes = MAX_WAITING_BYTES
        for seq in range(1, 5):
            each = entry(seq, effective_ms=log.now_ms + seq)
            log.entries.append(each.event())
            log.queues[0].put_nowait(each)
        await until(lambda: len(quick.told) == 5)
        assert [each.get("seq") for each in quick.told] == [0, 1, 2, 3, 4]
        assert len(slow.told) == 1
        assert lines[1].missed == 4
        fan.refresh()
        assert len(slow.told) == 1
        slow.waiting_bytes = 0
        fan.refresh()
        assert (slow.told[1]["event"], slow.told[1]["seq"]) == ("state", 4)
        assert slow.told[1]["rtp"] is None
        # The state knows only what is active: what was missed follows.
        assert [each["seq"] for each in slow.told[2:]] == [1, 2, 3, 4]
        # From here on as everybody else; what is known already is not told twice.
        log.queues[0].put_nowait(entry(4, effective_ms=log.now_ms))
        log.queues[0].put_nowait(entry(5, effective_ms=log.now_ms))
        await until(lambda: quick.told[-1]["seq"] == 5)
        assert slow.told[-1]["seq"] == 5
        assert len(slow.told) == 7
        quick.open = False
        fan.refresh()
        assert len(fan) == 1
        fan.close(lines[1])
        assert len(fan) == 0
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_what_was_written_before_the_subscription_is_made_good() -> None:
    log = Log()
    fan = CueFan("shop", log)
    line = Line()
    fan.open(CueLine(line, lambda ms: ms & 0xFFFFFFFF))
    log.entries.append(entry(1, effective_ms=log.now_ms).event())
    running = asyncio.get_running_loop().create_task(fan.run())
    try:
        await until(lambda: len(line.told) == 3)
        assert [each["event"] for each in line.told] == ["state", "state", "cue"]
        assert line.told[1]["seq"] == line.told[2]["seq"] == 1
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_stream_that_is_gone_harms_nobody() -> None:
    fan = CueFan("gone", Log())
    running = asyncio.get_running_loop().create_task(fan.run())
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
