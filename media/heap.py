"""Freed memory back to the system: glibc keeps it for later, and a watcher would see a leak."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def heap_trimmer() -> Callable[[], object] | None:
    """Return what calls glibc's `malloc_trim(0)` (milliseconds); None without glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    trim.argtypes = [ctypes.c_size_t]

    def run() -> None:
        trim(0)

    return run
