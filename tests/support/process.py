"""What a process holds, read from outside (Linux)."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path


def resident_mb(pid: int) -> float:
    """Return the resident set size in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def descriptors(pid: int) -> int:
    """Return how many files, sockets and pipes are open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def sockets(pid: int) -> int:
    """Return how many sockets are open; a pool of database connections may still fill."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(link.readlink()).startswith("socket:")
    return count


def threads(pid: int) -> int:
    """Return how many threads run."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
