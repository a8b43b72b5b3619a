"""FLV bodies, legacy and enhanced, by the bytes of the specifications."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.flv import (
    Channels,
    Config,
    End,
    FlvValue,
    Frame,
    Metadata,
    Unsupported,
    parse_audio,
    parse_video,
)
from media.model import Codec, Kind
from tests.ingest.rtmp.support import only

pytestmark = pytest.mark.unit


def video(body: bytes) -> list[FlvValue]:
    return list(parse_video(body))


def audio(body: bytes) -> list[FlvValue]:
    return list(parse_audio(body))


def frame(
    codec: Codec,
    payload: bytes,
    *,
    track: int = 0,
    key: bool = True,
    offset: int = 0,
    nano: int = 0,
) -> Frame:
    return Frame(track, codec, key, offset, nano, payload)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"\x17\x00\0\0\0conf", [Config(0, Codec.H264, b"conf")]),
        (b"\x17\x01\x00\x00\x21nal", [frame(Codec.H264, b"nal", offset=33)]),
        (b"\x27\x01\xff\xff\xdfnal", [frame(Codec.H264, b"nal", key=False, offset=-33)]),
        (b"\x27\x01\x80\x00\x00n", [frame(Codec.H264, b"n", key=False, offset=-(2**23))]),
        (b"\x17\x02\0\0\0", [End(0, Codec.H264)]),
        (b"\x17\x02", [End(0, Codec.H264)]),
        (b"\x17\x01\0\0\0", []),
        (b"\x1c\x00\0\0\0conf", [Config(0, Codec.HEVC, b"conf")]),
        (b"\x2c\x01\0\0\0nal", [frame(Codec.HEVC, b"nal", key=False)]),
        (b"\x57\x00", []),
        (b"\x52", []),
        (b"", []),
        (b"\x12abc", [Unsupported(0, Kind.VIDEO, "Sorenson H.263")]),
        (b"\x1fabc", [Unsupported(0, Kind.VIDEO, "FLV video codec 15")]),
    ],
)
def test_legacy_video(body: bytes, values: list[FlvValue]) -> None:
    assert video(body) == values


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"\xaf\x00asc", [Config(0, Codec.AAC, b"asc")]),
        (b"\xa3\x01raw", [frame(Codec.AAC, b"raw")]),
        (b"\xaf\x01", []),
        (b"\x2fmp3", [frame(Codec.MP3, b"mp3")]),
        (b"\xefmp3", [frame(Codec.MP3, b"mp3")]),
        (b"", []),
        (b"\xb2spx", [Unsupported(0, Kind.AUDIO, "Speex")]),
        (b"\x8fx", [Unsupported(0, Kind.AUDIO, "G.711 mu-law")]),
        (b"\xcf", [Unsupported(0, Kind.AUDIO, "FLV sound format 12")]),
    ],
)
def test_legacy_audio(body: bytes, values: list[FlvValue]) -> None:
    assert audio(body) == values


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"\x90hvc1conf", [Config(0, Codec.HEVC, b"conf")]),
        (b"\x91hvc1\x00\x00\x10nal", [frame(Codec.HEVC, b"nal", offset=16)]),
        (b"\xa1hvc1\xff\xff\xf0nal", [frame(Codec.HEVC, b"nal", key=False, offset=-16)]),
        (b"\xa3hvc1nal", [frame(Codec.HEVC, b"nal", key=False)]),
        (b"\x93avc1nal", [frame(Codec.H264, b"nal")]),
        (b"\x91av01obu", [frame(Codec.AV1, b"obu")]),
        (b"\xa1vp09frm", [frame(Codec.VP9, b"frm", key=False)]),
        (b"\x92hvc1", [End(0, Codec.HEVC)]),
        (b"\xd4hvc1\x02\x00\x09colorInfo", [Metadata(0, Codec.HEVC, b"\x02\x00\x09colorInfo")]),
        (b"\xd6\x04avc1\x02m", [Metadata(2, Codec.H264, b"m")]),
        (b"\x95av01desc", []),
        (b"\xd1\x00", []),
        (b"\x90vvc1x", [Unsupported(0, Kind.VIDEO, "H.266 (VVC)")]),
        (b"\x90vp08x", [Unsupported(0, Kind.VIDEO, "VP8")]),
        (b"\x90zzzzx", [Unsupported(0, Kind.VIDEO, "FourCC 0x7a7a7a7a")]),
        # Multitrack: one track, many of one codec, many of many.
        (b"\x96\x00avc1\x01conf", [Config(1, Codec.H264, b"conf")]),
        (b"\xa6\x03avc1\x02nal", [frame(Codec.H264, b"nal", track=2, key=False)]),
        (
            b"\x96\x11hvc1\x00\0\0\x05\0\0\x09ab\x03\0\0\x04\0\0\x08c",
            [
                frame(Codec.HEVC, b"ab", offset=9),
                frame(Codec.HEVC, b"c", track=3, offset=8),
            ],
        ),
        (
            b"\x96\x20av01\x00\0\0\x01Aavc1\x07\0\0\x02BCvp08\x08\0\0\x01x",
            [
                Config(0, Codec.AV1, b"A"),
                Config(7, Codec.H264, b"BC"),
                Unsupported(8, Kind.VIDEO, "VP8"),
            ],
        ),
        # ModEx: a nanosecond offset; an unknown one skipped; two in a row; the 16-bit size.
        (b"\x97\x02\x00\x03\xe8\x01av01x", [frame(Codec.AV1, b"x", nano=1000)]),
        (b"\x97\x00\xaa\xf1av01x", [frame(Codec.AV1, b"x")]),
        (b"\x97\x00\xaa\xf7\x02\x00\x00\x05\x01av01x", [frame(Codec.AV1, b"x", nano=5)]),
        (b"\x97\xff\x00\xff" + bytes(256) + b"\x11av01x", [frame(Codec.AV1, b"x")]),
        (b"\x97\x02\xff\xff\xff\x01av01x", [frame(Codec.AV1, b"x", nano=999_999)]),
        # ModEx ahead of multitrack.
        (b"\xa7\x02\x00\x00\x07\x06\x01av01\x04x", [frame(Codec.AV1, b"x", track=4, key=False,
                                                         nano=7)]),
    ],
)  # fmt: skip
def test_enhanced_video(body: bytes, values: list[FlvValue]) -> None:
    assert video(body) == values


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"\x90OpusOpusHead", [Config(0, Codec.OPUS, b"OpusHead")]),
        (b"\x90Opus", [Config(0, Codec.OPUS, b"")]),
        (b"\x94Opus\x01\x02\x00\x00\x00\x03", [Channels(0, Codec.OPUS, 2, 3, b"")]),
        (b"\x94mp4a\x00\x06", [Channels(0, Codec.AAC, 6, 0, b"")]),
        (b"\x94fLaC\x02\x03\x02\x00\x01", [Channels(0, Codec.FLAC, 3, 0, b"\2\0\1")]),
        (b"\x95\x04ec-3\x02\x01\x06\x00\x00\x00\x3f", [Channels(2, Codec.EAC3, 6, 63, b"")]),
        (b"\x94Opus\x01\x02\x00", []),
        (b"\x94Opus\x02\x03\x00", []),
        (b"\x94Opus\x07\x03\x00", []),
        (b"\x94Opus", []),
        (b"\x91Opuspkt", [frame(Codec.OPUS, b"pkt")]),
        (b"\x91.mp3pkt", [frame(Codec.MP3, b"pkt")]),
        (b"\x92mp4a", [End(0, Codec.AAC)]),
        (b"\x95\x00mp4a\x01asc", [Config(1, Codec.AAC, b"asc")]),
        (b"\x95\x01mp4a\x01raw", [frame(Codec.AAC, b"raw", track=1)]),
        (b"\x97\x02\x00\x00\x09\x01Opusp", [frame(Codec.OPUS, b"p", nano=9)]),
        (b"\x90fLaCinfo", [Config(0, Codec.FLAC, b"info")]),
        (b"\x90ac-3", [Config(0, Codec.AC3, b"")]),
        (b"\x91ac-3x", [frame(Codec.AC3, b"x")]),
        (b"\x91ec-3x", [frame(Codec.EAC3, b"x")]),
        (b"\x91samrx", [Unsupported(0, Kind.AUDIO, "FourCC 0x73616d72")]),
    ],
)
def test_enhanced_audio(body: bytes, values: list[FlvValue]) -> None:
    assert audio(body) == values


_FOURCC = {Codec.H264: b"avc1", Codec.HEVC: b"hvc1", Codec.AV1: b"av01", Codec.VP9: b"vp09"}
_tracks = st.lists(
    st.tuples(
        st.integers(0, 255),
        st.sampled_from(list(_FOURCC)),
        st.binary(min_size=1, max_size=300),
        st.integers(-(2**23), 2**23 - 1),
    ),
    max_size=5,
)


@given(
    _tracks,
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 3]),
    st.none() | st.integers(0, 10**6),
)
def test_many_tracks_come_out_as_they_went_in(
    tracks: list[tuple[int, Codec, bytes, int]],
    one_codec: bool,
    key: bool,
    packet_type: int,
    nano: int | None,
) -> None:
    if one_codec:
        tracks = [(number, Codec.HEVC, payload, cts) for number, _, payload, cts in tracks]
    body = bytes((0x80 | (1 if key else 2) << 4 | (7 if nano is not None else 6),))
    if nano is not None:
        body += b"\x02" + nano.to_bytes(3, "big") + b"\x06"
    body += bytes(((1 if one_codec else 2) << 4 | packet_type,)) + (b"hvc1" if one_codec else b"")
    expected = []
    for number, codec, payload, cts in tracks:
        composed = packet_type == 1 and codec in (Codec.H264, Codec.HEVC)
        inner = (cts.to_bytes(3, "big", signed=True) if composed else b"") + payload
        body += (b"" if one_codec else _FOURCC[codec]) + bytes((number,))
        body += len(inner).to_bytes(3, "big") + inner
        expected.append(
            frame(
                codec,
                payload,
                track=number,
                key=key,
                offset=cts if composed else 0,
                nano=min(nano or 0, 999_999),
            )
        )
    assert video(body) == expected


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(min_size=1, max_size=50)), max_size=6))
def test_many_sounds_come_out_as_they_went_in(tracks: list[tuple[int, bytes]]) -> None:
    names = [
        (b"mp4a", Codec.AAC),
        (b"Opus", Codec.OPUS),
        (b"fLaC", Codec.FLAC),
        (b"ec-3", Codec.EAC3),
    ]
    body, expected = b"\x95\x21", []
    for index, (number, payload) in enumerate(tracks):
        fourcc, codec = names[index % len(names)]
        body += fourcc + bytes((number,)) + len(payload).to_bytes(3, "big") + payload
        expected.append(frame(codec, payload, track=number))
    assert audio(body) == expected


def test_transport_stream_packets_are_recognised() -> None:
    packets = (b"\x47\x40\x00\x10" + bytes(184)) * 7
    assert video(packets) == [Unsupported(0, Kind.VIDEO, "MPEG-TS over RTMP")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\x17\x01\x00", "A video message is cut short."),
        (b"\x17\x09\0\0\0", "A video message has the unknown packet type 9."),
        (b"\x91hv", "An enhanced media header is cut short."),
        (b"\x91hvc1\x00", "A video message is cut short."),
        (b"\x98hvc1", "Enhanced video packet type 8 is unknown."),
        (b"\x96\x31hvc1", "Multitrack type 3 is unknown."),
        (b"\x96\x11hvc1\x00\x00\x00\x09a", "An enhanced media header is cut short."),
        (b"\x97\xff\xff\xffa", "An enhanced media header is cut short."),
    ],
)
def test_malformed_video_is_named(body: bytes, text: str) -> None:
    with pytest.raises(RtmpError) as caught:
        video(body)
    assert (str(caught.value), caught.value.fault) == (text, Fault.MEDIA)


@pytest.mark.parametrize("body", [b"\xaf", b"\x91Op", b"\x96Opus", b"\x95\x41Opus"])
def test_malformed_audio_is_refused(body: bytes) -> None:
    with pytest.raises(RtmpError) as caught:
        audio(body)
    assert caught.value.fault is Fault.MEDIA


@given(st.binary(max_size=80))
def test_garbage_raises_only_the_typed_error(body: bytes) -> None:
    for parse in (parse_video, parse_audio):
        with only(Fault.MEDIA):
            assert len(list(parse(body))) <= len(body)


@given(st.sampled_from([0x96, 0x97, 0xA6]), st.binary(max_size=60))
def test_garbage_behind_an_enhanced_header_raises_only_the_typed_error(
    first: int, rest: bytes
) -> None:
    with only(Fault.MEDIA):
        video(bytes((first,)) + rest)
