"""Two 1080p30 streams of 6 Mb/s at once, each as source, 720p, 480p and 360p.

    python -m benchmarks.two_streams [--streams 2] [--seconds 35]

A real server with the default ladder, fed by `ffmpeg -c copy`. Frames a second of every
rendition are the slope of its published pictures over wall time; the lag of the event loop is
the server's own histogram; CPU and memory are those of the server and its workers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from benchmarks._common import emit, table
from benchmarks._rig import (
    children,
    cpu_s,
    make_clip,
    memory_mb,
    pid_of,
    pushing,
    vitrina,
    wait_for,
    workspace,
)
from benchmarks._watchers import Samples, by_label, histogram_percentile, samples

SETTLE_S = 8.0
POLL_S = 0.5
LAG = "vitrina_event_loop_lag_seconds"
PICTURES = "vitrina_push_to_part_latency_seconds_count"
VIDEO = {"source", "720p", "480p", "360p"}
BUDGET_FPS, BUDGET_LAG_MS, BUDGET_MB = 29.9, 10.0, 200.0


def slope(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope."""
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=35)
    arguments = parser.parse_args()
    names = [f"bench{n}" for n in range(arguments.streams)]
    streams = [(name, f"bench-stream-key-{name}-0123456789") for name in names]
    with workspace() as folder:
        clip = make_clip(folder / "clip.flv", size="1920x1080", bitrate_kbps=5872)
        with vitrina(folder / "vitrina", streams, {"log.level": "warning"}) as server:
            pid = pid_of(server)
            idle_mb = memory_mb(pid)
            with pushing(clip, [f"{server.rtmp}/{key}" for _, key in streams]) as check:

                def complete() -> bool:
                    seen = by_label(samples(server), PICTURES, "stream", "rendition")
                    return len([1 for _, name in seen if name in VIDEO]) == len(names) * len(VIDEO)

                wait_for(complete, 60, "four renditions of every stream")
                time.sleep(SETTLE_S)
                workers = children(pid)
                before = samples(server)
                began = time.monotonic()
                used, used_workers = cpu_s(pid), sum(cpu_s(worker) for worker in workers)
                points: dict[tuple[str, ...], list[tuple[float, float]]] = {}
                steps: list[float] = []
                after: Samples = before
                while time.monotonic() - began < arguments.seconds:
                    time.sleep(POLL_S)
                    after = samples(server)
                    now = time.monotonic() - began
                    for key, count in by_label(after, PICTURES, "stream", "rendition").items():
                        points.setdefault(key, []).append((now, count))
                    steps += by_label(after, "vitrina_pressure_step", "stream").values()
                span = time.monotonic() - began
                used = cpu_s(pid) - used
                check()
                lost = sorted(set(workers) - set(children(pid)))
                used_workers = sum(cpu_s(w) for w in workers if w not in lost) - used_workers
                memory = memory_mb(pid) - idle_mb + sum(memory_mb(w) for w in children(pid))
    rates = {key: slope(line) for key, line in points.items() if key[1] in VIDEO}
    table(
        ["stream", "rendition", "frames / s", "budget"],
        [[*key, f"{rate:.2f}", f">= {BUDGET_FPS}"] for key, rate in sorted(rates.items())],
    )
    figures: dict[str, object] = {
        "streams": arguments.streams,
        "seconds": round(span, 1),
        "fps_min": round(min(rates.values()), 2),
        "budget_fps": BUDGET_FPS,
        "loop_lag_ms_p99": round(histogram_percentile(before, after, LAG, 99) * 1000, 2),
        "budget_loop_lag_ms": BUDGET_LAG_MS,
        "pressure_step_max": int(max(steps, default=0)),
        "workers_lost": len(lost),
        "server_cores": round(used / span, 3),
        "worker_cores": round(used_workers / span, 3),
        "mb_per_stream": round(memory / arguments.streams, 1),
        "budget_mb_per_stream": BUDGET_MB,
    }
    met = (
        min(rates.values()) >= BUDGET_FPS
        and histogram_percentile(before, after, LAG, 99) * 1000 <= BUDGET_LAG_MS
        and memory / arguments.streams <= BUDGET_MB
        and not lost
    )
    figures["met"] = met
    table(["figure", "value"], [[name, value] for name, value in figures.items()])
    emit("two_streams", figures)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
