"""A time stamp drawn into the picture that survives encoding and scaling.

One row of 80 black or white blocks along the top edge, each 1/80 of the width and 2/45 of the
height (16 by 32 pixels of 1280 by 720): 48 bits of UTC milliseconds, 16 bits of frame number
(modulo 65536), 16 bits CRC-16/CCITT-FALSE over those 8 bytes, most significant bit first, white
is 1. The demo's publisher draws it, tests and benchmarks read it; docs/blockcode.md shows how a
page does. All positions are fractions of the picture, so every rung carries the same code.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS = 80
STRIP_HEIGHT = 2 / 45
"""Of the picture's height."""
BLACK, WHITE = 16, 235
"""Limited-range luma (ITU-R BT.709 3.5)."""
_THRESHOLD = 126
_CRC_START = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a picture says about itself."""

    utc_ms: int
    """Wall clock when it was drawn, milliseconds since 1970; 48 bits."""
    frame: int
    """Number of the picture modulo 65536."""


def encode(stamp: Stamp) -> NDArray[np.uint8]:
    """Return the 80 bits, shape (80,), values 0 and 1."""
    body = stamp.utc_ms.to_bytes(6, "big") + (stamp.frame & 0xFFFF).to_bytes(2, "big")
    crc = binascii.crc_hqx(body, _CRC_START).to_bytes(2, "big")
    return np.unpackbits(np.frombuffer(body + crc, np.uint8))


def draw(luma: NDArray[np.uint8], stamp: Stamp) -> None:
    """Draw the strip into `luma`, shape (height, width), width a multiple of 80.

    Raises ValueError for another width.
    """
    height, width = luma.shape
    if width % BLOCKS:
        raise ValueError(f"cannot draw {BLOCKS} equal blocks on a width of {width} pixels")
    row = np.where(encode(stamp), np.uint8(WHITE), np.uint8(BLACK))
    luma[: strip_rows(height)] = np.repeat(row, width // BLOCKS)


def strip_rows(height: int) -> int:
    """Return the rows that the strip covers in a picture of this height."""
    return round(height * STRIP_HEIGHT)


def decode(luma: NDArray[np.uint8]) -> Stamp | None:
    """Read the strip from `luma`, shape (height, width), any size from 160 by 90.

    Each block is the mean of its middle half. None where the check sum does not match.
    """
    height, width = luma.shape
    top = round(height * STRIP_HEIGHT * 0.25)
    bottom = max(round(height * STRIP_HEIGHT * 0.75), top + 1)
    columns = luma[top:bottom].mean(axis=0)
    centres = (np.arange(BLOCKS) + 0.5) * width / BLOCKS
    half = max(width / BLOCKS / 4, 0.5)
    first = np.round(centres - half).astype(int)
    last = np.maximum(np.round(centres + half).astype(int), first + 1)
    sums = np.concatenate(([0.0], np.cumsum(columns)))
    means = (sums[last] - sums[first]) / (last - first)
    packed = np.packbits(means > _THRESHOLD).tobytes()
    if binascii.crc_hqx(packed[:8], _CRC_START) != int.from_bytes(packed[8:], "big"):
        return None
    return Stamp(utc_ms=int.from_bytes(packed[:6], "big"), frame=int.from_bytes(packed[6:8], "big"))
