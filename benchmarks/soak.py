"""An hour of one show, to see that nothing grows.

    python -m benchmarks.soak [--minutes 60] [--reconnect 300] [--json FILE]

A real server with the default ladder takes a 720p30 push whose encoder is killed and started
again every few minutes; two low-latency viewers follow the source and the lowest rung, a producer
fires a cue every ten seconds. Every ten seconds /metrics is scraped as Prometheus does, and memory,
threads and descriptors of the server and its worker are read. The first sixth (90 s to
ten minutes) warms up: windows fill, pools grow to their size.

Growth is the slope of a line through the medians of each minute, over the whole of what was
measured; the latency is push to part published, as the median of each scrape's own interval.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._common import emit, table
from benchmarks._rig import (
    children,
    end,
    make_clip,
    pid_of,
    push_command,
    vitrina,
    workspace,
)
from benchmarks._watchers import Follower, Samples, by_label, samples
from tests.support.process import descriptors, resident_mb, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.server import Server

STREAM, KEY = "show", "soak-stream-key-0123456789"
SCRAPE_S, CUE_S, AWAY_S = 10.0, 10.0, 2.0
LATENCY = "vitrina_push_to_part_latency_seconds"
BUDGET_GROWTH_PERCENT = 5.0
BUDGET_LATENCY_MS = 50.0
"""By which the last third's latency may lie above the first's."""
BUDGET_THREADS, BUDGET_DESCRIPTORS = 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one scrape saw; the worker's figures are those of all children."""

    at_s: float
    server_mb: float
    worker_mb: float
    threads: int
    worker_threads: int
    descriptors: int
    worker_descriptors: int
    latency_ms: float
    """Mean of the parts published since the last scrape; 0 where there were none."""
    workers: int


class Encoder:
    """A pusher that is killed and started again while the show goes on."""

    def __init__(self, clip: Path, url: str, every_s: float) -> None:
        self._command = push_command(clip, url)
        self._every_s = every_s
        self._process: subprocess.Popen[bytes] | None = None
        self._due = 0.0
        self.reconnects = -1

    def tend(self, now: float) -> None:
        """Start, kill or restart as the time demands; to be called often."""
        process = self._process
        if process is None:
            if now >= self._due:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                self.reconnects += 1
                self._due = now + self._every_s
        elif process.poll() is not None:
            raise RuntimeError(f"the encoder ended with {process.returncode}")
        elif now >= self._due:
            process.kill()  # as a crash or a cut cable would
            process.wait()
            self._process = None
            self._due = now + AWAY_S

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)


def _latency_ms(before: Samples, after: Samples) -> float:
    """Return the mean push-to-part latency of the source between two scrapes."""

    def figure(values: Samples, name: str) -> float:
        return by_label(values, f"{LATENCY}_{name}", "rendition").get(("source",), 0.0)

    count = figure(after, "count") - figure(before, "count")
    total = figure(after, "sum") - figure(before, "sum")
    return total / count * 1000 if count > 0 else 0.0


def _observe(pid: int, at_s: float, before: Samples, after: Samples) -> Point:
    workers = children(pid)

    def over(figure: Callable[[int], float]) -> float:
        total = 0.0
        for worker in workers:
            try:
                total += figure(worker)
            except (FileNotFoundError, ProcessLookupError, AssertionError):
                continue  # a worker that ended just now
        return total

    return Point(
        at_s=round(at_s, 1),
        server_mb=round(resident_mb(pid), 2),
        worker_mb=round(over(resident_mb), 2),
        threads=threads(pid),
        worker_threads=int(over(threads)),
        descriptors=descriptors(pid),
        worker_descriptors=int(over(descriptors)),
        latency_ms=round(_latency_ms(before, after), 1),
        workers=len(workers),
    )


