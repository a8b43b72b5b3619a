"""The publish page in headless Chromium with a camera that paints the block code, and a beeper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, Playwright

from tests.support.browser import ARGS, CHROMIUM
from tests.support.server import KEY, Server, wait_for

# Stands in for the browser's devices: 30 pictures a second, each with media/blockcode.py's strip
# and the time of its making, and a tone of 100 ms each second, whose times are in `camera.beeps`.
CAMERA = """
(() => {
  const W = WIDTH, H = HEIGHT, STRIP = Math.round(H * 2 / 45);
  const canvas = document.createElement('canvas');
  canvas.width = W; canvas.height = H;
  const ctx = canvas.getContext('2d', {alpha: false});
  const crc16 = (bytes) => {
    let crc = 0xffff;
    for (const b of bytes) {
      crc ^= b << 8;
      for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : crc << 1;
    }
    return crc & 0xffff;
  };
  const state = window.camera = {frame: 0, beeps: []};
  const utc = () => performance.timeOrigin + performance.now();
  const paint = () => {
    const n = state.frame++;
    ctx.fillStyle = '#304860'; ctx.fillRect(0, STRIP, W, H - STRIP);
    ctx.fillStyle = '#e0a030'; ctx.fillRect((n * 6) % W, H / 3, W / 6, H / 3);
    const bytes = new Uint8Array(10);
    let ms = Math.round(utc());
    for (let i = 5; i >= 0; i--) { bytes[i] = ms % 256; ms = Math.floor(ms / 256); }
    bytes[6] = n >> 8 & 255; bytes[7] = n & 255;
    const crc = crc16(bytes.subarray(0, 8));
    bytes[8] = crc >> 8; bytes[9] = crc & 255;
    for (let block = 0; block < 80; block++) {
      ctx.fillStyle = bytes[block >> 3] & 0x80 >> (block & 7) ? '#fff' : '#000';
      ctx.fillRect(block * W / 80, 0, W / 80, STRIP);
    }
  };
  const sound = () => {
    const audio = new AudioContext({sampleRate: 48000, latencyHint: 'interactive'});
    void audio.resume();
    const tone = new OscillatorNode(audio, {frequency: 1000});
    const gate = new GainNode(audio, {gain: 0});
    const out = new MediaStreamAudioDestinationNode(audio, {channelCount: 2});
    tone.connect(gate).connect(out);
    tone.start();
    let next = 0;
    setInterval(() => {
      if (audio.state !== 'running' || next > audio.currentTime + 0.2) return;
      next = Math.ceil(audio.currentTime + 0.3);
      gate.gain.setValueAtTime(0.8, next);
      gate.gain.setValueAtTime(0, next + 0.1);
      const at = utc() + (next - audio.currentTime) * 1000;
      state.beeps.push(at);
    }, 20);
    return out.stream.getAudioTracks()[0];
  };
  const rate = RATE;
  let due = performance.now();
  const tick = () => {
    paint();
    due = Math.max(due + 1000 / rate, performance.now());
    setTimeout(tick, due - performance.now());
  };
  navigator.mediaDevices.getUserMedia = async () => {
    const stream = canvas.captureStream(rate);
    stream.addTrack(sound());
    tick();
    return stream;
  };
})();
"""


class Camera:
    """A page that publishes; `page` is Playwright's."""

    def __init__(self, page: Page, console: list[str]) -> None:
        self.page = page
        self.console = console

    def of(self, expression: str) -> Any:
        """Return the value of a JavaScript expression over `p`, the publish element."""
        return self.page.evaluate(
            f"() => {{ const p = document.querySelector('vitrina-publish'); return {expression}; }}"
        )

    def until(self, expression: str, timeout_s: float = 20) -> None:
        """Wait until a JavaScript expression over `p` is true."""

        def state() -> str:
            return f"{self.of('p.state')}: {self.of('p.problem')}\n" + "\n".join(self.console)

        try:
            wait_for(lambda: self.of(expression), timeout_s, expression)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{state()}") from None

    def go_live(self, key: str = KEY) -> None:
        """Press the page's buttons as a person would."""
        self.page.get_by_label("Stream key").fill(key)
        self.page.get_by_role("button", name="Go live").click()
        self.until("p.state === 'live'")

    def stop(self) -> None:
        self.page.get_by_role("button", name="Stop").click()
        self.until("p.state === 'idle'")

    def beeps(self) -> list[float]:
        """UTC ms of the beginning of each tone."""
        return list(self.page.evaluate("() => camera.beeps"))


@contextmanager
def camera(
    playwright: Playwright, server: Server, *, stream: str = "show",
    size: tuple[int, int] = (1280, 720), rate: int = 30, h264: bool = True,
) -> Iterator[Camera]:  # fmt: skip
    """Open the publish page of `stream`; `h264` False leaves the browser VP8 and the like."""
    browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
    try:
        context = browser.new_context(permissions=["camera", "microphone"])
        page = context.new_page()
        console: list[str] = []
        page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: console.append(f"pageerror: {error}"))
        script = CAMERA.replace("WIDTH", str(size[0])).replace("HEIGHT", str(size[1]))
        page.add_init_script(script.replace("RATE", str(rate)))
        if not h264:
            page.add_init_script(WITHOUT_H264)
        page.goto(f"{server.url}/studio/publish/{stream}")
        yield Camera(page, console)
    finally:
        browser.close()


WITHOUT_H264 = """
(() => {
  const all = RTCRtpSender.getCapabilities.bind(RTCRtpSender);
  RTCRtpSender.getCapabilities = (kind) => {
    const found = all(kind);
    return {...found, codecs: found.codecs.filter((one) => !/h264/i.test(one.mimeType))};
  };
})();
"""
