"""Small real clips whose pictures carry their own number, and a recorder of what comes out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.codec.context import Flags

from media.bitstream import av1, describe, h264, hevc, vp9
from media.bitstream.formats import IN_BAND
from media.model import Codec, Packet, TrackFormat
from tests.support.scheduling import leave_real_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from media.slate.loop import SlateLoop

ENCODERS = {
    Codec.H264: "libx264",
    Codec.HEVC: "libx265",
    Codec.AV1: "libsvtav1",
    Codec.VP9: "libvpx-vp9",
    Codec.VP8: "libvpx",
}
BITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    format: TrackFormat
    packets: tuple[Packet, ...]

    @property
    def keys(self) -> list[int]:
        return [p.pts for p in self.packets if p.key]


def numbered(index: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """RGB picture: ten bars of black or white say `index`, a quarter below moves."""
    picture = np.zeros((height, width, 3), np.uint8)
    edges = np.linspace(0, width, BITS + 1).astype(int)
    for bit in range(BITS):
        picture[:, edges[bit] : edges[bit + 1]] = 235 if index >> bit & 1 else 20
    start = (index * 7) % max(1, width - 16)
    picture[-height // 4 :, start : start + 16] = (200, 60, 40)
    return picture


def read_number(frame: av.VideoFrame) -> int:
    luma = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)
    row = luma[frame.height // 4, : frame.width]
    edges = np.linspace(0, frame.width, BITS + 1).astype(int)
    return sum(1 << bit for bit in range(BITS) if row[(edges[bit] + edges[bit + 1]) // 2] > 128)


def video_clip(
    codec: Codec = Codec.H264,
    *,
    size: tuple[int, int] = (320, 180),
    frames: int = 60,
    rate: int = 30,
    gop: int = 30,
    pix_fmt: str = "yuv420p",
    b_frames: int = 0,
    start: int = 90_000,
    sar: Fraction = Fraction(1),
    pts: Sequence[int] | None = None,
    colour: tuple[int, int, int, int] | None = None,
    first: int = 0,
) -> Clip:
    """Encode numbered pictures; payloads and configuration as an ingest hands them over."""
    context = av.CodecContext.create(ENCODERS[codec], "w")
    context.width, context.height, context.pix_fmt = *size, pix_fmt
    context.time_base, context.framerate = Fraction(1, 90_000), Fraction(rate)
    context.sample_aspect_ratio = sar
    context.gop_size, context.max_b_frames = gop, b_frames
    context.flags |= Flags.global_header
    context.options = _options(codec, gop, b_frames)
    if colour is not None:
        context.color_primaries, context.color_trc = colour[:2]
        context.colorspace, context.color_range = colour[2:]
    context.open()
    leave_real_time()
    step = 90_000 // rate
    times = list(pts) if pts is not None else [start + step * n for n in range(frames)]
    packets = []
    for number, ticks in enumerate(times, first):
        rgb = av.VideoFrame.from_ndarray(numbered(number, *size), "rgb24")
        frame = rgb.reformat(format=pix_fmt)
        frame.pts, frame.time_base = ticks, Fraction(1, 90_000)
        packets += context.encode(frame)
    packets += context.encode(None)
    config = _config(codec, context.extradata or b"", bytes(packets[0]))
    fmt = describe(codec, config)
    if codec is Codec.VP9:
        fmt = vp9.with_dimensions(fmt, bytes(packets[0]))
    shift = min(0, *(p.pts - p.dts for p in packets))
    out = [
        Packet(
            track=0,
            codec=codec,
            dts=p.dts + shift,
            pts=p.pts,
            key=p.is_keyframe,
            payload=_payload(codec, bytes(p)),
            arrived_ns=p.pts * 1000,
        )
        for p in packets
    ]
    return Clip(format=fmt, packets=tuple(out))


def _options(codec: Codec, gop: int, b_frames: int) -> dict[str, str]:
    if codec is Codec.H264:
        extra = "" if b_frames else ":bframes=0"
        return {
            "preset": "ultrafast" if not b_frames else "veryfast",
            "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}{extra}",
            "crf": "20",
        }
    if codec is Codec.HEVC:
        return {
            "preset": "ultrafast",
            "x265-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}"
            ":log-level=none:pools=1",
        }
    if codec is Codec.AV1:
        return {"preset": "10", "crf": "20", "svtav1-params": f"keyint={gop}:pred-struct=1:lp=1"}
    return {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}


def _config(codec: Codec, extradata: bytes, first: bytes) -> bytes:
    if codec is Codec.H264:
        return h264.annexb_to_avcc(extradata)
    if codec is Codec.HEVC:
        return hevc.annexb_to_hvcc(extradata)
    if codec is Codec.AV1:
        return av1.build_av1c(first)
    return first if codec is Codec.VP8 else vp9.build_vpcc(first)


def _payload(codec: Codec, data: bytes) -> bytes:
    if codec is Codec.H264:
        return h264.annexb_to_length_prefixed(data)
    if codec is Codec.HEVC:
        return hevc.annexb_to_length_prefixed(data)
    if codec is Codec.AV1:
        return av1.strip_temporal_delimiters(data)
    return data


_SOUND_ENCODERS = {
    Codec.AAC: "aac",
    Codec.OPUS: "libopus",
    Codec.MP3: "libmp3lame",
    Codec.FLAC: "flac",
    Codec.AC3: "ac3",
    Codec.EAC3: "eac3",
}


def audio_clip(
    codec: Codec,
    *,
    seconds: float = 2.0,
    rate: int = 48_000,
    layout: str = "stereo",
    start: int = 90_000,
) -> Clip:
    """A 440 Hz tone that is silent in every second quarter of a second."""
    context = av.CodecContext.create(_SOUND_ENCODERS[codec], "w")
    context.sample_rate, context.layout = rate, layout
    context.format = {Codec.OPUS: "flt", Codec.FLAC: "s16"}.get(codec, "fltp")
    context.bit_rate = 128_000
    context.time_base = Fraction(1, rate)
    context.open()
    count = int(seconds * rate)
    t = np.arange(count) / rate
    tone = (0.4 * np.sin(2 * np.pi * 440 * t) * ((t * 4).astype(int) % 2 == 0)).astype(np.float32)
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    packets = []
    planes = np.tile(tone, (channels, 1))
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    packets = [*context.encode(frame), *context.encode(None)]
    config = bytes(packets[0]) if codec in IN_BAND else context.extradata or b""
    out = [
        Packet(
            track=0,
            codec=codec,
            dts=(ticks := start + int(p.pts * 90_000 / rate)),
            pts=ticks,
            key=True,
            payload=bytes(p),
            arrived_ns=ticks * 1000,
        )
        for p in packets
        if p.pts >= 0
    ]
    return Clip(format=describe(codec, config), packets=tuple(out))


@dataclass
class Recorder:
    """A `RungSink` that keeps everything and lets a test wait for a condition."""

    formats: dict[str, list[TrackFormat]] = field(default_factory=lambda: defaultdict(list))
    packets: dict[str, list[Packet]] = field(default_factory=lambda: defaultdict(list))
    runs: dict[str, list[tuple[TrackFormat, list[Packet]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    lost: list[tuple[str, float]] = field(default_factory=list)
    slates: dict[int, SlateLoop | str] = field(default_factory=dict)
    answers: list[tuple[int, SlateLoop | str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def rung_format(self, rung: str, fmt: TrackFormat) -> None:
        self.formats[rung].append(fmt)
        self.runs[rung].append((fmt, []))
        self.changed.set()

    def rung_packet(self, rung: str, packet: Packet) -> None:
        self.packets[rung].append(packet)
        self.runs[rung][-1][1].append(packet)
        self.changed.set()

    def worker_lost(self, reason: str) -> None:
        self.lost.append((reason, time.monotonic()))
        self.changed.set()

    def slate_made(self, serial: int, loop: SlateLoop) -> None:
        self.slates[serial] = loop
        self.answers.append((serial, loop))
        self.changed.set()

    def slate_failed(self, serial: int, text: str) -> None:
        self.slates[serial] = text
        self.answers.append((serial, text))
        self.changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                # Also looks at conditions that are not about packets.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self.changed.wait()


class Meter:
    """A `MediaMeter` that remembers what the transcoder reports."""

    def __init__(self) -> None:
        self.restarts: list[str] = []
        self.steps: list[int] = []
        self.frames: dict[str, int] = defaultdict(int)
        self.lost_pictures = 0

    def rung(
        self, stream: str, rung: str, *, frames: int, speed: float, queue_age_s: float
    ) -> None:
        self.frames[rung] += frames

    def dropped(self, stream: str, where: str, count: int) -> None:
        self.lost_pictures += count if where == "decoder" else 0

    def worker_restarted(self, stream: str, reason: str) -> None:
        self.restarts.append(reason)

    def pressure(self, stream: str, step: int) -> None:
        self.steps.append(step)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


def decode(fmt: TrackFormat, packets: Sequence[Packet]) -> list[av.VideoFrame]:
    """Decode length-prefixed H.264 with FFmpeg; any error raises."""
    context = av.CodecContext.create("h264", "r")
    context.extradata = fmt.config
    context.options = {"err_detect": "explode"}
    frames: list[av.VideoFrame] = []
    for packet in packets:
        item = av.Packet(packet.payload)
        item.pts, item.dts, item.time_base = packet.pts, packet.dts, Fraction(1, 90_000)
        frames += context.decode(item)
    return [*frames, *context.decode(None)]
