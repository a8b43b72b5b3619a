from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from vitrina.supervise import Backoff, Handle, Supervisor, supervise

pytestmark = pytest.mark.unit


class Meter:
    def __init__(self) -> None:
        self.failed: list[str] = []

    def component_failed(self, component: str) -> None:
        self.failed.append(component)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def test_restarts_with_growing_delays_until_it_returns() -> None:
    meter, clock, runs = Meter(), Clock(), []

    async def flaky() -> None:
        runs.append(clock.now)
        if len(runs) < 6:
            raise OSError("no")

    await supervise("rtmp:1", flaky, meter=meter, sleep=clock.sleep, monotonic=clock)
    assert len(runs) == 6
    assert meter.failed == ["rtmp"] * 5
    for failures, slept in enumerate(clock.slept, start=1):
        full = 0.2 * 2 ** (failures - 1)
        assert full / 2 <= slept <= full


async def test_a_healthy_run_starts_the_delays_over() -> None:
    meter, clock, runs = Meter(), Clock(), 0

    async def flaky() -> None:
        nonlocal runs
        runs += 1
        if runs == 4:
            clock.now += 61
        if runs < 6:
            raise OSError("no")

    await supervise("x", flaky, meter=meter, sleep=clock.sleep, monotonic=clock)
    assert clock.slept[3] <= 0.2 < clock.slept[2]


def test_delays_are_bounded_and_jittered() -> None:
    backoff = Backoff()
    delays = [backoff.delay_s(failures, 0.999) for failures in range(1, 2000)]
    assert max(delays) <= 30
    assert all(a <= b for a, b in pairwise(delays))
    assert backoff.delay_s(5, 0.0) < backoff.delay_s(5, 0.9)


async def test_cancellation_passes_through_supervise() -> None:
    started = asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervise("x", forever, meter=Meter()))
        await started.wait()
        task.cancel()
    assert task.cancelled()


async def test_a_failure_during_cancellation_does_not_lose_it() -> None:
    started = asyncio.Event()

    async def child() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("while stopping")

    async def component() -> None:
        async with asyncio.TaskGroup() as inner:
            inner.create_task(child())

    meter = Meter()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervise("x", component, meter=meter))
        await started.wait()
        task.cancel()
    assert task.cancelled()
    assert meter.failed == []


async def test_a_failing_child_harms_nobody_and_is_counted() -> None:
    meter = Meter()
    ended: list[Handle] = []

    async def bad() -> None:
        raise ValueError("boom")

    async with Supervisor(meter=meter) as supervisor:
        alive = asyncio.Event()

        async def good() -> None:
            alive.set()
            await asyncio.Event().wait()

        sibling = supervisor.spawn("stream:a", good)
        failed = supervisor.spawn("connection:b", bad, on_done=ended.append)
        await failed.join()
        await alive.wait()
        assert isinstance(failed.error, ValueError)
        assert ended == [failed]
        assert not sibling.done
        assert supervisor.names == ["stream:a"]
    assert sibling.done
    assert meter.failed == ["connection"]


async def test_restarted_child_runs_again() -> None:
    meter, second = Meter(), asyncio.Event()
    runs = 0

    async def flaky() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("once")
        second.set()
        await asyncio.Event().wait()

    async with Supervisor(meter=meter, backoff=Backoff(first_s=0.0)) as supervisor:
        handle = supervisor.spawn("worker", flaky, restart=True)
        await second.wait()
        await handle.stop()
        assert handle.done
        assert handle.error is None
    assert meter.failed == ["worker"]


async def test_leaving_cancels_and_waits_for_clean_up() -> None:
    cleaned = False

    async def child() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    async with Supervisor(meter=Meter()) as supervisor:
        supervisor.spawn("x", child)
        await asyncio.sleep(0)
    assert cleaned
    with pytest.raises(RuntimeError, match="cannot start y: its supervisor is not running"):
        supervisor.spawn("y", child)


async def test_an_error_in_the_body_is_not_swallowed() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Supervisor(meter=Meter()):
            raise LookupError("body")
    assert caught.group_contains(LookupError, match="body")


async def test_cancelled_join_leaves_the_child_alone() -> None:
    async with Supervisor(meter=Meter()) as supervisor:
        handle = supervisor.spawn("x", asyncio.Event().wait)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await handle.join()
        assert not handle.done
