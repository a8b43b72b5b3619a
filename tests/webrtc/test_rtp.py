"""RTP packets against bytes laid out by hand from RFC 3550, and any bytes at all."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc.packets import media, rtp_packets
from webrtc.rtp import RtpError, RtpPacket, parse_rtp, restore_rtx

pytestmark = pytest.mark.unit

HEADER = struct.pack("!BBHII", 0x80, 0xE0, 0x1234, 0xDEADBEEF, 0xCAFEBABE)


def test_a_plain_packet() -> None:
    assert parse_rtp(HEADER + b"abc") == RtpPacket(
        payload_type=96,
        marker=True,
        sequence=0x1234,
        timestamp=0xDEADBEEF,
        ssrc=0xCAFEBABE,
        payload=b"abc",
    )


def test_everything_at_once() -> None:
    data = (
        b"\xb2" + HEADER[1:]
        + struct.pack("!II", 7, 8)
        + bytes.fromhex("bede 0001 10 30 0000")
        + b"abc" + b"\x00\x00\x03"
    )  # fmt: skip
    packet = parse_rtp(data)
    assert packet.csrc == (7, 8)
    assert (packet.profile, packet.extension) == (0xBEDE, bytes.fromhex("10300000"))
    assert (packet.payload, packet.padding) == (b"abc", 3)
    assert packet.serialise() == data


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (HEADER[:11], "The RTP packet is shorter than its header of 12 bytes."),
        (b"\x40" + HEADER[1:], "The RTP packet says version 1; only 2 is defined."),
        (
            b"\x82" + HEADER[1:] + bytes(7),
            "The RTP packet ends inside its list of contributing sources.",
        ),
        (b"\x90" + HEADER[1:] + bytes(3), "The RTP packet ends inside its header extension."),
        (
            b"\x90" + HEADER[1:] + b"\xbe\xde\x00\x02" + bytes(7),
            "The RTP header extension reaches beyond the packet.",
        ),
        (
            b"\x90" + HEADER[1:] + b"\xbe\xde\xff\xff" + bytes(1400),
            "The RTP header extension reaches beyond the packet.",
        ),
        (
            b"\xa0" + HEADER[1:] + b"abc\x00",
            "The RTP packet's padding is empty or longer than its payload.",
        ),
        (
            b"\xa0" + HEADER[1:] + b"abc\x05",
            "The RTP packet's padding is empty or longer than its payload.",
        ),
        (
            b"\xb0" + HEADER[1:] + b"\xbe\xde\x00\x01\x00\x00\x00\x05",
            "The RTP packet's padding is empty or longer than its payload.",
        ),
    ],
)
def test_what_is_broken_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(RtpError) as caught:
        parse_rtp(data)
    assert str(caught.value) == sentence


@given(rtp_packets())
def test_what_is_written_is_read(packet: RtpPacket) -> None:
    assert parse_rtp(packet.serialise()) == packet


@given(st.binary(max_size=100).map(lambda tail: HEADER + tail), st.integers(0x80, 0xBF))
def test_any_bytes_are_read_within_their_bounds_or_refused(data: bytes, first: int) -> None:
    data = bytes((first,)) + data[1:]
    with contextlib.suppress(RtpError):
        packet = parse_rtp(data)
        again = packet.serialise()
        assert len(again) == len(data)
        assert parse_rtp(again) == packet


@given(st.binary(max_size=40))
def test_no_other_error_is_raised(data: bytes) -> None:
    with contextlib.suppress(RtpError):
        parse_rtp(data)


@pytest.mark.parametrize(
    "packet",
    [
        media(1)._replace(sequence=65536),
        media(1)._replace(payload_type=256),
        media(1)._replace(ssrc=-1),
        media(1)._replace(csrc=(1 << 32,)),
        media(1)._replace(csrc=(1,) * 16),
        media(1)._replace(padding=256),
        media(1)._replace(profile=0xBEDE, extension=b"abc"),
    ],
)
def test_our_own_mistakes_are_value_errors(packet: RtpPacket) -> None:
    with pytest.raises(ValueError, match="RTP"):
        packet.serialise()


def test_rtx_gives_the_original_back() -> None:
    carried = media(7, b"\x12\x34media", ssrc=99, payload_type=97)
    assert restore_rtx(carried, ssrc=0x1234, payload_type=96) == media(0x1234)
    assert restore_rtx(media(7, b""), ssrc=1, payload_type=2) is None
    with pytest.raises(RtpError) as caught:
        restore_rtx(media(7, b"x"), ssrc=1, payload_type=2)
    assert str(caught.value) == "The RTX packet is too short for its original sequence number."
