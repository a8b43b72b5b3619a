"""Small real clips: what encoders hand out, and FFmpeg's own reading of it as the oracle."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av
import imageio_ffmpeg
import numpy as np

from media.bitstream import av1, describe, h264, hevc, opus, vp9
from media.bitstream.formats import IN_BAND
from media.model import Codec, TrackFormat
from tests.support.scheduling import leave_real_time

VIDEO_TICKS = 90_000


@dataclass(frozen=True)
class Unit:
    """An encoded packet in the server's framing, ticks of the track's timescale."""

    dts: int
    pts: int
    duration: int
    key: bool
    payload: bytes


@dataclass(frozen=True)
class Clip:
    """An encoder's output: `raw` packets and extradata as FFmpeg gave them."""

    fmt: TrackFormat
    timescale: int
    units: list[Unit]
    raw: list[bytes] = field(repr=False)
    raw_config: bytes = field(repr=False)


_VIDEO = {
    "h264": ("libx264", Codec.H264, {"preset": "veryfast"}),
    "hevc": ("libx265", Codec.HEVC, {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "av1": ("libsvtav1", Codec.AV1, {"preset": "12", "svtav1-params": "lp=1"}),
    "vp8": ("libvpx", Codec.VP8, {"deadline": "realtime", "cpu-used": "8"}),
    "vp9": ("libvpx-vp9", Codec.VP9, {"deadline": "realtime", "cpu-used": "8"}),
}


def normalise(codec: Codec, payload: bytes) -> bytes:
    if codec is Codec.H264:
        return h264.annexb_to_length_prefixed(payload)
    if codec is Codec.HEVC:
        return hevc.annexb_to_length_prefixed(payload)
    if codec is Codec.AV1:
        return av1.strip_temporal_delimiters(payload)
    return payload


def configure(codec: Codec, extradata: bytes, first: bytes) -> TrackFormat:
    if codec is Codec.H264:
        return describe(codec, h264.annexb_to_avcc(extradata))
    if codec is Codec.HEVC:
        return describe(codec, hevc.annexb_to_hvcc(extradata))
    if codec is Codec.AV1:
        # SVT-AV1 revises its sequence header after it has handed out the extradata.
        return describe(codec, av1.build_av1c(first))
    if codec is Codec.VP9:
        return vp9.with_dimensions(describe(codec, vp9.build_vpcc(first)), first)
    if codec is Codec.VP8:
        return describe(codec, first)
    return describe(codec, extradata)


@cache
def video(
    kind: str,
    *,
    size: tuple[int, int] = (320, 180),
    frames: int = 30,
    sar: tuple[int, int] = (1, 1),
    pix_fmt: str = "yuv420p",
    time_base: tuple[int, int] = (1, 90_000),
    options: tuple[tuple[str, str], ...] = (),
) -> Clip:
    name, codec, defaults = _VIDEO[kind]
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt = pix_fmt
    context.framerate = Fraction(30)
    context.time_base = Fraction(*time_base)
    context.gop_size = 15
    context.sample_aspect_ratio = Fraction(*sar)
    context.thread_count = 1
    context.flags |= av.codec.context.Flags.global_header
    context.options = {**defaults, **dict(options)}
    context.open()
    leave_real_time()
    assert not context.options
    step = time_base[1] // time_base[0] // 30
    packets = []
    noise = np.random.default_rng(7)
    for index in range(frames):
        grey = noise.integers(16, 235, (size[1], size[0], 3), dtype=np.uint8)
        grey[: size[1] // 2] = index * 7 % 220
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pix_fmt)
        frame.pts, frame.time_base = index * step, context.time_base
        packets += context.encode(frame)
    packets += context.encode(None)
    raw = [bytes(packet) for packet in packets]
    shift = -min(packet.dts for packet in packets)
    scale = VIDEO_TICKS * time_base[0] // time_base[1]
    units = [
        Unit(
            dts=(packet.dts + shift) * scale,
            pts=(packet.pts + shift) * scale,
            duration=3000,
            key=packet.is_keyframe,
            payload=normalise(codec, bytes(packet)),
        )
        for packet in packets
    ]
    extradata = context.extradata or b""
    return Clip(configure(codec, extradata, raw[0]), VIDEO_TICKS, units, raw, extradata)


@cache
def audio(
    kind: str,
    *,
    rate: int = 48_000,
    layout: str = "stereo",
    seconds: float = 1.0,
    options: tuple[tuple[str, str], ...] = (),
) -> Clip:
    name, codec = {
        "aac": ("aac", Codec.AAC),
        "opus": ("libopus", Codec.OPUS),
        "mp3": ("libmp3lame", Codec.MP3),
        "flac": ("flac", Codec.FLAC),
        "ac3": ("ac3", Codec.AC3),
        "eac3": ("eac3", Codec.EAC3),
    }[kind]
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout = rate, layout
    context.format = {"opus": "flt", "flac": "s16"}.get(kind, "fltp")
    context.time_base = Fraction(1, rate)
    context.options = dict(options)
    context.open()
    resampler = av.AudioResampler(
        format=context.format, layout=layout, rate=rate, frame_size=context.frame_size
    )
    count = int(rate * seconds)
    tone = (np.sin(np.arange(count) * 880 * np.pi / rate) * 8000).astype(np.int16)
    channels = context.layout.nb_channels
    source = av.AudioFrame.from_ndarray(
        np.repeat(tone, channels)[np.newaxis, :], format="s16", layout=layout
    )
    source.sample_rate, source.pts, source.time_base = rate, 0, Fraction(1, rate)
    packets = []
    for frame in [*resampler.resample(source), *resampler.resample(None)]:
        packets += context.encode(frame)
    packets += context.encode(None)
    raw = [bytes(packet) for packet in packets]
    extradata = context.extradata or b""
    fmt = configure(codec, raw[0] if codec in IN_BAND else extradata, raw[0])
    units, clock = [], 0
    for payload in raw:
        length = opus.packet_samples(payload) if codec is Codec.OPUS else fmt.samples_per_frame
        units.append(Unit(clock, clock, length, key=True, payload=payload))
        clock += length
    return Clip(fmt, rate, units, raw, extradata)


def muxed_by_ffmpeg(clip: Clip) -> bytes:
    """Remux the encoder's own bytes with the ffmpeg command: the oracle for records."""
    codec = clip.fmt.codec
    if codec is Codec.VP9:
        size = struct.pack("<HH", clip.fmt.width, clip.fmt.height)
        elementary = b"DKIF\0\0\x20\0VP90" + size + struct.pack("<IIII", 30, 1, 1, 0)
        for index, raw in enumerate(clip.raw):
            elementary += struct.pack("<IQ", len(raw), index) + raw
    else:
        elementary = b"".join(clip.raw)
        if codec is not Codec.AV1:
            elementary = clip.raw_config + elementary
    name = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "obu", Codec.VP9: "ivf"}[codec]
    tag = ["-tag:v", "hvc1"] if codec is Codec.HEVC else []
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", name, "-i", "pipe:0",
        "-c", "copy", *tag, "-movflags", "empty_moov+delay_moov", "-f", "mp4", "pipe:1",
    ]  # fmt: skip
    return subprocess.run(command, input=elementary, stdout=subprocess.PIPE, check=True).stdout


def find_box(data: bytes, kind: bytes) -> bytes:
    """The body of the first box of a kind, found by its name."""
    at = data.index(kind) - 4
    (size,) = struct.unpack_from(">I", data, at)
    return data[at + 8 : at + size]


def adts(payload: bytes) -> bytes:
    """One ADTS frame of 48 kHz stereo AAC-LC around a raw access unit."""
    size = len(payload) + 7
    head = 0xFFF1 << 40 | 0x4C80 << 24 | size << 13 | 0x1FFC
    return head.to_bytes(7, "big") + payload
