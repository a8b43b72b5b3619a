from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.bitstream.nal import MAX_NALS, join_length_prefixed, length_prefixed_spans
from tests.webrtc.payloads.h264_units import AUD, DELTA, IDR, KEY, PPS, SMALL, SPS, slice_, units
from tests.webrtc.payloads.network import deliver, packets
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.h264 import H264Depacketizer, H264Packetizer

pytestmark = pytest.mark.unit


def fed(packets_: list[tuple[bytes, bool, int]]) -> tuple[H264Depacketizer, list[bytes]]:
    depacketizer = H264Depacketizer()
    return depacketizer, [unit.payload for unit in deliver(depacketizer, packets_)]


@given(st.lists(units(), max_size=5), st.integers(16, 300))
def test_what_is_packetized_comes_out_again(middle: list[bytes], max_payload: int) -> None:
    sent = [KEY, *middle]
    found = deliver(H264Depacketizer(), packets(H264Packetizer(max_payload=max_payload), sent))
    assert [unit.payload for unit in found] == sent
    assert [unit.timestamp for unit in found] == [90_000 + n * 3000 for n in range(len(sent))]
    assert all(unit.parameter_sets == (SPS, PPS) for unit in found)


@given(st.lists(units(), max_size=5), st.integers(16, 300), st.data(), st.booleans())
def test_a_lost_packet_never_yields_a_corrupt_unit(
    middle: list[bytes], max_payload: int, data: st.DataObject, told: bool
) -> None:
    sent = [KEY, *middle, KEY]
    out = packets(H264Packetizer(max_payload=max_payload), sent)
    lost = data.draw(st.sets(st.integers(0, len(out) - 1), min_size=1, max_size=3))
    depacketizer = H264Depacketizer()
    found = deliver(depacketizer, out, lost=lost, told=told)
    whole = {90_000 + n * 3000: unit for n, unit in enumerate(sent)}
    for unit in found:
        assert unit.payload == whole[unit.timestamp]
    hit = {out[index][2] for index in lost}
    assert not hit.intersection(unit.timestamp for unit in found)


def spread(
    sent: list[bytes], step: int, *, ended: bool, sets_apart: int, sets_marked: bool
) -> list[tuple[bytes, bool, int]]:
    """Send as some encoders do: no aggregation, parameter sets under times of their own."""
    out = []
    for index, unit in enumerate(sent):
        timestamp = 90_000 + 3000 * index
        nals = [unit[start:stop] for start, stop in length_prefixed_spans(unit)]
        for place, nal in enumerate(nals):
            parts = [
                payload
                for payload, _ in H264Packetizer(max_payload=step).packetize(
                    join_length_prefixed([nal])
                )
            ]
            is_set = nal[0] & 0x1F in (7, 8)
            time = timestamp - sets_apart * (2 - place) if is_set else timestamp
            marks = sets_marked if is_set else ended and place == len(nals) - 1
            out += [(part, marks and part is parts[-1], time) for part in parts]
    return out


@given(
    st.lists(units(), max_size=4),
    st.integers(30, 300),
    st.booleans(),
    st.sampled_from([0, 1, 1000]),
    st.booleans(),
    st.data(),
)
def test_no_loss_corrupts_what_encoders_spread_over_timestamps_and_markers(
    middle: list[bytes],
    step: int,
    ended: bool,
    sets_apart: int,
    sets_marked: bool,
    data: st.DataObject,
) -> None:
    sent = [KEY, *middle, KEY, SMALL]
    out = spread(sent, step, ended=ended, sets_apart=sets_apart, sets_marked=sets_marked)
    depacketizer = H264Depacketizer()
    found = deliver(depacketizer, out) + depacketizer.flush()
    assert [unit.payload for unit in found] == sent
    lost = data.draw(st.sets(st.integers(0, len(out) - 1), min_size=1, max_size=3))
    whole = {90_000 + n * 3000: unit for n, unit in enumerate(sent)}
    depacketizer = H264Depacketizer()
    for unit in deliver(depacketizer, out, lost=lost):
        assert unit.payload == whole[unit.timestamp]


@given(st.lists(st.tuples(st.binary(max_size=80), st.booleans(), st.integers(0, 3))))
def test_arbitrary_payloads_raise_only_the_typed_error(
    inputs: list[tuple[bytes, bool, int]],
) -> None:
    depacketizer = H264Depacketizer(max_unit_bytes=200)
    for sequence, (payload, marker, timestamp) in enumerate(inputs):
        try:
            found = depacketizer.feed(payload, marker, timestamp, sequence)
        except PayloadError:
            continue
        assert all(len(unit.payload) <= 200 for unit in found)


