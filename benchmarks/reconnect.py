"""An encoder that dies and returns, ten times in five minutes, before a browser that watches.

    python -m benchmarks.reconnect [--times 10] [--seconds 300]

A real server with the default ladder and its slate, ffmpeg publishers that are killed with
SIGKILL, Chromium with the player page. What counts is the longest time between two pictures.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks._common import emit, table
from benchmarks._rig import vitrina, wait_for, workspace
from tests.support.browser import CHROMIUM, Watch, watching
from tests.support.hls import Reader
from tests.support.judge import Judge
from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, Server

AWAY_S = (1.0, 2.5, 4.0, 6.0, 8.0)
"""How long the encoder stays away, in turn."""
BUDGET_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=300)
    arguments = parser.parse_args()
    if not CHROMIUM.exists():
        print("needs Chromium: apt install chromium", file=sys.stderr)
        return 2
    with workspace() as folder, vitrina(folder / "vitrina", [(STREAM, KEY)], {}) as server:
        return measure(server, arguments.times, arguments.seconds)


def measure(server: Server, times: int, seconds: float) -> int:
    """Kill and return; report."""
    publisher = Publisher(f"{server.rtmp}/{KEY}", size="640x360")
    server.wait_live()
    judge = Judge(server, [STREAM])
    rows: list[tuple[object, ...]] = []
    longest: list[float] = []
    with watching(f"{server.url}/watch/{STREAM}") as watch:
        watch.until("p.state === 'live' && p.playingDate !== null", 40)
        wait_for(lambda: watch.pictures() > 150, 30, "pictures")
        for number in range(times):
            began = time.monotonic()
            watch.clear()
            away = AWAY_S[number % len(AWAY_S)]
            publisher.kill()
            play(watch, away)
            publisher = Publisher(f"{server.rtmp}/{KEY}", size="640x360")
            play(watch, began + seconds / times - time.monotonic())
            stills = [still / 1000 for still in watch.standstills()]
            longest.append(max(stills, default=0.0))
            rows.append((number + 1, f"{away:.1f}", ", ".join(f"{s:.2f}" for s in stills) or "-"))
        faults = [line for line in watch.console if "pageerror" in line]
    gaps = sum(Reader(server).text(name).count("GAP") for name in Reader(server).names())
    judge.stop()
    broken = judge.errors(STREAM)
    publisher.stop()
    table(("return", "away s", "standstills s"), rows)
    for sentence in broken[:10]:
        print(sentence)
    emit(
        "reconnect",
        {
            "times": times,
            "longest_standstill_s": round(max(longest), 3),
            "player_errors": len(faults),
            "gaps": gaps,
            "rules_broken": len(broken),
        },
    )
    return int(max(longest) > BUDGET_S or bool(faults) or bool(broken))


def play(watch: Watch, seconds: float) -> None:
    """Let the page play, and make sure that it has not given up."""
    watch.page.wait_for_timeout(max(0.0, seconds) * 1000)
    state = watch.player("p.state")
    if state in ("ended", "idle", "unsupported"):
        raise RuntimeError(f"the player says {state}")


if __name__ == "__main__":
    sys.exit(main())
