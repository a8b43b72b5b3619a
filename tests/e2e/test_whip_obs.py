"""OBS publishes three layers by WHIP: they become the rungs, and nothing but sound is encoded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clapped import offsets_s, read_pictures, read_sound
from tests.support.hls import Reader
from tests.support.obs_whip import SIZES
from tests.support.server import KEY, ROOT, STREAM, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(120)]
SETTINGS = {"whip.ports": "0", "whip.addresses": '["127.0.0.1"]', "ladder.rungs": "[]"}
RUNGS = dict(zip(("source", "360p", "180p"), SIZES, strict=True))


@pytest.fixture
def obs(tmp_path: Path) -> Iterator[Callable[[Server], subprocess.Popen[bytes]]]:
    """Start OBS; it is ended."""
    started: list[subprocess.Popen[bytes]] = []
    path = tmp_path / "obs.log"

    def start(server: Server) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.support.obs_whip", f"{server.url}/whip", KEY]
        with path.open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start
    for each in started:
        each.terminate()
        each.wait(10)
    print(path.read_text())
    assert '"deleted": 200' in path.read_text()


def test_its_layers_are_the_rungs(
    make_server: Callable[..., Server], obs: Callable[[Server], subprocess.Popen[bytes]]
) -> None:
    server = make_server(**SETTINGS)
    obs(server)
    server.wait_live()
    reader = Reader(server)
    wait_for(lambda: {*RUNGS, "audio"} <= set(reader.names()), 20, "the layers")
    assert reader.names() == [*RUNGS, "audio"]

    def listed(name: str) -> list[Any]:
        return [s for s in reader.media(name).segments if s.uri and not s.gap_tag]

    wait_for(lambda: all(len(listed(name)) >= 4 for name in reader.names()), 30, "four segments")
    bodies: dict[str, bytes] = {}
    for name in reader.names():
        chosen = listed(name)[-4:]
        init = reader.fetch(name, chosen[0].init_section.uri)
        bodies[name] = init + b"".join(reader.fetch(name, each.uri) for each in chosen)
    sound = read_sound(bodies["audio"])
    assert sound.holes_s == []
    assert len(sound.beeps) >= 6
    for name, (width, height) in RUNGS.items():
        found = reader.decode(name, segments=2)
        assert (found.width, found.height, found.codec) == (width, height, "h264")
        pictures = read_pictures(bodies[name])
        offsets = offsets_s(pictures, sound)
        print(name, len(pictures.numbers), pictures.longest_gap_s, offsets)
        assert pictures.unreadable == 0
        assert pictures.numbers == sorted(set(pictures.numbers))
        assert len(pictures.numbers) >= 200
        assert pictures.longest_gap_s < 0.1
        assert len(offsets) >= 6
        assert max(map(abs, offsets)) <= 0.04
    assert server.metric("vitrina_webrtc_sessions", protocol="whip") == 1
    # What OBS sends is what viewers get: a worker makes AAC of its Opus, and no pictures.
    used = {t["track"]: t["used_as"] for t in server.stream()["tracks"] if t["kind"] == "video"}
    assert used == dict(enumerate(RUNGS))
    assert [t["codec"] for t in server.stream()["tracks"] if t["kind"] == "audio"] == ["opus"]
    assert not [f for f in server.stream()["findings"] if f["code"].startswith("tracks_")]
    assert "transcode worker started" in server.log
    assert server.metric("vitrina_webrtc_packets_total", stream=STREAM, kind="video")
