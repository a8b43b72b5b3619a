"""`mode="realtime"` in a real Chromium, fed by stock aiortc, with the LL-HLS origin behind it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.web.origin import FPS, Origin, Track
from tests.web.peer import WhepPeer, until

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.asyncio(loop_scope="module")]

Tracks = dict[str, Track]
Watch = Callable[..., Awaitable[Any]]
Realtime = Callable[..., Awaitable[tuple[Any, Origin, WhepPeer]]]
REALTIME = '<vitrina-player mode="realtime" src="/live/s/index.m3u8"></vitrina-player>'
PATH = [[0, 0.2, 0.3, 0.2, 0.2]]


@pytest_asyncio.fixture(loop_scope="module")
async def realtime(watch: Watch, wide: Tracks) -> AsyncIterator[Realtime]:
    """Open a page in realtime mode; keywords go to its `WhepPeer`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**settings: Any) -> tuple[Any, Origin, WhepPeer]:
            origin = Origin(tracks=wide, static=Path(), body=REALTIME)
            peer = WhepPeer(origin=origin, **settings)
            stack.push_async_callback(peer.close)
            origin.extra = peer.routes()
            origin.go_live()
            return await watch(origin), origin, peer

        yield start


async def test_it_plays_and_cues_show_on_their_frame(realtime: Realtime, frames_js: str) -> None:
    viewer, origin, peer = await realtime()
    await viewer.until_live()
    assert await viewer.of("p.engine") == "webrtc"
    assert "m=application" in peer.offers[0]
    assert "stereo=1" in peer.offers[0]
    await until(lambda: peer.sessions[0].channel, 5, "the data channel")
    assert peer.sessions[0].channel.label == "vitrina.cues"
    await viewer.page.evaluate(frames_js)
    start = origin.position()
    # Some of them after the wrap of RTP time, 4 s after the first picture. They last: a busy
    # machine may present no picture for a while.
    frames = {f"c{n}": round((start + 1 + 0.7 * n) * FPS) for n in range(8)}
    for name, frame in frames.items():
        data = {"sku": "DEMO-1", "label": name, "path": PATH}
        peer.cue(name, frame / FPS, data, end=frame / FPS + 2)
    await viewer.until(f"p.stats.paintErrors.length === {len(frames)} && p.cues.length === 0")
    first = await viewer.page.evaluate("window.firstSeen")
    presented = await viewer.page.evaluate("window.presented")
    for name, frame in frames.items():
        passed = [n for n in presented if frame <= n < first[name]]
        assert first[name] >= frame, (name, frame, first[name])
        assert len(passed) <= 1, (name, frame, first[name], passed)
    errors = await viewer.of("p.stats.paintErrors")
    skipped = max(b - a for a, b in itertools.pairwise(presented[5:]))
    assert all(-1 <= error <= skipped * 1000 / FPS + 1 for error in errors), errors
    assert 0 <= await viewer.of("p.latency") < 1  # by HLS it could not be less
    # One show, one clock: the picture's date is the content's.
    now = await viewer.page.evaluate(
        "[document.querySelector('vitrina-player').playingDate.getTime(), window.frameNumber()]"
    )
    assert abs(now[0] / 1000 - origin.epoch - now[1] / FPS) < 2 / FPS
    assert not any(path.endswith(".m3u8") for path in origin.requests)


@pytest.mark.parametrize(
    "refuse",
    [(404, "WHEP is off.", {}), (503, "Full.", {"Retry-After": "60"})],
    ids=["404", "503"],
)
async def test_refused_it_plays_hls(realtime: Realtime, refuse: Any) -> None:
    viewer, _origin, peer = await realtime(refuse=refuse)
    await viewer.until_live()
    assert await viewer.of("p.engine") == "hls.js"
    await viewer.until_moving(2)
    assert len(peer.offers) == 1


async def test_where_udp_is_blocked_it_plays_hls(realtime: Realtime) -> None:
    viewer, _origin, peer = await realtime(lost=True)
    await viewer.until("p.engine === 'hls.js'", 10)
    await viewer.until_live()
    await viewer.until_moving(1)
    await until(lambda: peer.ended == 1, 5, "the end of the session that nobody reaches")


async def test_media_stops_and_comes_back(realtime: Realtime) -> None:
    viewer, _origin, peer = await realtime()
    await viewer.until_live()
    await viewer.until_moving(1)
    peer.sessions[0].picture.paused = True
    await viewer.until("p.engine === 'hls.js'", 10)
    await viewer.until_live()
    await viewer.until_moving(1)
    await viewer.page.evaluate(
        "window.states = []; document.addEventListener('vitrina-state', "
        "(event) => states.push(event.detail.state))"
    )
    await viewer.until("p.engine === 'webrtc'", 25)
    await viewer.until_moving(2)
    assert len(peer.sessions) == 2
    # The picture goes on while the other connection is made.
    assert "reconnecting" not in await viewer.page.evaluate("states")
    assert await viewer.of("p.video.paused") is False


async def test_a_goodbye_of_the_server_is_noticed_at_once(realtime: Realtime) -> None:
    viewer, _origin, peer = await realtime()
    await viewer.until_live()
    await peer.sessions[0].peer.close()
    await viewer.until("p.engine === 'hls.js'", 3)
    await viewer.until_live()


async def test_the_end_of_the_show_is_not_played_again(realtime: Realtime) -> None:
    viewer, origin, peer = await realtime()
    await viewer.until_live()
    await viewer.until_moving(1)
    await viewer.page.evaluate(
        "window.dates = []; setInterval(() => { const p = document.querySelector("
        "'vitrina-player'); dates.push(p.playingDate.getTime()); }, 20)"
    )
    origin.ended_at = origin.position()
    await peer.sessions[0].peer.close()
    origin.set_state("ended")
    await viewer.until("p.state === 'ended'", 5)
    dates = await viewer.page.evaluate("dates")
    assert min(dates) > (origin.epoch + origin.ended_at - 3) * 1000


async def test_before_the_show_it_waits_and_starts_in_realtime(watch: Watch, wide: Tracks) -> None:
    origin = Origin(tracks=wide, static=Path(), body=REALTIME, state="idle")
    refuse = (409, "The show has not begun.", {"Retry-After": "5"})
    peer = WhepPeer(origin=origin, refuse=refuse)
    origin.extra = peer.routes()
    viewer = await watch(origin)
    await viewer.until("p.state === 'idle'")
    peer.refuse = None
    origin.go_live()
    try:
        await viewer.until_live()
        assert await viewer.of("p.engine") == "webrtc"
    finally:
        await peer.close()
