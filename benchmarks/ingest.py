"""What a stream costs to take in: RTMP to LL-HLS against nginx-rtmp with HLS.

    python -m benchmarks.ingest [--streams 10] [--seconds 15] [--rounds 2] [--node FOLDER]

No transcoding. Every server gets the same pushers (`ffmpeg -c copy`, 720p30 H.264 of 2.5 Mb/s
and AAC), one server after the other, in turn. CPU is user + system of the server process over
wall time, by stream; ratios are of the medians of the same run. `--node` is a folder in which
`npm install node-media-server@4` was run: measured too, without HLS, which it has not.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._common import emit, table
from benchmarks._rig import (
    Process,
    children,
    cpu_s,
    free_port,
    make_clip,
    memory_mb,
    need,
    pid_of,
    push_command,
    pushing,
    vitrina,
    wait_for,
    workspace,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RTMP_MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so"
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
load_module {module};
events {{ worker_connections 1024; }}
rtmp {{ access_log off; server {{ listen 127.0.0.1:{port}; chunk_size 4096;
  application live {{ live on; hls on; hls_path {folder}/hls; hls_fragment 2s;
    hls_playlist_length 24s; }} }} }}
"""
NODE = """
const fs = require('fs'); const Server = require('node-media-server');
const config = JSON.parse(fs.readFileSync(process.argv[2]));
new Server(config).run();
"""
SETTLE_S = 4.0
BUDGET = {"nginx-rtmp": 3.0, "node-media-server": 1.0}


@dataclass
class Side:
    """One server under measurement."""

    name: str
    command: str
    pids: list[int]
    urls: list[str]
    flows: Callable[[], bool]
    """Whether every stream is served."""
    cpu_ms: list[float] = field(default_factory=list)
    """Of CPU per stream-second, one value a round."""
    idle_mb: float = 0.0
    peak_mb: float = 0.0


def ours(stack: ExitStack, folder: Path, count: int) -> Side:
    """Start Vitrina with the ladder off."""
    streams = [(f"bench{n}", f"bench-stream-key-{n:02d}-0123456789") for n in range(count)]
    settings: dict[str, object] = {"ladder.enabled": "false", "log.level": "warning"}
    server = stack.enter_context(vitrina(folder / "vitrina", streams, settings))

    def flows() -> bool:
        replies = (server.get(f"/live/{name}/source/index.m3u8") for name, _ in streams)
        return all(reply.status == 200 and "#EXT-X-PART:" in reply.text for reply in replies)

    command = "vitrina serve --set ladder.enabled=false --set log.level=warning"
    urls = [f"{server.rtmp}/{key}" for _, key in streams]
    return Side("vitrina", command, [pid_of(server)], urls, flows)


def nginx(stack: ExitStack, folder: Path, count: int) -> Side:
    """Start nginx with one worker, HLS into memory."""
    home = folder / "nginx"
    (home / "hls").mkdir(parents=True)
    port = free_port()
    text = NGINX.format(folder=home, port=port, module=RTMP_MODULE)
    (home / "nginx.conf").write_text(f"user root;\n{text}" if os.geteuid() == 0 else text)
    command = ["nginx", "-p", str(home), "-c", str(home / "nginx.conf")]
    peer = stack.enter_context(Process(command, home, port))
    pids = children(peer.pid)  # the worker, and the one that removes old HLS files
    names = [f"bench{n}" for n in range(count)]

    def flows() -> bool:
        return all((home / "hls" / f"{name}.m3u8").exists() for name in names)

    shown = f"{shlex.join(command)}  # {' '.join(text.split())}"
    urls = [f"rtmp://127.0.0.1:{port}/live/{name}" for name in names]
    return Side("nginx-rtmp", shown, pids, urls, flows)


