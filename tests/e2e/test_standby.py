"""Two real encoders of one stream, one on air: who is seen when the other fails, and how soon.

One server, one page in Chromium and one strict viewer serve the whole module, in the order of a
show; every playlist is linted throughout.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.browser import CHROMIUM, Watch, watching
from tests.support.judge import Judge
from tests.support.push import Publisher
from tests.support.server import BACKUP_SUFFIX, KEY, STREAM, Server, wait_for
from tests.support.viewer import LOOKS, Seen, Viewer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt install chromium"),
]

RETURN_S = 3.0
SWITCH_S = 2.0
"""From the failure to the other encoder's picture, published and fetched."""
FRAMES_S = 0.12
"""Between the two encoders' pictures no more than a few frames may be missing."""

# The colour of every picture that Chromium presents, beside what `tests.support.browser` measures.
COLOURS = """
() => {
  const canvas = new OffscreenCanvas(8, 8);
  const ctx = canvas.getContext('2d', {willReadFrequently: true});
  const video = window.probe.video, seen = window.colours = [];
  const look = (now, meta) => {
    ctx.drawImage(video, 0, 0, 8, 8);
    const d = ctx.getImageData(0, 0, 8, 8).data;
    let red = 0, blue = 0;
    for (let i = 0; i < d.length; i += 4) { red += d[i]; blue += d[i + 2]; }
    seen.push([performance.now(), red > blue ? 'primary' : 'backup']);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  const events = window.events = [];
  for (const name of ['waiting', 'playing', 'seeking', 'seeked', 'pause'])
    video.addEventListener(name, () => {
      events.push([performance.now(), name, video.currentTime, Array.from(
        {length: video.buffered.length},
        (_, i) => [video.buffered.start(i), video.buffered.end(i)])]);
      events.splice(0, events.length - 40);
    });
}
"""


@dataclass
class Stage:
    """What the tests share."""

    server: Server
    viewer: Viewer
    watch: Watch
    encoders: dict[str, Publisher] = field(default_factory=dict)

    def push(self, role: str) -> None:
        suffix = BACKUP_SUFFIX if role == "backup" else ""
        url = f"{self.server.rtmp}/{KEY}{suffix}"
        self.encoders[role] = Publisher(url, look=LOOKS[role], bitrate="600k")

    def kill(self, role: str) -> float:
        """Kill an encoder; return the moment."""
        self.encoders.pop(role).kill()
        return time.monotonic()

    def sources(self) -> dict[str, dict[str, Any]]:
        return {source["role"]: source for source in self.server.stream()["sources"]}

    def wait_states(self, timeout_s: float = 20, **states: str) -> None:
        def reached() -> bool:
            sources = self.sources()
            return all(
                role in sources and sources[role]["state"] == states[role] for role in states
            )

        wait_for(reached, timeout_s, f"{states}")

    def wait_ready(self, role: str) -> None:
        """Wait until an encoder has stood by for a moment, healthy."""
        wait_for(
            lambda: (
                (s := self.sources().get(role)) is not None
                and s["health"] > 0.9
                and s["bitrate_bps"] > 100_000
            ),
            20,
            f"a healthy {role} encoder",
        )

    def finding(self) -> str:
        found = self.server.stream()["findings"]
        return next((f["text"] for f in found if f["code"] == "standby" and not f.get("until")), "")

    def switches(self, reason: str) -> float:
        return self.server.metric("vitrina_ingest_switches_total", reason=reason) or 0.0

    def clear(self) -> None:
        self.watch.evaluate("() => { window.colours.length = 0; }")

    def freeze_ms(self) -> float:
        """Longest time between two pictures that Chromium presented since `clear`."""
        colours = self.watch.evaluate("() => window.colours")
        freeze = 0.0
        for before, after in itertools.pairwise(colours):
            freeze = max(freeze, after[0] - before[0])
            if after[0] - before[0] > 250:  # pytest shows it where the test fails
                events = self.watch.evaluate("() => window.events")
                print(f"frozen from {before} to {after}; {self.watch.player('p.stats')}; {events}")
        return float(freeze)

    def wait_shown(self, role: str) -> None:
        """Wait until Chromium shows an encoder's pictures, and a second of them."""
        script = f"() => window.colours.filter(c => c[1] === '{role}').length"
        wait_for(lambda: self.watch.evaluate(script) > 30, 20, f"{role} in the browser")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = {
        "ladder.enabled": "false",
        "streams.standby_return_s": RETURN_S,
        "streams.grace_s": 20,
    }
    server = Server(tmp_path_factory.mktemp("standby"), settings).start()
    judge = Judge(server, [STREAM])
    viewer = Viewer(server)
    try:
        with watching(f"{server.url}/watch/{STREAM}") as watch:
            stage = Stage(server, viewer, watch)
            try:
                stage.push("primary")
                server.wait_live()
                watch.until("p.state === 'live' && p.playingDate !== null", 40)
                watch.evaluate(COLOURS)
                yield stage
            finally:
                for encoder in stage.encoders.values():
                    os.kill(encoder.process.pid, signal.SIGCONT)
                    encoder.stop()
    finally:
        with ExitStack() as stack:
            for part in (server, judge, viewer):
                stack.callback(part.stop)
    assert not judge.errors(STREAM)
    assert "Traceback" not in server.log, server.log


