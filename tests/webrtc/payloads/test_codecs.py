from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.bitstream.nal import join_length_prefixed
from media.bitstream.vp8 import dimensions
from tests.webrtc.payloads.h264_units import KEY as H264_KEY
from tests.webrtc.payloads.h264_units import units as h264_units
from tests.webrtc.payloads.network import Packetizer, deliver, packets
from webrtc.payloads import DEPACKETIZERS, PayloadError
from webrtc.payloads.assembly import Depacketizer
from webrtc.payloads.av1 import Av1Packetizer
from webrtc.payloads.h264 import H264Packetizer
from webrtc.payloads.hevc import HevcDepacketizer, HevcPacketizer
from webrtc.payloads.opus import OpusDepacketizer, OpusPacketizer
from webrtc.payloads.vp8 import Vp8Packetizer
from webrtc.payloads.vp9 import Vp9Packetizer

pytestmark = pytest.mark.unit

VPS = bytes.fromhex("40010c01ffff01600000030090000003000003005d9598 09".replace(" ", ""))
SPS = bytes.fromhex(
    "420101016000000300900000030000030 05da00280802d165959a4932bc05a7080".replace(" ", "")
)
PPS = bytes.fromhex("4401c172b46240")
AV1_SEQUENCE = bytes.fromhex("0a0b00000004 3c7fbcffcf3040".replace(" ", ""))


def hevc_nal(kind: int, size: int, *, first: bool = True) -> bytes:
    return bytes((kind << 1, 1, 0xAC if first else 0x2C)) + b"\x55" * size


@st.composite
def hevc_units(draw: st.DrawFn) -> bytes:
    nals = [VPS, SPS, PPS] if draw(st.booleans()) else []
    nals += [
        bytes((39 << 1, 1)) + x
        for x in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=2))
    ]
    kind = draw(st.sampled_from([1, 19, 21]))
    for index in range(draw(st.integers(1, 3))):
        nals.append(hevc_nal(kind, draw(st.integers(0, 300)), first=not index))
    return join_length_prefixed(nals)


def obu(kind: int, body: bytes) -> bytes:
    size = len(body)
    length = bytes((size,)) if size < 128 else bytes((size & 0x7F | 0x80, size >> 7))
    return bytes((kind << 3 | 2,)) + length + body


AV1_KEY = AV1_SEQUENCE + obu(6, b"\x10" + b"k" * 500)


@st.composite
def av1_units(draw: st.DrawFn) -> bytes:
    key = draw(st.booleans())
    body = draw(st.binary(max_size=400))
    parts = [AV1_SEQUENCE] if key else []
    parts += [obu(5, x) for x in draw(st.lists(st.binary(max_size=30), max_size=2))]
    parts.append(obu(6, (b"\x10" if key else b"\x30") + body))
    parts += [obu(4, x) for x in draw(st.lists(st.binary(max_size=200), max_size=2))]
    return b"".join(parts)


VP8_KEY = b"\x10\x02\x00\x9d\x01\x2a\x40\x01\xf0\x40" + bytes(300)
VP9_KEY = bytes.fromhex("824983420013f00ef0") + bytes(300)


def prefixed(*heads: bytes) -> st.SearchStrategy[bytes]:
    return st.builds(bytes.__add__, st.sampled_from(heads), st.binary(max_size=300))


@dataclass(frozen=True)
class Case:
    name: str
    key: bytes
    units: st.SearchStrategy[bytes]
    packetizer: Callable[[int], Packetizer]

    def depacketizer(self, max_unit_bytes: int = 2**22) -> Depacketizer:
        return DEPACKETIZERS[self.name](max_unit_bytes=max_unit_bytes)


CASES = [
    Case("H264", H264_KEY, h264_units(), lambda n: H264Packetizer(max_payload=n)),
    Case(
        "H265",
        join_length_prefixed([VPS, SPS, PPS, hevc_nal(19, 700)]),
        hevc_units(),
        lambda n: HevcPacketizer(max_payload=n),
    ),
    Case("AV1", AV1_KEY, av1_units(), lambda n: Av1Packetizer(max_payload=n)),
    Case("VP8", VP8_KEY, prefixed(VP8_KEY[:10], b"\x11"), lambda n: Vp8Packetizer(max_payload=n)),
    Case(
        "VP9", VP9_KEY, prefixed(VP9_KEY[:9], b"\x86\x00"), lambda n: Vp9Packetizer(max_payload=n)
    ),
]
cases = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@cases
@given(data=st.data(), max_payload=st.integers(16, 400))
def test_what_is_packetized_comes_out_again(
    case: Case, data: st.DataObject, max_payload: int
) -> None:
    sent = [case.key, *data.draw(st.lists(case.units, max_size=4))]
    out = packets(case.packetizer(max_payload), sent)
    assert all(0 < len(payload) <= max_payload for payload, _, _ in out)
    depacketizer = case.depacketizer()
    found = deliver(depacketizer, out)
    assert [unit.payload for unit in found] == sent
    assert found[0].key
    assert depacketizer.dropped == 0
    # The same without marker bits, a unit later.
    bare = [(payload, False, timestamp) for payload, _, timestamp in out]
    depacketizer = case.depacketizer()
    late = deliver(depacketizer, bare)
    assert [unit.payload for unit in late] == sent[:-1]
    assert [unit.payload for unit in depacketizer.flush()] == sent[-1:]


