"""Readers of a stream's log, each with a bounded queue.

A reader that falls behind by a full queue is closed and counted; it may come back with the last
number it saw and misses nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from overlay.entry import Entry

QUEUE_ENTRIES = 256
PAGE_ENTRIES = 200


class Subscription:
    """An async iterator over entries: first those after a number, then each new one."""

    def __init__(
        self,
        *,
        after: int,
        behind: bool,
        read_page: Callable[[int], Awaitable[list[Entry]]],
        on_close: Callable[[Subscription], None],
    ) -> None:
        """`behind`: the log holds entries after `after` already; `read_page` returns them."""
        self._last = after
        self._read_page = read_page
        self._on_close = on_close
        self._backlog: list[Entry] = []
        self._catching_up = behind
        self._queue: asyncio.Queue[Entry | None] = asyncio.Queue(maxsize=QUEUE_ENTRIES)
        self._closed = False

    def offer(self, entries: Iterable[Entry]) -> bool:
        """Queue new entries; False where there is no room, then the subscription is over."""
        for entry in entries:
            if self._closed:
                return True
            try:
                self._queue.put_nowait(entry)
            except asyncio.QueueFull:
                self._queue.get_nowait()
                self._queue.put_nowait(None)
                self._closed = True
                return False
        return True

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Entry:
        while self._catching_up:
            if not self._backlog:
                self._backlog = (await self._read_page(self._last))[::-1]
            if not self._backlog:
                self._catching_up = False
                break
            return self._seen(self._backlog.pop())
        while True:
            if self._closed and self._queue.empty():
                raise StopAsyncIteration
            entry = await self._queue.get()
            # After a gap nothing more is handed out: the reader resumes from its last number.
            if entry is None or entry.seq > self._last + 1:
                await self.aclose()
                raise StopAsyncIteration
            if entry.seq > self._last:
                return self._seen(entry)

    async def aclose(self) -> None:
        """End the subscription; a waiting reader ends too. Idempotent."""
        self._closed = True
        self._on_close(self)
        if not self._queue.full():
            self._queue.put_nowait(None)

    def _seen(self, entry: Entry) -> Entry:
        self._last = entry.seq
        return entry
