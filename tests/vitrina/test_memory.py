"""Freed memory goes back to the system."""

from __future__ import annotations

import sys

import pytest

from vitrina.memory import (
    GROWTH_BYTES,
    INTERVAL_S,
    SHRINKAGE_BYTES,
    give_back,
    resident_bytes,
    trimmer,
)

pytestmark = pytest.mark.component

linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")


class Enough(Exception):
    pass


async def trims_at(*sizes: int) -> list[int]:
    """Return at which of the looks at the process it was trimmed; each is a size in bytes."""
    looks = iter(sizes)
    looked = 0
    trims: list[int] = []

    def resident() -> int:
        nonlocal looked
        looked += 1
        return next(looks)

    def trim() -> None:
        trims.append(looked - 1)

    async def sleep(seconds: float) -> None:
        assert seconds == INTERVAL_S
        if looked == len(sizes):
            raise Enough

    with pytest.raises(Enough):
        await give_back(trim=trim, resident=resident, sleep=sleep)
    return trims


async def test_it_trims_after_growth_and_not_without() -> None:
    start = 100 * 2**20
    steady = (start, start + GROWTH_BYTES - 1, start - SHRINKAGE_BYTES + 1, start)
    assert await trims_at(*steady) == []
    assert await trims_at(start, start + GROWTH_BYTES, start, start) == [1]


async def test_it_trims_again_when_the_load_has_gone() -> None:
    start = 100 * 2**20
    crowd = start + 20 * 2**20
    kept = start + 6 * 2**20
    assert await trims_at(start, crowd, crowd, kept, start, start) == [1, 3]


async def test_without_such_an_allocator_it_does_nothing() -> None:
    await give_back(trim=None)


@linux
def test_what_was_freed_among_what_is_kept_is_given_back() -> None:
    trim = trimmer()
    if trim is None:
        pytest.skip("not glibc")
    pieces = [bytes(20_000) for _ in range(3000)]
    kept = pieces[::100]
    del pieces
    before = resident_bytes()
    trim()
    assert resident_bytes() < before - 20 * 2**20
    assert len(kept) == 30
