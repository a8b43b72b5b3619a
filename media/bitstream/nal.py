"""NAL units in both framings: Annex B start codes and length prefixes (ISO 14496-15 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream.errors import BitstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NALS = 4096
"""NAL units in one access unit; level limits allow a few hundred slices."""

MAX_PARAMETER_SET = 8192
"""Bytes; a real SPS has under 200, the largest legal one (HEVC, all lists) under 5000."""

_START_CODE = b"\x00\x00\x01"


def split_annexb(data: bytes) -> list[bytes]:
    """Return the NAL units between start codes, without trailing zeros (H.264 B.1).

    Raises `BitstreamError` where `data` holds no start code or more than `MAX_NALS` units.
    """
    start = data.find(_START_CODE)
    if start < 0 or data[:start].strip(b"\x00"):
        raise BitstreamError("The Annex B bytes do not begin with a start code.")
    units: list[bytes] = []
    while start >= 0:
        start += 3
        stop = data.find(_START_CODE, start)
        unit = (data[start:stop] if stop >= 0 else data[start:]).rstrip(b"\x00")
        if unit:
            units.append(unit)
            if len(units) > MAX_NALS:
                raise BitstreamError(f"The access unit holds more than {MAX_NALS} NAL units.")
        start = stop
    return units


def join_length_prefixed(units: Iterable[bytes]) -> bytes:
    """Put a four-byte length in front of every NAL unit."""
    parts: list[bytes] = []
    for unit in units:
        parts.append(len(unit).to_bytes(4, "big"))
        parts.append(unit)
    return b"".join(parts)


def length_prefixed_spans(payload: bytes, length_size: int = 4) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of every non-empty NAL unit without copying.

    Raises `BitstreamError` where a length reaches beyond the payload.
    """
    end = len(payload)
    pos = 0
    for _ in range(MAX_NALS):
        if pos == end:
            return
        start = pos + length_size
        pos = start + int.from_bytes(payload[pos:start], "big")
        if pos > end or start > end:
            raise BitstreamError("A NAL unit is longer than its access unit.")
        if pos > start:
            yield start, pos
    if pos < end:
        raise BitstreamError(f"The access unit holds more than {MAX_NALS} NAL units.")


def rbsp(unit: bytes, header: int, what: str) -> bytes:
    """Drop the NAL header and the emulation prevention bytes (H.264 7.4.1)."""
    if len(unit) > MAX_PARAMETER_SET:
        raise BitstreamError(
            f"The {what} has {len(unit)} bytes; at most {MAX_PARAMETER_SET} are accepted."
        )
    # Non-overlapping left-to-right replacement is exact: every 00 00 03 ends its zero run.
    return unit[header:].replace(b"\x00\x00\x03", b"\x00\x00")


def check_length_size(size: int, record: str) -> int:
    """Refuse the one NAL length size that ISO 14496-15 reserves."""
    if size == 3:
        raise BitstreamError(f"The {record} says NAL lengths of 3 bytes, which is reserved.")
    return size
