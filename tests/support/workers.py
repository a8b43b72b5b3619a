"""The worker processes of a server."""

from __future__ import annotations

import subprocess

from tests.support.server import Server


def worker_pids(server: Server) -> list[int]:
    assert server.process is not None
    out = subprocess.run(
        ["pgrep", "-P", str(server.process.pid), "-f", "media.transcode.worker"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(p) for p in out.stdout.split()]
