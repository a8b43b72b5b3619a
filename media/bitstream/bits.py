"""A bounded big-endian bit reader with Exp-Golomb codes (H.264 9.1, H.265 9.2)."""

from __future__ import annotations

from media.bitstream.errors import BitstreamError


class BitReader:
    """Reads bits from `data`; every overrun is a `BitstreamError` that names `what`.

    Each read costs the bytes it covers, never the length of `data`.
    """

    __slots__ = ("_data", "_end", "_pos", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._pos = 0
        self._end = len(data) * 8
        self._what = what

    @property
    def position(self) -> int:
        """Bits read so far."""
        return self._pos

    @property
    def remaining(self) -> int:
        """Bits left."""
        return self._end - self._pos

    def bits(self, count: int) -> int:
        """Read `count` bits as an unsigned integer."""
        start = self._pos
        stop = start + count
        if stop > self._end:
            raise BitstreamError(f"The {self._what} ends before its last field.")
        self._pos = stop
        last = (stop + 7) >> 3
        word = int.from_bytes(self._data[start >> 3 : last], "big")
        return (word >> (last * 8 - stop)) & ((1 << count) - 1)

    def flag(self) -> bool:
        """Read one bit."""
        return self.bits(1) == 1

    def skip(self, count: int) -> None:
        """Pass over `count` bits."""
        if count > self._end - self._pos:
            raise BitstreamError(f"The {self._what} ends before its last field.")
        self._pos += count

    def align(self) -> None:
        """Go to the next byte boundary."""
        self.skip(-self._pos % 8)

    def ue(self, field: str, limit: int = 0xFFFF_FFFE) -> int:
        """Read an unsigned Exp-Golomb code; above `limit` the error names `field`."""
        window = min(32, self._end - self._pos)
        head = self.bits(window)
        self._pos -= window
        zeros = window - head.bit_length()
        if zeros == window:
            if window < 32:
                raise BitstreamError(f"The {self._what} ends before its last field.")
            raise BitstreamError(
                f"The {self._what} holds an Exp-Golomb code longer than 32 bits in {field}."
            )
        self._pos += zeros
        value = self.bits(zeros + 1) - 1
        if value > limit:
            raise BitstreamError(
                f"The {self._what} says {field} {value}; at most {limit} is allowed."
            )
        return value

    def se(self, field: str) -> int:
        """Read a signed Exp-Golomb code."""
        code = self.ue(field)
        return (code + 1) >> 1 if code & 1 else -(code >> 1)
