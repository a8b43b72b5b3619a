"""Which simulcast layer is which track."""

from __future__ import annotations

import pytest

from ingest.whip.layers import DECIDE_NS, GONE_NS, MAX_HELD, SILENT_NS, STEADY_NS, Layers
from media.model import Codec, Kind, Packet, TrackFormat
from tests.ingest.whip.publisher import MS, SECOND, Sink

pytestmark = pytest.mark.unit

FRAME = 40 * MS


def picture(width: int) -> TrackFormat:
    return TrackFormat(
        codec=Codec.H264, config=b"c", codec_string="avc1", width=width, height=width // 2
    )


class Camera:
    """Layers of the given widths; those in `sending` send a picture each 40 ms."""

    def __init__(self, *widths: int) -> None:
        self.sink = Sink()
        self.wanted = dict.fromkeys(range(len(widths)), True)
        self.layers = Layers(self.sink, len(widths), self._request)
        self.widths = widths
        self.fresh = set(range(len(widths)))
        self.now = 1000 * SECOND
        self.requests: list[int] = []

    def _request(self, index: int) -> None:
        self.requests.append(index)
        self.wanted[index] = True

    def run(self, seconds: float, *sending: int) -> None:
        end = self.now + round(seconds * SECOND)
        while self.now < end:
            for index in sending:
                key = self.wanted[index]
                self.wanted[index] = False
                changed = None
                if key and index in self.fresh:
                    self.fresh.remove(index)
                    changed = picture(self.widths[index])
                ticks = self.now * 9 // 100_000
                packet = Packet(
                    track=0,
                    codec=Codec.H264,
                    dts=ticks,
                    pts=ticks,
                    key=key,
                    payload=b"p" * self.widths[index],
                    arrived_ns=self.now,
                )
                self.layers.take(index, changed, packet)
            self.layers.tick(self.now)
            self.now += FRAME

    def shown(self) -> list[tuple[int, int]]:
        """Return (track, width) of what was announced."""
        return [(track, each.width) for track, each in self.sink.formats]

    def width_of(self, track: int) -> int:
        """Return the width of a track's newest picture."""
        return len(self.sink.of(Kind.VIDEO, track)[-1].payload)


def test_one_layer_is_never_held() -> None:
    camera = Camera(640)
    camera.run(0.04, 0)
    assert camera.shown() == [(0, 640)]
    assert len(camera.sink.packets) == 1


def test_tracks_are_numbered_by_size_as_soon_as_all_have_come() -> None:
    camera = Camera(320, 1280, 640)
    camera.run(0.04, 0, 1, 2)
    assert sorted(camera.shown()) == [(0, 1280), (1, 640), (2, 320)]
    assert len(camera.sink.packets) == 3
    assert camera.layers.main == 1


def test_who_has_not_come_in_a_second_is_last() -> None:
    camera = Camera(1280, 640, 320)
    camera.run(DECIDE_NS / SECOND - 0.04, 1, 2)
    assert camera.sink.packets == []
    camera.run(0.12, 1, 2)
    assert camera.shown() == [(0, 640), (1, 320)]
    assert len(camera.sink.of(Kind.VIDEO, 0)) == len(camera.sink.of(Kind.VIDEO, 1)) == 27


def test_what_is_held_is_bounded() -> None:
    camera = Camera(1280, 640)
    for _ in range(MAX_HELD):
        camera.run(0.04, 0)
        camera.now -= FRAME - 1
    assert camera.shown() == [(0, 1280)]


def test_a_layer_that_comes_for_good_becomes_the_main_one() -> None:
    camera = Camera(1280, 640)
    camera.run(2, 1)
    camera.run(STEADY_NS / SECOND - 0.5, 0, 1)
    assert camera.layers.main == 1
    assert camera.width_of(1) == 1280
    camera.run(1.5, 0, 1)
    assert camera.layers.main == 0
    assert (camera.width_of(0), camera.width_of(1)) == (1280, 640)
    assert camera.requests == [0, 1]


def test_when_the_main_layer_stops_the_next_one_takes_over() -> None:
    camera = Camera(1280, 640, 320)
    camera.run(3, 0, 1, 2)
    camera.run(SILENT_NS / SECOND + 0.2, 1, 2)
    assert camera.layers.main == 1
    assert camera.requests == [1]
    camera.run(1, 1, 2)
    assert (camera.width_of(0), camera.width_of(2)) == (640, 320)
    assert camera.sink.dropped == [(1, Kind.VIDEO)]
    camera.run(STEADY_NS / SECOND + 1, 0, 1, 2)
    assert camera.layers.main == 1  # it has to hold out longer after a stop
    camera.run(STEADY_NS / SECOND + 1, 0, 1, 2)
    assert camera.layers.main == 0
    assert (camera.width_of(0), camera.width_of(1)) == (1280, 640)
    assert camera.layers.changes == 2


def test_a_further_layer_that_stops_ends_its_track_and_may_come_back() -> None:
    camera = Camera(1280, 640)
    camera.run(2, 0, 1)
    camera.run(GONE_NS / SECOND + 0.2, 0)
    assert camera.sink.dropped == [(1, Kind.VIDEO)]
    camera.run(1, 0, 1)
    assert camera.requests == [1]
    assert camera.shown() == [(0, 1280), (1, 640), (1, 640)]
    assert camera.layers.main == 0


def test_a_goodbye_ends_a_further_track_at_once() -> None:
    camera = Camera(1280, 640)
    camera.run(2, 0, 1)
    camera.layers.ended(1)
    camera.layers.ended(1)
    assert camera.sink.dropped == [(1, Kind.VIDEO)]
    camera.layers.ended(0)
    assert camera.layers.main == 0


def test_a_main_layer_that_waits_for_a_key_frame_stays() -> None:
    camera = Camera(1280, 640)
    camera.run(2, 0, 1)
    for _ in range(50):
        camera.layers.heard(0, camera.now)
        camera.run(0.04, 1)
    assert camera.layers.main == 0
    assert camera.requests == []
    camera.run(1, 1)
    assert camera.layers.main == 1


def test_all_silent_changes_nothing() -> None:
    camera = Camera(1280, 640)
    camera.run(2, 0, 1)
    camera.run(10)
    assert camera.layers.main == 0
    camera.wanted[0] = True
    before = len(camera.sink.of(Kind.VIDEO))
    camera.run(1, 0)
    assert len(camera.sink.of(Kind.VIDEO)) == before + 25
