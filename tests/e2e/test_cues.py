"""Cues through every carrier of a real stream: the same revision, at the same moment."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import boxes
from tests.support.hls import Reader
from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(120)]

SETTINGS: dict[str, Any] = {
    "ladder.rungs": "[{height = 180, bitrate_kbps = 300}]",
    "cues.writes_per_second": 1000,
    "cues.max_live": 200,
}
VIDEO = ("source", "180p")
NAMES = (*VIDEO, "audio")
TEXT = {
    "en": "🧣 Scarf “Ñandú” 👩🏽‍🎨",
    "ar": "وشاح أحمر، ٢٥٪ خصم",
    "zh": "红色围巾",
    "th": "ผ้าพันคอ",
}
MS = timedelta(milliseconds=1)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def text_of(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Part:
    """A listed part."""

    uri: str
    start: datetime
    seconds: float

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)


def parts(playlist: str) -> dict[tuple[int, int], Part]:
    """Read the parts of a playlist by (media sequence number, index)."""
    found: dict[tuple[int, int], Part] = {}
    msn = int(re.findall(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", playlist)[0])
    start: datetime | None = None
    index = 0
    for line in playlist.splitlines():
        if line.startswith("#EXT-X-PROGRAM-DATE-TIME:"):
            start = moment(line.partition(":")[2])
        elif line.startswith("#EXT-X-PART:"):
            assert start is not None
            uri = re.findall(r'URI="([^"]+)"', line)[0]
            seconds = float(re.findall(r"DURATION=([\d.]+)", line)[0])
            found[msn, index] = Part(uri, start, seconds)
            start += timedelta(seconds=seconds)
            index += 1
        elif line and not line.startswith("#"):
            msn, index = msn + 1, 0
    return found


def edge(show: Show) -> datetime:
    """First moment that no rendition lists yet."""
    return max(max(p.end for p in parts(show.reader.text(n)).values()) for n in NAMES)


def date_ranges(playlist: str) -> dict[str, dict[str, Any]]:
    """Read the cues that a playlist lists, by ID, with the payload decoded."""
    found = {}
    for line in re.findall(r"#EXT-X-DATERANGE:(.*)", playlist):
        attributes = dict(re.findall(r'([A-Z-]+)=(?:"([^"]*)"|[^,]*)', line))
        payload = attributes["X-ORG-VITRINA-CUE"]
        padded = payload + "=" * (-len(payload) % 4)
        found[attributes["ID"]] = {
            "start": attributes["START-DATE"],
            "class": attributes["CLASS"],
            "cue": json.loads(base64.urlsafe_b64decode(padded)),
        }
    return found


@dataclass
class Show:
    server: Server
    reader: Reader

    def fire(self, **cue: Any) -> dict[str, Any]:
        return self.server.cue({"type": "notice", "data": {"text": "Hello"}, **cue})

    def get(self, cue: dict[str, Any]) -> dict[str, Any]:
        return self.server.api("GET", f"/streams/{STREAM}/cues/{cue['id']}").json()

    def placed(self, cue: dict[str, Any]) -> dict[str, tuple[int, int]]:
        """Wait until every rendition has published the part that carries the cue."""

        def probe() -> dict[str, tuple[int, int]] | None:
            placement = self.get(cue)["placement"]
            if placement is None:
                return None
            where = {n: (r["msn"], r["part"]) for n, r in placement["rendition_sequence"].items()}
            if set(where) != set(NAMES):
                return None
            ready = all(where[n] in parts(self.reader.text(n)) for n in NAMES)
            return where if ready else None

        return wait_for(probe, 30, f"the parts of {cue['id']}")

    def carried(self, name: str, cue: dict[str, Any]) -> list[tuple[tuple[int, int], boxes.Event]]:
        """Return where a rendition's listed parts carry a revision."""
        return [
            (place, event)
            for place, part in parts(self.reader.text(name)).items()
            for event in boxes.events(self.reader.fetch(name, part.uri))
            if (event.cue["id"], event.cue["rev"]) == (cue["id"], cue["rev"])
        ]

    def presented(self, name: str, place: tuple[int, int], event: boxes.Event) -> datetime:
        """Program date-time of an event: from the media's own clock and the playlist's date."""
        playlist = self.reader.text(name)
        part = parts(playlist)[place]
        init = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', playlist)[-1]
        scale = boxes.timescale(self.reader.fetch(name, init))
        begins = boxes.decode_time(self.reader.fetch(name, part.uri)) / scale
        return part.start + timedelta(seconds=event.time / event.scale - begins)


