"""The publish page in a real Chromium with its made-up camera and microphone, against aiortc."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, Route, async_playwright

from delivery.pages import PUBLISH_HEADERS
from tests.web.conftest import CHROMIUM
from tests.web.peer import WhipPeer, until

pytestmark = [pytest.mark.e2e, pytest.mark.patient]

KEY = "a-stream.key_42/+="
FAKE = ["--use-fake-device-for-media-stream"]
ALLOWED = "--use-fake-ui-for-media-stream"
FOREIGN = "vitrina.test"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>s</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">
<style>html,body{margin:0;background:#101014}</style>
<script type="module" src="/static/vitrina-publish.js"></script></head>
<body><main><vitrina-publish stream="show"></vitrina-publish></main></body></html>"""


KEEP_LOCKS = """() => {
  window.locks = [];
  const request = navigator.wakeLock.request.bind(navigator.wakeLock);
  navigator.wakeLock.request = async (kind) => {
    const lock = await request(kind);
    window.locks.push(lock);
    return lock;
  };
}"""


class Studio:
    """The page, and what a test asks of it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def of(self, expression: str) -> Any:
        """Return the value of a JavaScript expression over `p`, the element."""
        code = f"const p = document.querySelector('vitrina-publish'); return {expression}"
        return await self.page.evaluate(f"(() => {{ {code} }})()")

    async def until(self, expression: str, timeout_s: float = 15) -> None:
        """Wait for an expression over `p` to be true; the page's policy forbids eval."""
        code = (
            f"() => {{ const p = document.querySelector('vitrina-publish'); return {expression} }}"
        )
        async with asyncio.timeout(timeout_s):
            while not await self.page.evaluate(code):
                await self.page.wait_for_timeout(50)

    async def problem(self, part: str) -> str:
        """Wait for a sentence with `part` in the page's alert; return the whole."""
        alert = self.page.get_by_role("alert").filter(has_text=part)
        await alert.wait_for(timeout=15_000)
        return await alert.inner_text()

    async def go_live(self, key: str = KEY) -> None:
        await self.page.get_by_label("Stream key").fill(key)
        await self.page.get_by_role("button", name="Go live").click()

    async def unplug(self) -> None:
        """Have the camera go away."""
        await self.of(
            "p._media.getVideoTracks()"
            ".map((t) => { t.stop(); t.dispatchEvent(new Event('ended')) })"
        )


Open = Callable[..., Awaitable[Studio]]


@pytest.fixture
async def studio(static: Path) -> AsyncIterator[Open]:
    """Open the page before a `WhipPeer`; fails the test on an error in the page."""
    async with contextlib.AsyncExitStack() as stack:
        if not CHROMIUM.exists():
            pytest.skip("Chromium is missing: apt-get install chromium")
        playwright = await stack.enter_async_context(async_playwright())
        pages: list[Studio] = []

        async def start(
            peer: WhipPeer, *, devices: bool = True, allowed: bool = True, host: str = "127.0.0.1",
            **context: Any,
        ) -> Studio:  # fmt: skip
            url = await stack.enter_async_context(_serving(peer, static))
            args = ["--no-sandbox", f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1"]
            args += [*(FAKE if devices else []), *([ALLOWED] if allowed else [])]
            browser: Browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=args)
            stack.push_async_callback(browser.close)
            stack.push_async_callback(peer.close)
            size = {"viewport": {"width": 1100, "height": 760}, **context}
            opened = Studio(await browser.new_page(**size))
            pages.append(opened)
            await opened.page.goto(url.replace("127.0.0.1", host))
            return opened

        yield start
        for page in pages:
            assert page.errors == []


