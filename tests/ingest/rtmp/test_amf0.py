"""AMF0 by known bytes, by round trip, and against hostile ones."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.amf0 import (
    MAX_DEPTH,
    MAX_VALUES,
    UNDEFINED,
    AmfError,
    AmfUnsupportedError,
    AmfValue,
    Date,
    EcmaArray,
    decode,
    encode,
)
from ingest.rtmp.errors import Fault
from tests.ingest.rtmp.support import amf, only

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x00" + struct.pack(">d", 1.5), 1.5),
        (b"\x01\x01", True),
        (b"\x02\x00\x03abc", "abc"),
        (b"\x03\x00\x01a\x05\x00\x00\x09", {"a": None}),
        (b"\x06", UNDEFINED),
        (b"\x08\x00\x00\x00\x63\x00\x01a\x01\x00\x00\x00\x09", {"a": False}),
        (b"\x08\x00\x00\x00\x01\x00\x01a\x01\x00", {"a": False}),
        (b"\x0a\x00\x00\x00\x02\x05\x05", [None, None]),
        (b"\x0b" + struct.pack(">dh", 1000.0, -60), Date(1000.0, -60)),
        (b"\x0c\x00\x00\x00\x02hi", "hi"),
        (b"\x0f\x00\x00\x00\x04<a/>", "<a/>"),
        (b"\x10\x00\x01T\x00\x01a\x05\x00\x00\x09", {"a": None}),
        (b"\x11\x01", None),
        (b"\x11\x03", True),
        (b"\x11\x04\x81\x00", 128.0),
        (b"\x11\x04\xff\xff\xff\xff", -1.0),
        (b"\x11\x05" + struct.pack(">d", 2.0), 2.0),
        (b"\x11\x06\x05hi", "hi"),
        (b"\x02\x00\x01\xff", "\ufffd"),
    ],
)
def test_every_marker(data: bytes, value: AmfValue) -> None:
    assert decode(data) == [value]


def test_a_reference_repeats_the_object() -> None:
    assert decode(b"\x03\x00\x01a\x05\x00\x00\x09" + b"\x07\x00\x00") == [{"a": None}] * 2


def test_a_reference_to_its_own_container_is_null() -> None:
    assert decode(b"\x03\x00\x01a\x07\x00\x00\x00\x00\x09") == [{"a": None}]


def test_references_cannot_multiply_what_a_message_holds() -> None:
    """Each array refers twice to the one before it: 70 bytes would stand for 2^20 values."""
    data = b"\x0a\x00\x00\x00\x02\x05\x05"
    for index in range(20):
        data += b"\x0a\x00\x00\x00\x02" + (b"\x07" + index.to_bytes(2, "big")) * 2
    with pytest.raises(AmfError, match=r"^An AMF message holds more than 4096 values\.$"):
        decode(data)


def test_commands_match_a_writer_by_the_book() -> None:
    values = ("connect", 1, {"app": "live", "n": {"deep": True}}, None)
    assert encode(*values) == amf(*values)
    assert decode(amf(*values)) == ["connect", 1.0, {"app": "live", "n": {"deep": True}}, None]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x00\x00", "An AMF value is cut short."),
        (b"\x04", "0x04 is no AMF0 marker."),
        (b"\x07\x00\x05", "AMF reference 5 points at nothing."),
        (b"\x0a\xff\xff\xff\xff", "An AMF array of 4294967295 values is longer than 4096."),
        (b"\x0a\x00\x00\x00\x01" * 40, f"An AMF value is nested deeper than {MAX_DEPTH}."),
        (b"\x05" * 5000, f"An AMF message holds more than {MAX_VALUES} values."),
    ],
)
def test_malformed_input_is_named(data: bytes, text: str) -> None:
    with pytest.raises(AmfError) as caught:
        decode(data)
    assert str(caught.value) == text


def test_amf3_objects_are_named_as_unsupported() -> None:
    with pytest.raises(AmfUnsupportedError, match="0x0a"):
        decode(b"\x11\x0a\x0b\x01")


def test_what_has_no_form_is_a_fault_of_ours() -> None:
    with pytest.raises(TypeError, match="set has no AMF0 form"):
        encode({1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="longer than 65535"):
        encode({"a" * 70000: 1})


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | text
    | st.just(UNDEFINED)
    | st.builds(Date, st.floats(allow_nan=False), st.integers(-32768, 32767))
)
# An empty name in front of a value with marker 9 cannot exist: AMF0 has no such value.
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(text, inner, max_size=4)
        | st.dictionaries(text, inner, max_size=4).map(EcmaArray)
    ),
    max_leaves=15,
)


@given(st.lists(values, max_size=4))
def test_round_trip(sent: list[AmfValue]) -> None:
    assert decode(encode(*sent)) == sent


def test_long_strings_round_trip() -> None:
    assert decode(encode("ж" * 40000)) == ["ж" * 40000]


@given(st.binary(max_size=200))
def test_garbage_raises_only_the_typed_error(data: bytes) -> None:
    with only(Fault.AMF):
        decode(data)
