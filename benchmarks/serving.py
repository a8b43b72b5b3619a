"""Media bytes from our RAM against nginx's static files: same bytes, same client, alternating.

    .venv/bin/python benchmarks/serving.py [--seconds 3] [--rounds 3]

The peer: Debian's nginx, one worker, sendfile, no access log, files on tmpfs where there is one.
Both are measured with `wrk -t1 -c32`, which shares the machine with the server. Budget: at
least 1.3 of nginx for 1 MB segments, 0.3 for 5 KB parts and playlists.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIZES = {"1 MB": 1 << 20, "5 KB": 5000}
BUDGET = {"1 MB": 1.3, "5 KB": 0.3}
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  open_file_cache max=100; types {{ video/iso.segment m4s; }}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@dataclass(frozen=True)
class Ready:
    body: bytes
    content_type: str = "video/iso.segment"


class Bytes:
    """A rendition of files that exist."""

    def __init__(self, folder: Path) -> None:
        self._files = {path.name: Ready(path.read_bytes()) for path in folder.iterdir()}

    def resource(self, name: str) -> Ready | None:
        return self._files.get(name)

    async def wait_resource(self, name: str) -> Ready | None:
        return self._files.get(name)


class Stream:
    name = "bench"
    state = "live"

    def __init__(self, folder: Path) -> None:
        self._rendition = Bytes(folder)

    def rendition(self, _name: str) -> Bytes:
        return self._rendition


class Directory:
    def __init__(self, folder: Path) -> None:
        self._stream = Stream(folder)

    def get(self, name: str) -> Stream | None:
        return self._stream if name == "bench" else None

    def all(self) -> list[Stream]:
        return [self._stream]


def serve(folder: Path) -> None:
    """Run our server over the files, until the process is ended; prints its port."""
    import uvloop

    from config.settings import HlsSettings, HttpSettings, LimitsSettings
    from delivery.app import build_app
    from delivery.deps import Deps
    from delivery.server import HttpServer

    http = HttpSettings(host="127.0.0.1", port=0)
    unused: object = None
    deps = Deps(
        directory=Directory(folder),  # type: ignore[arg-type]
        admin=unused,  # type: ignore[arg-type]
        tokens=unused,  # type: ignore[arg-type]
        cues=unused,  # type: ignore[arg-type]
        catalog=unused,  # type: ignore[arg-type]
        http=http,
        hls=HlsSettings(),
        limits=LimitsSettings(),
        version="bench",
    )
    limits = LimitsSettings()

    async def main() -> None:
        server = HttpServer(settings=http, limits=limits, app=build_app(deps))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run())
            await server.started.wait()
            sys.stdout.write(f"PORT {server.port}\n")
            sys.stdout.flush()

    uvloop.run(main())


@contextmanager
def our_server(folder: Path):
    command = [sys.executable, __file__, "--serve", str(folder / "www")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        port = None
        for line in process.stdout:
            if line.startswith("PORT "):
                port = int(line.split()[1])
                break
        yield f"http://127.0.0.1:{port}/live/bench/v/"
    finally:
        process.kill()
        process.wait()


@contextmanager
def nginx(folder: Path, port: int):
    config = folder / "nginx.conf"
    text = NGINX.format(folder=folder, port=port)
    config.write_text(f"user root;\n{text}" if os.geteuid() == 0 else text)
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)])
    try:
        wait = ["curl", "-sf", "--retry", "50", "--retry-connrefused", "--retry-delay", "1"]
        address = f"http://127.0.0.1:{port}/small.m4s"
        subprocess.run([*wait, address, "-o", "/dev/null"], check=True)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def wrk(url: str, seconds: float) -> float:
    """Return requests a second; raises where one failed."""
    command = ["wrk", "-t1", "-c32", f"-d{seconds:g}s", url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nginx-port", type=int, default=8099)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    missing = [tool for tool in ("nginx", "wrk", "curl") if shutil.which(tool) is None]
    if missing:
        print(f"missing: {', '.join(missing)}; apt-get install {' '.join(missing)}")
        return 1
    shm = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=shm) as name:
        folder = Path(name)
        files = folder / "www"
        files.mkdir()
        (files / "big.m4s").write_bytes(os.urandom(SIZES["1 MB"]))
        (files / "small.m4s").write_bytes(os.urandom(SIZES["5 KB"]))
        rates: dict[tuple[str, str], list[float]] = {}
        with our_server(folder) as ours, nginx(folder, options.nginx_port) as theirs:
            for _ in range(options.rounds):
                for label, file in (("1 MB", "big.m4s"), ("5 KB", "small.m4s")):
                    for who, base in (("nginx", theirs), ("vitrina", ours)):
                        rate = wrk(base + file, options.seconds)
                        rates.setdefault((label, who), []).append(rate)
    return report(rates)


def report(rates: dict[tuple[str, str], list[float]]) -> int:
    print(f"{'body':6} {'nginx req/s':>12} {'vitrina req/s':>14} {'ratio':>6} {'budget':>7}")
    line: dict[str, object] = {"benchmark": "serving"}
    met = True
    for label in SIZES:
        theirs = statistics.median(rates[label, "nginx"])
        ours = statistics.median(rates[label, "vitrina"])
        ratio = statistics.median(
            a / b for a, b in zip(rates[label, "vitrina"], rates[label, "nginx"], strict=True)
        )
        met = met and ratio >= BUDGET[label]
        print(f"{label:6} {theirs:12.0f} {ours:14.0f} {ratio:6.2f} {BUDGET[label]:7.1f}")
        line[label] = {"nginx": round(theirs), "vitrina": round(ours), "ratio": round(ratio, 3)}
    print(json.dumps({**line, "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
