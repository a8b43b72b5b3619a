"""Our fMP4 in a browser's Media Source Extensions, which is stricter than libavformat."""

from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from media.hls.fmp4 import Sample, init_segment, media_fragment, media_timescale
from media.hls.fragmenter import Fragmenter
from media.model import Packet
from tests.media.bitstream import clips

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.component

CHROMIUM = shutil.which("chromium")

APPEND = """
async ([mime, start, chunks]) => {
  if (!MediaSource.isTypeSupported(mime)) return {supported: false};
  const video = document.querySelector('video');
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await new Promise(done => source.addEventListener('sourceopen', done, {once: true}));
  const buffer = source.addSourceBuffer(mime);
  for (const chunk of chunks) {
    const bytes = Uint8Array.from(atob(chunk), c => c.charCodeAt(0));
    const failed = await new Promise(done => {
      buffer.addEventListener('updateend', () => done(null), {once: true});
      buffer.addEventListener('error', () => done('append'), {once: true});
      buffer.appendBuffer(bytes);
    });
    if (failed || video.error) return {supported: true, error: video.error?.message ?? failed};
  }
  const ranges = [];
  for (let i = 0; i < buffer.buffered.length; i++)
    ranges.push([buffer.buffered.start(i), buffer.buffered.end(i)]);
  source.endOfStream();
  const ended = new Promise(done => {
    video.addEventListener('ended', done, {once: true});
    video.addEventListener('error', done, {once: true});
  });
  video.currentTime = start;
  await video.play();
  await ended;
  const quality = video.getVideoPlaybackQuality();
  return {
    supported: true, error: video.error?.message ?? null, ranges,
    size: [video.videoWidth, video.videoHeight], frames: quality.totalVideoFrames,
    decoded: video.webkitAudioDecodedByteCount,
  };
}
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        page = browser.new_page()
        page.set_content("<video muted></video>")
        yield page
        browser.close()


def play(page: Page, clip: clips.Clip, start: float, chunks: list[bytes]) -> dict[str, object]:
    mime = f'{clip.fmt.kind}/mp4; codecs="{clip.fmt.codec_string}"'
    encoded = [base64.b64encode(chunk).decode() for chunk in chunks]
    answer = page.evaluate(APPEND, [mime, start, encoded])
    if not answer["supported"]:
        pytest.skip(f"this Chromium does not take {mime}")
    assert isinstance(answer, dict)
    return answer


def append(page: Page, clip: clips.Clip, part: int, shift: int) -> dict[str, object]:
    samples = [
        Sample(
            dts=unit.dts + shift,
            pts=unit.pts + shift,
            duration=unit.duration,
            key=unit.key,
            payload=unit.payload,
        )
        for unit in clip.units
    ]
    timescale = media_timescale(clip.fmt)
    init = init_segment(clip.fmt, timescale=timescale)
    fragments = [
        media_fragment(
            samples[at : at + part], sequence_number=at, base_decode_time=samples[at].dts
        )
        for at in range(0, len(samples), part)
    ]
    start = min(sample.pts for sample in samples) / timescale
    return play(page, clip, start, [init, *fragments])


@pytest.mark.parametrize("kind", ["h264", "hevc", "av1", "vp9"])
def test_video_plays(page: Page, kind: str) -> None:
    sar = (4, 3) if kind == "h264" else (1, 1)
    clip = clips.video(kind, sar=sar)
    answer = append(page, clip, 10, 90_000 * 3600)
    assert answer["error"] is None
    first = min(unit.pts for unit in clip.units) / 90_000
    assert answer["ranges"] == [[pytest.approx(3600 + first), pytest.approx(3601 + first)]]
    assert answer["size"] == [round(320 * sar[0] / sar[1]), 180]
    assert answer["frames"]


@pytest.mark.parametrize("skipped", [1, 2, 5, 9])
def test_a_late_picture_at_a_parts_beginning_costs_no_other(page: Page, skipped: int) -> None:
    """The duration before it was a guess; browsers drop what lies two of them after, to the key."""
    clip = clips.video("h264", options=(("x264-params", "keyint=60:bframes=0"),))
    packets = [
        Packet(
            track=0,
            codec=clip.fmt.codec,
            dts=unit.dts + late,
            pts=unit.pts + late,
            key=unit.key,
            payload=unit.payload,
            arrived_ns=0,
        )
        for index, unit in enumerate(clip.units)
        for late in [3000 * skipped * (index >= 10)]
    ]
    fragmenter = Fragmenter(clip.fmt)
    chunks, edge = [fragmenter.init], packets[0].dts
    for number, part in enumerate((packets[:10], packets[10:20], packets[20:])):
        end = part[-1].dts + 3000
        chunks.append(fragmenter.chunk(part, edge, end, sequence_number=number, prefix=b""))
        edge = end
    answer = play(page, clip, 0, chunks)
    assert answer["error"] is None
    assert answer["ranges"] == [[pytest.approx(0), pytest.approx(edge / 90_000)]]


@pytest.mark.parametrize("kind", ["aac", "opus"])
def test_audio_plays(page: Page, kind: str) -> None:
    clip = clips.audio(kind)
    answer = append(page, clip, 15, 48_000 * 3600)
    assert answer["error"] is None
    length = sum(unit.duration for unit in clip.units) / 48_000
    assert answer["ranges"] == [[pytest.approx(3600), pytest.approx(3600 + length)]]
    assert answer["decoded"]
