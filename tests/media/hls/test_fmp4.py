"""Our fMP4 read back by libavformat: times, durations, flags, sizes, and pictures that decode."""

from __future__ import annotations

import io
import struct
import subprocess
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import imageio_ffmpeg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.bitstream import describe
from media.colour import Colour, ContentLight, MasteringDisplay
from media.hls.fmp4 import Sample, init_segment, media_fragment, media_timescale
from media.model import Codec, TrackFormat
from tests.media.bitstream import clips

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.component

EMSG = (
    struct.pack(">I4sIIQII", 75, b"emsg", 1 << 24, 90_000, 0, 0xFFFF_FFFF, 1)
    + b"https://aomedia.org/emsg/ID3\0\0ID3\x04\0\0\0\0\0\0ABC"
)


def samples_of(clip: clips.Clip, shift: int = 0) -> list[Sample]:
    return [
        Sample(
            dts=unit.dts + shift,
            pts=unit.pts + shift,
            duration=unit.duration,
            key=unit.key,
            payload=unit.payload,
        )
        for unit in clip.units
    ]


def parts_of(samples: Sequence[Sample], size: int, prefix: bytes = b"") -> list[bytes]:
    return [
        media_fragment(
            samples[at : at + size],
            sequence_number=at // size + 1,
            base_decode_time=samples[at].dts,
            prefix=prefix,
        )
        for at in range(0, len(samples), size)
    ]


