"""One living worker process and the socket to it: asyncio, no policy but the send bound."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import media
from media.model import Kind
from media.transcode.messages import Finish, Source
from media.transcode.wire import Decoder, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from media.transcode.messages import FromWorker, ToWorker

SOCKET_BUFFER_BYTES = 1 << 20
READ_BYTES = 1 << 18
MAX_BACKLOG_BYTES = 8 * 2**20
"""Unsent bytes at which video waits for the next key frame; half again for sound."""
MAX_STDERR_LINES = 40
MAX_LINE_BYTES = 500
INHERITED_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
    "CUDA_VISIBLE_DEVICES",
    "LIBVA_DRIVER_NAME",
    "LIBVA_DRIVERS_PATH",
)
"""Nothing else goes along: the server's environment may hold tokens and database URLs."""


class WorkerLink:
    """A started worker. Bounded: video is dropped up to a key frame while the pipe is full."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._need_key = False
        self.finishing = False
        """Access units that did not fit into the pipe."""

    @classmethod
    async def spawn(
        cls, nice: int, memory_bytes: int, *, module: str = "media.transcode.worker"
    ) -> Self:
        """Start `module` with so much writable memory at most. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        try:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                str(theirs.fileno()),
                str(nice),
                str(memory_bytes),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=READ_BYTES)
        except BaseException:
            process.kill()
            ours.close()
            raise
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: ToWorker) -> bool:
        """Queue one message; False where it was dropped. Never blocks."""
        if self._writer.is_closing() or self.finishing:
            return False
        if isinstance(message, Source) and not self._room_for(message):
            return False
        self._writer.writelines(encode(message))
        self.finishing = isinstance(message, Finish)
        return True

    def _room_for(self, source: Source) -> bool:
        backlog = self._writer.transport.get_write_buffer_size()
        if source.kind is Kind.AUDIO:
            return backlog < MAX_BACKLOG_BYTES * 3 // 2
        # A replay is bounded by `Replay` itself, and of no use with holes.
        if backlog < MAX_BACKLOG_BYTES or source.replay:
            self._need_key = self._need_key and not source.key
        else:
            self._need_key = True
        return not self._need_key

    async def messages(self) -> AsyncIterator[FromWorker | ToWorker]:
        """Iterate what the worker says until it closes its end. Raises `WireError`."""
        decoder = Decoder()
        while True:
            try:
                data = await self._reader.read(READ_BYTES)
            except ConnectionError:
                return
            if not data:
                return
            for message in decoder.feed(data):
                yield message

    async def read_stderr(self, log: Callable[[str], None]) -> None:
        """Pass the worker's error output to `log`, line by line, the first 40 lines of it."""
        stream = self._process.stderr
        assert stream is not None
        lines = 0
        rest = b""
        while data := await stream.read(4096):
            *whole, rest = (rest + data).split(b"\n")
            rest = rest[-MAX_LINE_BYTES:]
            for line in whole[: MAX_STDERR_LINES - lines]:
                log(line[:MAX_LINE_BYTES].decode("utf-8", "replace"))
            lines = min(MAX_STDERR_LINES, lines + len(whole))

    def kill(self) -> None:
        """End the process at once (also a stopped one)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> int:
        """Kill what still runs and reap it; return the exit code, negative for a signal."""
        if self._process.returncode is None:
            self.kill()
        code = await self._process.wait()
        self._writer.transport.abort()
        return code

    async def exited(self, within_s: float) -> None:
        """Give the process time to end by itself after its socket closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._process.wait()


def _environment() -> dict[str, str]:
    """Environment in which the worker finds this very package, whatever the folder."""
    environment = {k: v for k in INHERITED_ENVIRONMENT if (v := os.environ.get(k)) is not None}
    root = str(Path(media.__file__).resolve().parent.parent)
    return environment | {
        "PYTHONPATH": root,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        # NumPy would start threads of its own at import, before the process is confined.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        # One arena a thread would keep what another one frees: pictures travel down the cascade.
        "MALLOC_ARENA_MAX": "2",
        # By default glibc takes what it frees in one piece for what is wanted again soon, and
        # keeps such sizes on the heap from then on: encoders that come and go leave holes there.
        "MALLOC_MMAP_THRESHOLD_": str(128 * 1024),
        "MALLOC_TRIM_THRESHOLD_": str(1024 * 1024),
    }
