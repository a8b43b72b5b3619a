"""A show whose encoder comes, goes and changes, watched by WebRTC without a break."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.delivery.whep.house import Viewer
from tests.support.push import Publisher
from tests.support.server import STREAM, Server, wait_for
from tests.support.workers import worker_pids
from tests.webrtc.callers import until

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(150)]

SETTINGS = {
    "whip.ports": "0",
    "whip.addresses": '["127.0.0.1"]',
    "ladder.rungs": "[{height = 240, bitrate_kbps = 400}]",
}


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server(**SETTINGS)


async def come(server: Server, guest: Viewer) -> int:
    """Offer High as browsers do: aiortc decodes it, but says nothing of it."""
    offer = (await guest.offer()).replace("profile-level-id=42001f", "profile-level-id=64001f")
    async with aiohttp.ClientSession() as http:
        url = f"{server.url}/whep/{STREAM}"
        headers = {"Content-Type": "application/sdp"}
        async with http.post(url, data=offer, headers=headers) as response:
            text = await response.text()
            if response.status == 201:
                await guest.take(text.replace("=64001f", "=42001f"))
            return response.status


def pauses(guest: Viewer, since: int = 0) -> float:
    times = [at for at, _ in guest.pictures[since:]]
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


async def follow(server: Server, push: Callable[..., Publisher], first: Publisher) -> None:
    loop = asyncio.get_running_loop()

    async def off(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await loop.run_in_executor(None, lambda: call(*args, **kwargs))

    guest, late = Viewer(), Viewer()

    async def whole(height: int, what: str) -> None:
        """Wait for the next pictures, then see that pictures and sound come without a break."""
        mark = len(guest.pictures) - 1
        await until(lambda: guest.pictures[-1][1].height == height, 25)
        change_s, sounds = pauses(guest, mark), len(guest.sounds)
        mark = len(guest.pictures)
        await asyncio.sleep(3)
        still_s, heard = pauses(guest, mark), len(guest.sounds) - sounds
        print(f"{what}: pauses of {change_s:.2f} and {still_s:.2f} s, {heard} sounds in 3 s")
        assert change_s < 3
        assert still_s < 1
        assert heard > 100

    try:
        assert await come(server, guest) == 201
        await until(lambda: len(guest.pictures) > 60 and len(guest.sounds) > 60, 15)
        first.kill()
        await asyncio.sleep(1)
        await whole(360, "slate")
        assert await come(server, late) == 201
        await until(lambda: late.pictures, 6)
        # No passthrough any more: what viewers get is made by the worker, of High.
        await off(push, size="848x480", video="hevc", audio="opus")
        await whole(480, "HEVC")
        (worker,) = await off(worker_pids, server)
        os.kill(worker, signal.SIGKILL)
        mark = len(guest.pictures)
        await until(lambda: len(guest.pictures) > mark + 60, 15)
        print(f"a new worker: a pause of {pauses(guest, mark - 1):.2f} s")
        assert await off(worker_pids, server) != [worker]
        await whole(480, "a new worker")
        await off(push, size="480x270")
        await whole(270, "H.264 again")
        assert (await off(server.stream))["viewers"] == 2
    finally:
        await guest.close()
        await late.close()


def test_viewers_stay_whatever_the_encoder_does(
    server: Server, push: Callable[..., Publisher]
) -> None:
    first = push()
    server.wait_live()
    asyncio.run(follow(server, push, first))
    wait_for(lambda: server.metric("vitrina_viewers", protocol="whep") == 0, 5, "nobody")
