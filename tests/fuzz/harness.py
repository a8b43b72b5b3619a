"""What a fuzz target is, and what holds for every input of every target."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
Run = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser of foreign bytes and its promises.

    `run` takes any bytes. It swallows the errors that the parser declares, and raises whatever
    else: a broken promise as `AssertionError`, an error of another type as it is.
    """

    name: str
    run: Run
    max_bytes: int
    cpu_s: float
    memory_bytes: int
    """What one input may hold at once, its own bytes not counted."""
    mutations: int
    """How many inputs of its own the unit test tries."""

    @property
    def corpus(self) -> Path:
        """Where its committed inputs lie."""
        return CORPUS / self.name

    def inputs(self) -> list[Path]:
        """Return the committed inputs, regressions among them."""
        return sorted(path for path in self.corpus.glob("*") if path.is_file())


class TooSlow(AssertionError):
    """An input took more CPU time than its target promises."""


class TooBig(AssertionError):
    """An input held more memory than its target promises."""


def target(
    name: str,
    *,
    max_bytes: int = 4096,
    cpu_s: float = 0.5,
    memory_bytes: int = 4 * 2**20,
    mutations: int = 400,
) -> Callable[[Run], Target]:
    """Make a target of a function."""

    def wrap(run: Run) -> Target:
        return Target(
            name=name,
            run=run,
            max_bytes=max_bytes,
            cpu_s=cpu_s,
            memory_bytes=memory_bytes,
            mutations=mutations,
        )

    return wrap


def execute(each: Target, data: bytes, *, slack: float = 1.0) -> None:
    """Run one input; `slack` multiplies the time where the code is instrumented."""
    began = time.process_time()
    each.run(data)
    took = time.process_time() - began
    if took > each.cpu_s * slack:
        raise TooSlow(f"{each.name}: {len(data)} bytes took {took:.2f} s, {each.cpu_s} s allowed")


def execute_measured(each: Target, data: bytes) -> None:
    """Run one input with its memory counted; several times slower than `execute`."""
    each.run(b"")  # what is made once and kept is not the input's
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        execute(each, data, slack=4)
        held = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    if held > each.memory_bytes + 8 * len(data):
        raise TooBig(f"{each.name}: {len(data)} bytes held {held} bytes")


class Choices:
    """Reads an input as small numbers and pieces; past its end everything is 0 and empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._pos

    def take(self, size: int) -> bytes:
        piece = self._data[self._pos : self._pos + size]
        self._pos += len(piece)
        return piece

    def number(self, size: int = 1) -> int:
        return int.from_bytes(self.take(size), "big")

    def piece(self) -> bytes:
        """Return bytes behind their own 16-bit length."""
        return self.take(self.number(2))

    def rest(self) -> bytes:
        return self.take(self.left)


def pieces(data: bytes, sizes: bytes) -> list[bytes]:
    """Cut data into pieces of these sizes (0 is 256), again and again."""
    cuts = [size or 256 for size in sizes] or [len(data) or 1]
    found = []
    pos = index = 0
    while pos < len(data):
        size = cuts[index % len(cuts)]
        found.append(data[pos : pos + size])
        pos += size
        index += 1
    return found
