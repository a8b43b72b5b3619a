"""Findings as a producer meets them: in the API, as events, as a metric, from real encoders."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, TOKEN, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient]

OTHER = "other"
OTHER_KEY = f"{KEY}-{OTHER}"
INTERVAL = "keyframe_interval"
UNDER_LOAD = {"pictures_dropped", "ladder_pressure", "frame_rate_low", "uplink_slow"}
"""What a good encoder may be told on a machine that is short of time."""


class Listener:
    """Reads a producer's events from a thread; `events` grows."""

    def __init__(self, server: Server, stream: str) -> None:
        request = urllib.request.Request(
            f"{server.url}/api/v1/streams/{stream}/events",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        self._answer = urllib.request.urlopen(request, timeout=60)
        self.events: list[tuple[str, Any]] = []
        threading.Thread(target=self._read, name="events", daemon=True).start()

    def _read(self) -> None:
        name = ""
        for raw in self._answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                self.events.append((name, json.loads(line[6:])))

    def changes(self, code: str) -> list[tuple[str, Any]]:
        found = [data for name, data in self.events if name == "finding"]
        return [(f["change"], f["finding"]) for f in found if f["finding"]["code"] == code]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = {"ladder.rungs": "[{height = 180, bitrate_kbps = 300}]"}
    made = Server(tmp_path, settings, [(STREAM, KEY), (OTHER, OTHER_KEY)])
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log, made.log


def found(server: Server, stream: str = STREAM) -> dict[str, Any]:
    """Newest finding of each code."""
    return {f["code"]: f for f in reversed(server.stream(stream)["findings"])}


def test_a_long_gop_is_told_and_closed_after_a_good_push(server: Server):
    listener = Listener(server, STREAM)
    wait_for(lambda: listener.events, 10, "the snapshot")
    name, snapshot = listener.events[0]
    assert name == "snapshot"
    assert snapshot == {"state": "idle", "findings": []}

    metric = "vitrina_findings"
    with (
        Publisher(f"{server.rtmp}/{KEY}", gop_s=8, size="480x270", bitrate="400k"),
        Publisher(f"{server.rtmp}/{OTHER_KEY}", video="h264_b", audio=None, size="480x270"),
    ):

        def known() -> Any:
            finding = found(server).get(INTERVAL)
            return finding if finding and " 8.0 s" in finding["text"] else None

        finding = wait_for(known, 40, "the sentence with the encoder's interval")
        assert finding["severity"] == "warning"
        assert finding["until"] is None
        assert finding["text"] == (
            "The encoder sends a key frame only every 8.0 s: set the keyframe interval to 2 s "
            "(OBS: Settings ▸ Output ▸ Keyframe Interval). Until then the source picture is "
            "re-encoded."
        )
        assert server.metric(metric, stream=STREAM, code=INTERVAL) == 1
        wait_for(lambda: "audio_missing" in found(server, OTHER), 20, "missing sound")
        wait_for(lambda: "b_frames" in found(server, OTHER), 20, "B-frames")
        assert INTERVAL not in found(server, OTHER)

    with Publisher(f"{server.rtmp}/{KEY}", gop_s=2, size="480x270", bitrate="400k"):
        closed = wait_for(
            lambda: (f := found(server)[INTERVAL])["until"] and f, 30, "the end of the finding"
        )
        assert closed["since"] == finding["since"] < closed["until"]
        assert server.metric(metric, stream=STREAM, code=INTERVAL) == 0
        opened = server.metric("vitrina_findings_opened_total", stream=STREAM, code=INTERVAL)
        assert opened == 1
        wait_for(lambda: listener.changes(INTERVAL)[-1][0] == "closed", 5, "the last event")
        changes = listener.changes(INTERVAL)
        assert changes[0][0] == "opened"
        assert changes[-1][1] == closed
        assert {"updated"} >= {change for change, _ in changes[1:-1]}
        states = [data["state"] for name, data in listener.events if name == "state"]
        assert states == ["live", "reconnecting", "live"]
        open_now = {f["code"] for f in server.stream()["findings"] if f["until"] is None}
        assert open_now <= UNDER_LOAD
