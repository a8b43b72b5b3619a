"""A stream pushed on to real servers: it plays there, comes back, and never harms the source."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from tests.support import nginx_rtmp
from tests.support.hls import Reader
from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(180)]

TARGET_KEY = "k3y-0f-th3-0th3r-s3rv3r"
PATH = f"/streams/{STREAM}/targets"
LIGHT = {"ladder.enabled": "false"}


@contextmanager
def serving(directory: Path, *, key: str = KEY, **settings: Any) -> Iterator[Server]:
    """Run a light server; `key` is that of its stream."""
    server = Server(directory, LIGHT | settings, streams=[(STREAM, key)])
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            os.kill(server.process.pid, signal.SIGCONT)
        server.stop()
        assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A stream that is live; each test removes the targets that it adds."""
    settings = {
        "restream.allow_hosts": '["127.0.0.1"]',
        "restream.retry_max_s": "2",
        "restream.stall_timeout_s": "3",
        "restream.queue_s": "2",
    }
    with (
        serving(tmp_path_factory.mktemp("source"), **settings) as server,
        Publisher(f"{server.rtmp}/{KEY}", bitrate="2500k"),
    ):
        server.wait_live()
        yield server


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("other"), key=TARGET_KEY) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_targets_left(source: Server) -> Iterator[None]:
    yield
    for one in source.api("GET", PATH).json()["targets"]:
        source.api("DELETE", f"{PATH}/{one['name']}")


def add(server: Server, name: str, url: str, key: str = TARGET_KEY) -> None:
    reply = server.api("POST", PATH, {"name": name, "url": url, "key": key})
    assert reply.status == 201, reply.text


def target(server: Server, name: str) -> dict[str, Any]:
    return server.api("GET", f"{PATH}/{name}").json()


def wait_target(server: Server, name: str, *states: str, timeout_s: float = 20) -> dict[str, Any]:
    def probe() -> dict[str, Any] | None:
        found = target(server, name)
        return found if found["state"] in states else None

    return wait_for(probe, timeout_s, f"target {name} being {' or '.join(states)}")


def test_it_plays_on_another_server_and_comes_back_after_its_restart(
    source: Server, other: Server
) -> None:
    add(source, "other", other.rtmp)
    wait_target(source, "other", "live")
    other.wait_live()
    reader = Reader(other)
    wait_for(lambda: len(reader.media("source").segments) >= 3, 20, "three segments over there")
    picture, sound = reader.decode("source"), reader.decode("audio")
    assert (picture.codec, picture.width, picture.height) == ("h264", 640, 360)
    assert picture.frames >= 100
    assert sound.codec == "aac"
    gaps = [b - a for a, b in zip(sorted(picture.pts), sorted(picture.pts)[1:], strict=False)]
    assert max(gaps) < 0.07

    other.kill()
    wait_target(source, "other", "waiting", "connecting")
    other.start()
    wait_target(source, "other", "live")
    other.wait_live()
    status = target(source, "other")
    assert status["reconnects"] >= 1
    assert status["bitrate_bps"] > 100_000 or status["sent_bytes"] > 0
    assert source.metric("vitrina_restream_reconnects_total", target="other") >= 1

    said = [source.log, source.get("/metrics").text, source.api("GET", PATH).text, other.log]
    said += [source.api("GET", f"/streams/{STREAM}").text, source.get("/openapi.json").text]
    assert not [text for text in said if TARGET_KEY in text]
    database = source.directory / "data" / "vitrina.sqlite3"
    assert [f.stat().st_mode & 0o077 for f in database.parent.glob(database.name + "*")] == [0] * (
        len(list(database.parent.glob(database.name + "*")))
    )

    assert source.api("DELETE", f"{PATH}/other").status == 204
    other.wait_state("reconnecting")
    assert source.metric("vitrina_restream_state", target="other") is None