def read_back(data: bytes, kind: str) -> tuple[list[tuple[int, int, int, bool, bytes]], Fraction]:
    with av.open(io.BytesIO(data), options={"fflags": "noparse"}) as container:
        stream = container.streams.get({kind: 0})[0]
        assert stream.time_base is not None
        packets = [
            (packet.dts, packet.pts, packet.duration, packet.is_keyframe, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]
        return packets, stream.time_base


def decode(data: bytes, kind: str) -> list[av.frame.Frame]:
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.get({kind: 0})[0]
        stream.codec_context.options = {"err_detect": "explode"}
        return list(container.decode(stream))


@pytest.mark.parametrize("kind", ["h264", "hevc", "av1", "vp9"])
@pytest.mark.parametrize("part", [1, 4, 10, 30])
@pytest.mark.parametrize("shift", [0, 1 << 33, 1 << 45])
def test_video_is_read_back_as_it_was(kind: str, part: int, shift: int) -> None:
    clip = clips.video(kind)
    samples = samples_of(clip, shift)
    init = init_segment(clip.fmt, timescale=media_timescale(clip.fmt))
    segment = b"".join(parts_of(samples, part, EMSG))
    packets, time_base = read_back(init + segment, "video")
    assert time_base == Fraction(1, 90_000)
    assert packets == [(s.dts, s.pts, s.duration, s.key, s.payload) for s in samples]


@pytest.mark.parametrize("kind", ["h264", "hevc", "av1", "vp9"])
def test_every_picture_decodes(kind: str) -> None:
    clip = clips.video(kind)
    init = init_segment(clip.fmt, timescale=90_000)
    frames = decode(init + b"".join(parts_of(samples_of(clip), 10)), "video")
    assert [frame.pts for frame in frames] == sorted(unit.pts for unit in clip.units)
    assert not any(getattr(frame, "is_corrupt", False) for frame in frames)


@pytest.mark.parametrize("kind", ["h264", "hevc", "av1", "vp9"])
def test_init_segment_says_what_the_format_says(kind: str) -> None:
    sar = (4, 3) if kind in ("h264", "hevc") else (1, 1)
    clip = clips.video(kind, size=(322, 182), sar=sar)
    data = init_segment(clip.fmt, timescale=90_000)
    with av.open(io.BytesIO(data + parts_of(samples_of(clip), 30)[0])) as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert (stream.width, stream.height) == (322, 182)
        assert (stream.sample_aspect_ratio or 1) == Fraction(*sar)
        extradata = clip.fmt.config[4:] if kind == "vp9" else clip.fmt.config
        assert (stream.codec_context.extradata or extradata) == extradata
        assert stream.codec_context.codec.canonical_name == kind
        assert container.metadata["major_brand"] == "iso6"
        assert container.metadata["compatible_brands"] == "iso6cmfcmp41aid3"
        assert stream.codec_context.codec_tag == {
            "h264": "avc1",
            "hevc": "hvc1",
            "av1": "av01",
            "vp9": "vp09",
        }.get(kind)


@pytest.mark.parametrize(
    ("kind", "rate", "layout"),
    [
        ("aac", 48_000, "stereo"),
        ("aac", 44_100, "mono"),
        ("aac", 96_000, "5.1"),
        ("opus", 48_000, "stereo"),
        ("opus", 48_000, "5.1"),
    ],
)
def test_audio_is_read_back_and_decodes(kind: str, rate: int, layout: str) -> None:
    clip = clips.audio(kind, rate=rate, layout=layout)
    assert media_timescale(clip.fmt) == rate
    samples = samples_of(clip, 1 << 34)
    data = init_segment(clip.fmt, timescale=rate) + b"".join(parts_of(samples, 15))
    packets, time_base = read_back(data, "audio")
    assert time_base == Fraction(1, rate)
    assert packets == [(s.dts, s.pts, s.duration, True, s.payload) for s in samples]
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        assert (stream.sample_rate, stream.layout.nb_channels) == (rate, clip.fmt.channels)
    assert len(decode(data, "audio")) == len(samples)


def test_he_aac_by_configuration() -> None:
    fmt = describe(Codec.AAC, bytes.fromhex("2b8a0800"))
    data = init_segment(fmt, timescale=media_timescale(fmt))
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.audio[0].codec_context.extradata == fmt.config


def test_hdr_boxes_are_read_by_ffmpeg() -> None:
    fmt = replace(
        clips.video("h264").fmt,
        colour=Colour(primaries=9, transfer=16, matrix=9),
        mastering=MasteringDisplay(
            red=(34_000, 16_000),
            green=(13_250, 34_500),
            blue=(7_500, 3_000),
            white=(15_635, 16_450),
            max_luminance=10_000_000,
            min_luminance=1,
        ),
        content_light=ContentLight(max_cll=1000, max_fall=400),
    )
    init = init_segment(fmt, timescale=90_000)
    assert clips.find_box(init, b"colr") == b"nclx\0\x09\0\x10\0\x09\0"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", "pipe:0"]
    said = subprocess.run(command, input=init, capture_output=True, check=False).stderr.decode()
    assert "bt2020nc/bt2020/smpte2084" in said
    assert "MaxCLL=1000, MaxFALL=400" in said
    for number in ("r(0.6800,0.3200)", "g(0.2650,0.6900)", "b(0.1500", "wp(0.3127", "1000.0"):
        assert number in said, said


def test_colour_and_aspect_boxes_only_where_known() -> None:
    params = "colorprim=bt709:transfer=bt709:colormatrix=bt709"
    told = clips.video("h264", sar=(4, 3), options=(("x264-params", params),))
    data = init_segment(told.fmt, timescale=90_000)
    assert clips.find_box(data, b"colr") == b"nclx\0\1\0\1\0\1\0"
    assert clips.find_box(data, b"pasp") == struct.pack(">II", 4, 3)
    plain = init_segment(clips.video("h264").fmt, timescale=90_000)
    assert b"colr" not in plain
    assert b"pasp" not in plain


def test_constant_audio_needs_one_number_a_sample() -> None:
    clip = clips.audio("aac")
    samples = samples_of(clip)[:15]
    (part,) = parts_of(samples, 15)
    payload = sum(len(s.payload) for s in samples)
    run = clips.find_box(part, b"trun")
    assert struct.unpack_from(">I", run) == (0x0100_0201,)
    assert len(part) - payload == 8 + 16 + 8 + 24 + 20 + 20 + 15 * 4 + 8


def test_sample_flags_are_those_of_cmaf() -> None:
    samples = samples_of(clips.video("vp9"))[:3]
    assert [s.key for s in samples] == [True, False, False]
    (part,) = parts_of(samples, 3)
    # Default flags behind the track and the duration; the first sample's behind the data offset.
    assert struct.unpack(">IIII", clips.find_box(part, b"tfhd"))[3] == 0x0101_0000
    assert struct.unpack_from(">IIII", clips.find_box(part, b"trun"))[3] == 0x0200_0000
    (mixed,) = parts_of([samples[1], samples[0], samples[2]], 3)
    run = struct.unpack(">9I", clips.find_box(mixed, b"trun"))
    assert run[4::2] == (0x0101_0000, 0x0200_0000, 0x0101_0000)


def test_track_header_has_the_display_width() -> None:
    data = init_segment(clips.video("h264", sar=(4, 3)).fmt, timescale=90_000)
    width, height = struct.unpack(">II", clips.find_box(data, b"tkhd")[-8:])
    assert (width, height) == (320 * 65_536 * 4 // 3, 180 << 16)


def test_prefix_comes_before_the_fragment() -> None:
    clip = clips.video("h264")
    (part,) = parts_of(samples_of(clip), 30, EMSG)
    assert part.startswith(EMSG)
    assert part[len(EMSG) + 4 :].startswith(b"moof")


times = st.integers(0, 0x7FFF_FFFF)


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 50_000), st.integers(0, 5000), st.booleans()),
        min_size=1,
        max_size=20,
    ),
    start=st.integers(0, 1 << 60),
)
def test_any_table_is_read_back(rows: list[tuple[int, int, bool]], start: int) -> None:
    samples, clock = [], start
    for index, (duration, offset, key) in enumerate(rows):
        payload = bytes([index]) * (index + 1)
        samples.append(
            Sample(dts=clock, pts=clock + offset, duration=duration, key=key, payload=payload)
        )
        clock += duration
    fmt = clips.video("vp9").fmt
    part = media_fragment(samples, sequence_number=1, base_decode_time=start)
    packets, _ = read_back(init_segment(fmt, timescale=90_000) + part, "video")
    assert packets == [(s.dts, s.pts, s.duration, s.key, s.payload) for s in samples]


