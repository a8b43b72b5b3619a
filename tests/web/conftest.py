"""Media, browser and origin for the player's tests."""

import contextlib
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from tests.web.origin import Origin, Track, load_track, make_media

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
SECONDS = 64
PLAYER = "const p = document.querySelector('vitrina-player')"


@pytest.fixture(scope="session")
def static() -> Path:
    """The built player; skips where it cannot be built."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "web" / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    try:
        hook.build()
    except hook.FrontEndUnavailable as reason:
        pytest.skip(f"the player cannot be built: {reason}")
    return Path(hook.OUTPUT)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    make_media(folder, "hi", (640, 360), SECONDS)
    make_media(folder, "lo", (320, 180), SECONDS)
    make_media(folder, "tall", (272, 480), SECONDS // 2)
    return folder


@pytest.fixture(scope="session")
def wide(media: Path) -> dict[str, Track]:
    """Two rungs of a landscape show and its audio."""
    return {
        "hi": load_track(
            media / "hi.mp4",
            timescale=90_000,
            stream_inf='BANDWIDTH=1500000,RESOLUTION=640x360,CODECS="avc1.42c01e,mp4a.40.2"',
        ),
        "lo": load_track(
            media / "lo.mp4",
            timescale=90_000,
            stream_inf='BANDWIDTH=500000,RESOLUTION=320x180,CODECS="avc1.42c00d,mp4a.40.2"',
        ),
        "audio": load_track(media / "audio.mp4", timescale=48_000),
    }


@pytest.fixture(scope="session")
def tall(media: Path) -> dict[str, Track]:
    """A portrait show."""
    return {
        "tall": load_track(
            media / "tall.mp4",
            timescale=90_000,
            stream_inf='BANDWIDTH=900000,RESOLUTION=272x480,CODECS="avc1.42c015,mp4a.40.2"',
        ),
        "audio": load_track(media / "audio.mp4", timescale=48_000),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests of a module; every page has a profile of its own."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt-get install chromium")
    async with async_playwright() as playwright:
        args = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        await browser.close()


class Viewer:
    """One page with the player, and what a test asks of it."""

    def __init__(self, page: Page, origin: Origin) -> None:
        self.page = page
        self.origin = origin
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        # A refused or missing resource is what these shows are about; a policy breach is not.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    async def of(self, expression: str) -> Any:
        """The value of a JavaScript expression over ``p``, the player."""
        return await self.page.evaluate(f"(() => {{ {PLAYER}; return {expression} }})()")

    async def until(self, expression: str, timeout_s: float = 40) -> None:
        """Waits for an expression over ``p`` to be true."""
        code = (
            f"() => {{ const p = document.querySelector('vitrina-player'); return {expression} }}"
        )
        await self.page.wait_for_function(code, timeout=timeout_s * 1000, polling=50)

    async def until_live(self) -> None:
        await self.until("p.state === 'live' && p.playingDate !== null")

    async def until_moving(self, seconds: float = 1.0, timeout_s: float = 40) -> None:
        """Waits until the picture has advanced by so much from now."""
        now = await self.of("p.playingDate.getTime()")
        await self.until(f"p.playingDate.getTime() >= {now + seconds * 1000}", timeout_s)


Watch = Callable[..., Awaitable[Viewer]]


@pytest.fixture
def frames_js() -> str:
    """JavaScript that reads the frame number off the picture, independent of any clock."""
    return FRAMES_JS


FRAMES_JS = """
(() => {
  const player = document.querySelector('vitrina-player');
  const canvas = document.createElement('canvas');
  canvas.width = 640; canvas.height = 360;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  window.frameNumber = () => {
    pen.drawImage(player.video, 0, 0, 640, 360);
    const row = pen.getImageData(0, 8, 640, 1).data;
    let n = 0;
    for (let bit = 0; bit < 16; bit++) if (row[(bit * 40 + 20) * 4] > 126) n += 2 ** bit;
    return n;
  };
  window.firstSeen = {}; window.lastSeen = {}; window.presented = [];
  const look = () => {
    const frame = window.frameNumber();
    if (window.presented.at(-1) !== frame) window.presented.push(frame);
    for (const element of player.shadowRoot.querySelectorAll('[data-cue]')) {
      const id = element.dataset.cue;
      window.firstSeen[id] ??= frame;
      window.lastSeen[id] = frame;
    }
    requestAnimationFrame(look);
  };
  look();
})()
"""


@pytest_asyncio.fixture(loop_scope="module")
async def watch(browser: Browser, static: Path) -> AsyncIterator[Watch]:
    """Serves an origin and opens its page; fails the test on an error in the page."""
    async with contextlib.AsyncExitStack() as stack:
        viewers: list[Viewer] = []

        async def open_page(
            origin: Origin, size: tuple[int, int] = (960, 540), **context: Any
        ) -> Viewer:
            origin.static = static
            url = await stack.enter_async_context(origin.serve())
            viewport = ViewportSize(width=size[0], height=size[1])
            page = await browser.new_page(viewport=viewport, **context)
            viewer = Viewer(page, origin)
            viewers.append(viewer)
            await page.goto(url)
            return viewer

        yield open_page
        for viewer in viewers:
            await viewer.page.close()
            assert viewer.errors == []
