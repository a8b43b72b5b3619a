"""Real pictures and sound for viewers, and a stream that plays them on a show clock."""

from __future__ import annotations

import asyncio
import functools
import time
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np

from media.bitstream.formats import describe
from media.bitstream.h264 import annexb_to_avcc, annexb_to_length_prefixed
from media.bitstream.opus import default_head
from media.clock import START_TICKS, ShowClock
from media.model import Codec, Packet, TrackFormat
from media.realtime import OPUS, RealtimeFeed

FPS = 30
STEP = 90_000 // FPS
SOUND_STEP = 1800
"""Ticks of 20 ms."""
SOUND_FORMAT = describe(Codec.OPUS, default_head(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """Coded pictures that can be played over and over: they begin with a key picture."""

    format: TrackFormat
    units: tuple[tuple[bytes, bool], ...]
    """(length-prefixed access unit, whether it is a key picture)."""


@functools.cache
def film(
    *,
    width: int = 320,
    height: int = 240,
    seconds: int = 2,
    gop: int = 30,
    bit_rate: int = 600_000,
    profile: str = "baseline",
) -> Film:
    """Encode a bar that moves over noise."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.gop_size, encoder.bit_rate = gop, bit_rate
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": profile,
        "level": "3.1",
        "maxrate": str(bit_rate),
        "bufsize": str(bit_rate // 2),
        "x264-params": "scenecut=0" + (":cabac=1:8x8dct=1" if profile == "high" else ""),
    }
    noise = np.random.default_rng(7)
    data: list[tuple[bytes, bool]] = []
    for number in range(seconds * FPS):
        picture = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture[:, : width * (number % FPS) // FPS] = 255 * (number % 2)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        data += [(bytes(each), each.is_keyframe) for each in encoder.encode(frame)]
    return Film(
        format=describe(Codec.H264, annexb_to_avcc(data[0][0])),
        units=tuple(
            (annexb_to_length_prefixed(each, drop_parameter_sets=True), key) for each, key in data
        ),
    )


@functools.cache
def hum(seconds: int = 2) -> tuple[bytes, ...]:
    """Encode a tone into Opus packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    encoder.time_base = Fraction(1, 48_000)
    encoder.open()
    packets = []
    for number in range(seconds * 50):
        at = np.arange(960) + number * 960
        wave = (8000 * np.sin(2 * np.pi * 440 * at / 48_000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None, :], "s16", "stereo")
        frame.sample_rate, frame.pts = 48_000, number * 960
        packets += [bytes(each) for each in encoder.encode(frame)]
    return tuple(packets)


def picture(pts: int, payload: bytes, key: bool) -> Packet:
    return Packet(
        track=0,
        codec=Codec.H264,
        dts=pts,
        pts=pts,
        key=key,
        payload=payload,
        arrived_ns=time.monotonic_ns(),
    )


def sound(pts: int, payload: bytes) -> Packet:
    return replace(picture(pts, payload, True), codec=Codec.OPUS)


class Stage:
    """A stream (`delivery.whep.seams.LiveStream`) whose rungs play films over and over."""

    def __init__(self, rungs: dict[str, Film] | None = None, *, audio: bool = True) -> None:
        self.rungs = rungs if rungs is not None else {"source": film()}
        self.audio = audio
        self.live = True
        self.clock: ShowClock | None = ShowClock.anchored(
            utc_ms=time.time_ns() // 1_000_000, now_ns=time.monotonic_ns()
        )
        self.realtime = RealtimeFeed()
        self.keys_asked = 0
        self.lateness: dict[str, int] = {}
        """By how many ticks a rung is behind, by its name."""

    def request_key(self, _rung: str) -> None:
        self.keys_asked += 1

    def start(self) -> None:
        for name, each in self.rungs.items():
            self.realtime.set_format(name, each.format)
        if self.audio:
            self.realtime.set_format(OPUS, SOUND_FORMAT)

    def push(self, number: int) -> None:
        """Pass on picture `number` of every rung."""
        for name, each in self.rungs.items():
            payload, key = each.units[number % len(each.units)]
            self.realtime.push(name, picture(START_TICKS + number * STEP, payload, key))

    def push_sound(self, number: int) -> None:
        packets = hum()
        self.realtime.push(
            OPUS, sound(START_TICKS + number * SOUND_STEP, packets[number % len(packets)])
        )

    async def play(self) -> None:
        """Play in real time until cancelled."""
        assert self.clock is not None
        self.start()
        pictures = sounds = 0
        while True:
            now = self.clock.now(time.monotonic_ns()) - START_TICKS
            while pictures * STEP <= now:
                self.push(pictures)
                pictures += 1
            while self.audio and sounds * SOUND_STEP <= now:
                self.push_sound(sounds)
                sounds += 1
            await asyncio.sleep(0.004)
