"""Freed memory goes back to the system."""

from __future__ import annotations

import sys

import pytest

from vitrina.memory import GROWTH_BYTES, INTERVAL_S, give_back, resident_bytes, trimmer

pytestmark = pytest.mark.component

linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")


class Enough(Exception):
    pass


async def test_it_trims_only_after_growth() -> None:
    sizes = [100, 100 + GROWTH_BYTES - 1, 90, 90 + GROWTH_BYTES, 120, 119 + GROWTH_BYTES]
    trims: list[int] = []

    async def sleep(seconds: float) -> None:
        assert seconds == INTERVAL_S
        if not sizes:
            raise Enough

    with pytest.raises(Enough):
        await give_back(
            trim=lambda: trims.append(len(sizes)), resident=lambda: sizes.pop(0), sleep=sleep
        )
    assert trims == [2]


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
