"""Runs the server's coroutine on the fastest loop there is, until it ends or a signal comes."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
from typing import TYPE_CHECKING

import structlog

from config.load import Misconfigured
from storage.database import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

log = structlog.get_logger(__name__)

OPEN_FILES = 65_536
EXIT_FINE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(main: Callable[[], Coroutine[object, object, object]]) -> int:
    """Run `main()`; return the process's exit code.

    The first SIGTERM or SIGINT cancels it (exit 0 once it has cleaned up), a second one ends the
    process at once with 128 + the signal's number. The collector works from here on.
    """
    gc.enable()
    raise_open_files()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_signal(main))


def raise_open_files() -> int | None:
    """Allow as many open files as the system lets us, and return how many; None: not limited.

    The soft limit is often 1024, for programs that call select(). Every connection is a file, and
    every WebRTC session one for each address: strangers could use them up.
    """
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return None if soft == resource.RLIM_INFINITY else soft


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # not on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _until_signal(main: Callable[[], Coroutine[object, object, object]]) -> int:
    loop = asyncio.get_running_loop()
    received: list[int] = []
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(main(), name="main")

            def on_signal(number: int) -> None:
                if received:
                    os._exit(128 + number)
                received.append(number)
                log.info("stopping", signal=signal.Signals(number).name)
                task.cancel()

            for number in _SIGNALS:
                loop.add_signal_handler(number, on_signal, number)
    except BaseExceptionGroup as group_error:
        if not isinstance(group_error, ExceptionGroup):
            raise
        for error in _leaves(group_error):
            log.error("failed", reason=explain(error), exc_info=_traceback_of(error))
        return EXIT_FAILED
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    return EXIT_FINE


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _traceback_of(error: BaseException) -> BaseException | None:
    """None where the sentence says it all."""
    if isinstance(error, Misconfigured | DatabaseUnavailable):
        return None
    return None if isinstance(error, OSError) and error.errno in _EXPLAINED else error


_EXPLAINED = {
    errno.EADDRINUSE: "the port is in use; stop the other server or set http.port, rtmp.port",
    errno.EACCES: "not permitted; ports below 1024 need root, folders need write access",
    errno.EADDRNOTAVAIL: "this machine has no such address; set http.host, rtmp.host",
    errno.ENOSPC: "the disk is full; free space or move storage.data_dir",
}


def explain(error: BaseException) -> str:
    """Return one sentence about an error that ends the process."""
    if isinstance(error, OSError) and error.errno in _EXPLAINED:
        return f"{error.strerror or error}: {_EXPLAINED[error.errno]}"
    if isinstance(error, Misconfigured | DatabaseUnavailable):
        return str(error)
    return f"{type(error).__name__}: {error}"
