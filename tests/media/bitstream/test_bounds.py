"""Foreign bytes: only `BitstreamError` escapes, in bounded time."""

from __future__ import annotations

import contextlib
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.bitstream import (
    BitstreamError,
    ac3,
    av1,
    colour_of,
    describe,
    flac,
    h264,
    hevc,
    hevc_sps,
    mp3,
    nal,
    opus,
    vp8,
    vp9,
)
from media.bitstream.av1_sequence import parse_sequence_header
from media.bitstream.bits import BitReader
from media.model import Codec
from tests.media.bitstream import clips
from tests.media.bitstream.records import BitWriter, avcc, baseline_sps, escape
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.component

PARSERS: list[Callable[[bytes], object]] = [
    *(lambda data, codec=codec: describe(codec, data) for codec in Codec),
    *(
        lambda data, codec=codec: colour_of(codec, data)
        for codec in (Codec.H264, Codec.HEVC, Codec.AV1, Codec.VP9, Codec.VP8)
    ),
    h264.annexb_to_avcc,
    h264.annexb_to_length_prefixed,
    h264.is_idr,
    h264.parse_sps,
    hevc.annexb_to_hvcc,
    hevc.annexb_to_length_prefixed,
    hevc.is_random_access,
    hevc_sps.parse_sps,
    av1.strip_temporal_delimiters,
    av1.is_key_temporal_unit,
    av1.build_av1c,
    parse_sequence_header,
    vp8.is_key,
    vp8.dimensions,
    vp9.is_key,
    vp9.build_vpcc,
    flac.parse_streaminfo,
    ac3.parse_header,
    ac3.adds_channels,
    opus.packet_samples,
    mp3.parse_header,
]


def seeds() -> list[bytes]:
    """Real configurations and payloads, so that mutations reach deep into the parsers."""
    found: list[bytes] = []
    for kind in ("h264", "hevc", "av1", "vp9", "vp8"):
        clip = clips.video(kind, frames=2)
        found += [clip.fmt.config, clip.raw_config, clip.raw[0][:600], clip.units[0].payload[:600]]
    found += h264.parse_avcc(clips.video("h264", frames=2).fmt.config).sps
    found += hevc.parse_hvcc(clips.video("hevc", frames=2).fmt.config).sps
    found.append(av1.sequence_header(clips.video("av1", frames=2).raw[0]) or b"")
    found += [clips.audio(kind).fmt.config for kind in ("aac", "opus", "flac")]
    found += [clips.audio(kind).raw[0] for kind in ("aac", "opus", "mp3", "ac3", "eac3")]
    return found


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(0, 6))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=12))


@settings(max_examples=examples(1500), deadline=None)
@given(data=st.one_of(st.binary(max_size=256), mutated()), index=st.integers(0, len(PARSERS) - 1))
def test_only_bitstream_errors_escape(data: bytes, index: int) -> None:
    started = time.process_time()
    with contextlib.suppress(BitstreamError):
        PARSERS[index](data)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("filler", [b"\x00", b"\xff", b"\x80", b"\x55", b"\x00\x00\x01\x67"])
