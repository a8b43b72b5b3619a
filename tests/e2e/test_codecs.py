"""Real ffmpeg pushes of every codec; every rendition is read by m3u8 and decoded by PyAV.

One server takes them all, each on a stream of its own: small pictures in short segments, for what
is looked at is the codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest

from tests.support.hls import Decoded, Reader
from tests.support.push import Publisher
from tests.support.server import Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(180)]

CODECS = {"h264": "h264", "h264_b": "h264", "hevc": "hevc", "av1": "libdav1d", "vp9": "vp9"}
SETTINGS: dict[str, Any] = {
    "hls.segment_ms": 1000,
    "ladder.rungs": "[{height = 240, bitrate_kbps = 300}, {height = 144, bitrate_kbps = 150}]",
    "streams.grace_s": 0,
}
STREAMS = [(f"show{n}", f"test-stream-key-of-show-{n:04d}") for n in range(11)]
PATIENCE_S = 60
"""Until segments are there: on a loaded machine an encoder may be slower than real time."""

Push = Callable[..., Reader]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[Any]]]:
    """A server and the streams that were not used yet."""
    server = Server(tmp_path_factory.mktemp("codecs"), SETTINGS, list(STREAMS)).start()
    try:
        yield server, list(STREAMS)
    finally:
        server.stop()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def push(shared: tuple[Server, list[Any]]) -> Iterator[Push]:
    """Push to an unused stream until the test ends; return its reader once it is live."""
    server, unused = shared
    with ExitStack() as publishers:

        def start(**kwargs: Any) -> Reader:
            name, key = unused.pop()
            kwargs = {"size": "320x240", "gop_s": 1.0, "bitrate": "400k", **kwargs}
            publisher = publishers.enter_context(Publisher(f"{server.rtmp}/{key}", **kwargs))
            publishers.callback(lambda: print(publisher.log))  # shown where the test failed
            server.wait_live(name, PATIENCE_S)
            return Reader(server, name)

        yield start


def listed(reader: Reader, rendition: str) -> int:
    return sum(1 for s in reader.media(rendition).segments if s.uri and not s.gap_tag)


def wait_listed(reader: Reader, rendition: str, count: int) -> None:
    wait_for(
        lambda: listed(reader, rendition) >= count, PATIENCE_S, f"{count} segments of {rendition}"
    )


def wait_names(reader: Reader, *names: str) -> None:
    """The rungs join when their worker has started."""
    wait_for(lambda: sorted(reader.names()) == sorted(names), PATIENCE_S, f"{names}")


def enough(rung: Decoded, frames: int = 60) -> Decoded | None:
    return rung if rung.frames >= frames else None


@pytest.mark.parametrize(
    ("video", "audio"),
    [("h264", "aac"), ("h264_b", "mp3"), ("hevc", "aac"), ("av1", "opus"), ("vp9", "opus")],
)
def test_push_becomes_a_ladder(push: Push, video: str, audio: str):
    reader = push(video=video, audio=audio)
    wait_names(reader, "source", "240p", "144p", "audio")
    for name in reader.names():
        wait_listed(reader, name, 3)
    playlist = reader.multivariant()
    for entry in playlist.playlists:
        assert "mp4a.40.2" in entry.stream_info.codecs
        assert entry.stream_info.audio == "audio"
        assert entry.stream_info.bandwidth >= entry.stream_info.average_bandwidth > 0
        assert round(entry.stream_info.frame_rate) == 30
    source = reader.decode("source", segments=3)
    assert source.codec == CODECS[video]
    assert (source.width, source.height) == (320, 240)
    for name, height in (("240p", 240), ("144p", 144)):
        # A machine under load drops pictures, at the start above all, but never the rung.
        rung = wait_for(
            lambda name=name: enough(reader.decode(name, segments=3)), PATIENCE_S, f"all of {name}"
        )
        assert (rung.codec, rung.height) == ("h264", height)
    audio_track = reader.decode("audio", segments=3)
    assert audio_track.codec == "aac"
    assert all(b - a < 0.03 for a, b in pairwise(sorted(audio_track.pts)))


@pytest.mark.parametrize("video", ["h264_10", "h264_422"])
def test_other_pixel_formats_become_8_bit_420(push: Push, video: str):
    reader = push(video=video, audio="aac")
    wait_for(lambda: "240p" in reader.names(), PATIENCE_S, "the rung")
    wait_listed(reader, "240p", 2)
    assert reader.multivariant().playlists[-1].stream_info.codecs.startswith("avc1.")
    wait_for(lambda: enough(reader.decode("240p", segments=2), 50), PATIENCE_S, "all of 240p")


def test_portrait_keeps_its_aspect(push: Push):
    reader = push(size="270x480", audio="aac")
    wait_names(reader, "source", "240p", "144p", "audio")
    sizes = {p.uri.split("/")[0]: p.stream_info.resolution for p in reader.multivariant().playlists}
    assert sizes == {"source": (270, 480), "240p": (240, 426), "144p": (144, 256)}


def test_video_only(push: Push):
    reader = push(audio=None)
    wait_names(reader, "source", "240p", "144p")
    playlist = reader.multivariant()
    assert not playlist.media
    assert all("mp4a" not in each.stream_info.codecs for each in playlist.playlists)
    assert "audio" not in reader.names()
    wait_listed(reader, "source", 3)
    assert reader.decode("source").frames > 60


def test_audio_only(push: Push):
    reader = push(video=None)
    assert reader.names() == ["audio"]
    wait_listed(reader, "audio", 3)
    assert reader.decode("audio").frames > 100


def test_rungs_start_segments_with_the_source(push: Push):
    reader = push()
    names = ["source", "240p", "144p"]
    wait_names(reader, *names, "audio")
    for name in names:
        wait_listed(reader, name, 4)
    first: dict[int, list[float]] = {}
    for name in names:
        playlist = reader.media(name)
        for number, segment in enumerate(playlist.segments, playlist.media_sequence):
            if segment.uri and segment.program_date_time:
                first.setdefault(number, []).append(segment.program_date_time.timestamp())
    common = [dates for dates in first.values() if len(dates) == len(names)]
    assert len(common) >= 4
    # RTMP rounds to milliseconds, and so does the declared length of each segment.
    assert all(max(dates) - min(dates) < 0.003 for dates in common)