def node(stack: ExitStack, folder: Path, count: int, modules: Path) -> Side:
    """Start Node-Media-Server; it only receives."""
    home = folder / "node"
    home.mkdir()
    port = free_port()
    local = "127.0.0.1"
    config = {
        "bind": local,
        "notify": {"url": ""},
        "auth": {"play": False, "publish": False, "secret": ""},
        "rtmp": {"port": port},
        "http": {"port": free_port()},
        "record": {"auto": False, "path": str(home)},
    }
    (home / "config.json").write_text(json.dumps(config))
    (home / "run.js").write_text(NODE)
    command = ["node", str(home / "run.js"), str(home / "config.json")]
    env = {"NODE_PATH": str(modules / "node_modules")}
    peer = stack.enter_context(Process(command, home, port, env))
    started = time.monotonic()
    urls = [f"rtmp://{local}:{port}/live/bench{n}" for n in range(count)]
    shown = f"{shlex.join(command)}  # {json.dumps(config)}"
    return Side(
        "node-media-server", shown, [peer.pid], urls, lambda: time.monotonic() - started > SETTLE_S
    )


def total(figure: Callable[[int], float], pids: list[int]) -> float:
    """Return the sum of a figure over processes."""
    return sum(figure(pid) for pid in pids)


def measure(side: Side, clip: Path, seconds: float) -> None:
    """Push to one server and note what that cost it."""
    side.idle_mb = side.idle_mb or total(memory_mb, side.pids)
    with pushing(clip, side.urls) as check:
        wait_for(side.flows, 30, f"{side.name} serving every stream")
        time.sleep(SETTLE_S)
        began, used = time.monotonic(), total(cpu_s, side.pids)
        time.sleep(seconds)
        used, span = total(cpu_s, side.pids) - used, time.monotonic() - began
        check()
        side.peak_mb = max(side.peak_mb, total(memory_mb, side.pids))
    side.cpu_ms.append(used * 1000 / span / len(side.urls))


def report(sides: list[Side], arguments: argparse.Namespace) -> bool:
    """Print table and JSON line; return whether every budget is met."""
    median = {side.name: statistics.median(side.cpu_ms) for side in sides}
    base = median["vitrina"]
    rows: list[list[object]] = []
    figures: dict[str, object] = {"streams": arguments.streams, "seconds": arguments.seconds}
    met = True
    for side in sides:
        each_mb = (side.peak_mb - side.idle_mb) / arguments.streams
        row = [side.name, f"{median[side.name]:.2f}", " ".join(f"{v:.2f}" for v in side.cpu_ms)]
        ratio = base / median[side.name]
        budget = BUDGET.get(side.name)
        row += [f"{ratio:.2f}", f"<= {budget:g}" if budget else "", f"{each_mb:.1f}"]
        rows.append(list(row))
        key = side.name.replace("-", "_")
        figures[f"{key}_cpu_ms"] = round(median[side.name], 3)
        figures[f"{key}_mb_per_stream"] = round(each_mb, 1)
        if budget is not None:
            figures[f"ratio_to_{key}"] = round(ratio, 2)
            figures[f"budget_ratio_to_{key}"] = budget
            met = met and ratio <= budget
    head = ["server", "CPU ms / stream-second", "rounds", "vitrina / it", "budget", "MB / stream"]
    table(head, rows)
    figures["met"] = met
    emit("ingest", figures)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=15, help="measured, by server and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--node", type=Path, help="folder with node_modules/node-media-server")
    arguments = parser.parse_args()
    need("nginx", RTMP_MODULE)
    with workspace() as folder, ExitStack() as stack:
        clip = make_clip(folder / "clip.flv", size="1280x720", bitrate_kbps=2372)
        sides = [
            ours(stack, folder, arguments.streams),
            nginx(stack, folder, arguments.streams),
        ]
        if arguments.node is not None:
            need("node")
            sides.append(node(stack, folder, arguments.streams, arguments.node.resolve()))
        for side in sides:
            print(f"{side.name}: {side.command}")
        print("pushers:", shlex.join(push_command(clip, sides[0].urls[0].rsplit("/", 1)[0])), "\n")
        for _ in range(arguments.rounds):
            for side in sides:
                measure(side, clip, arguments.seconds)
    return 0 if report(sides, arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