@cases
@given(data=st.data(), max_payload=st.integers(16, 400), told=st.booleans())
def test_a_lost_packet_never_yields_a_corrupt_unit(
    case: Case, data: st.DataObject, max_payload: int, told: bool
) -> None:
    sent = [case.key, *data.draw(st.lists(case.units, max_size=4)), case.key]
    out = packets(case.packetizer(max_payload), sent)
    if data.draw(st.booleans()):
        out = [(payload, False, timestamp) for payload, _, timestamp in out]
    lost = data.draw(st.sets(st.integers(0, len(out) - 2), min_size=1, max_size=3))
    depacketizer = case.depacketizer()
    found = deliver(depacketizer, out, lost=lost, told=told)
    whole = {90_000 + n * 3000: unit for n, unit in enumerate(sent)}
    assert all(unit.payload == whole[unit.timestamp] for unit in found)
    hit = {out[index][2] for index in lost}
    assert not hit.intersection(unit.timestamp for unit in found)
    key_behind = any(unit.key and unit.timestamp > max(hit) for unit in found)
    assert depacketizer.needs_key is not key_behind


def test_a_key_frame_behind_a_lost_packet_is_not_taken_for_the_streams_first() -> None:
    """Sets known, no unit out yet, no marker bits: the lost packet was the key frame's SEI."""
    slice_ = (hevc_nal(1, 5), False, 93_000)
    key = [(b"\x4e\x01\x05\x80", False, 96_000), (hevc_nal(19, 5), False, 96_000)]
    sets = [(nal, False, 90_000) for nal in (VPS, SPS, PPS)]
    sent = [*sets, (hevc_nal(19, 5), False, 90_000), slice_, *key, (hevc_nal(1, 5), True, 99_000)]
    found = deliver(DEPACKETIZERS["H265"](), sent, lost={3, 5})
    assert [unit.timestamp for unit in found] == [99_000]


@cases
def test_every_single_loss_is_seen_and_the_next_key_frame_mends_it(case: Case) -> None:
    sent = [case.key] * 4
    out = packets(case.packetizer(100), sent)
    for lost in range(len(out)):
        depacketizer = case.depacketizer()
        found = deliver(depacketizer, out, lost={lost})
        # Every key frame proves its beginning, so that only the one hit is missing.
        assert [unit.payload for unit in found] == sent[1:]
        hit_last = out[lost][2] == out[-1][2]
        assert depacketizer.needs_key is hit_last


@pytest.mark.parametrize("name", DEPACKETIZERS)
@given(
    inputs=st.lists(
        st.tuples(
            st.binary(max_size=60), st.booleans(), st.integers(0, 2), st.sampled_from([1, 1, 1, 3])
        )
    )
)
def test_arbitrary_payloads_raise_only_the_typed_error(
    name: str, inputs: list[tuple[bytes, bool, int, int]]
) -> None:
    depacketizer = DEPACKETIZERS[name](max_unit_bytes=150)
    sequence = 0
    for payload, marker, timestamp, step in inputs:
        sequence += step
        try:
            found = depacketizer.feed(payload, marker, timestamp, sequence)
        except PayloadError:
            continue
        # A superframe's index comes on top.
        assert all(len(unit.payload) <= 150 + 34 for unit in found)


@cases
@given(unit=st.binary(max_size=200))
def test_arbitrary_units_raise_only_the_typed_error(case: Case, unit: bytes) -> None:
    try:
        sent = case.packetizer(20).packetize(unit)
    except PayloadError:
        return
    assert all(len(payload) <= 20 for payload, _ in sent)
    assert [marker for _, marker in sent] == [False] * (len(sent) - 1) + [True]


