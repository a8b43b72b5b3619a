"""Real ffmpeg pushes of every codec; every rendition is read by m3u8 and decoded by PyAV."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.support.hls import Reader
from tests.support.push import Publisher
from tests.support.server import Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

CODECS = {"h264": "h264", "h264_b": "h264", "hevc": "hevc", "av1": "libdav1d", "vp9": "vp9"}


def listed(reader: Reader, rendition: str) -> int:
    return sum(1 for s in reader.media(rendition).segments if s.uri and not s.gap_tag)


@pytest.mark.parametrize(
    ("video", "audio"),
    [("h264", "aac"), ("h264_b", "mp3"), ("hevc", "aac"), ("av1", "opus"), ("vp9", "opus")],
)
def test_push_becomes_a_ladder(
    server: Server, push: Callable[..., Publisher], video: str, audio: str
):
    publisher = push(video=video, audio=audio, size="640x480")
    server.wait_live()
    reader = Reader(server)
    assert sorted(reader.names()) == ["360p", "480p", "audio", "source"], publisher.log
    for name in reader.names():
        wait_for(lambda name=name: listed(reader, name) >= 3, 30, f"three segments of {name}")
    playlist = reader.multivariant()
    for entry in playlist.playlists:
        assert "mp4a.40.2" in entry.stream_info.codecs
        assert entry.stream_info.audio == "audio"
        assert entry.stream_info.bandwidth >= entry.stream_info.average_bandwidth > 0
        assert round(entry.stream_info.frame_rate) == 30
    source = reader.decode("source", segments=3)
    assert source.codec == CODECS[video]
    assert (source.width, source.height) == (640, 480)
    for name, height in (("480p", 480), ("360p", 360)):
        rung = reader.decode(name, segments=3)
        assert (rung.codec, rung.height) == ("h264", height)
        assert rung.frames >= 120  # a machine under load drops pictures, never the rung
    audio_track = reader.decode("audio", segments=3)
    assert audio_track.codec == "aac"
    assert all(b - a < 0.03 for a, b in pairwise(sorted(audio_track.pts)))


@pytest.mark.parametrize("video", ["h264_10", "h264_422"])
def test_other_pixel_formats_become_8_bit_420(
    server: Server, push: Callable[..., Publisher], video: str
):
    push(video=video, audio="aac")
    server.wait_live()
    reader = Reader(server)
    wait_for(lambda: listed(reader, "360p") >= 2, 30, "two segments")
    assert reader.multivariant().playlists[-1].stream_info.codecs.startswith("avc1.")
    assert reader.decode("360p", segments=2).frames > 100


def test_portrait_keeps_its_aspect(server: Server, push: Callable[..., Publisher]):
    push(size="540x960", audio="aac")
    server.wait_live()
    reader = Reader(server)
    sizes = {p.uri.split("/")[0]: p.stream_info.resolution for p in reader.multivariant().playlists}
    assert sizes == {"source": (540, 960), "480p": (480, 854), "360p": (360, 640)}


def test_video_only(server: Server, push: Callable[..., Publisher]):
    push(audio=None)
    text = server.wait_live()
    assert "TYPE=AUDIO" not in text
    assert "mp4a" not in text
    reader = Reader(server)
    assert "audio" not in reader.names()
    wait_for(lambda: listed(reader, "source") >= 2, 20, "two segments")
    assert reader.decode("source").frames > 60


def test_audio_only(server: Server, push: Callable[..., Publisher]):
    push(video=None)
    server.wait_live()
    reader = Reader(server)
    assert reader.names() == ["audio"]
    wait_for(lambda: listed(reader, "audio") >= 3, 20, "three segments")
    assert reader.decode("audio").frames > 100


def test_rungs_start_segments_with_the_source(server: Server, push: Callable[..., Publisher]):
    push(size="640x480")
    server.wait_live()
    reader = Reader(server)
    names = ["source", "480p", "360p"]
    wait_for(lambda: min(listed(reader, n) for n in names) >= 4, 30, "four segments")
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