@pytest.mark.skipif(not nginx_rtmp.available(), reason="needs nginx with its RTMP module")
def test_it_plays_on_nginx_rtmp(source: Server, tmp_path: Path) -> None:
    nginx = nginx_rtmp.NginxRtmp(tmp_path / "nginx")
    try:
        add(source, "nginx", nginx.url)
        wait_target(source, "nginx", "live")
        wait_for(lambda: len(nginx.segments(TARGET_KEY)) >= 3, 30, "three segments of nginx")
        frames = sounds = 0
        for segment in nginx.segments(TARGET_KEY)[1:3]:
            with av.open(str(segment), options={"err_detect": "explode"}) as container:
                for frame in container.decode():
                    if isinstance(frame, av.VideoFrame):
                        assert (frame.width, frame.height) == (640, 360)
                        frames += 1
                    else:
                        sounds += 1
        assert frames >= 110
        assert sounds >= 150
    finally:
        nginx.stop()


def test_a_wrong_key_is_said_and_not_hammered(source: Server, other: Server) -> None:
    name = "vitrina_ingest_connections_opened_total"
    before = other.metric(name, protocol="rtmp") or 0
    wrong = "another-key-0123456789"
    add(source, "other", other.rtmp, wrong)
    status = wait_target(source, "other", "refused")
    assert "refuses the stream (NetStream.Publish.BadName" in status["text"]
    assert wrong not in status["text"]
    assert status["retry_at"] is not None
    assert other.metric(name, protocol="rtmp") == before + 1
    reply = source.api("PATCH", f"{PATH}/other", {"key": TARGET_KEY})
    assert reply.status == 200
    wait_target(source, "other", "live")


def test_addresses_of_this_machine_are_refused_unless_allowed(source: Server) -> None:
    before = source.metric("vitrina_ingest_connections_opened_total", protocol="rtmp")
    # On Linux all of 127/8 is this machine; a name that is not allowed means it, too.
    for name, host in (("address", "127.0.0.2"), ("mapped", "[::ffff:7f00:2]"), ("six", "[::1]")):
        add(source, name, f"rtmp://{host}:{source.rtmp_port}/live")
        status = wait_target(source, name, "refused")
        assert "has a loopback address" in status["text"]
    assert source.metric("vitrina_ingest_connections_opened_total", protocol="rtmp") == before


def jitter(server: Server) -> tuple[float, float]:
    """Sum in seconds and number of parts of the source rung."""
    name = "vitrina_part_publish_jitter_seconds"
    total = server.metric(f"{name}_sum", rendition="source")
    count = server.metric(f"{name}_count", rendition="source")
    return total or 0.0, count or 0.0


def usual_jitter_ms(server: Server, seconds: int) -> float:
    """The middle one of each second's mean: one hiccup of a busy machine does not count."""
    means = []
    for _ in range(seconds):
        total, count = jitter(server)
        until = time.monotonic() + 1
        wait_for(lambda until=until: time.monotonic() >= until, 6, "time passing")
        later, more = jitter(server)
        assert more > count, "no part came for a second"
        means.append(1000 * (later - total) / (more - count))
    return statistics.median(means)


def test_dead_targets_never_delay_the_source(source: Server, other: Server) -> None:
    alone_ms = usual_jitter_ms(source, 4)
    with socket.socket() as hole:  # takes connections, never reads
        hole.bind(("127.0.0.1", 0))
        hole.listen(64)
        add(source, "hole", f"rtmp://127.0.0.1:{hole.getsockname()[1]}/live")
        add(source, "other", other.rtmp)
        wait_target(source, "other", "live")
        assert other.process is not None
        os.kill(other.process.pid, signal.SIGSTOP)
        dead_ms = usual_jitter_ms(source, 6)
        wait_for(lambda: target(source, "other")["dropped"] > 0, 20, "the queue being dropped")
        status = wait_target(source, "other", "waiting", "connecting")
        assert "has read next to nothing" in status["text"]
        os.kill(other.process.pid, signal.SIGCONT)
        wait_target(source, "other", "live")
    print(
        f"source part publish jitter: {alone_ms:.1f} ms alone, {dead_ms:.1f} ms with dead targets"
    )
    assert dead_ms <= alone_ms + 15
    worst = Reader(source).media("source")
    assert not [segment for segment in worst.segments if segment.gap_tag]
