"""WebRTC both ways over networks that lose 3 % and delay up to 30 ms: nobody notices much."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.browser import CHROMIUM, watching
from tests.support.endured import of_hls, of_viewer, received, watching_over
from tests.support.hls import Reader
from tests.support.lossy import Network
from tests.support.server import KEY, STREAM, Server
from tests.support.whip import WhipPublisher

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt install chromium"),
]
SETTINGS = {
    "whip.ports": "0",
    "whip.addresses": '["127.0.0.1"]',
    "ladder.rungs": "[]",
}
LOSS, JITTER_S = 0.03, 0.03
WATCHED_S = 15


def test_losses_are_made_up_for_on_both_sides(make_server: Callable[..., Server]) -> None:
    server = make_server(**SETTINGS)
    publisher = WhipPublisher(f"{server.url}/whip", KEY, loss=LOSS, jitter_s=JITTER_S)
    try:
        with Network(loss=LOSS, jitter_s=JITTER_S, seed=2) as network:
            server.wait_live()
            page = f"{server.url}/watch/{STREAM}?mode=realtime"
            with watching(page, prepare=lambda page: watching_over(page, network)) as watch:
                watch.wait_frames(60)
                watch.clear()
                before, began = received(watch), time.monotonic()
                watch.page.wait_for_timeout(WATCHED_S * 1000)
                viewer = of_viewer(watch, before)
                assert watch.player("p.engine") == "webrtc"
                hls = of_hls(Reader(server), segments=int(time.monotonic() - began) // 2)
        print("viewer", viewer, viewer.decoded_per_s)  # pytest shows it where a test fails
        print("hls", hls)
        assert network.dropped > 20
        assert hls.longest_freeze_s <= 1, hls
        assert hls.pictures_per_s > 24, hls
        assert hls.lost < 0.2, hls
        assert viewer.longest_freeze_s <= 1, viewer
        assert viewer.decoded_per_s is not None
        assert viewer.decoded_per_s > 20, viewer
        # What is lost of the sound is made up; two packets in a row leave a moment of silence.
        assert hls.holes == 0
        assert sum(hls.silences_s) < 0.2, hls
        assert max(hls.silences_s, default=0) < 0.1, hls
        labels = {"stream": STREAM, "kind": "video"}
        asked = server.metric("vitrina_webrtc_nacks_total", protocol="whip", **labels)
        assert asked
        assert asked > 5
        # The viewer asks for nothing again: its feedback tells what is missing.
        assert not server.metric("vitrina_webrtc_nacks_total", protocol="whep", **labels)
        again = server.metric("vitrina_webrtc_rtx_packets_total", protocol="whep", **labels)
        assert again
        assert again > 5
    finally:
        publisher.stop()
        print(publisher.log)
