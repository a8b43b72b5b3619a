"""A process around streams, in virtual time."""

from __future__ import annotations

from config.settings import (
    Settings,
    StreamsSettings,
)
from media.clock import ShowClock
from media.hls.seams import NoMetadata
from media.ladder import Encoders
from media.meter import NoMeter
from media.model import Packet, TrackFormat
from media.show import Show
from media.slate.loop import SlateOrder
from media.tap import Tap
from media.transcode.plan import Plan
from media.transcode.pressure import Strain
from media.transcode.sink import RungSink


class NoEncoders:
    speeds: dict[str, float] = {}  # noqa: RUF012  # never written
    strain = Strain()

    async def run(self) -> None:
        return

    async def stop(self) -> None:
        return

    def configure(
        self, plan: Plan, *, video: TrackFormat | None, audio: TrackFormat | None
    ) -> None:
        del plan, video, audio

    def push(self, packet: Packet) -> None:
        del packet

    def boundary(self, ticks: int) -> None:
        del ticks

    def listen(self, sound: TrackFormat | None) -> None:
        del sound

    def hear(self, packet: Packet) -> None:
        del packet

    def want_key(self, rung: str) -> None:
        del rung

    def order_slate(self, order: SlateOrder) -> None:
        del order


class Host:
    """A process in virtual time."""

    def __init__(self) -> None:
        self.settings = Settings(streams=StreamsSettings(grace_s=30))
        self.meter = NoMeter()
        self.time_ns = 0
        self.shows: list[Show] = []
        self.heard = Tap()

    def now_ns(self) -> int:
        return self.time_ns

    def utc_ms(self) -> int:
        return 1_790_000_000_000 + self.time_ns // 1_000_000

    def new_run_id(self) -> str:
        return f"run{len(self.shows)}"

    def metadata(self, stream: str, clock: ShowClock) -> NoMetadata:
        del stream, clock
        return NoMetadata()

    def encoders(self, stream: str, sink: RungSink) -> Encoders:
        del stream, sink
        return NoEncoders()

    def tap(self, stream: str) -> Tap:
        del stream
        return self.heard

    def start(self, show: Show) -> None:
        self.shows.append(show)
