"""Push to picture in Chromium at the defaults, and how soon and how exactly cues arrive.

    python -m benchmarks.latency [--seconds 60] [--cue-interval 2]

The demo's publisher draws the time into every picture (docs/blockcode.md) and pushes 720p30 over
RTMP; a headless Chromium plays `/watch/STREAM` and reads it back when a picture is due on screen.
Meanwhile notices are posted `now`: a client of each rendition that reloads like a player tells
when it is listed, and the frame number in the picture that first shows it tells how exactly it is
painted. Everything runs on this machine, the viewer's decoder included.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from benchmarks._common import emit, percentile, table
from benchmarks._rig import ROOT, end, need, vitrina, workspace
from benchmarks._watchers import Follower
from media.blockcode import decode
from tests.support.browser import CHROMIUM, watching
from tests.support.hls import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.browser import Watch
    from tests.support.server import Server

STREAM, KEY = "show", "bench-stream-key-0123456789"
FPS = 30
SETTLE_S = 8.0
WRAP = 65536
BUDGET = {
    "latency_s_p50": 1.3,
    "latency_s_p95": 1.7,
    "stalls": 0,
    "cue_painted_frames_p95": 1,
}
LISTED_MARGIN_MS = 50


@contextmanager
def publisher(server: Server) -> Iterator[None]:
    """Run the demo's publisher against the server."""
    target = {"host": "127.0.0.1", "port": server.rtmp_port, "app": "live", "key": KEY}
    process = subprocess.Popen(
        [sys.executable, "-m", "vitrina.demo_publisher"], cwd=ROOT, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(target).encode() + b"\n")
        process.stdin.flush()
        yield
    finally:
        process.stdin.close()
        end(process)


@contextmanager
def following(server: Server) -> Iterator[list[Follower]]:
    """Run a client of every rendition."""
    followers = [Follower(server, STREAM, name) for name in Reader(server, STREAM).names()]
    for follower in followers:
        follower.start()
    try:
        yield followers
    finally:
        for follower in followers:
            follower.stop()


def picture_zero(server: Server) -> float:
    """Return the program date-time (seconds since 1970) that picture number 0 would have.

    From the first picture of each listed segment of the source, read by PyAV, whose date is the
    segment's; the median, because a segment that begins with a hole dates its hole.
    """
    reader = Reader(server, STREAM)
    dates = []
    for segment in reader.media("source").segments:
        if not segment.uri or segment.gap_tag or segment.program_date_time is None:
            continue
        init = reader.fetch("source", segment.init_section.uri)
        with av.open(BytesIO(init + reader.fetch("source", segment.uri)), "r") as container:
            frame = next(container.decode(video=0))
            assert isinstance(frame, av.VideoFrame)
            stamp = decode(frame.to_ndarray(format="gray").astype(np.uint8))
        if stamp is not None:
            dates.append(segment.program_date_time.timestamp() - stamp.frame / FPS)
    if not dates:
        raise RuntimeError("the block code of the source cannot be read")
    return float(statistics.median(dates))


def fire(server: Server, watch: Watch, seconds: float, interval: float) -> dict[str, Any]:
    """Post a notice every `interval` seconds; return (time of the POST, answer) by cue id."""
    cues: dict[str, Any] = {}
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        posted = time.monotonic()
        text = f"Notice {len(cues)}"
        cue = {"type": "notice", "at": "now", "duration": 1.0, "data": {"text": text}}
        answer = server.cue(cue, STREAM)
        cues[answer["id"]] = (posted, answer)
        # Sleeping in the page keeps Playwright's messages flowing.
        watch.page.wait_for_timeout(max(0.0, posted + interval - time.monotonic()) * 1000)
    return cues