def run(server: Server, clip: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Keep the show going; return its points and counts."""
    pid = pid_of(server)
    encoder = Encoder(clip, f"{server.rtmp}/{KEY}", arguments.reconnect)
    viewers: list[Follower] = []
    points: list[Point] = []
    began = time.monotonic()
    ends = began + arguments.minutes * 60
    next_scrape, next_cue, cues = began + SCRAPE_S, began + CUE_S, 0
    last = samples(server)
    try:
        while (now := time.monotonic()) < ends:
            encoder.tend(now)
            if not viewers and now - began > SCRAPE_S:
                server.wait_live(STREAM)
                viewers = [Follower(server, STREAM, name).start() for name in ("source", "360p")]
            if now >= next_cue and viewers:
                next_cue += CUE_S
                reply = server.api(
                    "POST",
                    f"/streams/{STREAM}/cues",
                    {"type": "notice", "at": "now", "duration": 5, "data": {"text": f"No. {cues}"}},
                )
                cues += reply.status == 201
            if now >= next_scrape:
                next_scrape += SCRAPE_S
                after = samples(server)
                points.append(_observe(pid, now - began, last, after))
                last = after
            time.sleep(0.1)
    finally:
        for viewer in viewers:
            viewer.stop()
        encoder.stop()
    return {
        "points": points,
        "reconnects": encoder.reconnects,
        "cues": cues,
        "cues_listed": [len(viewer.listed) for viewer in viewers],
        "viewer_errors": [error for viewer in viewers for error in viewer.errors],
    }


def growth_percent(points: Sequence[Point], figure: Callable[[Point], float]) -> float:
    """Return by how much a line through the medians of each minute rises, in percent."""
    minutes: dict[int, list[float]] = {}
    for point in points:
        minutes.setdefault(int(point.at_s // 60), []).append(figure(point))
    line = [(minute, statistics.median(values)) for minute, values in sorted(minutes.items())]
    if len(line) < 2:
        return 0.0
    fit = statistics.linear_regression(*zip(*line, strict=True))
    first = fit.intercept + fit.slope * line[0][0]
    return 100 * fit.slope * (line[-1][0] - line[0][0]) / first if first else 0.0


def _thirds(points: Sequence[Point]) -> tuple[Sequence[Point], Sequence[Point]]:
    third = max(1, len(points) // 3)
    return points[:third], points[-third:]


def judge(points: Sequence[Point]) -> tuple[list[list[object]], bool]:
    """Return the rows of the table and whether every budget is met."""
    first, last = _thirds(points)
    rows: list[list[object]] = []
    met = True
    memory: dict[str, Callable[[Point], float]] = {
        "server MB": lambda point: point.server_mb,
        "worker MB": lambda point: point.worker_mb,
    }
    for name, figure in memory.items():
        # Between two encoders a worker may be missing: that is no shrinking.
        whole = [point for point in points if name[0] == "s" or point.workers]
        grown = growth_percent(whole, figure)
        head, tail = (statistics.median(map(figure, part)) for part in _thirds(whole))
        met = met and grown <= BUDGET_GROWTH_PERCENT
        budget = f"<= {BUDGET_GROWTH_PERCENT:g} %"
        rows.append([name, f"{head:.1f}", f"{tail:.1f}", f"{grown:+.1f} %", budget])
    latency = [[p.latency_ms for p in part if p.latency_ms] for part in (first, last)]
    head, tail = (statistics.median(part) if part else 0.0 for part in latency)
    met = met and head > 0 and tail > 0 and tail - head <= BUDGET_LATENCY_MS
    budget = f"<= {BUDGET_LATENCY_MS:g} ms"
    rows.append(["latency ms", f"{head:.0f}", f"{tail:.0f}", f"{tail - head:+.0f} ms", budget])
    counts: dict[str, tuple[Callable[[Point], int], int]] = {
        "server threads": (lambda point: point.threads, BUDGET_THREADS),
        "worker threads": (lambda point: point.worker_threads, BUDGET_THREADS),
        "server descriptors": (lambda point: point.descriptors, BUDGET_DESCRIPTORS),
        "worker descriptors": (lambda point: point.worker_descriptors, BUDGET_DESCRIPTORS),
    }
    for name, (count, allowed) in counts.items():
        low, high = (round(statistics.median(map(count, part))) for part in (first, last))
        met = met and high - low <= allowed
        rows.append([name, low, high, f"{high - low:+d}", f"<= {allowed}"])
    return rows, met


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--reconnect", type=float, default=300, help="seconds between two kills")
    parser.add_argument("--json", type=Path, help="where every point is written")
    arguments = parser.parse_args()
    with workspace() as folder:
        clip = make_clip(folder / "clip.flv", size="1280x720", bitrate_kbps=2372)
        settings: dict[str, object] = {"log.level": "warning"}
        with vitrina(folder / "vitrina", [(STREAM, KEY)], settings) as server:
            result = run(server, clip, arguments)
            faults = server.log.count("Traceback")
    points: list[Point] = result.pop("points")  # type: ignore[assignment]
    warm_up_s = min(600.0, max(90.0, arguments.minutes * 10))
    measured = [point for point in points if point.at_s > warm_up_s]
    rows, met = judge(measured)
    table(["figure", "first third", "last third", "growth", "budget"], rows)
    errors: list[str] = result["viewer_errors"]  # type: ignore[assignment]
    met = met and not faults and not errors
    figures: dict[str, object] = {
        "minutes": arguments.minutes,
        "scrapes": len(points),
        **result,
        "viewer_errors": len(errors),
        "first_viewer_errors": errors[:3],
        "tracebacks": faults,
        "figures": {str(row[0]): row[1:] for row in rows},
        "met": met,
    }
    if arguments.json is not None:
        whole = {**figures, "points": [asdict(point) for point in points]}
        arguments.json.write_text(json.dumps(whole, indent=1))
    emit("soak", figures)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
