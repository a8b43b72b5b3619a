"""Gives freed memory back to the system.

glibc keeps what was freed for later: after a few hundred TLS connections at once some 15 MB stay
resident though nothing holds them, and a watcher of the process would see a leak. Connections are
rings of objects, so Python's collector has to find them first.
"""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from media.heap import heap_trimmer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

INTERVAL_S = 10.0
GROWTH_BYTES = 2 * 2**20
"""Less is not worth the milliseconds: the pages are taken again soon."""
SHRINKAGE_BYTES = 2**20
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the resident set size; 0 where the system does not tell it like Linux."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def trimmer() -> Callable[[], object] | None:
    """Return what collects and calls glibc's `malloc_trim(0)`; None without glibc (musl, macOS)."""
    trim = heap_trimmer()
    if trim is None:
        return None

    def collect_and_trim() -> None:
        gc.collect()
        trim()

    return collect_and_trim


def set_aside() -> None:
    """Take all that exists now, code above all, out of what the collector looks at.

    Call it once, when the server has started: a whole collection then holds the loop for some
    milliseconds instead of a tenth of a second.
    """
    gc.collect()
    gc.freeze()


async def give_back(
    *,
    trim: Callable[[], object] | None,
    resident: Callable[[], int] = resident_bytes,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Trim whenever the process has grown, or shrunk, since the last time; until cancelled.

    What shrinks by itself has freed much, and leaves more behind that a trim gives back.
    """
    after = resident()
    while trim is not None:
        await sleep(INTERVAL_S)
        now = resident()
        if now >= after + GROWTH_BYTES or now <= after - SHRINKAGE_BYTES:
            trim()
            after = resident()
