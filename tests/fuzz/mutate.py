"""Blind mutations: what is left of fuzzing where nothing guides it, and the bounded run of CI."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutations(inputs: Sequence[bytes], chance: random.Random, max_bytes: int) -> Iterator[bytes]:
    """Yield changed inputs for ever; the same ones for the same `chance`."""
    inputs = inputs or [b""]
    while True:
        data = bytearray(chance.choice(inputs))
        for _ in range(chance.randrange(1, 6)):
            _change(data, chance, inputs)
        yield bytes(data[:max_bytes])


def _change(data: bytearray, chance: random.Random, inputs: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    size = min(chance.choice((1, 2, 4, 8, 32, 200)), len(data) - at)
    match chance.randrange(8):
        case 0:
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        case 1:
            del data[at : at + size]
        case 2 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 3 if at < len(data):
            data[at] = chance.randrange(256)
        case 4:
            edge = chance.choice(_EDGES)
            width = chance.choice((1, 2, 3, 4))
            data[at : at + width] = (edge & (1 << 8 * width) - 1).to_bytes(width, "big")
        case 5:
            data[at:at] = data[at : at + size] * chance.choice((1, 2, 16))
        case 6:
            other = chance.choice(inputs)
            begin = chance.randrange(len(other) + 1)
            data[at : at + size] = other[begin : begin + chance.randrange(1, 65)]
        case _:
            del data[at:]
