"""Hostile connections beside one real publisher, round after round.

    python -m benchmarks.hostile [--clients 300] [--seconds 20] [--rounds 5]

A real server without a ladder takes one 720p30 push; in every round hundreds of clients stall,
lie and flood on RTMP, RTMPS and HTTP, then leave. Lag is that under attack; memory, sockets
and threads are read once the attack is over. The first round warms up: what is kept from it
(allocator pools, TLS, compiled patterns) is not what an attacker takes away with each visit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time

from benchmarks._common import emit, table
from benchmarks._rig import (
    free_port,
    make_clip,
    need,
    pid_of,
    pushing,
    vitrina,
    wait_for,
    workspace,
)
from benchmarks._watchers import by_label, histogram_percentile, samples
from tests.support.hostile import ON_HTTP, ON_RTMP, ON_RTMPS, Swarm
from tests.support.process import resident_mb, sockets, threads

LAG = "vitrina_event_loop_lag_seconds"
FRAMES = "vitrina_stream_received_frames_total"
REPAIRS = "vitrina_timeline_repairs_total"
CONNECTIONS = "vitrina_ingest_connections"
KEY = "bench-stream-key-0-0123456789"
SETTLE_S = 15.0
"""Until the window is full, and what left it was freed."""
BUDGET_LAG_MS, BUDGET_GROWTH_PERCENT = 20.0, 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=20, help="of attack, by round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    need("openssl")
    rows: list[list[object]] = []
    resident: list[float] = []
    lags: list[float] = []
    frames: list[float] = []
    with workspace() as folder:
        crt, key = folder / "server.crt", folder / "server.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
        command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost"]
        subprocess.run(
            [*command, "-out", str(crt), "-keyout", str(key)], check=True, capture_output=True
        )
        tls_port = free_port()
        settings: dict[str, object] = {
            "ladder.enabled": "false",
            "hls.segment_ms": 1000,
            "hls.window_segments": 6,
            "rtmp.handshake_timeout_s": 2,
            "rtmp.idle_timeout_s": 3,
            "rtmp.tls_certificate": crt,
            "rtmp.tls_key": key,
            "rtmp.tls_port": tls_port,
            "log.level": "error",
        }
        clip = make_clip(folder / "clip.flv", size="1280x720", bitrate_kbps=2372)
        with vitrina(folder / "vitrina", [("bench0", KEY)], settings) as server:
            pid = pid_of(server)
            ports = {server.rtmp_port: ON_RTMP, tls_port: ON_RTMPS, server.http_port: ON_HTTP}
            with pushing(clip, [f"{server.rtmp}/{KEY}"]) as check:
                server.wait_live("bench0")
                time.sleep(SETTLE_S)
                quiet = sockets(pid)
                idle = quiet, threads(pid)
                for number in range(arguments.rounds + 1):
                    before = samples(server)
                    began = time.monotonic()
                    swarm = Swarm(arguments.clients, ports)
                    threading.Event().wait(arguments.seconds)
                    after = samples(server)
                    span = time.monotonic() - began
                    swarm.stop()
                    wait_for(
                        lambda: (
                            sum(by_label(samples(server), CONNECTIONS, "protocol").values()) == 1
                        ),
                        20,
                        "the end of every hostile connection",
                    )
                    wait_for(lambda: sockets(pid) <= quiet + 2, 20, "the end of every socket")
                    time.sleep(SETTLE_S / 3)
                    check()
                    lag_ms = histogram_percentile(before, after, LAG, 99) * 1000
                    taken = (
                        by_label(after, FRAMES, "track")["video",]
                        - by_label(before, FRAMES, "track")["video",]
                    )
                    if not number:
                        idle = sockets(pid), threads(pid)
                    resident.append(resident_mb(pid))
                    lags.append(lag_ms)
                    frames.append(taken / span)
                    rows.append(
                        [
                            number or "warm-up",
                            swarm.opened.total(),
                            swarm.most_at_once,
                            f"{lag_ms:.1f}",
                            f"{taken / span:.2f}",
                            f"{resident[-1]:.1f}",
                            sockets(pid),
                            threads(pid),
                        ]
                    )
                repairs = sum(by_label(samples(server), REPAIRS, "reason").values())
                back = sockets(pid), threads(pid)
    head = [
        "round",
        "connections",
        "at once",
        "lag p99 ms",
        "frames / s",
        "MB",
        "sockets",
        "threads",
    ]
    table(head, rows)
    growth = 100 * (resident[-1] / resident[0] - 1)
    figures: dict[str, object] = {
        "clients": arguments.clients,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "lag_ms_p99_max": round(max(lags), 1),
        "budget_lag_ms": BUDGET_LAG_MS,
        "frames_per_second_min": round(min(frames), 2),
        "timeline_repairs": int(repairs),
        "resident_mb": [round(value, 1) for value in resident],
        "growth_percent": round(growth, 1),
        "budget_growth_percent": BUDGET_GROWTH_PERCENT,
        "sockets": [idle[0], back[0]],
        "threads": [idle[1], back[1]],
    }
    met = (
        max(lags) <= BUDGET_LAG_MS
        and growth <= BUDGET_GROWTH_PERCENT
        and min(frames) > 29
        and repairs == 0
        and back[0] <= idle[0] + 2
        and back[1] <= idle[1] + 1
    )
    figures["met"] = met
    emit("hostile", figures)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
