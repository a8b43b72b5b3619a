"""Every committed input through its target, and some mutations of each: the bounded run of CI."""

from __future__ import annotations

import random
import time
from itertools import islice

import pytest

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.harness import TooBig, TooSlow, execute, execute_measured, target
from tests.fuzz.mutate import mutations

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", TARGETS)
def test_committed_inputs_keep_every_promise(name: str) -> None:
    each = TARGETS[name]
    paths = each.inputs()
    assert len(paths) >= 3, "a target starts from real inputs"
    for path in paths:
        data = path.read_bytes()
        assert len(data) <= each.max_bytes, path
        try:
            execute_measured(each, data)
        except Exception as error:
            error.add_note(f"python -m tests.fuzz.replay {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_keep_every_promise(name: str) -> None:
    each = TARGETS[name]
    inputs = [path.read_bytes() for path in each.inputs()]
    chance = random.Random(name)
    for data in islice(mutations(inputs, chance, each.max_bytes), each.mutations):
        try:
            execute(each, data, slack=4)
        except Exception as error:
            error.add_note(f"input: {data.hex()}")
            raise


def test_what_is_too_slow_or_too_big_is_seen() -> None:
    @target("slow", cpu_s=0.02)
    def slow(_data: bytes) -> None:
        ends = time.process_time() + 0.05
        while time.process_time() < ends:
            pass

    @target("big", memory_bytes=100_000)
    def big(data: bytes) -> None:
        assert len(bytes(300_000 if data else 0)) >= 0

    with pytest.raises(TooSlow):
        execute(slow, b"x")
    with pytest.raises(TooBig):
        execute_measured(big, b"x")
