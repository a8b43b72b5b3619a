"""Drives a rendition: a fixed grid, a clock, synthetic and really encoded packets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np

from config.settings import HlsSettings
from media.hls.rendition import Rendition
from media.hls.seams import NoMetadata
from media.meter import NoMeter
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat

SECOND = TICKS_PER_SECOND
EPOCH_MS = 1_795_363_200_000
ASC_AAC_LC_48K_STEREO = bytes([0x11, 0x90])


@dataclass(frozen=True)
class Edge:
    msn: int
    start: int
    discontinuity: bool = False
    discontinuities_before: int = 0


class FixedGrid:
    """Boundaries at given starts, then every `step` ticks; decided `known` ahead."""

    def __init__(self, *, starts=(0,), step=2 * SECOND, discontinuities=()):
        self._starts = list(starts)
        self._step = step
        self._discontinuities = set(discontinuities)

    def _start(self, msn):
        while msn >= len(self._starts):
            self._starts.append(self._starts[-1] + self._step)
        return self._starts[msn]

    def _boundary(self, msn):
        before = sum(1 for number in self._discontinuities if number < msn)
        return Edge(msn, self._start(msn), msn in self._discontinuities, before)

    def segment_at(self, ticks):
        msn = 0
        while self._start(msn + 1) <= ticks:
            msn += 1
        return self._boundary(msn)

    def after(self, msn):
        return self._boundary(msn + 1)


class Clock:
    def utc_ms(self, ticks):
        return EPOCH_MS + ticks // 90


class RecordingMeter(NoMeter):
    def __init__(self):
        self.held = []
        self.gaps = 0
        self.parts = []

    def playlist_held(self, seconds):
        self.held.append(seconds)

    def gap(self, stream, rendition):
        self.gaps += 1

    def part_published(self, stream, rendition, jitter_s, latencies_s):
        self.parts.append((rendition, jitter_s, latencies_s))


@dataclass
class Now:
    ns: int = 10**12

    def __call__(self):
        return self.ns


@lru_cache
def encoded_video(*, frames=180, fps=30, gop=60, bframes=0, width=320, height=180):
    """Real x264 packets on the show clock (pts from 1 s), with their format."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, fps)
    codec.framerate = Fraction(fps)
    codec.flags |= 1 << 22  # global header: SPS and PPS in extradata
    codec.options = {
        "preset": "ultrafast",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={bframes}:annexb=1",
    }
    packets = []
    ticks = SECOND // fps
    for number in range(frames + 1):
        frame = None
        if number < frames:
            picture = np.full((height, width, 3), number * 7 % 255, dtype=np.uint8)
            picture[:, number % width] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            frame.time_base = codec.time_base
        packets += [(p.dts, p.pts, p.is_keyframe, bytes(p)) for p in codec.encode(frame)]
    extradata = bytes(codec.extradata)
    sets = [nal for nal in nals(extradata) if nal[0] & 31 in (7, 8)]
    fmt = TrackFormat(
        codec=Codec.H264,
        config=avcc(sets),
        codec_string=f"avc1.{sets[0][1:4].hex()}",
        width=width,
        height=height,
        frame_rate=Fraction(fps),
    )
    units = [
        Packet(
            track=0,
            codec=Codec.H264,
            dts=SECOND + dts * ticks,
            pts=SECOND + pts * ticks,
            key=key,
            payload=length_prefixed(payload),
            arrived_ns=10**12,
        )
        for dts, pts, key, payload in packets
    ]
    return fmt, units


