"""Encoders die, return and take over while a browser watches: the picture never stops for long.

One server and one visit of a page serve the whole module.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.browser import CHROMIUM, Watch, watching
from tests.support.hls import Reader
from tests.support.judge import Judge
from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, Server, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt install chromium"),
]

RETURNS = 3
LONGEST_MS = 2000
TAKEOVER_MS = 1000


Push = Callable[..., Publisher]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("reconnect")).start()
    try:
        yield server
    finally:
        server.stop()
    assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="module")
def push(server: Server) -> Iterator[Push]:
    """Start publishers; all are killed at the end."""
    publishers: list[Publisher] = []

    def start(**kwargs: Any) -> Publisher:
        publishers.append(Publisher(f"{server.rtmp}/{KEY}", **kwargs))
        return publishers[-1]

    yield start
    for publisher in publishers:
        publisher.stop()
        print(publisher.log)  # pytest shows it where a test failed


@pytest.fixture(scope="module")
def page(server: Server, push: Push) -> Iterator[Watch]:
    """A page that plays the first publisher's stream without trouble."""
    push()
    server.wait_live()
    with watching(f"{server.url}/watch/{STREAM}") as watch:
        watch.until("p.state === 'live' && p.playingDate !== null", 40)
        wait_for(lambda: watch.pictures() > 60, 30, "pictures")
        watch.evaluate("() => { window.sameVisit = true; }")
        yield watch


@pytest.fixture
def watch(page: Watch) -> Iterator[Watch]:
    """The page, which must still be the same visit afterwards."""
    yield page
    assert page.evaluate("() => window.sameVisit === true")
    assert not [line for line in page.console if "pageerror" in line], page.console


def on_air(server: Server) -> str | None:
    return server.stream()["on_air"]


def play_on(watch: Watch, seconds: float) -> None:
    """Let the page play, looking at its state all the time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert watch.player("p.state") in ("live", "buffering")
        watch.page.wait_for_timeout(100)


def test_a_killed_encoder_returns_again_and_again(server: Server, watch: Watch, push: Push) -> None:
    judge = Judge(server, [STREAM])
    publishers = [push()]  # takes over from the first
    play_on(watch, 3)
    watch.clear()
    for _ in range(RETURNS):
        publishers[-1].kill()
        wait_for(lambda: on_air(server) == "slate", 3, "the slate")
        assert server.stream()["state"] == "reconnecting"
        cue = {"type": "notice", "at": "now", "duration": 1, "data": {"text": "Back soon"}}
        ident = server.cue(cue)["id"]
        notice = f"p.shadowRoot.querySelector('[data-cue=\"{ident}\"]') !== null"
        watch.until(notice, 6)
        play_on(watch, 2)
        publishers.append(push())
        wait_for(lambda: on_air(server) == "encoder", 10, "the encoder")
        play_on(watch, 3)
    longest = max(watch.standstills(), default=0)
    print(f"standstills: {watch.standstills()}; stalls: {watch.stalls()}")
    assert longest <= LONGEST_MS
    reader = Reader(server)
    for name in reader.names():
        assert "GAP" not in reader.text(name), name
    judge.stop()
    assert not judge.errors(STREAM)
    assert (server.metric("vitrina_slate_seconds_total", stream=STREAM) or 0) > RETURNS


def test_takeover_while_the_older_connection_hangs(
    server: Server, watch: Watch, push: Push
) -> None:
    older = push()
    play_on(watch, 3)
    watch.clear()
    older.process.send_signal(signal.SIGSTOP)
    try:
        push(size="480x270")
        wait_for(lambda: watch.player("p.video.videoHeight") == 270, 10, "the newer picture")
        play_on(watch, 3)
        print(f"standstills: {watch.standstills()}; stalls: {watch.stalls()}")
        assert max(watch.standstills(), default=0) <= TAKEOVER_MS
    finally:
        older.process.send_signal(signal.SIGCONT)
