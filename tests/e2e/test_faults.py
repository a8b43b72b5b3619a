"""Bad input and faults: each row ends with viewers unharmed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.hls import Reader, decode
from tests.support.push import Publisher
from tests.support.rtmp import Pusher, make_clip
from tests.support.server import KEY, STREAM, Server, wait_for
from tests.support.workers import worker_pids

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(180)]


def sequence(reader: Reader, rendition: str = "source") -> int:
    """Number of the newest listed segment."""
    playlist = reader.media(rendition)
    return int(playlist.media_sequence) + len(playlist.segments) - 1


def wait_sequence(reader: Reader, wanted: int, rendition: str = "source") -> None:
    wait_for(lambda: sequence(reader, rendition) >= wanted, 30, f"segment {wanted} of {rendition}")


def test_wrong_key_is_refused_and_counted(server: Server, push: Callable[..., Publisher]):
    publisher = push(key="not-the-key")
    assert publisher.process.wait(20) != 0
    assert server.stream()["state"] == "idle"
    assert server.metric("vitrina_ingest_rejected_total", protocol="rtmp") == 1
    assert "not-the-key" not in server.log
    assert "not-the-key" not in server.get("/metrics").text


def test_key_never_leaks(server: Server, push: Callable[..., Publisher]):
    push()
    server.wait_live()
    everything = [server.log, server.get("/metrics").text, str(server.stream())]
    everything += [server.get(f"/live/{STREAM}/index.m3u8").text]
    assert not [text for text in everything if KEY in text]


def test_newer_publishers_cut_in_without_a_seam_until_they_fight(
    server: Server, push: Callable[..., Publisher], tmp_path: Path
):
    first = push(size="640x360")
    clip = make_clip(tmp_path, seconds=14)
    amid = next(n for n, unit in enumerate(clip.units) if unit.ms >= 300)
    server.wait_live()
    reader = Reader(server)
    wait_sequence(reader, 2)
    # Its first key frame comes after 1.7 s: until then the older one's pictures are on air.
    second = Pusher(server, KEY, replace(clip, units=clip.units[amid:]))
    assert first.process.wait(10) != 0
    wait_sequence(reader, sequence(reader) + 3)
    stream = server.stream()
    assert (stream["state"], stream["on_air"]) == ("live", "encoder")
    assert not server.metric("vitrina_slate_seconds_total", stream=STREAM)
    assert "#EXT-X-GAP" not in reader.text("source")
    shown = [
        decode(reader.fetch("source", part.init_section.uri) + reader.fetch("source", part.uri))
        for part in reader.media("source").segments
        if part.uri
    ]
    assert {segment.height for segment in shown} == {360, 270}
    times = sorted(time for segment in shown for time in segment.pts)
    longest = max(after - before for before, after in pairwise(times))
    print(f"longest picture: {longest * 1000:.0f} ms of {times[-1] - times[0]:.1f} s")
    assert longest < 0.1
    # Both want the show back: the second takeover is granted, the third is not.
    push(size="640x360")
    wait_for(lambda: server.metric("vitrina_ingest_takeovers_total", stream=STREAM) == 2, 10, "it")
    wait_for(lambda: second.error or second.refused, 10, "the second's end")
    third = Pusher(server, KEY, clip)
    third.join(5)
    assert third.refused is not None
    assert "Another encoder is publishing with this stream key" in third.refused.text
    assert server.metric("vitrina_ingest_rejected_total", reason="contested") == 1
    wait_for(lambda: server.stream()["on_air"] == "encoder", 3, "the encoder")


def test_killed_publisher_may_return_within_the_grace(make_server: Callable[..., Server]):
    """Without a slate: gaps."""
    server = make_server(**{"slate.enabled": "false"})
    with Publisher(f"{server.rtmp}/{KEY}") as publisher:
        server.wait_live()
        reader = Reader(server)
        wait_sequence(reader, 3)
        publisher.kill()
        server.wait_state("reconnecting", timeout_s=5)
        at_loss = sequence(reader)
        # The playlists stay valid and go on: blocking requests are answered, gaps are listed.
        wait_sequence(reader, at_loss + 2)
        assert "#EXT-X-GAP" in reader.text("source")
        assert "#EXT-X-GAP" in reader.text("360p") or "GAP=YES" in reader.text("360p")
        during = sequence(reader)
    with Publisher(f"{server.rtmp}/{KEY}"):
        server.wait_state("live", timeout_s=10)
        wait_sequence(reader, during + 3)
        for name in reader.names():
            assert reader.decode(name, segments=2).frames > 50
        assert "#EXT-X-DISCONTINUITY\n" not in reader.text("source")


def test_changed_encoder_after_reconnect_is_a_discontinuity(
    server: Server, push: Callable[..., Publisher]
):
    publisher = push(size="640x360")
    server.wait_live()
    reader = Reader(server)
    wait_sequence(reader, 2)
    publisher.kill()
    server.wait_state("reconnecting", timeout_s=5)
    wait_for(lambda: server.stream()["on_air"] == "slate", 5, "the slate")
    push(size="480x270")
    server.wait_state("live", timeout_s=10)
    wait_sequence(reader, sequence(reader) + 3)
    for name in ("source", "audio"):
        # To the slate, and from it to the encoder.
        assert reader.text(name).count("#EXT-X-DISCONTINUITY\n") == 2
    assert reader.decode("source", segments=2).height == 270


def test_grace_over_ends_the_show(make_server: Callable[..., Server]):
    server = make_server(**{"streams.grace_s": 1})
    with Publisher(f"{server.rtmp}/{KEY}") as publisher:
        server.wait_live()
        reader = Reader(server)
        wait_sequence(reader, 2)
        publisher.kill()
        server.wait_state("ended", timeout_s=10)
        assert reader.media("source").is_endlist
        assert "PRELOAD-HINT" not in reader.text("source")
    with Publisher(f"{server.rtmp}/{KEY}"):
        server.wait_state("live")


def test_long_gop_is_reencoded_with_a_finding(server: Server, push: Callable[..., Publisher]):
    push(gop_s=60, size="640x360")
    server.wait_live()
    reader = Reader(server)

    def told() -> bool:
        return any("keyframe interval" in f["text"] for f in server.stream()["findings"])

    wait_for(told, 20, "the finding")
    wait_sequence(reader, sequence(reader) + 3)
    tail = reader.text("source").split("#EXT-X-DISCONTINUITY\n")[-1]
    durations = [float(d) for d in re.findall(r"#EXTINF:([\d.]+)", tail)]
    assert durations
    assert max(durations) <= 2.5

    def reencoded() -> bool:
        playlist = reader.media("source")
        newest = [s for s in playlist.segments if s.uri and not s.gap_tag]
        return len({s.init_section.uri for s in newest[-2:]}) == 1 and len(newest) >= 2

    wait_for(reencoded, 20, "two segments of one encoder")
    assert reader.decode("source", segments=2).frames > 100


def test_killed_worker_comes_back_and_harms_nobody(server: Server, push: Callable[..., Publisher]):
    push()
    server.wait_live()
    reader = Reader(server)
    wait_sequence(reader, 3, "360p")
    cue = server.cue({"type": "chapter", "at": "now", "duration": 60, "data": {"title": "One"}})
    (pid,) = worker_pids(server)
    restarts = server.metric("vitrina_worker_restarts_total", stream=STREAM) or 0
    os.kill(pid, signal.SIGKILL)
    back = sequence(reader, "source") + 2
    wait_for(lambda: not {pid} & set(worker_pids(server)) and worker_pids(server), 10, "a worker")
    wait_sequence(reader, back + 1, "360p")
    playlist = reader.media("360p")
    newest = [s for s in playlist.segments if s.uri][-1]
    assert not newest.gap_tag
    source = reader.text("source")
    assert "GAP" not in source
    assert cue["id"] in source
    assert server.metric("vitrina_worker_restarts_total", stream=STREAM) == restarts + 1


def test_sigterm_ends_playlists_and_flushes_cues(
    make_server: Callable[..., Server], tmp_path: Path
):
    server = make_server()
    with Publisher(f"{server.rtmp}/{KEY}"):
        server.wait_live()
        reader = Reader(server)
        wait_sequence(reader, 2)
        cue = server.cue({"type": "notice", "at": "now", "data": {"text": "Hello"}})
        assert server.process is not None
        ended: list[str] = []
        server.process.send_signal(signal.SIGTERM)

        def endlist() -> bool:
            try:
                ended.append(reader.text("source"))
            except OSError:
                return True
            return "#EXT-X-ENDLIST" in ended[-1]

        wait_for(endlist, 5, "ENDLIST")
        assert "#EXT-X-ENDLIST" in ended[-1]
        assert server.process.wait(5) == 0
    server.start()
    assert [c["id"] for c in server.api("GET", f"/streams/{STREAM}/cues").json()["cues"]] == [
        cue["id"]
    ]
