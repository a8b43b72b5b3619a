"""Requests that are held until the playlist or a part they asked for exists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

KeyT = TypeVar("KeyT", bound="Hashable")


class Waiters(Generic[KeyT]):
    """One future per thing waited for, shared by all who wait for it.

    Bound: the caller admits only keys within the draft's advance limits, and the number of
    held requests is bounded by the HTTP server (`limits.max_waiters`).
    """

    def __init__(self) -> None:
        self._futures: dict[KeyT, asyncio.Future[None]] = {}

    async def wait(self, key: KeyT, timeout_s: float) -> bool:
        """Wait until `key` is released; False when the time is up first."""
        future = self._futures.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._futures[key] = future
        try:
            async with asyncio.timeout(timeout_s):
                # Shielded: one viewer who hangs up must not cancel the others.
                await asyncio.shield(future)
        except TimeoutError:
            return False
        return True

    def release(self, ready: Callable[[KeyT], bool]) -> None:
        """Let go of everyone whose key is `ready`."""
        if not self._futures:
            return
        for key in [key for key in self._futures if ready(key)]:
            future = self._futures.pop(key)
            if not future.done():
                future.set_result(None)
