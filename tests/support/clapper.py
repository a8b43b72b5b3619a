"""Pictures and sound that belong together: block codes, and a beep at every whole second.

The standard library alone, for publishers that run in another Python; `media.blockcode` describes
the code, `tests.support.clapped` measures what came of both.
"""

from __future__ import annotations

import binascii
import math
import struct
import time

FPS = 30
RATE = 48_000
SAMPLES = RATE // 50
"""Of 20 ms."""
BEEP_S = 0.1
_BLOCKS = 80


def picture(width: int, height: int, number: int) -> bytes:
    """Return I420 with the number and the time in block code above a bar that walks over grey.

    `width` is a multiple of 80, `height` is even.
    """
    body = int(time.time() * 1000).to_bytes(6, "big") + (number & 0xFFFF).to_bytes(2, "big")
    code = body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")
    bits = "".join(f"{each:08b}" for each in code)
    cell = width // _BLOCKS
    row = b"".join((b"\xeb" if bit == "1" else b"\x10") * cell for bit in bits)
    rows = round(height * 2 / 45)
    left = number * 8 % (width - 32)
    below = b"\x80" * left + b"\xd0" * 32 + b"\x80" * (width - 32 - left)
    chroma = (width + 1) // 2 * ((height + 1) // 2)
    return row * rows + below * (height - rows) + b"\x80" * (2 * chroma)


def _samples(level: float) -> bytes:
    tones = (int(level * math.sin(2 * math.pi * 1000 * n / RATE)) for n in range(SAMPLES))
    return b"".join(struct.pack("<hh", each, each) for each in tones)


_BEEP, _SILENCE = _samples(16_000), _samples(0)


def sound(number: int) -> bytes:
    """Return 20 ms of it: s16, little endian, stereo, 48 kHz; the beep lasts 100 ms."""
    return _BEEP if number % 50 < BEEP_S * 50 else _SILENCE
