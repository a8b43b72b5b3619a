"""Configurations of H.264, written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream import (
    h264,
)

if TYPE_CHECKING:
    pass


class BitWriter:
    def __init__(self) -> None:
        self.text = ""

    def u(self, width: int, value: int) -> BitWriter:
        self.text += f"{value:0{width}b}"
        return self

    def ue(self, value: int) -> BitWriter:
        code = f"{value + 1:b}"
        self.text += "0" * (len(code) - 1) + code
        return self

    def done(self) -> bytes:
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def escape(body: bytes) -> bytes:
    """Put emulation prevention bytes in (H.264 7.4.1)."""
    out = bytearray()
    for byte in body:
        if byte <= 3 and out[-2:] == b"\0\0":
            out.append(3)
        out.append(byte)
    return bytes(out)


def baseline_sps(width_mbs: int, height_mbs: int, crop: tuple[int, ...] = ()) -> bytes:
    bits = BitWriter().u(8, 66).u(8, 0xC0).u(8, 31).ue(0).ue(0).ue(2).ue(1).u(1, 0)
    bits.ue(width_mbs - 1).ue(height_mbs - 1).u(2, 3).u(1, bool(crop))
    for value in crop:
        bits.ue(value)
    body = bits.u(1, 0).done()
    return b"\x67" + escape(body)


def avcc(sps: bytes) -> bytes:
    return h264.build_avcc([sps], [b"\x68\xce\x38\x80"])
