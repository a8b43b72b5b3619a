"""Encoders with several tracks, sent by ffmpeg as Enhanced RTMP, and what viewers get."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tests.support.browser import CHROMIUM, watching
from tests.support.hls import Reader, decode
from tests.support.server import KEY, STREAM, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(120)]

SIZES = {"source": "640x360", "270p": "480x270", "180p": "320x180"}


def worker_pids(server: Server) -> list[str]:
    assert server.process is not None
    found = subprocess.run(
        ["pgrep", "-P", str(server.process.pid), "-f", "media.transcode.worker"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return found.stdout.split()


def make_film(path: Path, *, seconds: int, late: str = "") -> Path:
    """Encode three aligned video tracks and two audio tracks.

    `late`: a track whose key frames come 0.7 s after those of the others.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    for size in SIZES.values():
        command += ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30"]
    for frequency in (440, 880):
        command += ["-f", "lavfi", "-i", f"sine=frequency={frequency}:sample_rate=48000"]
    for number in range(5):
        command += ["-map", str(number)]
    command += ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"]
    command += ["-g", "600", "-keyint_min", "1", "-sc_threshold", "0", "-b:v", "400k"]
    for number, name in enumerate(SIZES):
        shift = 21 if name == late else 0
        command += [f"-force_key_frames:v:{number}", f"expr:not(mod(n-{shift},60))"]
    command += ["-c:a", "aac", "-ac", "2", "-t", str(seconds), str(path)]
    subprocess.run(command, check=True, timeout=100)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4", seconds=50)


def send(
    film: Path, server: Server, key: str, *, tracks: str = "0 1 2 3 4"
) -> subprocess.Popen[bytes]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "warning", "-re"]
    command += ["-i", str(film)]
    for number in tracks.split():
        command += ["-map", f"0:{number}"]
    command += ["-c", "copy", "-f", "flv", f"{server.rtmp}/{KEY}"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def sent_pictures(film: Path, number: int) -> list[bytes]:
    with av.open(str(film)) as container:
        stream = container.streams.video[number]
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


@pytest.fixture
def encoder() -> Iterator[Callable[[Path, Server, str], None]]:
    """Push a film's tracks; every push is ended with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(film: Path, server: Server, tracks: str) -> None:
        processes.append(send(film, server, tracks))

    yield start
    for process in processes:
        process.kill()
        process.wait(5)


def pitch(data: bytes) -> float:
    """Return the strongest frequency in Hz."""
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)[0]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * frames[0].sample_rate / samples.size)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt install chromium")
def test_aligned_tracks_become_the_rungs(
    server: Server, film: Path, encoder: Callable[[Path, Server, str], None]
) -> None:
    encoder(film, server, "0 1 2 3 4")
    server.wait_live()
    reader = Reader(server)
    assert reader.names() == [*SIZES, "audio", "audio-1"]
    for name in reader.names():
        wait_for(lambda name=name: len(whole(reader, name)) >= 3, 30, f"three segments of {name}")
    assert worker_pids(server) == []
    starts = set()
    for number, (name, size) in enumerate(SIZES.items()):
        decoded = reader.decode(name, segments=2)
        assert f"{decoded.width}x{decoded.height}" == size
        playlist = reader.media(name)
        for segment in playlist.segments[:3]:
            init = reader.fetch(name, segment.init_section.uri)
            found = decode(init + reader.fetch(name, segment.uri))
            starts.add((segment.media_sequence, found.keys[0]))
            assert found.keys[0] == found.first_pts
        body = b"".join(reader.fetch(name, s.uri) for s in playlist.segments if s.uri)
        assert all(picture in body for picture in sent_pictures(film, number)[60:180]), name
    assert len(starts) == 3
    for name, frequency in (("audio", 440), ("audio-1", 880)):
        segment = reader.media(name).segments[1]
        body = reader.fetch(name, segment.init_section.uri) + reader.fetch(name, segment.uri)
        assert abs(pitch(body) - frequency) < 5
    tracks = server.stream()["tracks"]
    assert [(t["kind"], t["track"], t["used_as"]) for t in tracks] == [
        ("video", 0, "source"),
        ("video", 1, "270p"),
        ("video", 2, "180p"),
        ("audio", 0, "audio"),
        ("audio", 1, "audio-1"),
    ]
    assert all(track["bitrate_bps"] > 10_000 for track in tracks)
    assert not [f for f in server.stream()["findings"] if f["code"].startswith("tracks_")]
    with watching(f"{server.url}/watch/{STREAM}") as watch:
        watch.until("p.video && p.video.currentTime > 0 && !p.video.paused")
        levels = watch.player("p.levels.map(l => [l.index, l.height])")
        assert sorted(height for _, height in levels) == [180, 270, 360]
        for height in (180, 360, 270):
            index = next(i for i, h in levels if h == height)
            watch.player(f"p.quality = {index}")
            watch.until(f"p.video.videoHeight === {height}")
        assert watch.player("p.sounds.map(s => s.label)") == ["Audio", "audio-1"]
        assert watch.player("p.sound") == 0
        watch.player("p.sound = 1")
        watch.until("p.sound === 1")
        loaded = "performance.getEntriesByType('resource').filter(e => /audio-1.*m4s/.test(e.name))"
        watch.until(f"{loaded}.length > 3")
        at = watch.player("p.video.currentTime")
        watch.until(f"p.video.currentTime > {at} + 1")
        assert not [line for line in watch.console if line.startswith("pageerror")]


def test_a_track_that_does_not_fit_is_made_anew(
    server: Server,
    tmp_path: Path,
    encoder: Callable[[Path, Server, str], None],
) -> None:
    film = make_film(tmp_path / "film.mp4", seconds=40, late="270p")
    encoder(film, server, "0 1 2 3")
    server.wait_live()
    reader = Reader(server)

    def finding() -> str | None:
        found = [f for f in server.stream()["findings"] if f["code"] == "tracks_misaligned"]
        return found[0]["text"] if found else None

    text = wait_for(finding, 30, "the finding")
    assert text.startswith("Video track 1 has key frames at other times")
    wait_for(lambda: "270p" in reader.names(), 20, "the re-encoded rung")
    wait_for(lambda: worker_pids(server), 20, "a worker")
    wait_for(lambda: len(whole(reader, "270p")) >= 2, 20, "two segments of it")
    for name in SIZES:
        decoded = reader.decode(name, segments=1)
        assert decoded.keys[0] == decoded.first_pts, name
    assert not any(s.gap_tag for s in reader.media("180p").segments)
    used = {t["track"]: t["used_as"] for t in server.stream()["tracks"] if t["kind"] == "video"}
    assert used == {0: "source", 1: None, 2: "180p"}


def whole(reader: Reader, name: str) -> list[str]:
    return [s.uri for s in reader.media(name).segments if s.uri and not s.gap_tag]
