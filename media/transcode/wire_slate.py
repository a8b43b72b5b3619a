"""The packed body of `SlateMade`: sans-IO, bounded by what a slate may be."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from media.slate.loop import MAX_LOOP_BYTES, MAX_LOOP_UNITS, SlateUnit
from media.transcode.messages import SlateMade

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct(">qIHHII")
"""Serial, duration, bytes of avcC and AudioSpecificConfig, number of pictures and of sounds."""
_UNIT = struct.Struct(">IIIIB")
"""dts, pts, duration, bytes, key."""


def made_body(made: SlateMade) -> bytes:
    """Return the body of a frame. Raises `ValueError` or `struct.error` beyond its bounds."""
    units = (*made.pictures, *made.sounds)
    size = sum(len(unit.payload) for unit in units)
    if len(units) > MAX_LOOP_UNITS or size > MAX_LOOP_BYTES:
        raise ValueError(f"a slate of {len(units)} access units and {size} bytes is too large")
    head = _HEAD.pack(
        made.serial,
        made.duration,
        len(made.avcc),
        len(made.asc),
        len(made.pictures),
        len(made.sounds),
    )
    table = [_UNIT.pack(u.dts, u.pts, u.duration, len(u.payload), u.key) for u in units]
    return b"".join([head, *table, made.avcc, made.asc, *(unit.payload for unit in units)])


def made_of(body: bytes) -> SlateMade:
    """Read `made_body` again. Raises `ValueError` or `struct.error`."""
    serial, duration, avcc_size, asc_size, pictures, sounds = _HEAD.unpack_from(body)
    count = pictures + sounds
    if count > MAX_LOOP_UNITS:
        raise ValueError(f"a slate of {count} access units is too large")
    table_end = _HEAD.size + count * _UNIT.size
    rows = list(_UNIT.iter_unpack(body[_HEAD.size : table_end]))
    if table_end > len(body):
        raise ValueError("a slate ends within its table of access units")
    payloads_at = table_end + avcc_size + asc_size
    if payloads_at + sum(row[3] for row in rows) != len(body):
        raise ValueError("a slate's table does not match its bytes")
    units = tuple(_units(body, payloads_at, rows))
    return SlateMade(
        serial=serial,
        avcc=body[table_end : table_end + avcc_size],
        asc=body[table_end + avcc_size : payloads_at],
        duration=duration,
        pictures=units[:pictures],
        sounds=units[pictures:],
    )


def _units(body: bytes, at: int, rows: list[tuple[int, ...]]) -> Iterator[SlateUnit]:
    for dts, pts, duration, size, key in rows:
        yield SlateUnit(
            dts=dts, pts=pts, duration=duration, key=bool(key), payload=body[at : at + size]
        )
        at += size
