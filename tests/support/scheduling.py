"""SVT-AV1 makes the whole process a real-time one when root opens it; its children inherit that.

A browser that waits by spinning at such a priority starves the machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def leave_real_time() -> None:
    """Give every thread of this process the ordinary policy again."""
    if sys.platform != "linux":
        return
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


def real_time_threads() -> list[int]:
    """Return the threads of this process that the scheduler prefers to everybody else's."""
    if sys.platform != "linux":
        return []
    found = []
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                found.append(int(thread.name))
    return found