@given(st.binary(max_size=300))
def test_arbitrary_units_raise_only_the_typed_error(unit: bytes) -> None:
    try:
        sent = H264Packetizer(max_payload=20).packetize(unit)
    except PayloadError:
        return
    assert all(len(payload) <= 20 for payload, _ in sent)
    assert [marker for _, marker in sent] == [False] * (len(sent) - 1) + [True]


def test_a_unit_ends_with_its_marker_at_once() -> None:
    depacketizer = H264Depacketizer()
    (found,) = deliver(depacketizer, packets(H264Packetizer(), [KEY]))
    assert found.key
    assert not depacketizer.needs_key


def test_a_unit_ends_without_marker_when_the_timestamp_changes() -> None:
    bare = [(p, False, t) for p, _, t in packets(H264Packetizer(), [KEY, DELTA, SMALL])]
    depacketizer, found = fed(bare)
    assert found == [KEY, DELTA]
    assert [unit.payload for unit in depacketizer.flush()] == [SMALL]
    assert depacketizer.flush() == []


def test_one_packet_may_end_two_units() -> None:
    (first, *rest), last = packets(H264Packetizer(), [KEY]), packets(H264Packetizer(), [SMALL])[0]
    depacketizer = H264Depacketizer()
    for index, (payload, _, timestamp) in enumerate([first, *rest]):
        assert depacketizer.feed(payload, False, timestamp, index) == []
    found = depacketizer.feed(last[0], True, 93_000, 1 + len(rest))
    assert [unit.payload for unit in found] == [KEY, SMALL]


@pytest.mark.parametrize("marker", [False, True])
@pytest.mark.parametrize("apart", [0, 1, 3000])
def test_parameter_sets_in_packets_of_their_own_join_the_next_picture(
    marker: bool, apart: int
) -> None:
    slices = packets(H264Packetizer(), [join_length_prefixed([IDR])])
    sets = [(SPS, marker, 90_000 - 2 * apart), (PPS, marker, 90_000 - apart)]
    depacketizer = H264Depacketizer()
    (found,) = deliver(depacketizer, sets + slices)
    assert found.payload == KEY
    assert found.key
    assert found.timestamp == 90_000
    assert depacketizer.dropped == 0


def test_a_lost_parameter_set_of_its_own_takes_its_picture_along() -> None:
    before = packets(H264Packetizer(), [KEY])
    slices = [
        (p, m, 99_000) for p, m, _ in packets(H264Packetizer(), [join_length_prefixed([IDR])])
    ]
    sent = [*before, (SPS, False, 96_000), (PPS, False, 97_000), *slices]
    for lost in (len(before), len(before) + 1):
        depacketizer = H264Depacketizer()
        assert [u.payload for u in deliver(depacketizer, sent, lost={lost})] == [KEY]
        assert depacketizer.needs_key
        assert depacketizer.dropped == 1


def test_a_key_frame_needs_its_parameter_sets() -> None:
    bare = packets(H264Packetizer(), [join_length_prefixed([AUD, IDR])])
    sent = [(AUD, False, 90_000), *bare]
    depacketizer = H264Depacketizer()
    (found,) = deliver(depacketizer, sent)
    assert not found.key
    assert depacketizer.needs_key
    told = H264Depacketizer(parameter_sets=[SPS, PPS])
    (found,) = deliver(told, bare)
    assert found.key
    assert found.parameter_sets == (SPS, PPS)


def test_sets_at_the_start_alone_hold_for_every_later_key_frame() -> None:
    later = join_length_prefixed([IDR])
    found = deliver(H264Depacketizer(), packets(H264Packetizer(), [KEY, SMALL, later]))
    assert [unit.key for unit in found] == [True, False, True]
    assert found[2].parameter_sets is found[0].parameter_sets


def test_a_new_parameter_set_replaces_the_one_of_its_id() -> None:
    other = PPS + b"\x80"
    second = join_length_prefixed([SPS, other, IDR])
    found = deliver(H264Depacketizer(), packets(H264Packetizer(), [KEY, second]))
    assert [unit.parameter_sets for unit in found] == [(SPS, PPS), (SPS, other)]


def test_several_slices_in_a_stap_with_their_sets_and_delimiters_dropped() -> None:
    slices = [slice_(5, 10), slice_(5, 10, first=False), slice_(5, 9, first=False)]
    nals = [AUD, SPS, PPS, *slices]
    stap = b"\x78" + b"".join(len(each).to_bytes(2, "big") + each for each in nals)
    _, found = fed([(stap, True, 0)])
    assert found == [join_length_prefixed([SPS, PPS, *slices])]


