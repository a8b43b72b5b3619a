"""RTCP against bytes laid out by hand from the RFCs, and any bytes at all."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc.packets import u8, u16, u32
from webrtc.ntp import ntp_time, unix_ns
from webrtc.rtcp import (
    MAX_BYTES,
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    parse_rtcp,
    serialise_rtcp,
)
from webrtc.twcc import RtcpError, TransportFeedback

pytestmark = pytest.mark.unit

BLOCK = ReportBlock(
    ssrc=2,
    fraction_lost=64,
    cumulative_lost=-2,
    highest_sequence=0x0001_0005,
    jitter=9,
    last_sr=0x11112222,
    delay_since_last_sr=65536,
)
BLOCK_HEX = "00000002 40 fffffe 00010005 00000009 11112222 00010000"
SAMPLES: list[tuple[str, RtcpPacket]] = [
    (
        "81 c8 000c 00000001 8000000000000001 00000003 00000004 00000005" + BLOCK_HEX,
        SenderReport(
            ssrc=1,
            ntp=0x8000000000000001,
            rtp_timestamp=3,
            packet_count=4,
            octet_count=5,
            reports=(BLOCK,),
        ),
    ),
    ("81 c9 0007 00000001" + BLOCK_HEX, ReceiverReport(ssrc=1, reports=(BLOCK,))),
    ("81 ca 0003 00000001 01 04 61626364 00 00", SourceDescription(names=((1, b"abcd"),))),
    ("81 ca 0003 00000001 01 02 6162 00000000", SourceDescription(names=((1, b"ab"),))),
    ("82 cb 0002 00000001 00000002", Goodbye(ssrcs=(1, 2))),
    (
        "81 cd 0004 00000001 00000002 ffff 8001 0064 0000",
        Nack(sender_ssrc=1, media_ssrc=2, lost=(0xFFFF, 0, 15, 100)),
    ),
    ("81 ce 0002 00000001 00000002", PictureLoss(sender_ssrc=1, media_ssrc=2)),
    (
        "84 ce 0004 00000001 00000000 00000002 07 000000",
        FullIntraRequest(sender_ssrc=1, entries=((2, 7),)),
    ),
    (
        "8f ce 0005 00000001 00000000 52454d42 01 0a5cc6 00000002",
        Remb(sender_ssrc=1, bitrate=(0x25CC6 << 2), ssrcs=(2,)),
    ),
]


@pytest.mark.parametrize(("text", "packet"), SAMPLES)
def test_every_kind_is_read_and_written(text: str, packet: RtcpPacket) -> None:
    data = bytes.fromhex(text)
    assert parse_rtcp(data) == [packet]
    assert serialise_rtcp([packet]) == data


def test_a_compound_is_read_in_order() -> None:
    packets = [packet for _, packet in SAMPLES]
    assert parse_rtcp(serialise_rtcp(packets)) == packets


def test_unknown_kinds_and_formats_are_skipped() -> None:
    unknown = (
        "80 cc 0002 00000001 61626364"  # APP
        "80 cf 0001 00000001"  # extended report
        "83 cd 0002 00000001 00000002"  # TMMBR
        "8f ce 0003 00000001 00000002 61626364"  # an application's feedback
        "81 cb 0001 00000003"
    )
    assert parse_rtcp(bytes.fromhex(unknown)) == [Goodbye(ssrcs=(3,))]


def test_other_items_of_a_description_are_skipped() -> None:
    data = bytes.fromhex("82 ca 0005 00000001 02 01 61 01 01 62 0000 00000002 03 00 00 00")
    assert parse_rtcp(data) == [SourceDescription(names=((1, b"b"),))]


def test_padding_and_a_reason_are_left_out() -> None:
    assert parse_rtcp(bytes.fromhex("a1 cb 0002 00000001 00000004")) == [Goodbye(ssrcs=(1,))]
    assert parse_rtcp(bytes.fromhex("81 cb 0002 00000001 02 6162 00")) == [Goodbye(ssrcs=(1,))]


def test_a_report_before_the_first_packet_is_empty() -> None:
    fields = {"ssrc": 1, "ntp": 0, "rtp_timestamp": 0xFFFFFFFF, "octet_count": 0}
    assert SenderReport(packet_count=0, **fields).empty
    assert not SenderReport(packet_count=1, **fields).empty


BEYOND = "The RTCP packet reaches beyond its datagram."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The RTCP datagram is empty."),
        ("80c9", "The RTCP datagram ends inside a header."),
        ("80c90001 00000001 80", "The RTCP datagram ends inside a header."),
        ("40c90001 00000001", "The RTCP packet says version 1; only 2 is defined."),
        ("80c90002 00000001", BEYOND),
        ("80c9ffff 00000001", BEYOND),
        ("a0c90001 00000000", "The RTCP packet's padding is empty or longer than its body."),
        ("a0c90001 00000005", "The RTCP packet's padding is empty or longer than its body."),
        ("a0c90000", "The RTCP packet's padding is empty or longer than its body."),
        ("80c90000", "The RTCP receiver report has 0 bytes; it needs 4."),
        ("81c90001 00000001", "The RTCP report has 4 bytes; it needs 28."),
        ("80c80001 00000001", "The RTCP sender report has 4 bytes; it needs 24."),
        ("82cb0001 00000001", "The RTCP BYE has 4 bytes; it needs 8."),
        ("81cd0001 00000001", "The RTCP feedback has 4 bytes; it needs 8."),
        ("81cd0002 00000001 00000002", "The NACK does not hold whole entries."),
        ("84ce0003 00000001 00000002 00000003", "The FIR does not hold whole entries."),
        ("8fce0003 00000001 00000002 52454d42", "The RTCP REMB has 4 bytes; it needs 8."),
        ("8fce0004 00000001 00000002 52454d42 01000000", "The RTCP REMB has 8 bytes; it needs 12."),
        ("81ca0000", "The RTCP source description ends inside a chunk."),
        ("81ca0002 00000001 01036162", "An item of the RTCP source description reaches beyond it."),
        ("81ca0002 00000001 01026162", "A chunk of the RTCP source description has no end."),
        ("8fcd0002 00000001 00000002", "The transport-wide feedback is shorter than its header."),
        (
            "8fcd0004 00000001 00000002 0000 0001 00000000",
            "The transport-wide feedback ends inside its packet statuses.",
        ),
        (
            "8fcd0005 00000001 00000002 0000 0003 00000000 2003 0000",
            "The transport-wide feedback ends inside its arrival times.",
        ),
        (
            "8fcd0005 00000001 00000002 0000 ffff 00000000 3fff 0000",
            "The transport-wide feedback ends inside its arrival times.",
        ),
        (
            "8fcd0005 00000001 00000002 0000 0001 00000000 6001 0000",
            "The transport-wide feedback holds the reserved packet status.",
        ),
    ],
)
def test_what_is_broken_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(RtcpError) as caught:
        parse_rtcp(bytes.fromhex(text))
    assert str(caught.value) == sentence


def test_a_datagram_has_a_bound() -> None:
    with pytest.raises(RtcpError) as caught:
        parse_rtcp(bytes(MAX_BYTES + 1))
    assert str(caught.value) == "The RTCP datagram is larger than 4096 bytes."


blocks = st.builds(
    ReportBlock,
    ssrc=u32,
    fraction_lost=u8,
    cumulative_lost=st.integers(-0x800000, 0x7FFFFF),
    highest_sequence=u32,
    jitter=u32,
    last_sr=u32,
    delay_since_last_sr=u32,
)
reports = st.lists(blocks, max_size=3).map(tuple)
ssrcs = st.lists(u32, max_size=31).map(tuple)


@st.composite
def nacks(draw: st.DrawFn) -> Nack:
    steps = draw(st.lists(st.integers(1, 60), max_size=40))
    lost = [draw(u16)]
    for step in steps:
        lost.append((lost[-1] + step) & 0xFFFF)
    return Nack(sender_ssrc=draw(u32), media_ssrc=draw(u32), lost=tuple(lost))


@st.composite
def transport_feedbacks(draw: st.DrawFn) -> TransportFeedback:
    index, ticks = -1, 0
    arrivals = []
    for _ in range(draw(st.integers(0, 12))):
        for _ in range(draw(st.sampled_from([1, 1, 1, 20]))):
            index += draw(st.sampled_from([1, 1, 1, 2, 9, 40]))
            ticks += draw(st.integers(0, 255) | st.integers(-0x8000, 0x7FFF))
            arrivals.append((index, ticks))
    return TransportFeedback(
        sender_ssrc=draw(u32),
        media_ssrc=draw(u32),
        base_sequence=draw(u16),
        status_count=index + 1 + draw(st.integers(0, 20) | st.just(9000)),
        reference_time=draw(st.integers(-0x800000, 0x7FFFFF)),
        feedback_count=draw(u8),
        arrivals=tuple(arrivals),
    )


packets = st.one_of(
    st.builds(
        SenderReport,
        ssrc=u32,
        ntp=st.integers(0, 2**64 - 1),
        rtp_timestamp=u32,
        packet_count=u32,
        octet_count=u32,
        reports=reports,
    ),
    st.builds(ReceiverReport, ssrc=u32, reports=reports),
    st.builds(
        SourceDescription,
        names=st.lists(st.tuples(u32, st.binary(max_size=255)), max_size=3).map(tuple),
    ),
    st.builds(Goodbye, ssrcs=ssrcs),
    st.builds(PictureLoss, sender_ssrc=u32, media_ssrc=u32),
    st.builds(
        FullIntraRequest,
        sender_ssrc=u32,
        entries=st.lists(st.tuples(u32, u8), min_size=1, max_size=5).map(tuple),
    ),
    st.builds(
        Remb,
        sender_ssrc=u32,
        bitrate=st.builds(int.__lshift__, st.integers(0, 0x3FFFF), st.integers(0, 40)),
        ssrcs=ssrcs,
    ),
    nacks(),
    transport_feedbacks(),
)


@given(st.lists(packets, min_size=1, max_size=3))
def test_what_is_written_is_read(written: list[RtcpPacket]) -> None:
    data = serialise_rtcp(written)
    if len(data) <= MAX_BYTES:
        assert parse_rtcp(data) == written


@given(st.lists(st.tuples(u8, st.sampled_from([200, 201, 202, 203, 205, 206]), st.binary())))
def test_any_bodies_are_read_or_refused(bodies: list[tuple[int, int, bytes]]) -> None:
    data = b"".join(
        struct.pack("!BBH", 0x80 | first & 0x3F, kind, len(body) // 4) + body[: len(body) // 4 * 4]
        for first, kind, body in bodies
    )
    with contextlib.suppress(RtcpError):
        found = parse_rtcp(data)
        assert parse_rtcp(serialise_rtcp(found)) == found if found else True


@given(st.binary(max_size=80))
def test_no_other_error_is_raised(data: bytes) -> None:
    with contextlib.suppress(RtcpError):
        parse_rtcp(data)


@pytest.mark.parametrize(
    "packet",
    [
        Goodbye(ssrcs=(1,) * 32),
        Goodbye(ssrcs=(-1,)),
        Nack(sender_ssrc=1, media_ssrc=2, lost=(65536,)),
        SourceDescription(names=((1, bytes(256)),)),
        Remb(sender_ssrc=1, bitrate=1 << 90, ssrcs=()),
        TransportFeedback(
            sender_ssrc=1,
            media_ssrc=2,
            base_sequence=0,
            status_count=1,
            reference_time=0,
            feedback_count=0,
            arrivals=((0, 0x8000),),
        ),
    ],
)
def test_our_own_mistakes_are_value_errors(packet: RtcpPacket) -> None:
    with pytest.raises(ValueError, match=r"RTCP|feedback"):
        serialise_rtcp([packet])


def test_transport_feedback_of_all_three_chunk_forms() -> None:
    data = bytes.fromhex(
        "8fcd0008 00000001 00000002 fffe 0019 fffffe 07"
        "2002"  # a run of two small deltas
        "a001"  # one bit each: the first and the last of fourteen
        "d108"  # two bits each: small, none, small, none, none, large, none
        "0002"  # a run of two that did not arrive
        "01 02 03 04 05 06 8000"
    )
    feedback = parse_rtcp(data)[0]
    assert feedback == TransportFeedback(
        sender_ssrc=1,
        media_ssrc=2,
        base_sequence=0xFFFE,
        status_count=25,
        reference_time=-2,
        feedback_count=7,
        arrivals=((0, 1), (1, 3), (2, 6), (15, 10), (16, 15), (18, 21), (21, 21 - 0x8000)),
    )
    assert feedback.status_count - len(feedback.arrivals) == 18


def test_a_claim_of_many_losses_costs_nothing() -> None:
    fci = bytes.fromhex("0000 ffff 00000000") + b"\x1f\xff" * 9
    feedback = TransportFeedback.parse(1, 2, fci)
    assert (feedback.arrivals, feedback.status_count) == ((), 65535)


def test_ntp_times_of_both_eras() -> None:
    assert unix_ns(2_208_988_800 << 32) == 0
    assert unix_ns(0x8000_0000 << 32) == (2**31 - 2_208_988_800) * 10**9
    assert unix_ns(0x0000_0001 << 32) == (2**32 + 1 - 2_208_988_800) * 10**9


@given(st.integers(0, 2_500_000_000 * 10**9))
def test_ntp_there_and_back(time_ns: int) -> None:
    assert unix_ns(ntp_time(time_ns)) == time_ns