ERRORS = [
    ("H265", b"\xa6\x01\x00", "An HEVC NAL unit has its forbidden bit set."),
    ("H265", b"\x26\x01", "The HEVC payload holds a NAL unit without a body."),
    ("H265", b"\x60\x01", "The HEVC aggregation packet is empty."),
    ("H265", b"\x60\x01\x00\x09\x26", "A NAL unit is longer than its HEVC aggregation packet."),
    (
        "H265",
        b"\x60\x01\x00\x03\x60\x01\x00",
        "An HEVC aggregation packet holds NAL unit type 48.",
    ),
    ("H265", b"\x62\x01\x93", "The HEVC fragment is empty."),
    ("H265", b"\x62\x01\xb0\x00", "An HEVC fragment says NAL unit type 48."),
    ("H265", b"\x62\x01\x13\x00", "A fragmented HEVC NAL unit lacks its beginning."),
    ("H265", b"\x64\x01\x00", "The HEVC payload is a PACI packet, which was not negotiated."),
    ("H265", b"\x7e\x01\x00", "The HEVC payload says NAL unit type 63."),
    ("H265", b"\x42\x01\x01", "The HEVC SPS ends before its last field."),
    ("AV1", b"\x10", "The AV1 payload ends behind its aggregation header."),
    ("AV1", b"\x90\x30", "The AV1 payload continues an OBU that lacks its beginning."),
    ("AV1", b"\x20\x01\x30", "The AV1 payload holds fewer than the 2 OBUs it says."),
    ("AV1", b"\x00\x05\x30", "An AV1 OBU is longer than its payload."),
    ("AV1", b"\x00\x00\x30", "The AV1 payload holds an empty OBU."),
    ("AV1", b"\x00\x80", "An AV1 OBU has a broken size field."),
    ("AV1", b"\x10\xb0\x00", "An AV1 OBU has its forbidden bit set."),
    ("AV1", b"\x10\x34", "An AV1 OBU ends inside its header."),
    ("AV1", b"\x10\x32\x05\x10", "An AV1 OBU says 5 bytes, but its payload has 1."),
    ("AV1", b"\x10\x30", "An AV1 frame header is empty."),
    (
        "AV1",
        b"\x10\x08" + bytes(1024),
        "The AV1 sequence header has 1027 bytes; at most 1024 are accepted.",
    ),
    ("VP8", b"\x10", "The VP8 payload ends inside its descriptor."),
    ("VP8", b"\x90\xf0\x80\x00\x00\x00", "The VP8 payload ends inside its descriptor."),
    ("VP8", b"\x00\x11", "The VP8 frame lacks its beginning."),
    ("VP8", b"\x10\x10\x00\x00", "The VP8 key frame lacks its start code."),
    ("VP9", b"\x88\x80\x01", "The VP9 payload ends inside its descriptor."),
    ("VP9", b"\x18\x00", "The VP9 payload is of flexible mode but has no picture id."),
    ("VP9", b"\xd8\x01\x03\x03\x03\x00", "The VP9 frame refers to more than 3 others."),
    ("VP9", b"\x8a\x01\xf8\x00\x00\x00", "The VP9 payload ends inside its descriptor."),
    ("VP9", b"\x80\x01\x86", "The VP9 frame lacks its beginning."),
    ("VP9", b"\x88\x01\x00", "The VP9 frame does not begin with its frame marker."),
    ("OPUS", b"\xff", "The Opus packet ends before its frame count."),
    ("OPUS", b"\xff\x3f", "The Opus packet says 60480 samples; 1 to 5760 are legal."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "payload", "text"), ERRORS)
def test_what_a_format_does_not_allow_is_refused(name: str, payload: bytes, text: str) -> None:
    depacketizer = DEPACKETIZERS[name]()
    key = next((case.key for case in CASES if case.name == name), b"")
    case = next((case for case in CASES if case.name == name), None)
    before = packets(case.packetizer(1200), [key]) if case else []
    deliver(depacketizer, before, first=0)
    with pytest.raises(PayloadError) as caught:
        depacketizer.feed(payload, True, 1, len(before))
    assert str(caught.value) == text
    assert depacketizer.dropped == 1
    if case:
        again = packets(case.packetizer(1200), [key])
        (found,) = deliver(depacketizer, again, first=len(before) + 1)
        assert found.payload == key


def test_av1_obus_with_their_own_size_and_delimiters_are_taken() -> None:
    frame = obu(6, b"\x10abc")
    elements = [b"\x12\x00", AV1_SEQUENCE, frame]
    payload = b"\x38" + b"".join(bytes((len(e),)) + e for e in elements[:2]) + frame
    (found,) = DEPACKETIZERS["AV1"]().feed(payload, True, 0, 0)
    assert found.payload == AV1_SEQUENCE + frame
    assert found.parameter_sets == (AV1_SEQUENCE,)
    assert found.key