def test_padding_between_and_within_units_is_passed_over() -> None:
    sent = packets(H264Packetizer(), [KEY, DELTA])
    padded = [each for packet in sent for each in (packet, (b"", False, packet[2]))]
    depacketizer, found = fed(padded)
    assert found == [KEY, DELTA]
    assert depacketizer.dropped == 0


def test_the_key_frame_behind_a_lost_marker_survives() -> None:
    sent = packets(H264Packetizer(), [KEY, DELTA, KEY])
    last_of_delta = max(n for n, packet in enumerate(sent) if packet[2] == 93_000)
    depacketizer = H264Depacketizer()
    found = deliver(depacketizer, sent, lost={last_of_delta})
    assert [unit.payload for unit in found] == [KEY, KEY]
    assert depacketizer.dropped == 1
    assert not depacketizer.needs_key


def test_so_does_the_delta_frame_whose_predecessor_lost_its_marker() -> None:
    sent = packets(H264Packetizer(), [KEY, DELTA, SMALL])
    last_of_delta = len(sent) - 2
    depacketizer = H264Depacketizer()
    found = deliver(depacketizer, sent, lost={last_of_delta})
    assert [unit.payload for unit in found] == [KEY, SMALL]
    assert depacketizer.needs_key


def test_a_marker_on_every_slice_is_not_believed_for_long() -> None:
    depacketizer, found = fed(packets(H264Packetizer(), [KEY]))
    one, two = slice_(1, 20), slice_(1, 20, first=False)
    sent = [(nal, True, t) for t in (93_000, 96_000, 99_000, 102_000) for nal in (one, two)]
    seen: list[bytes] = []
    errors = []
    for sequence, packet in enumerate(sent, 65_534):
        try:
            seen += [unit.payload for unit in depacketizer.feed(*packet, sequence)]
        except PayloadError as error:
            errors.append(str(error))
    assert errors == [
        (
            "The H.264 sender sets the marker bit before a picture's last slice; "
            "from now on pictures end when their timestamp does."
        )
    ]
    assert depacketizer.needs_key
    assert seen[1:] == [join_length_prefixed([one, two])] * 2
    assert [u.payload for u in depacketizer.flush()] == [join_length_prefixed([one, two])]
    assert found == [KEY]


ERRORS = [
    (b"\xe5\x80", "An H.264 NAL unit has its forbidden bit set."),
    (b"\x65", "The H.264 payload holds a NAL unit without a body."),
    (b"\x60\x00", "The H.264 payload says NAL unit type 0."),
    (b"\x7f\x00", "The H.264 payload says NAL unit type 31."),
    (
        b"\x7d\x85\x00\x00",
        (
            "The H.264 payload is a FU-B of the interleaved packetization mode; "
            "only modes 0 and 1 are accepted."
        ),
    ),
    (b"\x78", "The H.264 aggregation packet is empty."),
    (b"\x78\x00\x05\x65", "A NAL unit is longer than its H.264 aggregation packet."),
    (b"\x78\x00", "A NAL unit is longer than its H.264 aggregation packet."),
    (b"\x78\x00\x00", "The H.264 payload holds a NAL unit without a body."),
    (b"\x78\x00\x02\x78\x00", "An H.264 aggregation packet holds NAL unit type 24."),
    (b"\x78\x00\x02\xe5\x00", "An H.264 NAL unit has its forbidden bit set."),
    (b"\x7c\x85", "The H.264 fragment is empty."),
    (b"\x7c\x9c\x00", "An H.264 fragment says NAL unit type 28."),
    (b"\x7c\x89\x00", "An H.264 fragment is of an access unit delimiter."),
    (b"\x7c\x05\x00", "A fragmented H.264 NAL unit lacks its beginning."),
    (b"\x68\x00\x00", "The H.264 PPS ends before its last field."),
    (b"\x67\x64", "The H.264 SPS ends before its last field."),
    (
        b"\x68\x80" + bytes(8192),
        "An H.264 parameter set has 8194 bytes; at most 8192 are accepted.",
    ),
]


@pytest.mark.parametrize(("payload", "text"), ERRORS)
def test_what_the_format_does_not_allow_is_refused(payload: bytes, text: str) -> None:
    depacketizer = H264Depacketizer()
    deliver(depacketizer, packets(H264Packetizer(), [KEY]), first=0)
    with pytest.raises(PayloadError) as caught:
        depacketizer.feed(payload, False, 1, 4)
    assert str(caught.value) == text
    assert depacketizer.needs_key
    assert depacketizer.dropped == 1
    again = [(p, m, 200_000) for p, m, _ in packets(H264Packetizer(), [KEY])]
    assert [unit.payload for unit in deliver(depacketizer, again, first=5)] == [KEY]


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (b"\x7c\x85\x88", "A fragmented H.264 NAL unit was not ended."),
        (b"\x65\x88", "A fragmented H.264 NAL unit was not ended."),
        (b"\x7c\x01\x88", "The fragments of an H.264 NAL unit differ in their type."),
    ],
)
def test_fragments_that_do_not_belong_together_are_refused(second: bytes, text: str) -> None:
    depacketizer, _ = fed([(SPS, False, 0), (PPS, False, 0), (b"\x7c\x85\x88", False, 0)])
    with pytest.raises(PayloadError) as caught:
        depacketizer.feed(second, True, 0, 65_533)
    assert str(caught.value) == text


