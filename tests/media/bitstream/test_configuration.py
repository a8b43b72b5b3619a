"""Configuration records built by us against FFmpeg's, and formats against FFmpeg's decoders."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import imageio_ffmpeg
import pytest

from media.bitstream import BitstreamError, av1, colour_of, describe, h264, hevc, nal, vp9
from media.model import Codec
from tests.media.bitstream import clips

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.component


@pytest.mark.parametrize(
    ("kind", "record"), [("h264", b"avcC"), ("hevc", b"hvcC"), ("av1", b"av1C"), ("vp9", b"vpcC")]
)
def test_record_is_the_one_ffmpeg_writes(kind: str, record: bytes) -> None:
    clip = clips.video(kind)
    assert clip.fmt.config == clips.find_box(clips.muxed_by_ffmpeg(clip), record)


@pytest.mark.parametrize(
    ("kind", "pix_fmt", "options", "depth", "chroma", "string"),
    [
        ("h264", "yuv420p", {"profile": "baseline", "level": "3.1"}, 8, "4:2:0", "avc1.42c01f"),
        ("h264", "yuv420p", {"profile": "main", "level": "4"}, 8, "4:2:0", "avc1.4d4028"),
        ("h264", "yuv420p", {"profile": "high", "level": "3.1"}, 8, "4:2:0", "avc1.64001f"),
        ("h264", "yuv420p10le", {"level": "3.1"}, 10, "4:2:0", "avc1.6e001f"),
        ("h264", "yuv422p10le", {"level": "3.1"}, 10, "4:2:2", "avc1.7a001f"),
        ("h264", "yuv444p", {"level": "3.1"}, 8, "4:4:4", "avc1.f4001f"),
        ("hevc", "yuv420p", {"level-idc": "3.1"}, 8, "4:2:0", "hvc1.1.6.L93.90"),
        (
            "hevc",
            "yuv420p10le",
            {"level-idc": "4", "no-high-tier": "1"},
            10,
            "4:2:0",
            "hvc1.2.4.L120.90",
        ),
        (
            "hevc",
            "yuv422p10le",
            {"level-idc": "4", "no-high-tier": "1"},
            10,
            "4:2:2",
            "hvc1.4.10.L120.9D.8",
        ),
        (
            "hevc",
            "yuv444p",
            {"level-idc": "4", "no-high-tier": "1"},
            8,
            "4:4:4",
            "hvc1.4.10.L120.9E.8",
        ),
        ("av1", "yuv420p10le", {}, 10, "4:2:0", "av01.0.00M.10"),
        ("vp9", "yuv444p", {}, 8, "4:4:4", "vp09.01.11.08"),
    ],
)
def test_profiles_depths_and_chroma(
    kind: str, pix_fmt: str, options: dict[str, str], depth: int, chroma: str, string: str
) -> None:
    if kind == "hevc":
        joined = ":".join(f"{key}={value}" for key, value in options.items())
        options = {"x265-params": f"log-level=none:{joined}"}
    clip = clips.video(kind, pix_fmt=pix_fmt, frames=2, options=tuple(options.items()))
    assert (clip.fmt.bit_depth, clip.fmt.chroma) == (depth, chroma)
    assert (clip.fmt.width, clip.fmt.height) == (320, 180)
    assert clip.fmt.codec_string == string


@pytest.mark.parametrize("kind", ["h264", "hevc"])
@pytest.mark.parametrize("size", [(322, 182), (1920, 1080), (180, 320), (66, 66)])
@pytest.mark.parametrize("sar", [(1, 1), (4, 3), (40, 33), (7, 5)])
def test_size_and_aspect_as_a_decoder_sees_them(
    kind: str, size: tuple[int, int], sar: tuple[int, int]
) -> None:
    clip = clips.video(kind, size=size, sar=sar, frames=1)
    decoder = av.CodecContext.create(kind, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = clip.fmt.config
    frames = decoder.decode(av.Packet(clip.units[0].payload)) + decoder.decode(None)
    assert (frames[0].width, frames[0].height) == size == (clip.fmt.width, clip.fmt.height)
    assert decoder.sample_aspect_ratio == Fraction(*sar)
    assert clip.fmt.sar == sar


@pytest.mark.parametrize(
    ("encoder", "record", "codec", "options"),
    [
        ("libx264", b"avcC", Codec.H264, ["-pix_fmt", "yuv420p"]),
        ("libx265", b"hvcC", Codec.HEVC, ["-pix_fmt", "yuv420p", "-tag:v", "hvc1"]),
        ("libx265", b"hvcC", Codec.HEVC, ["-pix_fmt", "yuv420p10le", "-tag:v", "hvc1"]),
        ("libaom-av1", b"av1C", Codec.AV1, ["-pix_fmt", "yuv420p", "-cpu-used", "8"]),
    ],
)
def test_codec_string_is_the_one_ffmpeg_prints(
    encoder: str, record: bytes, codec: Codec, options: list[str], tmp_path: Path
) -> None:
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180",
        "-frames:v", "30", "-b:v", "500k", "-c:v", encoder, *options,
        "-f", "dash", "manifest.mpd",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, stderr=subprocess.DEVNULL, check=True)
    fmt = describe(codec, clips.find_box((tmp_path / "init-stream0.m4s").read_bytes(), record))
    assert f'codecs="{fmt.codec_string}"'.lower() in (tmp_path / "manifest.mpd").read_text().lower()


def test_frame_rate_comes_from_constant_rate_timing_only() -> None:
    assert clips.video("h264", time_base=(1, 30), frames=2).fmt.frame_rate == 30
    assert clips.video("hevc", time_base=(1, 30), frames=2).fmt.frame_rate == 30
    # x264 with a 90 kHz time base declares variable rate and 90000 pictures a second.
    assert clips.video("h264", frames=2).fmt.frame_rate is None


def test_interlaced_1080_is_cropped_in_field_units() -> None:
    clip = clips.video(
        "h264", size=(1920, 1080), frames=2, options=(("x264-params", "interlaced=1"),)
    )
    assert (clip.fmt.width, clip.fmt.height) == (1920, 1080)


def test_scaling_lists_are_passed_over() -> None:
    clip = clips.video("h264", frames=2, time_base=(1, 30), options=(("x264-params", "cqm=jvt"),))
    custom = clips.video(
        "hevc",
        frames=2,
        time_base=(1, 30),
        options=(("x265-params", "log-level=none:scaling-list=default:temporal-layers=3"),),
    )
    for fmt in (clip.fmt, custom.fmt):
        assert (fmt.width, fmt.height, fmt.frame_rate) == (320, 180, 30)


@pytest.mark.parametrize("kind", ["h264", "hevc"])
def test_colour_is_read_from_vui(kind: str) -> None:
    words = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    params = f"log-level=none:range=full:{words}" if kind == "hevc" else f"fullrange=on:{words}"
    key = "x265-params" if kind == "hevc" else "x264-params"
    clip = clips.video(kind, frames=2, options=((key, params),))
    colour = colour_of(clip.fmt.codec, clip.fmt.config)
    assert colour is not None
    assert (colour.primaries, colour.transfer, colour.matrix) == (9, 16, 9)
    assert colour.full_range
    plain = clips.video(kind, frames=2)
    assert colour_of(plain.fmt.codec, plain.fmt.config) is None


def test_vp9_needs_its_key_frame_for_a_size() -> None:
    clip = clips.video("vp9", frames=3)
    bare = describe(Codec.VP9, clip.fmt.config)
    assert (bare.width, bare.height) == (0, 0)
    assert describe(Codec.VP9, clip.fmt.config[4:]) == bare
    whole = vp9.with_dimensions(bare, clip.raw[0])
    assert (whole.width, whole.height) == (320, 180)
    with pytest.raises(BitstreamError, match=r"^The VP9 frame is not a key frame\.$"):
        vp9.with_dimensions(bare, clip.raw[1])


def test_keys_are_found_in_real_streams() -> None:
    tests = {
        "h264": h264.is_idr,
        "hevc": hevc.is_random_access,
        "av1": av1.is_key_temporal_unit,
        "vp9": vp9.is_key,
    }
    for kind, is_key in tests.items():
        units = clips.video(kind).units
        assert [is_key(unit.payload) for unit in units] == [unit.key for unit in units]
        assert 1 < sum(unit.key for unit in units) < len(units)


def test_an_av1_key_frame_needs_its_sequence_header() -> None:
    unit = clips.video("av1").units[0].payload
    bare = b"".join(
        unit[obu.start : obu.stop]
        for obu in av1.iterate_obus(unit)
        if obu.kind != av1.OBU_SEQUENCE_HEADER
    )
    assert 0 < len(bare) < len(unit)
    assert not av1.is_key_temporal_unit(bare)


@pytest.mark.parametrize("kind", ["h264", "hevc"])
def test_parameter_sets_can_be_left_out_of_an_access_unit(kind: str) -> None:
    params = ("x264-params", "repeat-headers=1:aud=1")
    if kind == "hevc":
        params = ("x265-params", "log-level=none:repeat-headers=1:aud=1")
    clip = clips.video(kind, frames=16, options=(params,))
    reader, sets = (h264, (7, 8)) if kind == "h264" else (hevc, (32, 33, 34))
    whole = clip.units[0].payload
    bare = reader.annexb_to_length_prefixed(clip.raw[0], drop_parameter_sets=True)
    kinds = [
        {
            unit[start] & 0x1F if kind == "h264" else hevc.nal_type(unit[start])
            for start, _ in nal.length_prefixed_spans(unit)
        }
        for unit in (whole, bare)
    ]
    assert kinds[0] - kinds[1] == set(sets)
    assert kinds[1]


def test_decoders_take_reframed_access_units() -> None:
    for kind in ("h264", "hevc"):
        clip = clips.video(kind)
        decoder = av.CodecContext.create(kind, "r")
        decoder.extradata = clip.fmt.config
        frames = [f for unit in clip.units for f in decoder.decode(av.Packet(unit.payload))]
        assert len(frames + decoder.decode(None)) == len(clip.units)


def test_temporal_delimiters_are_dropped() -> None:
    clip = clips.video("av1")
    delimiter = b"\x12\x00"
    assert all(raw.startswith(delimiter) for raw in clip.raw)
    stripped = [unit.payload for unit in clip.units]
    assert stripped == [raw[2:] for raw in clip.raw]
    assert av1.strip_temporal_delimiters(stripped[0]) is stripped[0]
    # With an extension or without a size of its own it is found all the same.
    assert av1.strip_temporal_delimiters(b"\x16\x00\x00" + stripped[0]) == stripped[0]


def encode_with_ffmpeg(*arguments: str) -> bytes:
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180",
        "-frames:v", "2", *arguments, "-movflags", "empty_moov+delay_moov", "-f", "mp4", "pipe:1",
    ]  # fmt: skip
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize(
    ("pix_fmt", "extra", "depth", "chroma", "string"),
    [
        ("yuv420p", [], 8, "4:2:0", "av01.0.00M.08"),
        ("yuv444p", [], 8, "4:4:4", "av01.1.00M.08.0.000.02.02.02.0"),
        ("yuv422p10le", [], 10, "4:2:2", "av01.2.00M.10.0.100.02.02.02.0"),
        ("yuv422p12le", [], 12, "4:2:2", "av01.2.00M.12.0.100.02.02.02.0"),
        ("gray", [], 8, "4:0:0", "av01.0.00M.08.1.110.02.02.02.1"),
        (
            "yuv420p10le",
            ["-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"],
            10,
            "4:2:0",
            "av01.0.00M.10.0.110.09.16.09.0",
        ),
    ],
)
def test_av1_records_of_libaom(
    pix_fmt: str, extra: list[str], depth: int, chroma: str, string: str
) -> None:
    data = encode_with_ffmpeg("-pix_fmt", pix_fmt, "-c:v", "libaom-av1", "-cpu-used", "8", *extra)
    record = clips.find_box(data, b"av1C")
    fmt = describe(Codec.AV1, record)
    assert (fmt.width, fmt.height, fmt.bit_depth, fmt.chroma) == (320, 180, depth, chroma)
    assert fmt.codec_string == string
    assert av1.build_av1c(record[4:]) == record


@pytest.mark.parametrize(
    ("pix_fmt", "depth", "chroma", "string"),
    [
        ("yuv420p10le", 10, "4:2:0", "vp09.02.11.10"),
        ("yuv422p12le", 12, "4:2:2", "vp09.03.11.12"),
        ("gbrp", 8, "4:4:4", "vp09.01.11.08"),
    ],
)
def test_vp9_records_of_libvpx(pix_fmt: str, depth: int, chroma: str, string: str) -> None:
    data = encode_with_ffmpeg("-pix_fmt", pix_fmt, "-c:v", "libvpx-vp9", "-deadline", "realtime")
    with av.open(io.BytesIO(data)) as container:
        key_frame = bytes(next(container.demux(video=0)))
    fmt = vp9.with_dimensions(describe(Codec.VP9, clips.find_box(data, b"vpcC")), key_frame)
    assert (fmt.width, fmt.height, fmt.bit_depth, fmt.chroma) == (320, 180, depth, chroma)
    assert fmt.codec_string == string
    assert describe(Codec.VP9, vp9.build_vpcc(key_frame)).codec_string == string


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"profile": "high", "preset": "medium"}, 2),
        ({"profile": "high", "x264-params": "bframes=1"}, 1),
        ({"profile": "high", "x264-params": "bframes=0"}, 0),
        ({"profile": "high", "tune": "zerolatency"}, 0),
        ({"profile": "high", "tune": "zerolatency", "x264-params": "nal-hrd=cbr:vbv-maxrate=500:"
          "vbv-bufsize=500:bitrate=500:aud=1"}, 0),
        ({"profile": "main", "x264-params": "bframes=2:b-pyramid=none:nal-hrd=vbr:vbv-maxrate=500:"
          "vbv-bufsize=500:bitrate=400"}, 1),
        ({"profile": "baseline"}, 0),
    ],
    ids=str,
)  # fmt: skip
def test_the_sps_tells_whether_pictures_are_reordered(options: dict[str, str], told: int) -> None:
    clip = clips.video("h264", frames=20, options=tuple(options.items()))
    assert h264.reorder_frames(clip.fmt.config) == told


def bits(*fields: str) -> bytes:
    """Return a PPS NAL unit of these bits, whose trailing bits are added."""
    text = "".join(fields) + "1"
    text += "0" * (-len(text) % 8)
    return b"\x68" + int(text, 2).to_bytes(len(text) // 8, "big")


# Ids 0, 0, no CABAC; slice groups; 1 and 1 references; no weights; QPs 26, 26, 0.
PLAIN = ("1", "1", "00", "1", "1", "1", "000", "1", "1", "1", "10")


@pytest.mark.parametrize(
    ("profile", "pps", "told"),
    [
        ("42001f", [bits(*PLAIN, "0")], "42401f"),
        ("42801f", [bits(*PLAIN, "0")], "42c01f"),
        ("42c01f", [bits(*PLAIN, "0")], "42c01f"),
        ("42001f", [bits(*PLAIN, "1")], "42001f"),  # redundant pictures
        ("42001f", [bits(*PLAIN, "0"), bits("010", "1", "00", "010", "1")], "42001f"),  # groups
        ("42001f", [], "42001f"),
        ("42001f", [b"\x68"], "42001f"),
        ("4d001f", [bits(*PLAIN, "0")], "4d001f"),
        ("64001f", [bits(*PLAIN, "0")], "64001f"),
    ],
)
def test_baseline_of_which_no_more_is_used_is_constrained(
    profile: str, pps: list[bytes], told: str
) -> None:
    config = h264.AvcConfig(
        length_size=4, sps=(b"\x67" + bytes.fromhex(profile) + b"\x80",), pps=tuple(pps)
    )
    assert h264.profile_level_id(config) == told


def test_the_profile_of_what_x264_encodes() -> None:
    clip = clips.video("h264", frames=2, options=(("profile", "baseline"), ("level", "3.1")))
    found = h264.parse_avcc(clip.fmt.config)
    assert h264.profile_level_id(found) == "42c01f"
    bare = bytes((*found.sps[0][:2], 0, *found.sps[0][3:]))
    assert h264.profile_level_id(replace(found, sps=(bare,))) == "42401f"
    with pytest.raises(BitstreamError, match="ends before its last field"):
        h264.profile_level_id(replace(found, sps=(b"\x67\x42",)))


def test_an_sps_that_does_not_tell_of_reordering() -> None:
    clip = clips.video("h264", frames=2)
    found = h264.parse_avcc(clip.fmt.config)
    assert h264.parse_sps(found.sps[0][:12]).reorder_frames is None
