"""A real `vitrina serve` process on loopback, its files in a directory of the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "test-admin-token-0123456789"
KEY = "test-stream-key-0123456789"
BACKUP_SUFFIX = "-backup"
"""Of the key of a stream's second encoder."""
STREAM = "show"


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(probe: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """Poll `probe` until it returns something true; fail with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(0.02)


@dataclass
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """Start with `start()`, end with `stop()`; `log` holds what it wrote so far."""

    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    streams: list[tuple[str, str]] = field(default_factory=lambda: [(STREAM, KEY)])
    prefix: list[str] = field(default_factory=list)
    """Command that runs the server's own, for another environment of the process."""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.http_port = free_port()
        self.rtmp_port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def rtmp(self) -> str:
        return f"rtmp://127.0.0.1:{self.rtmp_port}/live"

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    def start(self) -> Server:
        config = self.directory / "vitrina.toml"
        lines = [
            "[http]",
            'host = "127.0.0.1"',
            f"port = {self.http_port}",
            "[rtmp]",
            'host = "127.0.0.1"',
            f"port = {self.rtmp_port}",
            "[auth]",
            f'admin_token = "{TOKEN}"',
        ]
        for name, key in self.streams:
            lines += ["[[streams.list]]", f'name = "{name}"', f'key = "{key}"']
            lines += [f'backup_key = "{key}{BACKUP_SUFFIX}"']
        config.write_text("\n".join(lines))
        overrides = [a for k, v in self.settings.items() for a in ("--set", f"{k}={v}")]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    sys.executable,
                    "-m",
                    "vitrina",
                    "serve",
                    "--config",
                    str(config),
                    *overrides,
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "VITRINA_DATA_DIR": str(self.directory / "data")},
            )
        wait_for(self._ready, 20, "the server's start")
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a power failure would: SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)

    def stop(self, timeout_s: float = 10) -> int:
        """Send SIGTERM; return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
                raise AssertionError(
                    f"no exit within {timeout_s} s of SIGTERM:\n{self.log}"
                ) from None
        return self.process.returncode

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 15,
    ) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        sent = dict(headers or {})
        if data is not None:
            sent["Content-Type"] = "application/json"
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, dict(error.headers), error.read())

    def get(self, path: str, **kwargs: Any) -> Reply:
        return self.request("GET", path, **kwargs)

    def api(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Reply:
        return self.request(method, "/api/v1" + path, body, token=TOKEN, **kwargs)

    def cue(self, cue: dict[str, Any], stream: str = STREAM) -> dict[str, Any]:
        reply = self.api("POST", f"/streams/{stream}/cues", cue)
        assert reply.status == 201, reply.text
        return reply.json()

    def stream(self, stream: str = STREAM) -> dict[str, Any]:
        return self.api("GET", f"/streams/{stream}").json()

    def wait_live(self, stream: str = STREAM, timeout_s: float = 20) -> str:
        """Wait for the multivariant playlist; return its text."""

        def probe() -> str | None:
            reply = self.get(f"/live/{stream}/index.m3u8")
            return reply.text if reply.status == 200 else None

        return wait_for(probe, timeout_s, f"stream {stream} going live")

    def wait_state(self, state: str, stream: str = STREAM, timeout_s: float = 20) -> None:
        wait_for(lambda: self.stream(stream)["state"] == state, timeout_s, f"state {state}")

    def metric(self, name: str, **labels: str) -> float | None:
        """Return one sample of /metrics, None where it is missing."""
        from prometheus_client.parser import text_string_to_metric_families

        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None