def test_av1_obus_beyond_those_announced_are_refused() -> None:
    depacketizer = DEPACKETIZERS["AV1"]()
    depacketizer.feed(b"\x58\x08", False, 0, 0)
    with pytest.raises(PayloadError) as caught:
        depacketizer.feed(b"\x10\x08", False, 0, 1)
    assert str(caught.value) == "An AV1 OBU was not ended."
    with pytest.raises(PayloadError) as caught:
        depacketizer.feed(b"\x98\x08", False, 1, 2)
    assert depacketizer.needs_key


@pytest.mark.parametrize(
    ("name", "first", "more"),
    [
        ("H264", b"\x7c\x85\x88", b"\x7c\x05"),
        ("H265", b"\x62\x01\x93\x88", b"\x62\x01\x13"),
        ("AV1", b"\x58\x30", b"\xd0"),
        ("VP8", b"\x10\x11", b"\x00"),
        ("VP9", b"\x08\x86", b"\x00"),
    ],
)
def test_a_unit_without_end_is_refused_and_holds_no_memory(
    name: str, first: bytes, more: bytes
) -> None:
    depacketizer = DEPACKETIZERS[name](max_unit_bytes=50_000)
    depacketizer._gap = 0
    depacketizer.feed(first, False, 0, 0)
    chunk = more + bytes(1000)
    errors = []
    tracemalloc.start()
    try:
        for sequence in range(1, 2000):
            try:
                assert depacketizer.feed(chunk, False, 0, sequence) == []
            except PayloadError as error:
                errors.append(str(error))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert errors == [
        "The access unit has more than 50000 bytes; lower the encoder's bitrate or resolution."
    ]
    assert peak < 200_000
    assert depacketizer.dropped == 1


def test_vp8_partitions_and_every_optional_field() -> None:
    depacketizer = DEPACKETIZERS["VP8"]()
    assert depacketizer.feed(b"\x90\xf0\x85\x39\x01\x20" + VP8_KEY[:20], False, 0, 0) == []
    assert depacketizer.feed(b"\x80\x80\x05" + VP8_KEY[20:40], False, 0, 1) == []
    (found,) = depacketizer.feed(b"\x12" + VP8_KEY[40:], True, 0, 2)
    assert found.payload == VP8_KEY
    assert dimensions(found.payload) == (320, 240)


def test_vp9_spatial_layers_become_a_superframe() -> None:
    depacketizer = DEPACKETIZERS["VP9"]()
    low, high = VP9_KEY[:200], b"\x86" + bytes(299)
    structure = b"\x38\x01\x40\x00\xf0\x02\x80\x01\xe0\x01\x04\x01"
    first = b"\xbe\x81\x23\x00" + structure + low
    assert depacketizer.feed(first, False, 0, 0) == []
    assert depacketizer.feed(b"\xf9\x81\x23\x03\x02" + high[:100], False, 0, 1) == []
    (found,) = depacketizer.feed(b"\xf5\x81\x23\x03\x02" + high[100:], True, 0, 2)
    edge = b"\xc9"
    index = edge + (200).to_bytes(2, "little") + (300).to_bytes(2, "little") + edge
    assert found.payload == low + high + index
    assert found.key


def test_vp9_layers_are_bounded() -> None:
    depacketizer = DEPACKETIZERS["VP9"]()
    for sequence in range(8):
        depacketizer.feed(b"\x08\x86\x00", False, 0, sequence)
    with pytest.raises(PayloadError) as caught:
        depacketizer.feed(b"\x08\x86\x00", False, 0, 8)
    assert str(caught.value) == "The VP9 picture has more than 8 layers."


@given(st.lists(st.binary(min_size=2, max_size=100).map(lambda x: b"\xfc" + x), min_size=1))
def test_opus_packets_come_out_as_they_went_in(sent: list[bytes]) -> None:
    depacketizer = OpusDepacketizer()
    out = packets(OpusPacketizer(), sent, ticks=960)
    found = deliver(depacketizer, out)
    assert [unit.payload for unit in found] == sent
    assert all(unit.key for unit in found)
    assert len(deliver(depacketizer, out, lost={0})) == len(sent) - 1
    assert not depacketizer.needs_key


def test_opus_and_decoding_orders_have_their_own_refusals() -> None:
    for unit in (b"", bytes(1201)):
        with pytest.raises(PayloadError) as caught:
            OpusPacketizer().packetize(unit)
        assert str(caught.value) == (
            f"The Opus packet has {len(unit)} bytes; 1 to 1200 fit a payload."
        )
    with pytest.raises(PayloadError) as caught:
        HevcDepacketizer(max_don_diff=2)
    assert str(caught.value) == (
        "The HEVC sender announces sprop-max-don-diff 2; "
        "only NAL units in decoding order are accepted, which is 0."
    )