@contextlib.asynccontextmanager
async def _serving(peer: WhipPeer, static: Path) -> AsyncIterator[str]:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html", headers=PUBLISH_HEADERS)

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(static / request.match_info["file"])

    app = web.Application()
    app.router.add_get("/studio/publish/show", page)
    app.router.add_get(r"/static/{file:[\w.-]+}", file)
    app.router.add_routes(peer.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/studio/publish/show"
    finally:
        await runner.cleanup()


async def test_a_camera_goes_live_and_stops(studio: Open, tmp_path: Path) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    # Permission was given before: the picture is there without a press of a button.
    await page.until("p.shadowRoot.querySelector('video').videoWidth === 1280")
    assert await page.page.get_by_role("button", name="Turn on camera").count() == 0
    # The made-up microphone beeps.
    await page.until(
        "Number(p.shadowRoot.querySelector('[role=meter]').getAttribute('aria-valuenow')) > -40"
    )
    await page.unplug()
    await page.problem("source has ended")
    await page.page.get_by_label("Stream key").fill(KEY)
    # A double click's second one is not meant for the button in the first one's place.
    await page.page.get_by_role("button", name="Go live").dblclick()
    await page.until("p.state === 'live' && p.problem === ''")
    assert await page.of("p._media.getTracks().every((t) => t.readyState === 'live')")
    session = peer.sessions[0]
    video = session.offer[session.offer.index("m=video") :]
    first = video.split()[3]
    assert f"a=rtpmap:{first} H264/90000" in video
    await until(lambda: set(session.tracks) == {"audio", "video"}, 5, "both tracks")
    picture = await session.tracks["video"].recv()
    sound = await session.tracks["audio"].recv()
    assert picture.width / picture.height == pytest.approx(16 / 9, abs=0.02)
    assert sound.sample_rate == 48_000
    await page.until("p.figures && p.figures.fps > 5 && p.figures.kbps > 100", 20)
    assert "H264" in await page.page.locator("[data-figure=picture]").inner_text()
    await page.page.screenshot(path=tmp_path / "live.png")
    # The key went out in this header and nowhere else, and stays in this tab.
    assert {token for _, _, token in peer.requests} == {f"Bearer {KEY}"}
    assert not any("key" in path for _, path, _ in peer.requests)
    assert "a-stream" not in page.page.url
    assert await page.of("JSON.stringify(localStorage)") == "{}"
    assert await page.of("document.cookie") == ""
    await page.page.get_by_role("button", name="Stop").dblclick()
    await until(lambda: session.deleted, 5, "DELETE")
    assert await page.of("p.state") == "idle"
    assert peer.posts == 1


async def test_it_connects_again(studio: Open) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    await page.go_live()
    await page.until("p.state === 'live'")
    peer.refuse = [(503, "Starting.", {"Retry-After": "1"})]
    await peer.sessions[0].peer.close()
    await page.until("p.state === 'reconnecting'", 10)
    await page.unplug()
    await page.until("p.state === 'live'", 20)
    assert len(peer.sessions) == 2
    # The sound is live; that the picture is not stays said.
    await page.problem("source has ended")
    # Leaving the page ends the session.
    await page.page.goto("about:blank")
    await until(lambda: peer.sessions[1].deleted, 5, "DELETE")


async def test_it_goes_on_as_soon_as_the_network_is_back(studio: Open) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    await page.page.clock.install()
    await page.go_live()
    await page.until("p.state === 'live'")
    await page.page.context.set_offline(True)
    await peer.sessions[0].peer.close()
    await page.problem("cannot be reached")
    # No timer goes off any more: what happens from here on, the network's return has caused.
    await page.page.clock.pause_at(await page.of("Date.now() + 1"))
    await page.page.context.set_offline(False)
    await until(lambda: len(peer.sessions) == 2, 5, "an offer")
    await page.page.clock.resume()
    await page.until("p.state === 'live' && p.problem === ''")


TAKEN = "Another encoder publishes this stream now."


async def test_it_leaves_the_stream_to_who_has_taken_it(studio: Open, tmp_path: Path) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    await page.page.clock.install()
    await page.go_live()
    await page.until("p.state === 'live'")
    await peer.end(peer.sessions[0], TAKEN, "revoked")
    assert TAKEN in await page.problem("now belongs to another encoder")
    assert await page.of("p.state") == "replaced"
    await page.page.screenshot(path=tmp_path / "taken.png")
    await page.page.clock.run_for(120_000)
    assert peer.posts == 1
    # Only a person takes it back.
    await page.page.get_by_role("button", name="Take the stream back").click()
    await page.until("p.state === 'live' && p.problem === ''")
    assert peer.posts == 2


async def test_it_asks_who_has_the_stream_once_the_network_is_back(studio: Open) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    await page.page.clock.install()
    await page.go_live()
    await page.until("p.state === 'live'")
    tries: list[str] = []
    page.page.on("requestfailed", lambda request: tries.append(request.method))
    await page.page.context.set_offline(True)
    await peer.end(peer.sessions[0], TAKEN, "revoked")
    await page.problem("cannot be reached")
    async with asyncio.timeout(20):
        while tries.count("POST") < 2:  # it tries for long
            await page.page.clock.run_for(500)
    await page.page.context.set_offline(False)
    await page.problem("now belongs to another encoder")
    assert peer.posts == 1


async def test_where_no_goodbye_gets_through_it_offers_all_the_same(studio: Open) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    await page.page.clock.install()
    await page.go_live()
    await page.until("p.state === 'live'")
    goodbyes = 0

    async def lose(route: Route) -> None:
        nonlocal goodbyes
        goodbyes += 1
        await route.abort()

    await page.page.route("**/whip/session/*", lose)
    await peer.sessions[0].peer.close()
    async with asyncio.timeout(20):
        while peer.posts == 1:
            await page.page.clock.run_for(500)
    assert goodbyes == 6  # the first one, and one ahead of each try
    await page.until("p.state === 'live' && p.problem === ''")


async def test_what_the_server_ends_for_a_fault_is_said_and_tried_again(studio: Open) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    await page.page.clock.install()
    await page.go_live()
    await page.until("p.state === 'live'")
    await page.page.clock.pause_at(await page.of("Date.now() + 1"))
    await peer.end(peer.sessions[0], "It sends too much: lower the bitrate.", "limit")
    assert "lower the bitrate" in await page.problem("server has ended the connection")
    await page.page.clock.resume()
    await page.until("p.state === 'live' && p.problem === ''")


REFUSALS = {
    403: "does not let you publish this stream",
    404: "does not take WebRTC here",
    409: "does not take another publisher",
    415: "does not take what this browser sends",
    422: "does not take what this browser sends",
}


async def test_refusals_are_sentences(studio: Open) -> None:
    peer = WhipPeer(key=KEY, refuse=[(code, f"Reason {code}.", {}) for code in REFUSALS])
    page = await studio(peer)
    for status, sentence in REFUSALS.items():
        # Each press of the button is another try.
        await page.go_live()
        text = await page.problem(f"Reason {status}.")
        assert sentence in text
        await page.until("p.state === 'failed'")
    await page.go_live()
    await page.until("p.state === 'live' && p.problem === ''")


async def test_a_wrong_key_and_none(studio: Open, tmp_path: Path) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer)
    await page.go_live("wrong")
    text = await page.problem("does not take this stream key")
    assert "No stream has this key." in text
    assert "wrong" not in text
    await page.page.screenshot(path=tmp_path / "key.png")
    await page.page.get_by_label("Stream key").fill("ключ")
    await page.of("p.start()")
    await page.problem("does not take this stream key")
    await page.page.get_by_label("Stream key").fill("")
    await page.of("p.start()")
    await page.problem("Enter the stream key first")


