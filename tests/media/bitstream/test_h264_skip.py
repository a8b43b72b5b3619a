"""Skipped pictures: FFmpeg decodes them to the picture before, whatever the size."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec.context import Flags
from hypothesis import given
from hypothesis import strategies as st

from media.bitstream import BitstreamError, nal
from media.bitstream.h264_skip import skipped_pictures

pytestmark = pytest.mark.component


def coded(
    size: tuple[int, int], params: str, profile: str = "high"
) -> tuple[bytes, bytes, bytes, bytes]:
    """One noisy picture: extradata, SPS, PPS and the access unit."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = *size, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 90_000), Fraction(12)
    context.max_b_frames = 0
    context.flags |= Flags.global_header
    context.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "profile": profile,
        "x264-params": params,
    }
    context.open()
    noise = np.random.default_rng(3).integers(16, 235, (size[1] * 3 // 2, size[0]), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 90_000)
    unit = b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])
    extradata = context.extradata or b""
    sps, pps = (u for u in nal.split_annexb(extradata) if u[0] & 0x1F in (7, 8))
    return extradata, sps, pps, unit


@pytest.mark.parametrize("size", [(16, 16), (322, 182), (1920, 1088), (64, 640)])
def test_every_skipped_picture_equals_the_one_before(size: tuple[int, int]) -> None:
    extradata, sps, pps, first = coded(size, "keyint=24:weightp=0:cabac=0")
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = extradata
    decoder.options = {"err_detect": "explode"}
    frames = []
    # More than frame_num can count before it wraps.
    units = [first, *(b"\0\0\0\1" + unit for unit in skipped_pictures(sps, pps, 70))]
    for number, unit in enumerate([*units, *units]):
        packet = av.Packet(unit)
        packet.pts = packet.dts = number
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    assert len(frames) == 142
    pictures = [frame.to_ndarray() for frame in frames]
    assert all(np.array_equal(pictures[0], picture) for picture in pictures)
    assert not any(frame.is_corrupt for frame in frames)
    assert max(map(len, units[1:])) < 20


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ("cabac=1:weightp=0", "entropy_coding_mode_flag"),
        ("cabac=0:weightp=2", "weighted_pred_flag"),
        ("cabac=0:weightp=0:interlaced=1", "pic_order_cnt_type"),
    ],
)
def test_what_cannot_be_written_is_refused(params: str, field: str) -> None:
    _, sps, pps, _ = coded((64, 64), params)
    with pytest.raises(BitstreamError, match=f"cannot be written for this {field}"):
        skipped_pictures(sps, pps, 1)


@given(sps=st.binary(max_size=60), pps=st.binary(max_size=30))
def test_any_bytes_fail_typed_or_give_units(sps: bytes, pps: bytes) -> None:
    try:
        units = skipped_pictures(b"\x67" + sps, b"\x68" + pps, 2)
    except BitstreamError:
        return
    assert len(units) == 2
    assert all(b"\0\0\1" not in unit and b"\0\0\0" not in unit for unit in units)