@pytest.mark.parametrize("size", [65_536, 2_000_000])
def test_hostile_sizes_are_bounded_in_time(filler: bytes, size: int) -> None:
    blob = filler * (size // len(filler))
    heads = [b"", b"\x01\x64\x00\x1f\xff\xe1\xff\xf0\x67\x64\x00\x1f", b"\x81\x00\x00\x00\x0a"]
    heads += [b"\x01" + bytes(21) + b"\xff", b"\x00\x00\x00\x01\x67", b"\x12\x00"]
    for head in heads:
        for parser in PARSERS:
            started = time.process_time()
            with contextlib.suppress(BitstreamError):
                parser(head + blob)
            assert time.process_time() - started < 0.5


def test_16k_by_16k_is_told_and_not_allocated() -> None:
    fmt = describe(Codec.H264, avcc(baseline_sps(1000, 1000)))
    assert (fmt.width, fmt.height) == (16_000, 16_000)
    assert fmt.codec_string == "avc1.42c01f"


def test_usability_information_that_ends_early_keeps_what_came_before() -> None:
    bits = BitWriter().u(8, 66).u(8, 0xC0).u(8, 31).ue(0).ue(0).ue(2).ue(1).u(1, 0)
    bits.ue(39).ue(29).u(2, 3).u(1, 0).u(1, 1)
    bits.u(1, 1).u(8, 14).u(1, 0).u(1, 0).u(1, 0).u(1, 1).u(32, 1001)
    picture = h264.parse_sps(b"\x67" + bits.done())
    assert (picture.width, picture.height, picture.sar) == (640, 480, (4, 3))
    assert picture.frame_rate is None


def test_predicted_reference_sets_are_passed_over() -> None:
    """H.265 7.3.7, a set predicted from one of two pictures: three used/delta flags."""
    bits = BitWriter().u(8, 1).u(8, 1).u(32, 0x6000_0000).u(24, 0x90_0000).u(24, 0).u(8, 93)
    bits.ue(0).ue(1).ue(640).ue(360).u(1, 0).ue(0).ue(0)
    bits.ue(4).u(1, 1).ue(4).ue(2).ue(4)
    bits.ue(0).ue(3).ue(0).ue(3).ue(0).ue(0)
    bits.u(1, 0).u(2, 0).u(1, 0)
    bits.ue(3)
    bits.ue(2).ue(0).ue(0).u(1, 1).ue(0).u(1, 1)
    # Predicted: sign, distance, then used; not used but kept; not used and dropped.
    bits.u(1, 1).u(1, 0).ue(0).u(1, 1).u(2, 0b01).u(2, 0b00)
    # Predicted again, from the two that were left.
    bits.u(1, 1).u(1, 1).ue(5).u(1, 1).u(1, 1).u(2, 0b01)
    bits.u(1, 0).u(2, 3)
    bits.u(1, 1).u(1, 1).u(8, 255).u(16, 8).u(16, 6).u(1, 0).u(1, 0).u(1, 0).u(3, 0).u(1, 0)
    body = bits.u(1, 1).u(32, 1001).u(32, 50_000).done()
    picture = hevc.parse_sps(b"\x42\x01" + escape(body))
    assert (picture.width, picture.height, picture.sar) == (640, 360, (4, 3))
    assert picture.frame_rate == Fraction(50_000, 1001)
    assert picture.codec_string == "hvc1.1.6.L93.90"


@pytest.mark.parametrize(
    ("sps", "sentence"),
    [
        (
            baseline_sps(5000, 10),
            "The H.264 SPS asks for 80000 pixels in one dimension; at most 65535 can be described.",
        ),
        (baseline_sps(10, 10, (50, 50, 0, 0)), "The H.264 SPS crops away the whole picture."),
        (baseline_sps(10, 10)[:6], "The H.264 SPS ends before its last field."),
        (b"\x68\x64\x00\x1f\x80", "The H.264 configuration holds a unit that is not an SPS."),
        (
            b"\x67\x42\xc0\x1f" + b"\x00\x00\x03" * 3 + b"\x00\x00",
            "The H.264 SPS holds an Exp-Golomb code longer than 32 bits in seq_parameter_set_id.",
        ),
        (
            b"\x67" + BitWriter().u(24, 0x42C01F).ue(32).done(),
            "The H.264 SPS says seq_parameter_set_id 32; at most 31 is allowed.",
        ),
    ],
)
def test_refusals_are_exact(sps: bytes, sentence: str) -> None:
    with pytest.raises(BitstreamError) as caught:
        h264.parse_sps(sps)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("codec", "config", "sentence"),
    [
        (Codec.H264, b"", "The avcC record ends before its last field."),
        (Codec.H264, b"\x02" + bytes(9), "The avcC record has version 2; only 1 is defined."),
        (
            Codec.H264,
            b"\x01\x64\x00\x1f\xfe\xe0\x00",
            "The avcC record says NAL lengths of 3 bytes, which is reserved.",
        ),
        (Codec.H264, b"\x01\x64\x00\x1f\xff\xe0\x00", "The avcC record holds no SPS."),
        (
            Codec.H264,
            b"\x01\x64\x00\x1f\xff\xe1\x00\x20\x67",
            "A parameter set is longer than its avcC record.",
        ),
        (Codec.HEVC, b"\x01" + bytes(22), "The hvcC record holds no SPS."),
        (Codec.AV1, b"\x81\x08\x0c\x00", "The av1C record holds no sequence header."),
        (Codec.OPUS, b"Vorbis", "The Opus configuration does not begin with OpusHead."),
        (Codec.MP3, b"ID3\x04", "The MP3 frame does not begin with its sync word."),
        (Codec.FLAC, b"fLaC", "The FLAC STREAMINFO ends before its last field."),
        (
            Codec.FLAC,
            b"fLaC\x84\0\0\x22" + bytes(34),
            "The FLAC configuration does not begin with STREAMINFO.",
        ),
        (
            Codec.FLAC,
            b"\x10\x00\x00\x10" + bytes(30),
            "The FLAC STREAMINFO says blocks of 4096 to 16 samples.",
        ),
        (Codec.AC3, b"\x0b\x77", "The AC-3 frame ends before its header does."),
        (Codec.AC3, bytes(8), "The AC-3 frame does not begin with its sync word."),
        (
            Codec.AC3,
            b"\x77\x0b" + bytes(6),
            "The AC-3 frame has its bytes swapped in pairs; send it big-endian.",
        ),
        (
            Codec.AC3,
            b"\x0b\x77\0\0\xc0\x40\0\0",
            "The AC-3 header says a sample rate that does not exist.",
        ),
        (
            Codec.AC3,
            b"\x0b\x77\0\0\x26\x40\0\0",
            "The AC-3 header says a frame size that does not exist.",
        ),
        (
            Codec.EAC3,
            b"\x0b\x77\0\0\0\x88\0\0",
            "The AC-3 frame has bit stream id 17; 0 to 16 are known.",
        ),
        (
            Codec.EAC3,
            b"\x0b\x77\xc0\0\0\x80\0\0",
            "The E-AC-3 header says a stream type that is reserved.",
        ),
        (
            Codec.EAC3,
            b"\x0b\x77\0\0\0\x40\0\0",
            "The audio was announced as E-AC-3 but is AC-3.",
        ),
        (
            Codec.AAC,
            bytes(70_000),
            "The aac configuration has 70000 bytes; at most 65536 are accepted.",
        ),
    ],
)
def test_broken_configurations_are_named(codec: Codec, config: bytes, sentence: str) -> None:
    with pytest.raises(BitstreamError) as caught:
        describe(codec, config)
    assert str(caught.value) == sentence


