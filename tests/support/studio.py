"""The demo's publisher as a process: 720p30 with the block code, over real RTMP."""

from __future__ import annotations

import json
import subprocess
import sys
from tempfile import TemporaryFile
from typing import IO

from tests.support.server import KEY, ROOT, Server


class Studio:
    """Pushes stamped pictures to `server` until `kill` or the end of the with block."""

    def __init__(self, server: Server, *, key: str = KEY) -> None:
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vitrina.demo_publisher"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
        )
        target = {"host": "127.0.0.1", "port": server.rtmp_port, "app": "live", "key": key}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(target).encode() + b"\n")
        self.process.stdin.flush()

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        """End it as a crash would: no FCUnpublish, no deleteStream."""
        self.process.kill()
        self.process.wait(5)

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._log.close()
