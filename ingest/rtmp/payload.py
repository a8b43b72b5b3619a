"""Brings access units into the one form that the server handles, whatever the encoder chose."""

from __future__ import annotations

from ingest.rtmp.errors import Fault, RtmpError
from media.bitstream.nal import MAX_NALS
from media.model import Codec

_LENGTH_SIZE_AT = {Codec.H264: 4, Codec.HEVC: 21}
"""Where lengthSizeMinusOne lies in avcC (ISO 14496-15 5.3.3.1) and hvcC (8.3.3.1)."""
_TEMPORAL_DELIMITER = b"\x12\x00"
"""AV1 5.3: an OBU header of type 2 with a size field, and its size 0."""


def length_size(codec: Codec, record: bytes) -> int:
    """Return the bytes of a NAL unit's length; 4 for codecs without NAL units.

    Raises `RtmpError` (media) when the record ends before it says so.
    """
    at = _LENGTH_SIZE_AT.get(codec)
    if at is None:
        return 4
    if len(record) <= at:
        raise RtmpError(Fault.MEDIA, f"The {codec.value} sequence header is cut short.")
    return (record[at] & 3) + 1


def with_four_byte_lengths(codec: Codec, record: bytes) -> bytes:
    """Return the record saying that lengths have 4 bytes."""
    at = _LENGTH_SIZE_AT.get(codec)
    if at is None or record[at] & 3 == 3:
        return record
    return record[:at] + bytes((record[at] | 3,)) + record[at + 1 :]


def widen_lengths(payload: bytes, size: int) -> bytes:
    """Rewrite NAL unit lengths of `size` bytes to 4.

    Raises `RtmpError` (media) on overrun, and on more than `MAX_NALS` units.
    """
    parts: list[bytes] = []
    pos = 0
    while pos < len(payload):
        if len(parts) >= 2 * MAX_NALS:
            raise RtmpError(Fault.MEDIA, f"A picture holds more than {MAX_NALS} NAL units.")
        start = pos + size
        length = int.from_bytes(payload[pos:start], "big")
        pos = start + length
        if pos > len(payload):
            raise RtmpError(Fault.MEDIA, "A NAL unit is longer than its access unit.")
        parts.append(length.to_bytes(4, "big"))
        parts.append(payload[start:pos])
    return b"".join(parts)


def without_temporal_delimiter(payload: bytes) -> bytes:
    """Strip a leading temporal delimiter: ISO BMFF samples hold none (AV1-ISOBMFF 2.4)."""
    return payload[2:] if payload.startswith(_TEMPORAL_DELIMITER) else payload