async def test_blocked_udp_is_named(studio: Open) -> None:
    peer = WhipPeer(key=KEY, lost=True)
    page = await studio(peer)
    await page.page.clock.install()
    async with page.page.expect_response("**/whip/show"):
        await page.go_live()
    peer.lost = False
    await page.page.clock.fast_forward(8000)
    await page.problem("blocks UDP")
    await page.until("p.state === 'live'", 30)


async def test_no_permission(studio: Open) -> None:
    page = await studio(WhipPeer(key=KEY), allowed=False)
    await page.page.get_by_role("button", name="Turn on camera").click()
    await page.problem("was not allowed to use camera")


async def test_no_device(studio: Open) -> None:
    page = await studio(WhipPeer(key=KEY), devices=False)
    await page.page.get_by_role("button", name="Turn on camera").click()
    await page.problem("No camera or microphone was found")


async def test_plain_http_elsewhere(studio: Open) -> None:
    page = await studio(WhipPeer(key=KEY), host=FOREIGN)
    await page.problem("only to pages over HTTPS or on localhost")
    await page.go_live()
    await page.problem("only to pages over HTTPS or on localhost")


async def test_in_german_on_a_phone_by_keyboard(studio: Open, tmp_path: Path) -> None:
    peer = WhipPeer(key=KEY)
    page = await studio(peer, locale="de-AT", viewport={"width": 390, "height": 844})
    await page.page.evaluate(KEEP_LOCKS)
    key = page.page.get_by_label("Streamschlüssel")
    await key.fill(KEY)
    await key.press("Enter")
    await page.until("p.state === 'live'")
    assert await page.page.get_by_role("status").inner_text() == "Live"
    await page.page.screenshot(path=tmp_path / "phone.png", full_page=True)
    wide = await page.of("document.documentElement.scrollWidth")
    assert wide <= 390
    unlabelled = await page.of(
        "[...p.shadowRoot.querySelectorAll('select, input')].filter((e) => !e.labels.length).length"
    )
    assert unlabelled == 0
    # Another microphone while live: the same session goes on.
    microphones = page.page.get_by_label("Mikrofon")
    options = await microphones.locator("option").all_inner_texts()
    await microphones.select_option(index=1)
    await page.until("p.state === 'live' && p.problem === ''")
    assert len(options) > 2
    assert len(peer.sessions) == 1
    # None for a while, and one again.
    await microphones.select_option(label=options[-1])
    await page.until("p._media.getAudioTracks().length === 0")
    await microphones.select_option(index=0)
    await page.until("p._media.getAudioTracks()[0]?.readyState === 'live' && p.problem === ''")
    # Out of sight the browser gives the screen's lock back; in sight it is taken again.
    await page.of("Promise.all(locks.map((lock) => lock.release()))")
    await page.of("document.dispatchEvent(new Event('visibilitychange'))")
    await page.until("locks.filter((lock) => !lock.released).length === 1")
    # "Stop" is in reach without scrolling, from wherever one is on the page.
    stop = page.page.get_by_role("button", name="Beenden")
    for top in (0, 400):
        await page.page.evaluate(f"scrollTo(0, {top})")
        box = await stop.bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= 844 - box["height"]
    # The camera is unplugged, and plugged in again.
    await page.unplug()
    await page.problem("Die Quelle ist weg")
    await page.page.get_by_role("button", name="Kamera und Mikrofon einschalten").click()
    await page.until("p.state === 'live' && p.problem === ''")
    assert len(peer.sessions) == 1
    await page.page.get_by_role("button", name="Beenden").click()
    await page.until("locks.every((lock) => lock.released)")
