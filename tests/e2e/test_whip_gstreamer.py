"""GStreamer publishes by WHIP: its DTLS, its retransmissions, its clocks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clapped import offsets_s, read_pictures, read_sound
from tests.support.hls import Reader
from tests.support.server import KEY, ROOT, STREAM, Server, wait_for

PYTHON = "/usr/bin/python3"
PACKAGES = (
    "gstreamer1.0-nice gstreamer1.0-plugins-bad gstreamer1.0-plugins-good"
    " gstreamer1.0-plugins-ugly python3-gst-1.0 gir1.2-gst-plugins-bad-1.0"
)
ELEMENTS = "webrtcbin nicesink dtlsenc srtpenc x264enc vp8enc opusenc rtph264pay"
CHECK = f"""
import gi
for name in ("Gst", "GstWebRTC", "GstSdp"):
    gi.require_version(name, "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC
Gst.init(None)
assert all(Gst.ElementFactory.find(name) for name in {ELEMENTS.split()!r})
"""


def installed() -> bool:
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", CHECK], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.patient,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not installed(), reason=f"needs GStreamer: apt install {PACKAGES}"),
]
SETTINGS = {
    "whip.ports": "0",
    "ladder.rungs": "[{height = 180, bitrate_kbps = 400}]",
}


class Gst:
    """`tests/support/gst_whip.py` in a process."""

    def __init__(self, server: Server, codec: str, directory: Path) -> None:
        self._path = directory / f"gst-{codec}.log"
        command = [PYTHON, "tests/support/gst_whip.py", f"{server.url}/whip/{STREAM}", KEY, codec]
        with self._path.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self._path.read_text(errors="replace")

    def said(self, name: str) -> list[Any]:
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line[name] for line in lines if name in line]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


@pytest.fixture
def gst(tmp_path: Path) -> Iterator[Callable[..., Gst]]:
    """Start GStreamer; all are ended."""
    started: list[Gst] = []

    def start(server: Server, codec: str) -> Gst:
        started.append(Gst(server, codec, tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.stop()
        print(each.log)


def body(reader: Reader, name: str, segments: int) -> bytes:
    """Wait for some more than so many segments; return the last behind their init segment."""

    def listed() -> list[Any]:
        return [s for s in reader.media(name).segments if s.uri and not s.gap_tag]

    wait_for(lambda: len(listed()) >= segments + 2, 30, f"segments of {name}")
    chosen = listed()[-segments:]
    init = reader.fetch(name, chosen[0].init_section.uri)
    return init + b"".join(reader.fetch(name, each.uri) for each in chosen)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_its_pictures_and_sound_come_out_together(
    make_server: Callable[..., Server], gst: Callable[..., Gst], codec: str
) -> None:
    server = make_server(**SETTINGS)
    publisher = gst(server, codec)
    server.wait_live()
    reader = Reader(server)
    rung = "source" if codec == "H264" else "180p"
    wait_for(lambda: {rung, "180p", "audio"} <= set(reader.names()), 20, "the ladder")
    pictures = read_pictures(body(reader, rung, 4))
    sound = read_sound(body(reader, "audio", 4))
    print(codec, len(pictures.numbers), pictures.longest_gap_s, sound.holes_s, sound.beeps)
    offsets = offsets_s(pictures, sound)
    print("offsets", [round(each, 3) for each in offsets])
    assert pictures.unreadable == 0
    assert pictures.numbers == sorted(set(pictures.numbers))
    assert len(pictures.numbers) >= 200
    assert pictures.longest_gap_s < 0.25
    assert sound.holes_s == []
    # It sends at once what waited for the connection: the first seconds are not in place yet.
    assert len(offsets) >= 5
    assert max(map(abs, offsets[-3:])) <= 0.04
    # A key picture is asked for on the grid of segments: GStreamer's own come every 20 s.
    assert server.metric("vitrina_webrtc_key_requests_total", stream=STREAM, kind="video")
    publisher.stop()
    assert publisher.said("deleted") == [200]
    wait_for(lambda: server.metric("vitrina_webrtc_sessions", protocol="whip") == 0, 5, "its end")
    closed = "vitrina_webrtc_sessions_closed_total"
    assert server.metric(closed, protocol="whip", reason="bye") == 1