def paint_errors(
    cues: dict[str, Any],
    paints: dict[str, dict[str, float]],
    frames: list[dict[str, float]],
    zero: float,
) -> list[float]:
    """Frames between the picture that each cue is bound to and the first that showed it.

    The right picture is the first at or after the cue's moment, counted from the date
    of picture 0.
    """
    number_of = {frame["stamp"]: int(frame["frame"]) for frame in frames}
    errors = []
    for cue, (_, answer) in cues.items():
        paint = paints.get(cue)
        if paint is None or paint["stamp"] not in number_of or answer["placement"] is None:
            continue
        at = datetime.fromisoformat(answer["placement"]["media_time"])
        ahead = (at.timestamp() - zero) * FPS
        # Dates are whole milliseconds: within a twentieth of a frame is on it.
        right = math.ceil(ahead - 0.05)
        passed = (number_of[paint["stamp"]] - right + WRAP // 2) % WRAP - WRAP // 2
        errors.append(float(passed))
    return errors


def part_target_ms(server: Server) -> float:
    """Return PART-TARGET as the playlist says it."""
    found = re.search(r"PART-TARGET=([\d.]+)", Reader(server, STREAM).text("source"))
    assert found is not None
    return float(found[1]) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cue-interval", type=float, default=2.0)
    arguments = parser.parse_args()
    need(str(CHROMIUM))
    with (
        workspace() as folder,
        vitrina(folder / "vitrina", [(STREAM, KEY)], {}) as server,
        publisher(server),
    ):
        server.wait_live(STREAM, 30)
        target_ms = part_target_ms(server)
        with following(server) as followers, watching(f"{server.url}/watch/{STREAM}") as watch:
            watch.wait_frames(30, 40)
            watch.page.wait_for_timeout(SETTLE_S * 1000)
            watch.clear()
            zero = picture_zero(server)
            cues = fire(server, watch, arguments.seconds, arguments.cue_interval)
            watch.page.wait_for_timeout(2500)
            frames, stalls = watch.frames(), watch.stalls()
            unread = int(watch.evaluate("() => probe.unread"))
            paints = watch.evaluate("() => probe.paints")
    return report(frames, stalls, unread, cues, paints, zero, followers, target_ms)


def report(
    frames: list[dict[str, float]],
    stalls: list[float],
    unread: int,
    cues: dict[str, Any],
    paints: dict[str, dict[str, float]],
    zero: float,
    followers: list[Follower],
    target_ms: float,
) -> int:
    """Print table and JSON line; return the exit code."""
    latencies = [frame["latency"] / 1000 for frame in frames]
    listed = [
        (max(f.listed.get(cue, math.inf) for f in followers) - posted) * 1000
        for cue, (posted, _) in cues.items()
    ]

    def delay(follower: Follower, percent: float) -> float:
        times = [(follower.listed.get(cue, math.inf) - at) * 1000 for cue, (at, _) in cues.items()]
        return round(percentile(times, percent), 1)

    errors = paint_errors(cues, paints, frames, zero)
    budget = {**BUDGET, "cue_listed_ms_p99": target_ms + LISTED_MARGIN_MS}
    budget |= {"cues_painted": len(cues), "playlist_errors": 0}
    figures: dict[str, Any] = {
        "latency_s_p50": round(percentile(latencies, 50), 3),
        "latency_s_p95": round(percentile(latencies, 95), 3),
        "stalls": len(stalls),
        "stalled_ms": round(sum(stalls)),
        "pictures": len(frames),
        "pictures_unread": unread,
        "heights": sorted({int(frame["height"]) for frame in frames}),
        "renditions": [follower.rendition for follower in followers],
        "cues": len(cues),
        "cue_listed_ms_p50": round(percentile(listed, 50), 1),
        "cue_listed_ms_p99": round(percentile(listed, 99), 1),
        "cue_listed_ms_p50_by_rendition": {f.rendition: delay(f, 50) for f in followers},
        "cues_painted": len(errors),
        "cue_painted_frames_p50": percentile([abs(e) for e in errors], 50),
        "cue_painted_frames_p95": percentile([abs(e) for e in errors], 95),
        "cue_painted_frames_worst": max(errors, key=abs, default=0.0),
        "playlist_errors": sum(len(follower.errors) for follower in followers),
    }
    rows = [[name, value, _budget(name, budget)] for name, value in figures.items()]
    table(["figure", "value", "budget"], rows)
    met = bool(latencies and listed and errors) and all(
        figures[name] >= limit if name == "cues_painted" else figures[name] <= limit
        for name, limit in budget.items()
    )
    emit("latency", {**figures, **{f"budget_{k}": v for k, v in budget.items()}, "met": met})
    return 0 if met else 1


def _budget(name: str, budget: dict[str, float]) -> str:
    if name not in budget:
        return ""
    return f"{'>=' if name == 'cues_painted' else '<='} {budget[name]:g}"


if __name__ == "__main__":
    sys.exit(main())
