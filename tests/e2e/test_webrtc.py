"""WebRTC both ways in Chromium: the publish page in, the realtime player out, judged by the code
in the pictures.

Each publisher has a server and a page of its own.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.support.browser import CHROMIUM, Watch, percentile, watching
from tests.support.camera import camera
from tests.support.dates import FRAME_MS, date_of, picture_dates, stamps, to_ms, tones
from tests.support.hls import Reader
from tests.support.server import STREAM, Server
from tests.support.studio import Studio

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(150),
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt install chromium"),
]

SETTINGS: dict[str, Any] = {
    "ladder.rungs": "[{height = 360, bitrate_kbps = 700}]",
    "whip.ports": "0",
    "whip.addresses": '["127.0.0.1"]',
}
RUNGS = ("source", "360p")
CUES = 8
APART_MS = 700
SYNC_MS = 40.0
ROUNDING_MS = 3.0
"""Dates are whole milliseconds in the cue, in the playlist and in the player."""
FREEZE_MS = 400.0


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@dataclass
class Measured:
    """One stretch of playback."""

    latencies_s: list[float]
    freezes_ms: list[float]
    paint_errors_ms: list[float]
    passed: list[int]
    """By cue: pictures of its time or later that were presented without it."""
    missing: list[str]
    load: float

    def good(self, p95_s: float) -> bool:
        return (
            len(self.latencies_s) > 60
            and percentile(self.latencies_s, 0.95) <= p95_s
            and not self.freezes_ms
            and not self.missing
            and min(self.paint_errors_ms) >= -ROUNDING_MS
            # Where a busy machine presents few pictures, the first one that could show it counts.
            and (not any(self.passed) or percentile(self.paint_errors_ms, 0.95) <= FRAME_MS)
        )

    def __str__(self) -> str:
        p50, p95 = (percentile(self.latencies_s, share) for share in (0.5, 0.95))
        errors = [round(e, 1) for e in self.paint_errors_ms]
        return (
            f"latency p50 {p50:.3f} s, p95 {p95:.3f} s of {len(self.latencies_s)} pictures; "
            f"freezes {self.freezes_ms}; paint errors {errors} ms, "
            f"pictures too late {self.passed}; never shown {self.missing}; "
            f"load {self.load:.1f}"
        )


def realtime(server: Server) -> str:
    return f"{server.url}/watch/{STREAM}?mode=realtime"


def settle(watch: Watch) -> None:
    """Wait for a picture by WebRTC and for the bustle of the start to be over."""
    watch.wait_frames(30)
    assert watch.player("p.engine") == "webrtc"
    watch.page.wait_for_timeout(3000)


def measure(server: Server, watch: Watch, p95_s: float) -> Measured:
    """Watch with cues; once more where a busy machine spoilt the first stretch."""
    first = stretch(server, watch)
    print(first)  # pytest shows it where a test fails
    if first.good(p95_s):
        return first
    second = stretch(server, watch)
    print(second)
    return second


def stretch(server: Server, watch: Watch) -> Measured:
    watch.clear()
    fired: dict[str, int] = {}
    for n in range(CUES):
        data: dict[str, object] = {"text": f"Cue {n}"}
        cue = server.cue({"type": "notice", "at": "+0.8", "duration": 0.5, "data": data})
        fired[cue["id"]] = to_ms(cue["at"])
        watch.page.wait_for_timeout(APART_MS)
    # Until the last one was shown, and its segment is complete.
    watch.page.wait_for_timeout(3500)
    paints = watch.paints()
    dates = picture_dates(Reader(server), segments=6)
    shown = [date_of(frame["frame"], dates) for frame in watch.frames()]
    painted = {cue: date_of(paints[cue]["frame"], dates) for cue in fired if cue in paints}
    return Measured(
        latencies_s=watch.latencies_s(),
        freezes_ms=watch.freezes(FREEZE_MS),
        paint_errors_ms=[date - fired[cue] for cue, date in painted.items()],
        passed=[
            sum(fired[cue] + ROUNDING_MS <= one < date - ROUNDING_MS for one in shown)
            for cue, date in painted.items()
        ],
        missing=[cue for cue in fired if cue not in paints],
        load=os.getloadavg()[0],
    )


def test_rtmp_in_webrtc_out(make_server: Callable[..., Server], playwright: Playwright) -> None:
    server = make_server(**SETTINGS)
    with Studio(server):
        server.wait_live()
        with watching(realtime(server), playwright=playwright) as watch:
            settle(watch)
            measured = measure(server, watch, 0.3)
            assert watch.player("p.engine") == "webrtc"
            assert server.metric("vitrina_viewers", stream=STREAM, protocol="whep") == 1
    assert measured.good(0.3), str(measured)


def test_chromium_in_webrtc_and_hls_out(
    make_server: Callable[..., Server], playwright: Playwright
) -> None:
    server = make_server(**SETTINGS)
    with camera(playwright, server) as publisher:
        publisher.go_live()
        server.wait_live()
        with watching(realtime(server), playwright=playwright) as watch:
            settle(watch)
            measured = measure(server, watch, 0.25)
            state = server.stream()
            assert state["protocol"] == "whip"
            assert {f["height"] for f in watch.frames()} == {720}
        reader = Reader(server)
        assert {"source", "360p", "audio"} <= set(reader.names())
        codecs = {track["codec"] for track in state["tracks"]}
        assert codecs == {"h264", "opus"}
        # Sound and pictures of every rendition against what the page made at the same time.
        beeps = publisher.beeps()
        late = [date - min(beeps, key=lambda beep: abs(beep - date)) for date in tones(reader)]
        assert len(late) >= 3, late
        sound = statistics.median(late)
        for name in RUNGS:
            pictures = statistics.median(date - one.utc_ms for one, date in stamps(reader, name))
            print(f"{name}: pictures {pictures:.1f} ms, sound {sound:.1f} ms behind")
            assert abs(pictures - sound) <= SYNC_MS
        publisher.stop()
        server.wait_state("reconnecting")
        assert publisher.of("p.problem") == ""
        assert not [line for line in publisher.console if "error" in line], publisher.console
    assert measured.good(0.25), str(measured)


def test_vp8_in_h264_out(make_server: Callable[..., Server], playwright: Playwright) -> None:
    """A browser without an H.264 encoder: viewers get the re-encoded rung."""
    server = make_server(**SETTINGS)
    with camera(playwright, server, h264=False) as publisher:
        publisher.go_live()
        server.wait_live()
        with watching(realtime(server), playwright=playwright) as watch:
            settle(watch)
            for _ in range(2):  # once more where a busy machine spoilt the first
                watch.clear()
                watch.wait_frames(150)
                latencies = watch.latencies_s()
                heights = {f["height"] for f in watch.frames()}
                if percentile(latencies, 0.95) <= 0.4:
                    break
        tracks = {track["codec"] for track in server.stream()["tracks"]}
        assert tracks == {"vp8", "opus"}
    shown = f"p50 {percentile(latencies, 0.5):.3f} s, p95 {percentile(latencies, 0.95):.3f} s"
    shown += f" at heights {heights}"
    print(shown)
    assert percentile(latencies, 0.95) <= 0.4, shown
