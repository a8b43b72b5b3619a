"""The fault boundary: what fails inside is logged, counted and, where asked, started again.

Everything outside a supervised component is not caught: a fault there ends the process visibly.
This is the only module that creates tasks outside a plain `asyncio.TaskGroup`.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

log = structlog.get_logger(__name__)


class SuperviseMeter(Protocol):
    """What supervision reports. Never raises."""

    def component_failed(self, component: str) -> None:
        """A component ended with an exception; `component` is its name before any `:`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays with full jitter above half: a fleet must not restart in step."""

    first_s: float = 0.2
    factor: float = 2.0
    max_s: float = 30.0
    healthy_after_s: float = 60.0
    """A run at least this long starts the delays over."""

    def delay_s(self, failures: int, uniform: float) -> float:
        """Return the wait before restart number `failures` (from 1); `uniform` is in [0, 1)."""
        exponent = min(failures - 1, 64)  # bounds the power, far beyond max_s
        full: float = min(self.first_s * self.factor**exponent, self.max_s)
        return full * (0.5 + uniform / 2)


async def supervise(
    name: str,
    factory: Callable[[], Coroutine[object, object, object]],
    *,
    meter: SuperviseMeter,
    backoff: Backoff = Backoff(),
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Run `factory()` until it returns; after an exception wait and run it again.

    `name`: `component` or `component:instance`; only the component becomes a metric label.
    Cancellation passes through, as do SystemExit and KeyboardInterrupt.
    """
    failures = 0
    while True:
        started = monotonic()
        try:
            await isolated(name, factory)
        except Exception as err:
            ran_s = monotonic() - started
            failures = 1 if ran_s >= backoff.healthy_after_s else failures + 1
            delay_s = backoff.delay_s(failures, random.random())
            _report(name, err, meter, restart_in_s=round(delay_s, 3), failures=failures)
            await sleep(delay_s)
        else:
            return


async def isolated(name: str, factory: Callable[[], Coroutine[object, object, object]]) -> None:
    """Run `factory()` in a task of its own and wait for it; raises what it raises.

    A TaskGroup whose child fails while it is being cancelled raises the failure and loses the
    cancellation (CPython before 3.13). Whoever goes on after a failure must therefore take its
    cancellation here, outside the component, where nothing can lose it.
    """
    task = asyncio.create_task(factory(), name=name)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as err:
            cancelled = err
            task.cancel()
    if cancelled is None:
        task.result()
        return
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("failed while stopping", component=name, exc_info=error)
    raise cancelled


def _report(name: str, err: BaseException, meter: SuperviseMeter, **fields: object) -> None:
    meter.component_failed(name.partition(":")[0])
    log.error("component failed", component=name, exc_info=err, **fields)


class Handle:
    """A spawned task: cancel it, wait for it, ask how it ended."""

    __slots__ = ("_task", "error", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: Exception | None = None
        """What ended it, where it is not restarted; it has been logged."""
        self._task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, for whatever reason."""
        return self._task is not None and self._task.done()

    def cancel(self) -> None:
        """Ask it to stop; idempotent."""
        if self._task is not None:
            self._task.cancel()

    async def join(self) -> None:
        """Wait until it has ended; never raises its error, nor cancels it when cancelled."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """Cancel it and wait until it has ended."""
        self.cancel()
        await self.join()


class Supervisor:
    """A nursery for tasks that come and go: connections, streams, samplers.

    A child that fails does not harm its siblings or the parent. Leaving the `async with` body
    cancels every child and waits for it, so no task outlives its supervisor.
    """

    def __init__(self, *, meter: SuperviseMeter, backoff: Backoff | None = None) -> None:
        self._meter = meter
        self._backoff = backoff or Backoff()
        self._group = asyncio.TaskGroup()
        self._children: set[Handle] = set()
        self._open = False

    @property
    def names(self) -> list[str]:
        """Names of the children that run, sorted."""
        return sorted(child.name for child in self._children)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        for child in tuple(self._children):
            child.cancel()
        await self._group.__aexit__(exc_type, exc, traceback)

    def spawn(
        self,
        name: str,
        factory: Callable[[], Coroutine[object, object, object]],
        *,
        restart: bool = False,
        on_done: Callable[[Handle], None] | None = None,
    ) -> Handle:
        """Run `factory()` as a child named `component` or `component:instance`.

        `restart`: after an exception it is run again with back-off; else it is logged, counted
        and left in `Handle.error`. `on_done` is called on the loop when the child has ended.
        Raises RuntimeError outside the `async with` body.
        """
        if not self._open:
            raise RuntimeError(f"cannot start {name}: its supervisor is not running")
        handle = Handle(name)

        def finished(_task: asyncio.Task[None]) -> None:
            self._children.discard(handle)
            if on_done is not None:
                on_done(handle)

        task = self._group.create_task(self._child(handle, factory, restart), name=name)
        handle._task = task  # noqa: SLF001  # the two classes are one unit
        self._children.add(handle)
        task.add_done_callback(finished)
        return handle

    async def _child(
        self,
        handle: Handle,
        factory: Callable[[], Coroutine[object, object, object]],
        restart: bool,
    ) -> None:
        if restart:
            await supervise(handle.name, factory, meter=self._meter, backoff=self._backoff)
            return
        try:
            await factory()
        except Exception as err:
            handle.error = err
            _report(handle.name, err, self._meter)
