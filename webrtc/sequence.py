"""Counters that wrap: RTP sequence numbers (16 bits) and timestamps (32 bits) as plain integers."""

from __future__ import annotations


def nearest(value: int, reference: int, bits: int) -> int:
    """Return the integer next to `reference` whose low `bits` are `value`'s.

    Of two at the same distance, half a turn, it is the lower one (RFC 1982 leaves that open).
    """
    half = 1 << (bits - 1)
    return reference - half + ((value - reference + half) & ((1 << bits) - 1))


class Unwrapper:
    """Continues a wrapping counter beyond its bits, forwards and backwards.

    The first value is taken as it is, so what was sent before it and arrives later may come out
    negative. A step of less than half a turn is right in both directions.
    """

    __slots__ = ("_bits", "_half", "_last", "_mask")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """Return the integer that the counter's `value` stands for."""
        last = self._last
        if last is None:
            last = value & self._mask
        else:
            last += ((value - last + self._half) & self._mask) - self._half
        self._last = last
        return last