def check(stage: Stage, since_s: float, picture: Seen, what: str) -> None:
    """Assert that the other encoder was seen in time; say how soon."""
    took, hole = picture.at_s - since_s, stage.viewer.hole_before(picture)
    print(f"{what}: seen after {took:.2f} s, {hole:.2f} s of the show without pictures")
    assert took <= SWITCH_S
    assert hole <= FRAMES_S


def test_the_second_encoder_stands_by(stage: Stage) -> None:
    stage.push("backup")
    stage.wait_states(primary="on_air", backup="standby")
    stage.wait_ready("backup")
    assert all(seen.role == "primary" for seen in stage.viewer.seen)
    assert stage.server.metric("vitrina_ingest_active", role="backup") == 0


def test_a_killed_encoder_is_made_good(stage: Stage) -> None:
    stage.clear()
    since_s = stage.kill("primary")
    picture = stage.viewer.first("backup", since_s)
    check(stage, since_s, picture, "killed")
    stage.wait_states(primary="failed", backup="on_air")
    assert stage.server.stream()["state"] == "live"
    assert stage.finding().startswith(
        "The backup encoder is on air: the primary encoder closed its connection."
    )
    assert stage.switches("closed") == 1
    assert stage.server.metric("vitrina_ingest_active", role="backup") == 1
    stage.wait_shown("backup")
    print(f"longest freeze in Chromium: {stage.freeze_ms():.0f} ms")
    assert stage.freeze_ms() <= 500


def test_the_show_returns_to_the_primary_without_a_hole(stage: Stage) -> None:
    stage.clear()
    since_s = time.monotonic()
    stage.push("primary")
    picture = stage.viewer.first("primary", since_s)
    assert picture.at_s - since_s >= RETURN_S
    assert stage.viewer.hole_before(picture) <= FRAMES_S
    stage.wait_shown("primary")
    assert stage.switches("returned") == 1
    assert stage.finding() == "The primary encoder is on air again: it has been healthy."
    print(f"longest freeze in Chromium: {stage.freeze_ms():.0f} ms")
    assert stage.freeze_ms() <= 500
    assert stage.viewer.longest_hole(since_s) <= FRAMES_S


def test_a_hung_encoder_is_made_good(stage: Stage) -> None:
    stage.wait_ready("backup")
    stage.clear()
    since_s = time.monotonic()
    os.kill(stage.encoders["primary"].process.pid, signal.SIGSTOP)
    picture = stage.viewer.first("backup", since_s)
    check(stage, since_s, picture, "hung")
    stage.wait_states(primary="failed", backup="on_air")
    assert "the primary encoder sent no picture for" in stage.finding()
    stage.wait_shown("backup")
    print(f"longest freeze in Chromium: {stage.freeze_ms():.0f} ms")
    assert stage.freeze_ms() <= 1500
    os.kill(stage.encoders["primary"].process.pid, signal.SIGCONT)


def test_an_encoder_may_be_asked_for(stage: Stage) -> None:
    stage.viewer.first("primary", time.monotonic(), 30)  # it returned by rule
    since_s = time.monotonic()
    reply = stage.server.api("POST", f"/streams/{STREAM}/source", {"role": "backup"})
    assert reply.status == 200, reply.text
    assert reply.json()["source"] == "backup"
    picture = stage.viewer.first("backup", since_s)
    # A GOP until the next key frame, and what a busy machine adds.
    assert picture.at_s - since_s <= 2 + SWITCH_S
    assert stage.viewer.hole_before(picture) <= FRAMES_S
    time_kept_s = picture.at_s + RETURN_S + 2
    wait_for(lambda: stage.viewer.seen[-1].at_s > time_kept_s, 20, "some more pictures")
    assert stage.viewer.seen[-1].role == "backup"
    reply = stage.server.api("POST", f"/streams/{STREAM}/source", {"role": "auto"})
    assert reply.status == 200, reply.text
    stage.viewer.first("primary", time.monotonic())


def test_with_both_gone_the_stream_waits(stage: Stage) -> None:
    stage.kill("backup")
    stage.kill("primary")
    stage.server.wait_state("reconnecting")
    assert {s["state"] for s in stage.sources().values()} == {"failed"}
    reply = stage.server.api("POST", f"/streams/{STREAM}/source", {"role": "backup"})
    assert reply.status == 409
    assert "No backup encoder is connected" in reply.json()["detail"]
    since_s = time.monotonic()
    stage.push("backup")
    stage.viewer.first("backup", since_s)
    stage.server.wait_state("live")
    stage.wait_states(backup="on_air")
