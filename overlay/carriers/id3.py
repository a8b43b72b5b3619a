"""ID3v2.4 tags with one TXXX frame."""

from __future__ import annotations

UTF8 = b"\x03"
_MAX_SYNCSAFE = (1 << 28) - 1


def txxx_tag(description: str, value: bytes) -> bytes:
    """Return a complete tag (ID3v2.4.0 sections 3.1, 4, 4.2.6).

    `value` is UTF-8 text without NUL. Raises `ValueError` where the tag would not hold it.
    """
    if "\0" in description or b"\0" in value:
        raise ValueError("a TXXX text holds no NUL")
    body = UTF8 + description.encode() + b"\0" + value
    frame = b"TXXX" + _syncsafe(len(body)) + b"\0\0" + body
    return b"ID3\x04\x00\x00" + _syncsafe(len(frame)) + frame


def _syncsafe(size: int) -> bytes:
    """Four bytes of seven bits each (ID3v2.4.0 section 6.2)."""
    if size > _MAX_SYNCSAFE:
        raise ValueError(f"{size} bytes do not fit a tag")
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
