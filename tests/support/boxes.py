"""A reader of fMP4 boxes, event messages and ID3 tags, from the standards and no code of ours."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate (type, body) of one level (ISO 14496-12 4.2)."""
    position = 0
    while position < len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        assert 8 <= size <= len(data) - position, f"box {name!r} of {size} bytes"
        yield name, data[position + 8 : position + size]
        position += size


def find(data: bytes, *path: bytes) -> bytes:
    """Return the body of the first box at `path`."""
    for name, body in boxes(data):
        if name == path[0]:
            return find(body, *path[1:]) if len(path) > 1 else body
    raise AssertionError(f"no box {path[0]!r}")


def timescale(init: bytes) -> int:
    """Units a second of the only track: mdhd (8.4.2)."""
    body = find(init, b"moov", b"trak", b"mdia", b"mdhd")
    return int(struct.unpack_from(">I", body, 20 if body[0] else 12)[0])


def decode_time(part: bytes) -> int:
    """Return baseMediaDecodeTime: tfdt (8.8.12)."""
    body = find(part, b"moof", b"traf", b"tfdt")
    return int(struct.unpack_from(">Q" if body[0] else ">I", body, 4)[0])


@dataclass(frozen=True, slots=True)
class Event:
    """A version 1 event message (ISO 23009-1 5.10.3.3) that carries a cue in ID3."""

    scale: int
    time: int
    duration: int
    number: int
    cue: dict[str, Any]


def events(part: bytes) -> list[Event]:
    """Read the event messages of a part; they must stand before its moof."""
    names = [name for name, _ in boxes(part)]
    assert names.count(b"moof") == 1
    assert b"emsg" not in names[names.index(b"moof") :]
    return [_event(body) for name, body in boxes(part) if name == b"emsg"]


def _event(body: bytes) -> Event:
    assert body[0] == 1, "emsg version"
    scale, time, duration, number = struct.unpack_from(">IQII", body, 4)
    scheme, value, message = body[24:].split(b"\0", 2)
    assert scheme == b"https://aomedia.org/emsg/ID3"
    assert value == b""
    return Event(scale, time, duration, number, json.loads(_txxx(message)))


def _txxx(tag: bytes) -> bytes:
    """Return the value of the only TXXX frame of an ID3v2.4 tag (structure 3.1, frames 4.2.6)."""
    assert tag[:6] == b"ID3\x04\x00\x00"
    assert _syncsafe(tag[6:10]) == len(tag) - 10
    assert tag[10:14] == b"TXXX"
    size = _syncsafe(tag[14:18])
    text = tag[20 : 20 + size]
    assert len(text) == size == len(tag) - 20
    assert text[0] == 3, "UTF-8"
    description, value = text[1:].split(b"\0", 1)
    assert description == b"org.vitrina.cue"
    return value


def _syncsafe(data: bytes) -> int:
    number = 0
    for byte in data:
        assert byte < 128
        number = number << 7 | byte
    return number
