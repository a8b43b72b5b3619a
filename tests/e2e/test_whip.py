"""A WebRTC publisher becomes the same live stream as an RTMP encoder: ladder, sound, life cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.hls import Reader
from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, Server, wait_for
from tests.support.whip import WhipPublisher

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(120)]

SETTINGS = {
    "whip.ports": "0",
    "ladder.rungs": "[{height = 240, bitrate_kbps = 400}]",
}


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server(**SETTINGS)


@pytest.fixture
def whip(server: Server) -> Iterator[Callable[..., WhipPublisher]]:
    """Start WHIP publishers to `server`; all are ended."""
    publishers: list[WhipPublisher] = []

    def start(path: str = "/whip") -> WhipPublisher:
        publishers.append(WhipPublisher(server.url + path, KEY))
        return publishers[-1]

    yield start
    for publisher in publishers:
        publisher.stop()
        print(publisher.log)


def test_webrtc_becomes_a_ladder_with_sound(
    server: Server, whip: Callable[..., WhipPublisher], push: Callable[..., Publisher]
) -> None:
    publisher = whip(f"/whip/{STREAM}")
    server.wait_live()
    reader = Reader(server)
    wait_for(lambda: {"source", "240p", "audio"} <= set(reader.names()), 20, "the ladder")

    def listed(name: str) -> bool:
        return len([s for s in reader.media(name).segments if s.uri and not s.gap_tag]) >= 3

    wait_for(lambda: all(listed(name) for name in reader.names()), 30, "three segments each")
    for name in reader.names():
        found = reader.decode(name, segments=3)
        print(name, found.codec, found.frames, found.width, found.height)
        if name == "audio":
            assert found.codec == "aac"
            assert found.frames >= 3 * 2 * 48000 / 1024 - 6
        else:
            assert found.codec == "h264"
            assert found.frames >= 150  # 6 s of 30 pictures a second, on a busy machine
    assert server.metric("vitrina_webrtc_sessions", protocol="whip") == 1
    packets = server.metric("vitrina_webrtc_packets_total", stream=STREAM, kind="video")
    assert packets is not None
    assert packets > 100
    # RTMP with the same key takes over, and the WebRTC peer is sent away.
    older = push()
    wait_for(lambda: publisher.ended, 15, "the end of the first publisher")
    assert '"state": "closed"' in publisher.log
    wait_for(lambda: server.metric("vitrina_webrtc_sessions", protocol="whip") == 0, 5, "its end")
    closed = "vitrina_webrtc_sessions_closed_total"
    assert server.metric(closed, protocol="whip", reason="revoked") == 1
    assert server.stream()["state"] == "live"
    # And WebRTC takes over from RTMP.
    again = whip()
    opened = "vitrina_webrtc_setup_seconds_count"
    wait_for(lambda: server.metric(opened, protocol="whip") == 2, 15, "the second connection")
    # The older one stays on the air until the newer one's key frame.
    wait_for(lambda: older.process.poll() is not None, 15, "the end of the older publisher")
    wait_for(lambda: server.stream()["on_air"] == "encoder", 5, "its pictures")
    # Its goodbye is the slate at once, within the grace.
    again.stop()
    assert '"deleted": 200' in again.log
    wait_for(lambda: server.stream()["on_air"] == "slate", 5, "the slate")
    assert server.stream()["state"] == "reconnecting"
    assert server.metric(closed, protocol="whip", reason="bye") == 1
    assert KEY not in server.log
