"""A real Prometheus scrapes our exposition with the configuration that ships in docker/."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vitrina.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="needs prometheus: apt install prometheus"
    ),
]

CONFIG = Path(__file__).parents[2] / "docker" / "prometheus.yml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def target() -> Iterator[str]:
    meter = Telemetry()
    meter.viewers("demo", 7)
    meter.part_published("demo", "720p", 0.001, [0.2])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, content_type = meter.exposition()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(base: str, path: str) -> Any:
    with urllib.request.urlopen(f"{base}{path}", timeout=5) as answer:
        return json.load(answer)["data"]


def test_prometheus_scrapes_us(target: str, tmp_path: Path) -> None:
    config = CONFIG.read_text()
    assert config.count("vitrina:8080") == 1
    rewritten = config.replace("vitrina:8080", target).replace("15s", "1s")
    (tmp_path / "prometheus.yml").write_text(rewritten)
    base = f"127.0.0.1:{free_port()}"
    arguments = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={base}",
    ]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(arguments, stdout=log, stderr=log) as process,
    ):
        try:
            found = until_scraped(f"http://{base}", tmp_path / "log")
        finally:
            process.terminate()
    assert found == "7"


def until_scraped(base: str, log: Path) -> str:
    query = urllib.parse.quote('vitrina_viewers{job="vitrina",stream="demo"}')
    deadline = time.monotonic() + 40
    health: Any = "not reached"
    while time.monotonic() < deadline:
        try:
            health = ask(base, "/api/v1/targets")["activeTargets"]
            result = ask(base, f"/api/v1/query?query={query}")["result"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            result = []
        if result:
            assert [one["health"] for one in health] == ["up"]
            return str(result[0]["value"][1])
        time.sleep(0.1)  # polls another process
    raise AssertionError(f"nothing scraped; targets: {health}; {log.read_text()[-2000:]}")
