"""The chunk layer against an independent sender."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.chunks import ChunkLimits, ChunkReader, ChunkWriter, Message
from ingest.rtmp.errors import Fault, RtmpError
from tests.ingest.rtmp.support import header, only, whole

pytestmark = pytest.mark.unit

LIMITS = ChunkLimits(max_message_bytes=2**20, max_partial_bytes=2**21, max_chunk_streams=64)


def read(*parts: bytes, limits: ChunkLimits = LIMITS, fmle: bool = False) -> list[Message]:
    reader = ChunkReader(limits)
    reader.delta_after_absolute = fmle
    return drain(reader, *parts)


def drain(reader: ChunkReader, *parts: bytes) -> list[Message]:
    messages = []
    for part in parts:
        reader.receive_data(part)
        while (message := reader.next_message()) is not None:
            messages.append(message)
    return messages


def times(messages: list[Message]) -> list[int]:
    return [message.timestamp for message in messages]


def set_chunk_size(size: int) -> bytes:
    return whole(2, 1, struct.pack(">I", size))


def test_all_four_header_types() -> None:
    data = (
        header(0, 4, time=1000, length=2, type_id=8, stream=0x01020304) + b"ab"
        + header(1, 4, time=20, length=3, type_id=9) + b"cde"
        + header(2, 4, time=30) + b"fgh"
        + header(3, 4) + b"ijk"
    )  # fmt: skip
    assert read(data) == [
        Message(8, 0x01020304, 1000, b"ab"),
        Message(9, 0x01020304, 1020, b"cde"),
        Message(9, 0x01020304, 1050, b"fgh"),
        Message(9, 0x01020304, 1080, b"ijk"),
    ]


@pytest.mark.parametrize(("fmle", "expected"), [(True, [26, 52, 78]), (False, [26, 26, 26])])
def test_type_3_after_type_0_adds_its_time_only_for_fmle(fmle: bool, expected: list[int]) -> None:
    data = header(0, 4, time=26, length=1, type_id=8) + b"a" + (header(3, 4) + b"b") * 2
    assert times(read(data, fmle=fmle)) == expected


@pytest.mark.parametrize("csid", [2, 63, 64, 319, 320, 65599])
def test_chunk_stream_ids_of_every_length(csid: int) -> None:
    data = header(0, csid, length=200, type_id=9) + b"a" * 128 + header(3, csid) + b"b" * 72
    assert read(*(data[i : i + 1] for i in range(len(data)))) == [
        Message(9, 0, 0, b"a" * 128 + b"b" * 72)
    ]


def test_a_small_csid_in_a_longer_form_is_the_same_stream() -> None:
    data = header(0, 70, length=1, type_id=8, form=2) + b"a" + header(3, 70, form=3) + b"b"
    assert [m.payload for m in read(data)] == [b"a", b"b"]


def test_messages_of_several_streams_interleave() -> None:
    data = (
        header(0, 4, length=130, type_id=8) + b"a" * 128
        + header(0, 6, length=129, type_id=9) + b"v" * 128
        + header(3, 4) + b"a" * 2
        + header(3, 6) + b"v"
    )  # fmt: skip
    assert [m.payload for m in read(data)] == [b"a" * 130, b"v" * 129]


@pytest.mark.parametrize("time", [0xFFFFFE, 0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("repeated", [True, False])
def test_extended_timestamps_with_and_without_repetition(time: int, repeated: bool) -> None:
    extended = struct.pack(">I", time) if repeated and time >= 0xFFFFFF else b""
    body = bytes(range(200)) + bytes(range(100))
    data = (
        header(0, 4, time=time, length=300, type_id=9) + body[:128]
        + header(3, 4) + extended + body[128:256]
        + header(3, 4) + extended + body[256:]
        + header(1, 4, time=40, length=1, type_id=9) + b"x"
    )  # fmt: skip
    expected = [Message(9, 0, time, body), Message(9, 0, (time + 40) % 2**32, b"x")]
    assert read(data) == expected
    assert read(*(data[i : i + 1] for i in range(len(data)))) == expected


def test_an_unrepeated_timestamp_ahead_of_a_short_last_chunk_does_not_stall() -> None:
    data = header(0, 4, time=0x1000000, length=130, type_id=9) + b"a" * 128 + header(3, 4) + b"bc"
    assert read(data)[0].payload[128:] == b"bc"


def test_an_extended_delta_is_a_delta() -> None:
    data = (
        header(0, 4, time=5, length=1, type_id=9) + b"a"
        + header(2, 4, time=0x1000000) + b"b"
        + header(3, 4) + struct.pack(">I", 0x1000000) + b"c"
    )  # fmt: skip
    assert times(read(data)) == [5, 5 + 0x1000000, 5 + 0x2000000]


def test_a_type_3_message_after_an_extended_absolute_time_repeats_it() -> None:
    again = struct.pack(">I", 0x1000000)
    data = header(0, 4, time=0x1000000, length=1, type_id=9) + b"a" + header(3, 4) + again + b"b"
    assert times(read(data)) == [0x1000000, 0x1000000]


def test_negative_deltas_step_back() -> None:
    data = header(0, 4, time=100, length=1, type_id=9) + b"a" + header(2, 4, time=2**32 - 16) + b"b"
    assert times(read(data)) == [100, 84]
    data = header(0, 4, time=100, length=1, type_id=9) + b"a" + header(2, 4, time=2**24 - 16) + b"b"
    assert times(read(data + header(3, 4) + b"c")) == [100, 84, 68]


def test_a_large_step_forwards_that_no_step_back_can_be_stays_one() -> None:
    data = header(0, 4, time=5, length=1, type_id=9) + b"a" + header(2, 4, time=2**24 - 16) + b"b"
    assert times(read(data)) == [5, 2**24 - 11]


def test_time_wraps_at_32_bits() -> None:
    data = header(0, 4, time=2**32 - 10, length=1, type_id=8) + b"a" + header(2, 4, time=33) + b"b"
    assert times(read(data)) == [2**32 - 10, 23]


def test_abort_drops_the_partial_message_only() -> None:
    data = (
        header(0, 4, length=200, type_id=9) + b"a" * 128
        + whole(2, 2, struct.pack(">I", 4))
        + header(0, 4, time=7, length=3, type_id=9) + b"new"
    )  # fmt: skip
    assert read(data)[1:] == [Message(9, 0, 7, b"new")]


def test_abort_of_an_unknown_stream_is_harmless() -> None:
    assert len(read(whole(2, 2, struct.pack(">I", 99)) + whole(4, 8, b"x"))) == 2


def test_type_1_may_open_a_stream_but_not_2_or_3() -> None:
    assert read(header(1, 5, time=9, length=2, type_id=4) + b"hi") == [Message(4, 0, 9, b"hi")]
    for fmt in (2, 3):
        with pytest.raises(RtmpError, match=f"Chunk stream 5 starts with a type {fmt} header"):
            read(header(fmt, 5))


def test_an_empty_message_is_a_message() -> None:
    assert read(header(0, 4, length=0, type_id=8)) == [Message(8, 0, 0, b"")]


def fault_of(data: bytes, limits: ChunkLimits = LIMITS) -> Fault:
    with pytest.raises(RtmpError) as caught:
        read(data, limits=limits)
    return caught.value.fault


@pytest.mark.parametrize("size", [0, 0x80000000, 0xFFFFFFFF])
def test_impossible_chunk_sizes_are_refused(size: int) -> None:
    assert fault_of(set_chunk_size(size)) is Fault.CHUNK


def test_the_largest_chunk_size_allocates_nothing() -> None:
    assert read(set_chunk_size(0x7FFFFFFF) + whole(4, 8, b"x"))[1].payload == b"x"


def test_a_message_above_the_limit_is_refused_by_its_header() -> None:
    tight = ChunkLimits(max_message_bytes=1000, max_partial_bytes=5000, max_chunk_streams=8)
    assert fault_of(header(0, 4, length=1001, type_id=9), tight) is Fault.TOO_BIG


def test_the_sum_of_partial_messages_is_bounded() -> None:
    tight = ChunkLimits(max_message_bytes=1000, max_partial_bytes=300, max_chunk_streams=8)
    partial = [header(0, c, length=1000, type_id=9) + b"a" * 128 for c in (4, 5, 6)]
    assert read(*partial[:2], limits=tight) == []
    assert fault_of(b"".join(partial), tight) is Fault.TOO_BIG


def test_finished_messages_do_not_count_as_partial() -> None:
    tight = ChunkLimits(max_message_bytes=1000, max_partial_bytes=300, max_chunk_streams=8)
    assert len(read(whole(4, 9, b"a" * 250) * 50, limits=tight)) == 50


def test_the_number_of_chunk_streams_is_bounded() -> None:
    tight = ChunkLimits(max_message_bytes=1000, max_partial_bytes=300, max_chunk_streams=8)
    data = b"".join(header(0, c, length=0, type_id=9) for c in range(3, 12))
    assert fault_of(data, tight) is Fault.CHUNK


def test_a_header_inside_an_unfinished_message_is_refused() -> None:
    partial = header(0, 4, length=200, type_id=9) + b"a" * 128
    for fmt in (0, 1, 2):
        assert fault_of(partial + header(fmt, 4, length=1, type_id=9)) is Fault.CHUNK


def test_a_short_control_message_is_refused() -> None:
    assert fault_of(whole(2, 1, b"\0\0")) is Fault.MESSAGE


def test_unread_input_is_bounded() -> None:
    reader = ChunkReader(LIMITS)
    for _ in range(8):
        reader.receive_data(bytes(2**17))
    with pytest.raises(RtmpError, match="without awaiting the answer"):
        reader.receive_data(b"x")


messages = st.lists(
    st.tuples(
        st.integers(3, 8),
        st.sampled_from([8, 9, 18]),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=700),
    ),
    max_size=12,
)


@given(messages, st.integers(1, 65536), st.lists(st.integers(1, 900), min_size=1, max_size=20))
def test_any_chunk_size_and_any_split_give_the_same_messages(
    sent: list[tuple[int, int, int, int, bytes]], size: int, cuts: list[int]
) -> None:
    writer = ChunkWriter()
    data = writer.set_chunk_size(size) + b"".join(
        writer.write(csid, kind, stream, time, body) for csid, kind, stream, time, body in sent
    )
    parts, pos, index = [], 0, 0
    while pos < len(data):
        step = cuts[index % len(cuts)]
        parts.append(data[pos : pos + step])
        pos, index = pos + step, index + 1
    assert read(*parts)[1:] == [Message(k, s, t, b) for _, k, s, t, b in sent]


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_garbage_raises_only_the_typed_error(parts: list[bytes]) -> None:
    tight = ChunkLimits(max_message_bytes=500, max_partial_bytes=600, max_chunk_streams=8)
    with only(Fault.CHUNK, Fault.TOO_BIG, Fault.MESSAGE):
        for message in read(*parts, limits=tight):
            assert len(message.payload) <= 500
