"""A real Prometheus scrapes the running server with the configuration that ships in docker/."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.server import Server, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.push import Publisher

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.patient,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="needs prometheus: apt install prometheus"
    ),
]

CONFIG = Path(__file__).parents[2] / "docker" / "prometheus.yml"


def ask(base: str, path: str) -> Any:
    with urllib.request.urlopen(f"{base}{path}", timeout=5) as answer:
        return json.load(answer)["data"]


def test_prometheus_scrapes_a_live_stream(
    server: Server, push: Callable[..., Publisher], tmp_path: Path
) -> None:
    push(size="320x180")
    server.wait_live()
    config = CONFIG.read_text()
    assert config.count("vitrina:8080") == 1
    rewritten = config.replace("vitrina:8080", server.url.removeprefix("http://")).replace(
        "15s", "1s"
    )
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
    assert float(found) > 0


def until_scraped(base: str, log: Path) -> str:
    query = urllib.parse.quote(
        'vitrina_part_publish_jitter_seconds_count{job="vitrina",rendition="source"}'
    )
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
