"""AMF0 values (Action Message Format, AMF 0 specification), and the AMF3 scalars inside them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ingest.rtmp.errors import Fault, RtmpError

MAX_DEPTH = 16
MAX_VALUES = 4096

NUMBER = 0x00
BOOLEAN = 0x01
STRING = 0x02
OBJECT = 0x03
NULL = 0x05
UNDEFINED_MARKER = 0x06
REFERENCE = 0x07
ECMA_ARRAY = 0x08
OBJECT_END = 0x09
STRICT_ARRAY = 0x0A
DATE = 0x0B
LONG_STRING = 0x0C
XML = 0x0F
TYPED_OBJECT = 0x10
AMF3 = 0x11


class Undefined:
    """AMF's `undefined`; the one value is `UNDEFINED`."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = Undefined()


@dataclass(frozen=True, slots=True)
class Date:
    """Milliseconds since 1970 UTC, and the time zone field (reserved, 0)."""

    milliseconds: float
    zone: int = 0


class EcmaArray(dict[str, "AmfValue"]):
    """An object that is written as an ECMA array, as onMetaData is."""


_Scalar: TypeAlias = "bool | int | float | str | Undefined | Date | None"
AmfValue: TypeAlias = "_Scalar | Mapping[str, AmfValue] | Sequence[AmfValue]"
AmfObject: TypeAlias = "Mapping[str, AmfValue]"


class AmfError(RtmpError):
    """The bytes are no AMF0, or larger than the limits."""

    def __init__(self, text: str) -> None:
        super().__init__(Fault.AMF, text)


class AmfUnsupportedError(AmfError):
    """Well-formed as far as read, but holds a value that is not decoded (AMF3 objects)."""


def decode(data: bytes) -> list[AmfValue]:
    """Decode all values in `data`.

    Numbers become float, objects, ECMA arrays and typed objects dict, strict arrays list.
    Bytes that are no UTF-8 become U+FFFD. Raises `AmfError` on truncation, unknown markers,
    more than `MAX_DEPTH` levels or `MAX_VALUES` values; a reference counts as all that it
    repeats, so that walking a message or writing it out is bounded, too.
    """
    reader = _Reader(data)
    values: list[AmfValue] = []
    while reader.pos < len(data):
        values.append(reader.value(0))
    return values


