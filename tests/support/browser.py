"""Headless Chromium that watches a stream and measures it from the block code in its pictures."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Playwright, sync_playwright

from tests.support.server import wait_for

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]

# Reads media/blockcode.py's strip from every presented frame: 80 blocks, 8 bytes and CRC-16.
PROBE = """
(() => {
  const W = 640, H = 8, canvas = new OffscreenCanvas(W, H);
  const ctx = canvas.getContext('2d', {willReadFrequently: true});
  const crc16 = (bytes) => {
    let crc = 0xffff;
    for (const b of bytes) {
      crc ^= b << 8;
      for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : crc << 1;
    }
    return crc & 0xffff;
  };
  const read = (video) => {
    const strip = video.videoHeight * 2 / 45;
    ctx.drawImage(video, 0, strip / 4, video.videoWidth, strip / 2, 0, 0, W, H);
    const data = ctx.getImageData(0, 2, W, 4).data;
    const bytes = new Uint8Array(10);
    for (let block = 0; block < 80; block++) {
      let sum = 0;
      for (let row = 0; row < 4; row++)
        for (let x = 2; x < 6; x++) sum += data[4 * (row * W + block * 8 + x) + 1];
      if (sum / 16 > 127) bytes[block >> 3] |= 0x80 >> (block & 7);
    }
    if (crc16(bytes.subarray(0, 8)) !== (bytes[8] << 8 | bytes[9])) return null;
    let ms = 0;
    for (let i = 0; i < 6; i++) ms = ms * 256 + bytes[i];
    return {stamp: ms, frame: bytes[6] << 8 | bytes[7]};
  };
  const state = window.probe =
    {frames: [], shown: [], unread: 0, stalls: [], errors: [], paints: {}};
  const find = () => {
    const player = document.querySelector('vitrina-player');
    return player && player.shadowRoot && player.shadowRoot.querySelector('video')
      || document.querySelector('video');
  };
  const hook = () => {
    const video = find();
    if (!video) { setTimeout(hook, 20); return; }
    state.video = video;
    let lastTime = -1, lastMoved = performance.now();
    setInterval(() => {
      const now = performance.now();
      if (video.currentTime !== lastTime) {
        if (state.frames.length && now - lastMoved > 250) state.stalls.push(now - lastMoved);
        lastTime = video.currentTime; lastMoved = now;
      }
    }, 50);
    const onFrame = (now, meta) => {
      const code = read(video);
      const shown = performance.timeOrigin + meta.expectedDisplayTime;
      state.shown.push(shown);
      if (code) state.frames.push({
        ...code, shown, media: meta.mediaTime, height: meta.height, latency: shown - code.stamp,
      });
      else state.unread++;
      requestAnimationFrame(() => {
        const player = document.querySelector('vitrina-player');
        if (code && player && player.shadowRoot)
          for (const el of player.shadowRoot.querySelectorAll('[data-cue]'))
            if (!(el.dataset.cue in state.paints))
              state.paints[el.dataset.cue] =
                {stamp: code.stamp, frame: code.frame, media: meta.mediaTime};
      });
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  };
  window.addEventListener('error', (e) => state.errors.push(String(e.message)));
  hook();
})();
"""


@dataclass
class Watch:
    """A page that plays; `page` is Playwright's."""

    page: Page
    console: list[str]

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)

    def wait_frames(self, count: int, timeout_s: float = 30) -> None:
        # No wait_for_function: the page's policy forbids the eval that it polls with.
        wait_for(
            lambda: self.evaluate("() => window.probe.frames.length") >= count,
            timeout_s,
            f"{count} presented frames\n" + "\n".join(self.console),
        )

    def clear(self) -> None:
        self.evaluate(
            "() => { probe.frames = []; probe.shown = []; probe.stalls = []; probe.unread = 0; }"
        )

    def frames(self) -> list[dict[str, float]]:
        return list(self.evaluate("() => probe.frames"))

    def stalls(self) -> list[float]:
        """Milliseconds of every standstill of more than 250 ms."""
        return list(self.evaluate("() => probe.stalls"))

    def freezes(self, longest_ms: float = 250) -> list[float]:
        """Milliseconds between two presented pictures, where more than `longest_ms`.

        Chromium may play sound on over a frozen picture, so the media time proves little.
        """
        shown = [f["shown"] for f in self.frames()]
        return [b - a for a, b in itertools.pairwise(shown) if b - a > longest_ms]

    def standstills(self, longest_ms: float = 250) -> list[float]:
        """As `freezes`, of all pictures, also those without a block code (a slate's)."""
        shown = list(self.evaluate("() => probe.shown"))
        return [b - a for a, b in itertools.pairwise(shown) if b - a > longest_ms]

    def pictures(self) -> int:
        """How many pictures were presented since `clear`."""
        return int(self.evaluate("() => probe.shown.length"))

    def paints(self) -> dict[str, dict[str, float]]:
        """By cue id: block code and media time of the first picture that showed its element."""
        return dict(self.evaluate("() => probe.paints"))

    def player(self, expression: str) -> Any:
        """Return the value of a JavaScript expression over `p`, the player."""
        return self.evaluate(
            f"() => {{ const p = document.querySelector('vitrina-player'); return {expression}; }}"
        )

    def until(self, expression: str, timeout_s: float = 20) -> None:
        """Wait until a JavaScript expression over `p`, the player, is true."""
        wait_for(
            lambda: self.player(expression), timeout_s, expression + "\n" + "\n".join(self.console)
        )

    def latencies_s(self) -> list[float]:
        return sorted(f["latency"] / 1000 for f in self.frames())

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=str(path))


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the sorted values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    return statistics.median(values)


@contextmanager
def watching(
    url: str,
    *,
    width: int = 1280,
    height: int = 720,
    playwright: Playwright | None = None,
    prepare: Callable[[Page], None] | None = None,
) -> Iterator[Watch]:
    """Open `url` with the probe in place; `playwright`: one that runs already.

    `prepare` gets the page while it is empty.
    """
    with ExitStack() as stack:
        playwright = playwright or stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        console: list[str] = []
        page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: console.append(f"pageerror: {error}"))
        page.add_init_script(PROBE)
        if prepare is not None:
            prepare(page)
        page.goto(url)
        try:
            yield Watch(page, console)
        finally:
            browser.close()