def one(**changes: int) -> Sample:
    values = {"dts": 0, "pts": 0, "duration": 1, **changes}
    return Sample(**values, key=True, payload=b"x")


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        (one(dts=1), "A composition offset is 0 to 2147483647 ticks, not -1."),
        (one(pts=1 << 31), "A composition offset is 0 to 2147483647 ticks, not 2147483648."),
        (one(duration=-1), "A sample duration is 0 to 4294967295 ticks, not -1."),
        (one(duration=1 << 32), "A sample duration is 0 to 4294967295 ticks, not 4294967296."),
    ],
)
def test_what_a_run_cannot_hold(sample: Sample, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        media_fragment([sample], sequence_number=1, base_decode_time=0)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("samples", "sequence", "base", "sentence"),
    [
        ([], 1, 0, "A media fragment needs at least one sample."),
        ([one()], -1, 0, "A sequence number is 0 to 4294967295, not -1."),
        ([one()], 1, -5, "A base decode time is 0 to 2^64 - 1, not -5."),
    ],
)
def test_what_a_fragment_cannot_hold(
    samples: list[Sample], sequence: int, base: int, sentence: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        media_fragment(samples, sequence_number=sequence, base_decode_time=base)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("fmt", "timescale", "sentence"),
    [
        (
            TrackFormat(codec=Codec.MP3, config=b"", codec_string="mp4a.40.34"),
            44_100,
            "mp3 has no sample entry here; transcode it to AAC.",
        ),
        (
            TrackFormat(codec=Codec.VP9, config=bytes(12), codec_string="vp09.00.10.08"),
            90_000,
            "A picture of 0x0 has no visual sample entry.",
        ),
        (
            TrackFormat(codec=Codec.OPUS, config=b"", codec_string="Opus"),
            0,
            "A timescale is 1 to 4294967295, not 0.",
        ),
    ],
)
def test_formats_without_an_init_segment(fmt: TrackFormat, timescale: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        init_segment(fmt, timescale=timescale)
    assert str(caught.value) == sentence
