"""A scripted encoder and a scripted worker, in virtual time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import av
import numpy as np

from media.bitstream import describe
from media.bitstream.h264 import annexb_to_avcc, annexb_to_length_prefixed
from media.model import Codec, Kind, Packet, TrackFormat
from media.realtime_source import CODED
from media.slate.loop import DEFAULT_SIZE, SlateOrder
from media.transcode.cadence import Durations
from media.transcode.plan import Plan
from media.transcode.pressure import Strain
from tests.support.slates import loop_for
from tests.support.slates import pictures as slate_pictures

if TYPE_CHECKING:
    from tests.media.world import World

WRAP = 2**32 * 90
MS = 1_000_000


FORMATS = {
    "aac": describe(Codec.AAC, bytes([0x11, 0x90])),
    "aac-mono": describe(Codec.AAC, bytes([0x12, 0x08])),
    "opus": describe(Codec.OPUS, b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"),
}
SILENCE = bytes([33, 16, 4, 96, 140, 28])
OPUS_SILENCE = bytes.fromhex("fcfffe")
SIZES = ((64, 64), (96, 64), (160, 160))


@dataclass(frozen=True)
class Pictures:
    """One key frame and the long row of pictures that follow it."""

    format: TrackFormat
    units: list[bytes]


@cache
def pictures(size: tuple[int, int]) -> Pictures:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(30)
    encoder.time_base = Fraction(1, 90_000)
    encoder.gop_size = 100_000
    encoder.max_b_frames = 0
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": "keyint=infinite:scenecut=0",
    }
    encoder.open()
    units = []
    for number in range(1300):
        frame = av.VideoFrame.from_ndarray(
            np.full((size[1], size[0], 3), number % 200, np.uint8), format="rgb24"
        )
        frame.pts = number * 3000
        units += [annexb_to_length_prefixed(bytes(p)) for p in encoder.encode(frame)]
    return Pictures(describe(Codec.H264, annexb_to_avcc(bytes(encoder.extradata))), units)


def keys(size: tuple[int, int]) -> tuple[bytes, bytes]:
    """Key frames of a size: the encoder's or worker's, and the slate's."""
    slate = slate_pictures(*size)[1][0]
    return (slate if size == DEFAULT_SIZE else pictures(size).units[0]), slate


@dataclass
class Encoder:
    """Makes packets in its own time; `source_ms` is what its clock shows."""

    size: tuple[int, int] | None = SIZES[0]
    sound: str | None = "aac"
    frame_ms: float = 33.4
    gop_ms: float = 2000
    reorder: bool = False
    source_ms: float = 5_000
    next_picture: float = 0
    next_sound: float = 0
    last_key: float | None = None
    number: int = 0
    twice: bool = False
    reorder_ms: float = 0

    def __post_init__(self) -> None:
        self.reorder_ms = min(self.frame_ms, 100)
        self.next_picture = self.next_sound = self.source_ms

    def jump(self, ms: float) -> None:
        self.source_ms += ms
        self.next_picture += ms
        self.next_sound += ms
        if self.last_key is not None:
            self.last_key += ms

    def until(self, source_ms: float) -> list[Packet]:
        """Return what falls due, interleaved by time."""
        self.source_ms = source_ms
        packets = []
        while True:
            picture = self.next_picture if self.size else source_ms
            sound = self.next_sound if self.sound else source_ms
            if min(picture, sound) >= source_ms:
                return packets
            packets.append(self._picture() if picture <= sound else self._sound())

    def _sound(self) -> Packet:
        ticks = round(self.next_sound) * 90
        frame_ms = 20 if self.sound == "opus" else 1024 / (44.1 if self.sound != "aac" else 48)
        self.next_sound += frame_ms
        if self.sound == "opus":
            return packet(Codec.OPUS, ticks, ticks, True, OPUS_SILENCE)
        return packet(Codec.AAC, ticks, ticks, True, SILENCE)

    def _picture(self) -> Packet:
        assert self.size is not None
        at = self.next_picture
        key = self.last_key is None or at - self.last_key >= self.gop_ms - 1 or self.twice
        units = pictures(self.size).units
        if key:
            self.last_key, self.number = at, 0
        dts = round(at) * 90
        offset = 0
        if self.reorder:
            frames = 1 if self.number == 0 else 2 if self.number % 2 else 0
            offset = round(frames * self.reorder_ms) * 90
        unit = units[min(self.number, len(units) - 1)]
        self.number += 1
        if self.twice:
            self.twice = False
        else:
            self.next_picture += self.frame_ms
        return packet(Codec.H264, dts, dts + offset, key, unit)


