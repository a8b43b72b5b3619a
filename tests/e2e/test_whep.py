"""An RTMP encoder's show watched by WebRTC: pictures, sound, cues, and the viewers' life cycle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.delivery.whep.house import Viewer
from tests.support.push import Publisher
from tests.support.server import STREAM, Server, wait_for
from tests.webrtc.callers import until

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(120)]

SETTINGS = {
    "whip.ports": "0",
    "whip.addresses": '["127.0.0.1"]',
    "ladder.rungs": "[{height = 240, bitrate_kbps = 400}]",
}
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server(**SETTINGS)


async def off_loop(call: Callable[..., Any], *args: Any) -> Any:
    """Ask the server's API while the viewer goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *args)


async def watch(server: Server) -> None:
    """Watch for some seconds, then leave by DELETE."""
    guest = Viewer(data=True)
    url = f"{server.url}/whep/{STREAM}"
    try:
        async with aiohttp.ClientSession() as http:
            begun = time.monotonic()
            async with http.post(url, data=await guest.offer(), headers=SDP) as response:
                assert response.status == 201, await response.text()
                location = urljoin(url, response.headers["Location"])
                await guest.take(await response.text())
            await until(lambda: guest.pictures)
            first_s = guest.pictures[0][0] - begun
            await until(lambda: len(guest.pictures) > 120 and len(guest.sounds) > 200, 15)
            fired = await off_loop(
                server.cue, {"type": "chapter", "at": "+1", "data": {"title": "Two"}}
            )
            await until(lambda: any(each.get("id") == fired["id"] for each in guest.messages))
            span_s = guest.pictures[-1][0] - guest.pictures[-91][0]
            print(f"first picture after {first_s:.2f} s, 90 pictures in {span_s:.2f} s")
            assert first_s < 3
            assert 2.5 < span_s < 4
            state, *_, cue = guest.messages
            assert state["event"] == "state"
            assert cue["event"] == "cue"
            apart = (cue["rtp"] - state["rtp"]) & 0xFFFFFFFF
            assert apart == (cue["utc"] - state["utc"]) * 90 & 0xFFFFFFFF
            assert (await off_loop(server.stream))["viewers"] == 1
            async with http.delete(location) as response:
                assert response.status == 200
            await until(lambda: guest.connection.connectionState == "closed")
    finally:
        await guest.close()


async def refused(url: str) -> tuple[int, str | None]:
    """Return status and Retry-After of an offer."""
    async with aiohttp.ClientSession() as http, http.post(url, data="v=0", headers=SDP) as response:
        assert "Location" not in response.headers
        return response.status, response.headers.get("Retry-After")


async def stay(server: Server, seconds_s: float) -> None:
    """Watch until the show is over."""
    guest = Viewer()
    try:
        async with aiohttp.ClientSession() as http:
            url = f"{server.url}/whep/{STREAM}"
            async with http.post(url, data=await guest.offer(), headers=SDP) as response:
                await guest.take(await response.text())
        await until(lambda: guest.pictures)
        ended = await off_loop(server.api, "POST", f"/streams/{STREAM}/end")
        assert ended.status < 300
        await until(lambda: guest.connection.connectionState == "closed", seconds_s)
    finally:
        await guest.close()


def test_webrtc_viewers_of_an_rtmp_show(server: Server, push: Callable[..., Publisher]) -> None:
    endpoint = f"/whep/{STREAM}"
    status, retry_after = asyncio.run(refused(server.url + endpoint))
    assert status == 409
    assert int(retry_after or 0) > 0
    assert asyncio.run(refused(f"{server.url}/whep/nobody")) == (404, None)
    push()
    server.wait_live()
    asyncio.run(watch(server))
    closed = "vitrina_webrtc_sessions_closed_total"
    wait_for(lambda: server.metric(closed, protocol="whep", reason="bye") == 1, 5, "its end")
    wait_for(lambda: server.metric("vitrina_viewers", protocol="whep") == 0, 5, "nobody")
    assert (server.metric("vitrina_webrtc_packets_total", protocol="whep", kind="audio") or 0) > 200
    asyncio.run(stay(server, 10))
