"""A show in virtual time, with a worker that does what it is told."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import numpy as np

from config.settings import HlsSettings, LadderSettings
from media.bitstream import describe
from media.bitstream.h264 import annexb_to_avcc, annexb_to_length_prefixed
from media.clock import ShowClock
from media.hls.rendition import Rendition
from media.hls.seams import NoMetadata
from media.meter import NoMeter
from media.model import Codec, Packet, TrackFormat
from media.realtime import RealtimeFeed
from media.show import Show
from media.slate.desk import SlateRecipe
from media.slate.loop import SlateOrder
from media.transcode.plan import Plan
from media.transcode.pressure import Strain
from media.transcode.sink import RungSink

WRAP = 2**32 * 90
AAC = describe(Codec.AAC, bytes([0x11, 0x90]))  # 48 kHz stereo


class Clip:
    """Six seconds of real H.264, two-second GOPs."""

    def __init__(self, size: tuple[int, int] = (160, 90), gop: int = 60) -> None:
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height = size
        encoder.pix_fmt = "yuv420p"
        encoder.framerate = Fraction(30)
        encoder.time_base = Fraction(1, 90_000)
        encoder.gop_size = gop
        encoder.max_b_frames = 0
        encoder.flags |= av.codec.context.Flags.global_header
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
        encoder.open()
        self.format = describe(Codec.H264, annexb_to_avcc(bytes(encoder.extradata)))
        self.units: list[tuple[bool, bytes]] = []
        for number in range(180):
            picture = np.full((size[1], size[0], 3), number % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number * 3000
            for packet in encoder.encode(frame):
                self.units.append(
                    (bool(packet.is_keyframe), annexb_to_length_prefixed(bytes(packet)))
                )
        assert len(self.units) == 180


class Worker:
    """Records what the show asks of a worker; `answer` plays its part."""

    def __init__(self, sink: RungSink) -> None:
        self.sink = sink
        self.plans: list[Plan] = []
        self.boundaries: list[int] = []
        self.packets: list[Packet] = []
        self.orders: list[SlateOrder] = []
        self.announced: set[str] = set()
        self.speeds: dict[str, float] = {}
        self.strain = Strain()

    async def run(self) -> None:
        return

    async def stop(self) -> None:
        return

    def configure(
        self, plan: Plan, *, video: TrackFormat | None, audio: TrackFormat | None
    ) -> None:
        del video, audio
        self.plans.append(plan)

    def push(self, packet: Packet) -> None:
        self.packets.append(packet)

    def boundary(self, ticks: int) -> None:
        self.boundaries.append(ticks)

    def listen(self, sound: TrackFormat | None) -> None:
        del sound

    def hear(self, packet: Packet) -> None:
        del packet

    def want_key(self, rung: str) -> None:
        del rung

    def order_slate(self, order: SlateOrder) -> None:
        self.orders.append(order)

    def answer(self, clip: Clip, *, formats: bool = False) -> None:
        """Return the packets that came since, coded again with key frames on the boundaries."""
        for rung in self.plans[-1].rungs if self.plans else ():
            if formats or rung.name not in self.announced:
                self.announced.add(rung.name)
                self.sink.rung_format(rung.name, clip.format)
            due = set(self.boundaries)
            for packet in self.packets:
                key = packet.pts in due
                payload = clip.units[0 if key else 1][1]
                self.sink.rung_packet(
                    rung.name,
                    Packet(
                        track=0,
                        codec=Codec.H264,
                        dts=packet.dts,
                        pts=packet.pts,
                        key=key,
                        payload=payload,
                        arrived_ns=packet.arrived_ns,
                        duration=3000,
                    ),
                )
        self.packets.clear()


class Stage:
    """A show in virtual time."""

    def __init__(
        self, ladder: LadderSettings | None = None, *, slate: SlateRecipe | None = None
    ) -> None:
        self.now_ns = 0
        self.worker: Worker | None = None
        self.started = 0
        self.feed = RealtimeFeed()
        self.show = Show(
            stream="s",
            run_id="r",
            hls=HlsSettings(),
            ladder=ladder or LadderSettings(enabled=False),
            clock=ShowClock.anchored(utc_ms=1_790_000_000_000, now_ns=0),
            metadata=NoMetadata(),
            meter=NoMeter(),  # type: ignore[arg-type]  # answers every call
            encoders=self._encoders,
            on_started=self._count,
            now_ns=lambda: self.now_ns,
            slate=slate,
            feed=self.feed,
        )

    def _encoders(self, sink: RungSink) -> Worker:
        self.worker = Worker(sink)
        return self.worker

    def _count(self) -> None:
        self.started += 1

    def begin(self, *formats: TrackFormat, protocol: str = "rtmp") -> None:
        self.show.begin_run(protocol=protocol, wrap_ticks=WRAP)
        for track_format in formats:
            self.show.set_format(track_format)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now_ns += 100_000_000
            self.show.tick()

    def play(
        self, clip: Clip | None, frames: range, *, sound: bool = True, worker: Clip | None = None
    ) -> None:
        """Push pictures and sound in real time, as an encoder that started at zero."""
        next_sound = frames.start * 3000
        for number in frames:
            at = number * 3000
            while sound and next_sound <= at:
                self._push(Codec.AAC, next_sound, True, bytes([33, 16, 4, 96, 140, 28]))
                next_sound += 1920
            if clip is not None:
                key, payload = clip.units[number % len(clip.units)]
                self._push(Codec.H264, at, key, payload)
            self.now_ns += 1_000_000_000 // 30
            if number % 3 == 0:
                self.show.tick()
            if worker is not None and self.worker is not None:
                self.worker.answer(worker)

    def _push(self, codec: Codec, dts: int, key: bool, payload: bytes) -> None:
        self.show.push(
            Packet(
                track=0,
                codec=codec,
                dts=dts,
                pts=dts,
                key=key,
                payload=payload,
                arrived_ns=self.now_ns,
            )
        )

    def rendition(self, name: str) -> Rendition:
        rendition = self.show.lineup.get(name)
        assert rendition is not None
        return rendition

    async def text(self, name: str) -> str:
        return (await self.rendition(name).playlist()).body.decode()

    def names(self) -> list[str]:
        return [r.name for r in self.show.lineup.listed()]


def segments(text: str) -> list[tuple[int, float, bool]]:
    """(msn, duration, gap) of the complete segments."""
    match = re.search(r"MEDIA-SEQUENCE:(\d+)", text)
    msn = int(match[1]) if match else 0
    found = []
    gap = False
    for line in text.splitlines():
        if line == "#EXT-X-GAP":
            gap = True
        elif line.startswith("#EXTINF:"):
            found.append((msn + len(found), float(line[8:].rstrip(",")), gap))
            gap = False
    return found
