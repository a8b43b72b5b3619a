"""AV1: av1C, OBUs and the sequence header (AV1 specification 5.3 to 5.9, AV1-ISOBMFF 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.bitstream.av1_sequence import SequenceHeader, parse_sequence_header
from media.bitstream.errors import BitstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

OBU_SEQUENCE_HEADER = 1
OBU_TEMPORAL_DELIMITER = 2
OBU_FRAME_HEADER = 3
OBU_FRAME = 6

MAX_OBUS = 4096
"""OBUs in one temporal unit; tiles and layers of a real one stay below 300."""

_KEY_FRAME = 0
_LEB128_BYTES = 8


@dataclass(frozen=True, slots=True)
class Obu:
    """Where one OBU lies in its temporal unit."""

    kind: int
    start: int
    """Of the header."""
    body: int
    """Of the payload."""
    stop: int


def iterate_obus(unit: bytes) -> Iterator[Obu]:
    """Yield the OBUs of a low-overhead temporal unit without copying (AV1 5.3.1).

    Raises `BitstreamError` where a size reaches beyond the unit.
    """
    end = len(unit)
    pos = 0
    for _ in range(MAX_OBUS):
        if pos == end:
            return
        start = pos
        header = unit[pos]
        if header & 0x80:
            raise BitstreamError("An AV1 OBU has its forbidden bit set.")
        pos += 2 if header & 4 else 1
        if header & 2:
            size, pos = read_leb128(unit, pos)
        else:
            size = end - pos
        body, pos = pos, pos + size
        if size < 0 or pos > end:
            raise BitstreamError("An AV1 OBU is longer than its temporal unit.")
        yield Obu(header >> 3 & 15, start, body, pos)
    if pos < end:
        raise BitstreamError(f"The AV1 temporal unit holds more than {MAX_OBUS} OBUs.")


def read_leb128(data: bytes, pos: int) -> tuple[int, int]:
    """Read leb128() (AV1 4.10.5); return (value, position behind it)."""
    value = 0
    for index, byte in enumerate(data[pos : pos + _LEB128_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, pos + index + 1
    raise BitstreamError("An AV1 OBU has a broken size field.")


def sequence_header(unit: bytes) -> bytes | None:
    """Return the payload of the first sequence header OBU, or None."""
    for obu in iterate_obus(unit):
        if obu.kind == OBU_SEQUENCE_HEADER:
            return unit[obu.body : obu.stop]
    return None


def is_key_temporal_unit(unit: bytes, *, in_band: bool = True) -> bool:
    """Whether decoding can start here: a sequence header before a shown key frame.

    Not `in_band`: the sequence header may be in an av1C alone.
    """
    seen_sequence = not in_band
    for obu in iterate_obus(unit):
        if obu.kind == OBU_SEQUENCE_HEADER:
            seen_sequence = True
        elif obu.kind in (OBU_FRAME, OBU_FRAME_HEADER):
            if obu.body == obu.stop:
                raise BitstreamError("An AV1 frame header is empty.")
            first = unit[obu.body]
            # show_existing_frame, frame_type (2 bits), show_frame (AV1 5.9.2).
            shown_key = first & 0x90 == 0x10 and first >> 5 & 3 == _KEY_FRAME
            return seen_sequence and shown_key
    return False


def strip_temporal_delimiters(unit: bytes) -> bytes:
    """Drop temporal delimiter OBUs, which ISO BMFF samples must not hold (AV1-ISOBMFF 2.4)."""
    if unit[:2] == b"\x12\x00":
        # The one that an encoder writes; a second one in the same unit breaks AV1 7.5.
        return unit[2:]
    obus = list(iterate_obus(unit))
    if all(obu.kind != OBU_TEMPORAL_DELIMITER for obu in obus):
        return unit
    return b"".join(
        unit[obu.start : obu.stop] for obu in obus if obu.kind != OBU_TEMPORAL_DELIMITER
    )


def parse_av1c(config: bytes) -> SequenceHeader:
    """Parse an av1C; it must carry the sequence header OBU (AV1-ISOBMFF 2.3.3)."""
    if len(config) < 4:
        raise BitstreamError("The av1C record ends before its last field.")
    if config[0] != 0x81:
        raise BitstreamError("The av1C record does not begin with marker 1 and version 1.")
    payload = sequence_header(config[4:])
    if payload is None:
        raise BitstreamError("The av1C record holds no sequence header.")
    return parse_sequence_header(payload)


def build_av1c(unit: bytes) -> bytes:
    """Build an av1C from a temporal unit (or bare OBUs) that holds a sequence header."""
    payload = sequence_header(unit)
    if payload is None:
        raise BitstreamError("The AV1 temporal unit holds no sequence header.")
    header = parse_sequence_header(payload)
    flags = (
        header.tier << 7
        | (header.bit_depth > 8) << 6
        | (header.bit_depth == 12) << 5
        | header.monochrome << 4
        | header.subsampling_x << 3
        | header.subsampling_y << 2
        | header.chroma_position
    )
    obu = b"\x0a" + write_leb128(len(payload)) + payload
    return bytes((0x81, header.profile << 5 | header.level, flags, 0)) + obu


def write_leb128(value: int) -> bytes:
    """Write leb128() in as few bytes as it takes (AV1 4.10.5)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
