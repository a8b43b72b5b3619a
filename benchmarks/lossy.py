"""WebRTC both ways over bad networks: what is left of pictures and sound.

    python -m benchmarks.lossy [--seconds 60] [--loss 0.03] [--jitter-ms 30]

An aiortc publisher (640x360, 30 fps of 2 to 3 Mb/s, Opus), the server, and Chromium with the
realtime player; relays between the first two and the last two drop datagrams at random, both ways,
and delay each by itself, so that they overtake each other. LL-HLS shows what the publisher's path
has left, WebRTC what both have.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks._common import emit, percentile, table
from benchmarks._rig import vitrina, workspace
from tests.support.browser import CHROMIUM, watching
from tests.support.endured import Endured, of_hls, of_viewer, received, watching_over
from tests.support.hls import Reader
from tests.support.lossy import Network
from tests.support.server import KEY, STREAM, Server
from tests.support.whip import WhipPublisher

BUDGET_S = 1.0
SETTINGS: dict[str, object] = {
    "whip.ports": "0",
    "whip.addresses": '["127.0.0.1"]',
    "ladder.rungs": "[]",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--loss", type=float, default=0.03, help="share of the datagrams")
    parser.add_argument("--jitter-ms", type=float, default=30, help="the longest delay")
    parser.add_argument("--ordered", action="store_true", help="none overtakes on the way out")
    arguments = parser.parse_args()
    if not CHROMIUM.exists():
        print("needs Chromium: apt install chromium", file=sys.stderr)
        return 2
    settings = SETTINGS | {"hls.window_segments": arguments.seconds // 2 + 6}
    with workspace() as folder, vitrina(folder / "vitrina", [(STREAM, KEY)], settings) as server:
        jitter_s = arguments.jitter_ms / 1000
        return measure(
            server, arguments.seconds, arguments.loss, jitter_s, ordered=arguments.ordered
        )


def measure(
    server: Server, seconds: int, loss: float, jitter_s: float, *, ordered: bool = False
) -> int:
    """Publish and watch for so long; report."""
    publisher = WhipPublisher(f"{server.url}/whip", KEY, loss=loss, jitter_s=jitter_s)
    try:
        with Network(loss=loss, jitter_s=jitter_s, seed=2, ordered=ordered) as network:
            server.wait_live()
            url = f"{server.url}/watch/{STREAM}?mode=realtime"
            with watching(url, prepare=lambda page: watching_over(page, network)) as watch:
                watch.wait_frames(60)
                time.sleep(2)
                watch.clear()
                before = received(watch)
                watch.page.wait_for_timeout(seconds * 1000)
                viewer = of_viewer(watch, before)
                hls = of_hls(Reader(server), segments=seconds // 2)
                latencies = watch.latencies_s()
                if watch.player("p.engine") != "webrtc":
                    raise RuntimeError("the player fell back to LL-HLS")
        counters = {
            f"{protocol} {name}": int(server.metric(metric, protocol=protocol, kind="video") or 0)
            for protocol in ("whip", "whep")
            for name, metric in (
                ("packets", "vitrina_webrtc_packets_total"),
                ("nacks", "vitrina_webrtc_nacks_total"),
                ("sent again", "vitrina_webrtc_rtx_packets_total"),
                ("key requests", "vitrina_webrtc_key_requests_total"),
                ("lost", "vitrina_webrtc_lost_packets_total"),
            )
        }
    finally:
        publisher.stop()
    header = (
        *("at", "pictures/s", "decoded/s", "not shown", "freezes > 0.25 s", "longest s"),
        *("silences >= 10 ms", "longest s", "concealed"),
    )
    table(header, [row("LL-HLS", hls), row("WebRTC", viewer)])
    table(("video over RTP", "count"), list(counters.items()))
    p50, p95 = (percentile(latencies, share) for share in (50, 95))
    print(f"picture to picture by WebRTC: p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms\n")
    figures: dict[str, object] = {
        f"{name}_{key}": value
        for name, found in (("hls", hls), ("webrtc", viewer))
        for key, value in (
            ("pictures_per_s", round(found.pictures_per_s, 2)),
            ("lost", round(found.lost, 4)),
            ("longest_freeze_s", round(found.longest_freeze_s, 3)),
            ("silent_s", round(sum(found.silences_s), 3)),
        )
    }
    emit(
        "lossy",
        {
            **figures,
            "latency_p95_s": round(p95, 3),
            "webrtc_decoded_per_s": round(viewer.decoded_per_s or 0, 2),
            **counters,
        },
    )
    return int(max(hls.longest_freeze_s, viewer.longest_freeze_s) > BUDGET_S or bool(hls.holes))


def row(name: str, found: Endured) -> tuple[object, ...]:
    return (
        name,
        f"{found.pictures_per_s:.1f}",
        "-" if found.decoded_per_s is None else f"{found.decoded_per_s:.1f}",
        f"{found.lost:.1%}",
        len(found.freezes_s),
        f"{found.longest_freeze_s:.2f}",
        len(found.silences_s),
        f"{max(found.silences_s, default=0):.3f}",
        f"{found.concealed:.1%}",
    )


if __name__ == "__main__":
    sys.exit(main())