@lru_cache
def encoded_audio(*, seconds=6, rate=48000):
    codec = av.CodecContext.create("aac", "w")
    codec.sample_rate = rate
    codec.layout = "stereo"
    codec.format = "fltp"
    codec.open()
    packets = []
    count = seconds * rate // 1024
    for number in range(count + 1):
        frame = None
        if number < count:
            wave = np.sin((np.arange(1024) + number * 1024) * 0.05).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
            frame.sample_rate = rate
            frame.pts = number * 1024
        packets += [bytes(packet) for packet in codec.encode(frame)]
    fmt = TrackFormat(
        codec=Codec.AAC,
        config=bytes(codec.extradata),
        codec_string="mp4a.40.2",
        sample_rate=rate,
        channels=2,
        samples_per_frame=1024,
    )
    units = []
    for number, payload in enumerate(packets):
        # As RTMP has it: whole milliseconds.
        dts = SECOND + round(number * 1024 * 1000 / rate) * 90
        units.append(packet_of(Codec.AAC, dts, key=True, payload=payload))
    return fmt, units


def nals(annexb):
    return [part for part in re.split(b"\x00\x00\x00?\x01", annexb) if part]


def length_prefixed(annexb):
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals(annexb))


def avcc(sets):
    sps = [nal for nal in sets if nal[0] & 31 == 7]
    pps = [nal for nal in sets if nal[0] & 31 == 8]
    head = bytes([1, *sps[0][1:4], 0xFF, 0xE0 | len(sps)])
    body = b"".join(len(nal).to_bytes(2, "big") + nal for nal in sps)
    return head + body + bytes([len(pps)]) + b"".join(len(n).to_bytes(2, "big") + n for n in pps)


def packet_of(codec, dts, *, pts=None, key=False, payload=b"\0\0\0\1\x65", duration=0, at=10**12):
    return Packet(
        track=0,
        codec=codec,
        dts=dts,
        pts=dts if pts is None else pts,
        key=key,
        payload=payload,
        arrived_ns=at,
        duration=duration,
    )


VIDEO_FORMAT = TrackFormat(
    codec=Codec.H264,
    config=avcc(
        [bytes.fromhex("6764001facd9405005bb011000000300100000030300f1831960"), b"\x68\xeb"]
    ),
    codec_string="avc1.64001f",
    width=1280,
    height=720,
)
AUDIO_FORMAT = TrackFormat(
    codec=Codec.AAC,
    config=ASC_AAC_LC_48K_STEREO,
    codec_string="mp4a.40.2",
    sample_rate=48000,
    channels=2,
    samples_per_frame=1024,
)


@dataclass
class Rig:
    """A rendition with everything it needs."""

    kind: Kind = Kind.VIDEO
    name: str = "720p"
    fmt: TrackFormat | None = None
    grid: object = field(default_factory=FixedGrid)
    metadata: object = field(default_factory=NoMetadata)
    settings: HlsSettings = field(default_factory=HlsSettings)
    now: Now = field(default_factory=Now)
    meter: RecordingMeter = field(default_factory=RecordingMeter)

    def __post_init__(self):
        self.rendition = Rendition(
            stream="show",
            name=self.name,
            kind=self.kind,
            settings=self.settings,
            clock=Clock(),
            grid=self.grid,
            metadata=self.metadata,
            run_id="r1",
            meter=self.meter,
            now_ns=self.now,
        )
        default = VIDEO_FORMAT if self.kind is Kind.VIDEO else AUDIO_FORMAT
        self.rendition.set_format(self.fmt or default)

    def frames(self, start, seconds, *, fps=30, gop=60, first=0):
        """Push synthetic video from `start` ticks; returns the next dts."""
        step = SECOND / fps
        count = round(seconds * fps)
        for number in range(first, first + count):
            dts = start + round((number - first) * step)
            key = number % gop == 0
            self.rendition.push(packet_of(Codec.H264, dts, key=key))
        return start + round(count * step)

    async def text(self, **directives):
        return (await self.rendition.playlist(**directives)).body.decode()


def attributes(line):
    """Attribute list of a tag, quotes taken off."""
    pairs = re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', line.split(":", 1)[1])
    return {name: value.strip('"') for name, value in pairs}


def part_lines(text):
    return [attributes(line) for line in text.splitlines() if line.startswith("#EXT-X-PART:")]