class _Reader:
    """A cursor with the limits and the reference table of one message."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self._values = 0
        self._complex: list[tuple[AmfValue, int]] = []
        """Each whole object or array, and how many values it counts as."""

    def value(self, depth: int) -> AmfValue:
        """Decode one value."""
        self._count(1)
        if depth > MAX_DEPTH:
            raise AmfError(f"An AMF value is nested deeper than {MAX_DEPTH}.")
        marker = self._take(1)[0]
        match marker:
            case 0x00:
                return self._number()
            case 0x01:
                return self._take(1)[0] != 0
            case 0x02:
                return self._string(2)
            case 0x03:
                return self._object({}, depth)
            case 0x05:
                return None
            case 0x06:
                return UNDEFINED
            case 0x07:
                return self._reference()
            case 0x08:
                self._take(4)  # the count is advisory
                return self._object(EcmaArray(), depth)
            case 0x0A:
                return self._strict_array(depth)
            case 0x0B:
                milliseconds = self._number()
                return Date(milliseconds, int.from_bytes(self._take(2), "big", signed=True))
            case 0x0C | 0x0F:
                return self._string(4)
            case 0x10:
                self._string(2)  # the class name says nothing here
                return self._object({}, depth)
            case 0x11:
                return self._amf3_scalar()
        raise AmfError(f"0x{marker:02x} is no AMF0 marker.")

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise AmfError(f"An AMF message holds more than {MAX_VALUES} values.")

    def _take(self, size: int) -> bytes:
        end = self.pos + size
        if end > len(self.data):
            raise AmfError("An AMF value is cut short.")
        taken = self.data[self.pos : end]
        self.pos = end
        return taken

    def _number(self) -> float:
        number: float = struct.unpack(">d", self._take(8))[0]
        return number

    def _string(self, width: int) -> str:
        size = int.from_bytes(self._take(width), "big")
        return self._take(size).decode("utf-8", "replace")

    def _object(self, target: dict[str, AmfValue], depth: int) -> dict[str, AmfValue]:
        index, began = self._remember(), self._values
        while True:
            if self.pos == len(self.data) and isinstance(target, EcmaArray):
                # Some encoders end onMetaData with the message instead of an end marker.
                self._complex[index] = target, self._values - began
                return target
            name = self._string(2)
            if not name and self.data[self.pos : self.pos + 1] == b"\x09":
                self.pos += 1
                self._complex[index] = target, self._values - began
                return target
            target[name] = self.value(depth + 1)

    def _strict_array(self, depth: int) -> list[AmfValue]:
        index, began = self._remember(), self._values
        count = int.from_bytes(self._take(4), "big")
        if count > MAX_VALUES:
            raise AmfError(f"An AMF array of {count} values is longer than {MAX_VALUES}.")
        values = [self.value(depth + 1) for _ in range(count)]
        self._complex[index] = values, self._values - began
        return values

    def _remember(self) -> int:
        """Reserve the next reference number; it stays null until the value is whole.

        So a value can never contain itself, and walking one always ends.
        """
        self._complex.append((None, 0))
        return len(self._complex) - 1

    def _reference(self) -> AmfValue:
        index = int.from_bytes(self._take(2), "big")
        if index >= len(self._complex):
            raise AmfError(f"AMF reference {index} points at nothing.")
        value, values = self._complex[index]
        self._count(values)
        return value

    def _amf3_scalar(self) -> AmfValue:
        """Decode an AMF3 value (AMF 3 section 3.1) that needs no reference table."""
        marker = self._take(1)[0]
        match marker:
            case 0x00:
                return UNDEFINED
            case 0x01:
                return None
            case 0x02 | 0x03:
                return marker == 0x03
            case 0x04:
                integer = self._u29()
                return float(integer - 2**29 if integer >= 2**28 else integer)
            case 0x05:
                return self._number()
            case 0x06:
                size = self._u29()
                if size & 1:
                    return self._take(size >> 1).decode("utf-8", "replace")
        raise AmfUnsupportedError(f"The AMF3 value 0x{marker:02x} is not decoded.")

    def _u29(self) -> int:
        result = 0
        for index in range(4):
            byte = self._take(1)[0]
            if index == 3:
                return result << 8 | byte
            result = result << 7 | byte & 0x7F
            if byte < 0x80:
                break
        return result


def encode(*values: AmfValue) -> bytes:
    """Encode values one after another; int becomes a number.

    Raises `ValueError` on a name longer than 65535 bytes and `TypeError` on other types.
    """
    out = bytearray()
    for value in values:
        _encode(out, value)
    return bytes(out)


def _encode(out: bytearray, value: AmfValue) -> None:
    match value:
        case None:
            out.append(NULL)
        case bool():
            out += bytes((BOOLEAN, value))
        case int() | float():
            out.append(NUMBER)
            out += struct.pack(">d", value)
        case str():
            raw = value.encode("utf-8")
            if len(raw) > 0xFFFF:
                out.append(LONG_STRING)
                out += len(raw).to_bytes(4, "big") + raw
            else:
                out.append(STRING)
                out += len(raw).to_bytes(2, "big") + raw
        case Undefined():
            out.append(UNDEFINED_MARKER)
        case Date():
            out.append(DATE)
            out += struct.pack(">dh", value.milliseconds, value.zone)
        case EcmaArray():
            out.append(ECMA_ARRAY)
            out += len(value).to_bytes(4, "big")
            _encode_properties(out, value)
        case Mapping():
            out.append(OBJECT)
            _encode_properties(out, value)
        case list() | tuple():
            out.append(STRICT_ARRAY)
            out += len(value).to_bytes(4, "big")
            for item in value:
                _encode(out, item)
        case _:
            raise TypeError(f"{type(value).__name__} has no AMF0 form")


def _encode_properties(out: bytearray, properties: Mapping[str, AmfValue]) -> None:
    for name, value in properties.items():
        raw = name.encode("utf-8")
        if len(raw) > 0xFFFF:
            raise ValueError("an AMF0 property name is longer than 65535 bytes")
        out += len(raw).to_bytes(2, "big") + raw
        _encode(out, value)
    out += b"\0\0\x09"