def packet(codec: Codec, dts: int, pts: int, key: bool, payload: bytes, arrived: int = 0) -> Packet:
    return Packet(
        track=0, codec=codec, dts=dts, pts=pts, key=key, payload=payload, arrived_ns=arrived
    )


class Worker:
    """A worker that answers `delay_ms` later, and can be dead."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plan = Plan()
        self.speeds: dict[str, float] = {}
        self.strain = Strain()
        self.delay_ms = 150
        self.alive = True
        self.starts_ns = 0
        self.marks: list[int] = []
        self.began = False
        self.keyed: set[str] = set()
        """Rungs that have begun, which a rung does with a key frame."""
        self.number = 0
        self.durations = Durations(Fraction(30))
        self.opened: dict[str, TrackFormat] = {}
        self.queue: deque[tuple[int, Packet, Plan]] = deque()
        self.orders: deque[tuple[int, SlateOrder]] = deque()
        self.listens = False
        self.heard: deque[tuple[int, Packet]] = deque()

    async def run(self) -> None:
        return

    async def stop(self) -> None:
        return

    def configure(
        self, plan: Plan, *, video: TrackFormat | None, audio: TrackFormat | None
    ) -> None:
        del audio
        if {r.name for r in plan.rungs} != {r.name for r in self.plan.rungs} or not plan.rungs:
            self.began = False
        del video
        self.plan = plan
        self.keyed &= {rung.name for rung in plan.rungs}

    def boundary(self, ticks: int) -> None:
        self.marks.append(ticks)

    def listen(self, sound: TrackFormat | None) -> None:
        self.listens = sound is not None

    def hear(self, packet: Packet) -> None:
        if self.alive and self.listens:
            self.heard.append((self.world.now_ns + 20 * MS, packet))

    def want_key(self, rung: str) -> None:
        del rung

    def order_slate(self, order: SlateOrder) -> None:
        self.orders.append((self.world.now_ns + self.delay_ms * MS, order))

    def push(self, source: Packet) -> None:
        if self.alive:
            self.queue.append((self.world.now_ns + self.delay_ms * MS, source, self.plan))

    def kill(self) -> None:
        self.alive = False
        self.queue.clear()
        self.heard.clear()
        self.began = False
        self.keyed.clear()
        self.opened.clear()
        self.world.show.ladder.worker_lost("killed")

    def tick(self) -> None:
        if self.world.now_ns < self.starts_ns:
            return
        while self.orders and self.orders[0][0] <= self.world.now_ns:
            order = self.orders.popleft()[1]
            self.world.show.ladder.slate_made(order.serial, loop_for(order))
        while self.heard and self.heard[0][0] <= self.world.now_ns:
            _, source = self.heard.popleft()
            self._open("opus", CODED)
            made = replace(source, codec=Codec.OPUS, payload=OPUS_SILENCE, duration=1800)
            self.world.show.ladder.rung_packet("opus", made)
        while self.queue and self.queue[0][0] <= self.world.now_ns:
            _, source, plan = self.queue.popleft()
            if source.kind is Kind.VIDEO:
                self._picture(source, plan)
            elif plan.audio is not None:
                self._open("audio", FORMATS["aac"])
                self.world.show.ladder.rung_packet(
                    "audio",
                    Packet(
                        track=0,
                        codec=Codec.AAC,
                        dts=source.dts,
                        pts=source.dts,
                        key=True,
                        payload=SILENCE,
                        arrived_ns=source.arrived_ns,
                        duration=1800,
                    ),
                )

    def _picture(self, source: Packet, plan: Plan) -> None:
        due = [mark for mark in self.marks if mark <= source.pts]
        self.marks = [mark for mark in self.marks if mark > source.pts]
        if due:
            self.began, self.number = True, 0
        if not self.began:
            return
        duration = self.durations.of(source.dts)
        for index, rung in enumerate(plan.rungs):
            if self.number == 0 and rung.name in self.strain.relief.paused:
                self.keyed.discard(rung.name)
            elif self.number == 0:
                self.keyed.add(rung.name)
            if rung.name not in self.keyed:
                continue
            made = pictures(SIZES[index % 2])
            self._open(rung.name, made.format)
            self.world.show.ladder.rung_packet(
                rung.name,
                Packet(
                    track=0,
                    codec=Codec.H264,
                    dts=source.dts,
                    pts=source.dts,
                    key=self.number == 0,
                    payload=made.units[self.number],
                    arrived_ns=source.arrived_ns,
                    duration=duration,
                ),
            )
        self.number += 1

    def _open(self, rung: str, track_format: TrackFormat) -> None:
        if self.opened.get(rung) != track_format:
            self.opened[rung] = track_format
            self.world.show.ladder.rung_format(rung, track_format)