@given(st.lists(st.integers(0, 0xFFFF_FFFE), max_size=40), st.integers(0, 7))
def test_exp_golomb_round_trip(values: list[int], lead: int) -> None:
    bits = BitWriter().u(lead, 0) if lead else BitWriter()
    for value in values:
        bits.ue(value)
    reader = BitReader(bits.done(), "test")
    reader.skip(lead)
    assert [reader.ue("value") for _ in values] == values


@given(st.lists(st.integers(-0x3FFF_FFFF, 0x3FFF_FFFF), max_size=20))
def test_signed_exp_golomb_round_trip(values: list[int]) -> None:
    bits = BitWriter()
    for value in values:
        bits.ue(2 * value - 1 if value > 0 else -2 * value)
    reader = BitReader(bits.done(), "test")
    assert [reader.se("value") for _ in values] == values


@given(st.lists(st.binary(min_size=1, max_size=20).map(lambda b: b.replace(b"\0", b"\1"))))
def test_reframing_keeps_every_unit(units: list[bytes]) -> None:
    annexb = b"".join(b"\0" * (2 + i % 2) + b"\1" + unit for i, unit in enumerate(units))
    if units:
        assert nal.split_annexb(annexb) == units
    joined = nal.join_length_prefixed(units)
    assert [joined[a:b] for a, b in nal.length_prefixed_spans(joined)] == units


def test_reframing_refuses_what_is_not_framed() -> None:
    with pytest.raises(BitstreamError, match=r"^The Annex B bytes do not begin with a start code"):
        nal.split_annexb(b"\x67\x42")
    with pytest.raises(BitstreamError, match=r"^A NAL unit is longer than its access unit\.$"):
        h264.is_idr(b"\x00\x00\x00\x09\x06\x00")
    with pytest.raises(BitstreamError, match=r"^The access unit holds more than 4096 NAL units\.$"):
        h264.is_idr(bytes(40_000))
    with pytest.raises(BitstreamError, match=r"^An AV1 OBU is longer than its temporal unit\.$"):
        av1.is_key_temporal_unit(b"\x32\x05\x00")


def test_a_second_parameter_set_is_bounded_like_the_first() -> None:
    sps = baseline_sps(10, 10)
    with pytest.raises(BitstreamError, match=r"^The H\.264 SPS has 70001 bytes; at most 8192 are"):
        h264.build_avcc([sps, b"\x67" + bytes(70_000)], [b"\x68\xce\x38\x80"])


def test_short_nal_lengths() -> None:
    assert h264.is_idr(b"\x00\x02\x09\xf0\x00\x03\x65\x88\x84", length_size=2)
    assert not h264.is_idr(b"\x02\x09\xf0\x03\x41\x88\x84", length_size=1)