def test_a_unit_that_ends_inside_a_fragment_is_dropped() -> None:
    depacketizer, found = fed([(SPS, False, 0), (b"\x7c\x85\x88", True, 0), (SPS, False, 1)])
    assert found == []
    assert depacketizer.dropped == 1


def test_units_are_bounded_in_bytes_and_in_nal_units() -> None:
    depacketizer = H264Depacketizer(max_unit_bytes=2000)
    with pytest.raises(PayloadError) as caught:
        deliver(depacketizer, packets(H264Packetizer(), [KEY]))
    assert str(caught.value) == (
        "The access unit has more than 2000 bytes; lower the encoder's bitrate or resolution."
    )
    depacketizer = H264Depacketizer()
    deliver(depacketizer, [(SPS, False, 0)], first=0)
    with pytest.raises(PayloadError) as caught:
        deliver(depacketizer, [(b"\x06\x01", False, 0)] * MAX_NALS, first=1)
    assert str(caught.value) == f"The access unit holds more than {MAX_NALS} NAL units."


def test_parameter_sets_are_bounded_together() -> None:
    sets = [bytes((0x68, first)) + bytes(8000) for first in (0x80, 0x40, 0x60, 0x20, 0x28)]
    with pytest.raises(PayloadError) as caught:
        H264Depacketizer(parameter_sets=[*sets[:4], *sets])
    assert str(caught.value) == ("The parameter sets hold 40010 bytes; at most 32768 are accepted.")
    many = [b"\x68" + (n << 19).to_bytes(4, "big") for n in range(32, 64)]
    assert len(H264Depacketizer(parameter_sets=[*many[:31], SPS])._sets.units) == 32
    with pytest.raises(PayloadError) as caught:
        H264Depacketizer(parameter_sets=[*many, SPS])
    assert str(caught.value) == "More than 32 parameter sets are in force."
    with pytest.raises(PayloadError) as caught:
        H264Depacketizer(parameter_sets=[b""])
    assert str(caught.value) == "The H.264 parameter sets of the SDP hold an empty one."


def test_the_packetizer_aggregates_sets_and_cuts_slices() -> None:
    sent = H264Packetizer(parameter_sets=[SPS, PPS]).packetize(join_length_prefixed([IDR]))
    assert sent[0][0][0] & 0x1F == 24
    assert [payload[0] & 0x1F for payload, _ in sent[1:]] == [28] * 3
    assert [marker for _, marker in sent] == [False, False, False, True]
    assert max(len(payload) for payload, _ in sent) == 1200
    assert H264Packetizer(parameter_sets=[SPS, PPS]).packetize(KEY) == sent
    assert len(H264Packetizer(parameter_sets=[SPS, PPS]).packetize(SMALL)) == 1


def test_mode_0_sends_single_nal_units_only() -> None:
    packetizer = H264Packetizer(mode=0)
    sent = packetizer.packetize(join_length_prefixed([SPS, PPS, slice_(5, 50)]))
    assert [payload[0] & 0x1F for payload, _ in sent] == [7, 8, 5]
    with pytest.raises(PayloadError) as caught:
        packetizer.packetize(KEY)
    assert str(caught.value) == (
        "A NAL unit of 3002 bytes does not fit a payload of 1200; "
        "packetization mode 0 cannot cut it."
    )


def test_the_packetizer_refuses_what_is_no_access_unit() -> None:
    packetizer = H264Packetizer()
    for unit, text in (
        (b"", "The access unit holds no NAL unit."),
        (b"\0\0\0\x09\x65", "A NAL unit is longer than its access unit."),
        (join_length_prefixed([b"\x7c\x00"]), "The access unit holds what is no H.264 NAL unit."),
    ):
        with pytest.raises(PayloadError) as caught:
            packetizer.packetize(unit)
        assert str(caught.value) == text
    with pytest.raises(ValueError, match="A payload of 15 bytes is too small; 16 do"):
        H264Packetizer(max_payload=15)
    with pytest.raises(ValueError, match="Packetization mode 2 is not 0 or 1"):
        H264Packetizer(mode=2)
