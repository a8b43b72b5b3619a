"""What the benchmarks of running servers share: clips, pushers, processes and their cost."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg

from tests.support.server import ROOT, Server, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["ROOT", "Server", "free_port", "wait_for"]
SHM = Path("/dev/shm")
_CPUCLOCK_SCHED = 2


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a directory in memory where there is one, so that no disk is measured."""
    folder = SHM if SHM.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="vitrina-bench-", dir=folder) as name:
        yield Path(name)


def cpu_s(pid: int) -> float:
    """Return user and system seconds of all threads of a process, to the nanosecond.

    Linux: the process's CPU clock (clock_getcpuclockid), which `/proc/PID/stat` rounds to 10 ms.
    """
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    tasks = Path(f"/proc/{pid}/task")
    lists = (task / "children" for task in tasks.iterdir())
    return [int(child) for text in lists for child in text.read_text().split()]


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process in MB; shared pages count by their share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def make_clip(
    path: Path, *, size: str, bitrate_kbps: int, seconds: int = 20, b_frames: int = 0
) -> Path:
    """Write an FLV as an encoder would push it: 30 fps, GOP 2 s, AAC 128 kb/s, constant rate."""
    rate = str(bitrate_kbps)
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"),
        *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30,noise=alls=12:allf=t"),
        *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(seconds)),
        *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", str(b_frames)),
        *("-b:v", f"{rate}k", "-maxrate", f"{rate}k", "-bufsize", f"{rate}k"),
        *("-g", "60", "-keyint_min", "60", "-sc_threshold", "0"),
        *("-x264-params", "nal-hrd=cbr:force-cfr=1"),
        *("-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "flv", str(path)),
    ]
    subprocess.run(command, check=True)
    return path


def push_command(clip: Path, url: str) -> list[str]:
    """Return the command that pushes a clip in real time, for ever, without encoding."""
    return [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-re", "-stream_loop", "-1"),
        *("-i", str(clip), "-c", "copy", "-f", "flv", url),
    ]


@contextmanager
def pushing(clip: Path, urls: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Push a clip to every URL; yields a check that raises when a pusher has ended."""
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        processes = []
        for number, url in enumerate(urls):
            if number:
                time.sleep(0.13)  # no two streams have their key frames at the same moment
            process = subprocess.Popen(
                push_command(clip, url), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            processes.append(process)
            stack.callback(end, process)

        def check() -> None:
            ended = [process.returncode for process in processes if process.poll() is not None]
            if ended:
                log.seek(0)
                raise RuntimeError(f"{len(ended)} pushers ended: {log.read().decode()[-2000:]}")

        yield check


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, kill it where that does not help."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Process:
    """A peer's server process."""

    command: Sequence[str]
    folder: Path
    port: int
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Process:
        with (self.folder / "peer.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
            )
        wait_for(self._listens, 10, f"start of {self.command[0]}")
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self.process is not None
        end(self.process)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return (self.folder / "peer.log").read_text(errors="replace")

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.command[0]} ended: {self.log[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            return False
        return True


@contextmanager
def vitrina(
    folder: Path, streams: Sequence[tuple[str, str]], settings: dict[str, object]
) -> Iterator[Server]:
    """Run `vitrina serve` with these streams (name, key)."""
    folder.mkdir()
    server = Server(folder, settings=settings, streams=list(streams)).start()
    try:
        yield server
    finally:
        server.stop()


def pid_of(server: Server) -> int:
    """Return the server's process id."""
    assert server.process is not None
    return server.process.pid


def need(*tools: str) -> None:
    """Exit with what to install where a tool is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None and not Path(tool).exists()]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")