def start_show(server: Server) -> Show:
    reader = Reader(server)
    server.wait_live()
    for name in NAMES:
        wait_for(lambda name=name: len(parts(reader.text(name))) > 6, 40, f"parts of {name}")
    return Show(server, reader)


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    server = Server(tmp_path_factory.mktemp("cues"), SETTINGS).start()
    try:
        with Publisher(f"{server.rtmp}/{KEY}", size="480x270", bitrate="500k"):
            yield start_show(server)
    finally:
        server.stop()
        assert "Traceback" not in server.log, server.log


@contextmanager
def listening(server: Server, last: int | None = None) -> Iterator[Callable[[], dict[str, Any]]]:
    """Open the cue stream; the function waits for the next cue and returns it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    connection.request("GET", f"/live/{STREAM}/events", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")

    def following() -> dict[str, Any]:
        fields: dict[str, str] = {}
        while True:
            line = answer.readline()
            assert line, "the server closed the cue stream"
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif fields.get("event") == "cue":
                cue = json.loads(fields["data"])
                assert fields["id"] == str(cue["seq"])
                return cue
            else:
                fields = {}

    try:
        yield following
    finally:
        connection.close()


def said(cue: dict[str, Any]) -> dict[str, Any]:
    """What every carrier says of a revision."""
    return {name: cue[name] for name in ("id", "rev", "type", "at", "end", "data")}


def test_same_revision_at_the_same_moment_in_every_carrier(show: Show):
    with listening(show.server) as following:
        cue = show.fire(at="+1.5", duration=4.0, data={"text": TEXT})
        assert (cue["rev"], cue["state"], cue["placement"]) == (1, "scheduled", None)
        assert said(following()) == said(cue)
    for name in NAMES:
        listed = date_ranges(show.reader.text(name))[f"{cue['id']}.1"]
        assert listed["start"] == cue["at"]
        assert listed["class"] == "org.vitrina.cue.notice"
        assert said(listed["cue"]) == said(cue)
    where = show.placed(cue)
    for name in VIDEO:
        ((place, event),) = show.carried(name, cue)
        assert place == where[name]
        assert said(event.cue) == said(cue)
        assert event.cue["data"]["text"] == TEXT
        assert event.number == cue["seq"]
        assert abs(show.presented(name, place, event) - moment(cue["at"])) <= MS
    for name in NAMES:
        part = parts(show.reader.text(name))[where[name]]
        assert part.start - MS <= moment(cue["at"]) <= part.end + MS


def test_now_is_the_first_moment_that_nobody_lists(show: Show):
    before = edge(show)
    cue = show.fire(at="now", duration=2)
    assert before - MS <= moment(cue["at"]) <= edge(show) + MS
    where = show.placed(cue)
    for name in VIDEO:
        ((place, event),) = show.carried(name, cue)
        assert place == where[name]
        assert abs(show.presented(name, place, event) - moment(cue["at"])) <= MS


def test_plus_and_absolute_times(show: Show):
    before = edge(show)
    plus = show.fire(at="+2.5", duration=1)
    after = edge(show)
    ahead = timedelta(seconds=2.5)
    assert before + ahead - MS <= moment(plus["at"]) <= after + ahead + MS
    when = text_of(after + timedelta(seconds=2.234))
    absolute = show.fire(at=when, duration=1)
    assert absolute["at"] == when
    where = show.placed(absolute)
    for name in VIDEO:
        ((place, event),) = show.carried(name, absolute)
        assert place == where[name]
        assert abs(show.presented(name, place, event) - moment(when)) <= MS


def test_late_cue_keeps_its_true_time(show: Show):
    published = {name: max(parts(show.reader.text(name))) for name in NAMES}
    when = text_of(edge(show) - timedelta(seconds=3))
    cue = show.fire(at=f"seen:{when}", duration=8)
    assert cue["at"] == when
    for name in NAMES:
        listed = date_ranges(show.reader.text(name))[f"{cue['id']}.1"]
        assert listed["start"] == listed["cue"]["at"] == when
    where = show.placed(cue)
    for name in VIDEO:
        ((place, event),) = show.carried(name, cue)
        assert place == where[name]
        assert place > published[name]  # what was published does not change
        assert event.cue["at"] == when
        part = parts(show.reader.text(name))[place]
        assert abs(show.presented(name, place, event) - part.start) <= MS


def test_end_is_a_revision_in_every_carrier(show: Show):
    cue = show.fire(at="now", duration=60)
    show.placed(cue)
    with listening(show.server, cue["seq"]) as following:
        ended = show.server.api("POST", f"/streams/{STREAM}/cues/{cue['id']}/end").json()
        assert (ended["id"], ended["rev"]) == (cue["id"], 2)
        heard = following()
        assert (heard["id"], heard["rev"], heard["state"]) == (cue["id"], 2, "ended")
    where = show.placed(cue)
    for name in NAMES:
        listed = date_ranges(show.reader.text(name))[f"{cue['id']}.2"]
        assert said(listed["cue"]) == said(ended)
    for name in VIDEO:
        ((place, event),) = show.carried(name, ended)
        assert place == where[name]
        assert event.cue["state"] == "ended"


def test_state_at_a_moment(show: Show):
    cue = show.fire(at="+0.5", duration=2.0)
    begins, ends = moment(cue["at"]), moment(cue["end"])
    for when, active in ((begins - MS, False), (begins, True), (ends - MS, True), (ends, False)):
        state = show.server.get(f"/live/{STREAM}/state.json?at={text_of(when)}").json()
        assert (cue["id"] in [c["id"] for c in state["cues"]]) is active, when
        assert state["at"] == text_of(when)


def test_cue_stream_resumes_after_the_last_event(show: Show):
    fired = [show.fire(at="now", duration=1, data={"text": f"{n}"}) for n in range(3)]
    with listening(show.server, fired[0]["seq"]) as following:
        assert [following()["id"] for _ in fired[1:]] == [cue["id"] for cue in fired[1:]]
        fresh = show.fire(at="now", duration=1)
        assert following()["id"] == fresh["id"]


def test_idempotency_key(show: Show):
    body = {"type": "notice", "at": "now", "duration": 1, "data": {"text": "Once"}}
    headers = {"Idempotency-Key": "once-7f1d"}
    path = f"/streams/{STREAM}/cues"
    first, second = (show.server.api("POST", path, body, headers=headers) for _ in range(2))
    assert (first.status, second.status) == (201, 201)
    assert said(first.json()) == said(second.json())
    assert first.json()["seq"] == second.json()["seq"]
    other = show.server.api("POST", path, body | {"duration": 2}, headers=headers)
    assert other.status == 409
    assert "Idempotency-Key" in other.json()["detail"]


def test_cues_survive_a_kill(tmp_path: Path):
    server = Server(tmp_path, SETTINGS).start()
    url = f"{server.rtmp}/{KEY}"
    try:
        with Publisher(url, size="480x270"):
            show = start_show(server)
            chapter = server.cue({"type": "chapter", "at": "now", "data": {"title": TEXT}})
            notice = show.fire(at="now", duration=1)
            before = server.api("GET", f"/streams/{STREAM}/cues").json()
            server.kill()
        server.start()
        assert server.api("GET", f"/streams/{STREAM}/cues").json() == before
        with listening(server, chapter["seq"]) as following:
            assert said(following()) == said(notice)
        with Publisher(url, size="480x270"):
            show = start_show(server)
            for name in NAMES:
                listed = date_ranges(show.reader.text(name))[f"{chapter['id']}.1"]
                assert said(listed["cue"]) == said(chapter)
            for name in VIDEO:
                ((_, event),) = show.carried(name, chapter)
                assert said(event.cue) == said(chapter)
            assert show.fire(at="now")["seq"] == notice["seq"] + 1
            (listed_chapter,) = server.get(f"/live/{STREAM}/chapters.json").json()
            titles = {title["language"]: title["title"] for title in listed_chapter["titles"]}
            assert titles == TEXT
    finally:
        server.stop()
        assert "Traceback" not in server.log, server.log
