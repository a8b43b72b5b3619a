"""Who makes a slate: the ladder's worker where it decodes pictures, else a process of its own."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from media.slate.loop import order_for
from media.transcode.handing import source_of
from media.transcode.messages import MakeSlate, SlateFailed, SlateMade
from media.transcode.replay import NewestPictures
from media.transcode.slates import GIVEN_UP, SlateMaker, loop_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from config.settings import LimitsSettings, SlateSettings
    from media.model import Packet, TrackFormat
    from media.slate.loop import SlateOrder
    from media.transcode.link import WorkerLink
    from media.transcode.messages import SourceTrack
    from media.transcode.plan import AudioPlan
    from media.transcode.sink import RungSink
    from media.transcode.slates import Answer, FilmCache

FILE_PIXELS = 50_000_000
"""What a configured file may have, though encoders may not: photographs of a telephone."""
MAX_KNOWN = 8
OWED_S = 1.5
"""A worker that has not made a still by then hangs or is far behind: a process makes it."""
MAX_ORDERS = 4
"""Slates that a worker owes; the oldest is given up."""


class SlateOrders:
    """One stream's orders for slates, on the event loop; what becomes of each is told to `sink`.

    `worker` returns the one that decodes the source's pictures now; `image`: the configured file.
    `slate` None or disabled: a process of its own has no last picture.
    """

    def __init__(
        self,
        *,
        slate: SlateSettings | None,
        nice: int,
        limits: LimitsSettings,
        image: Path | None,
        worker: Callable[[], WorkerLink | None],
        films: FilmCache,
        sink: RungSink,
        now_s: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._now_s = now_s
        self._image = image
        self._worker = worker
        self._font = slate.font if slate is not None else None
        self._max_pixels = limits.max_pixels
        self._newest = NewestPictures() if slate is not None and slate.enabled else None
        self._owed: dict[int, tuple[SlateOrder, float]] = {}
        self._filmed: int | None = None
        self._known: deque[bytes] = deque(maxlen=MAX_KNOWN)
        self._maker = SlateMaker(
            nice=nice,
            memory_bytes=limits.worker_memory_mb * 2**20,
            cache=films,
            still=self._answer_still,
            film=self._answer_film,
            missing=self._still,
        )

    async def run(self) -> None:
        """Run slate processes until cancelled."""
        await self._maker.run()

    def made(self, video: TrackFormat | None) -> bool:
        """Whether these are the pictures of a slate, and not an encoder's."""
        return video is not None and video.config in self._known

    def pushed(self, packet: Packet, track: SourceTrack | None) -> None:
        """Note a picture of the source, as the last one to be shown."""
        if self._newest is not None and (track is None or not track.slate):
            self._newest.push(packet, track)

    def prepare(
        self, video: TrackFormat | None, audio: TrackFormat | None, coded: AudioPlan | None
    ) -> None:
        """Have the configured file made for a source of these formats, before it is ordered.

        `coded`: what becomes of sound that is no AAC.
        """
        if self._image is not None and video is not None:
            order = order_for(video, audio, text="", image=self._image, serial=0)
            if coded is not None:
                order = replace(order, audio=(coded.sample_rate, coded.channels))
            self._maker.prepare(self._make(order))

    def order(self, order: SlateOrder) -> None:
        """Have a slate made; for a file that is not ready a still is the first answer."""
        if order.image is not None:
            self._maker.order(self._make(order))
        else:
            self._still(order)

    def _still(self, order: SlateOrder) -> None:
        make = self._make(replace(order, image=None))
        worker = self._worker()
        if worker is None or not worker.send(make):
            self._make_elsewhere(make)
            return
        self._owed[order.serial] = make.order, self._now_s() + OWED_S
        if len(self._owed) > MAX_ORDERS:
            oldest = next(iter(self._owed))
            del self._owed[oldest]
            self._answer_still(oldest, GIVEN_UP)

    def answered(self, message: SlateMade | SlateFailed) -> None:
        """Take a worker's answer. Raises `WireError` or `BitstreamError`."""
        owed = self._owed.get(message.serial)
        if owed is None:
            return  # given up meanwhile, or made elsewhere
        order, _ = owed
        answer = message.text if isinstance(message, SlateFailed) else loop_of(message, order)
        del self._owed[message.serial]
        self._answer_still(message.serial, answer)

    def worker_ended(self) -> None:
        """Have made elsewhere what the worker owed."""
        owed, self._owed = self._owed, {}
        for order, _ in owed.values():
            self._make_elsewhere(self._make(order))

    def watch(self) -> None:
        """Have made elsewhere what the worker has owed for too long."""
        now = self._now_s()
        for serial, (order, until) in list(self._owed.items()):
            if now >= until:
                del self._owed[serial]
                self._make_elsewhere(self._make(order))

    def _make(self, order: SlateOrder) -> MakeSlate:
        pixels = self._max_pixels
        if order.image is not None:
            pixels = max(pixels, FILE_PIXELS)
        return MakeSlate(order=order, font=self._font, video=None, max_pixels=pixels)

    def _make_elsewhere(self, make: MakeSlate) -> None:
        if self._newest is None:
            self._maker.order(make)
            return
        now = time.monotonic_ns()
        packets = self._newest.packets()
        sources = [source_of(packet, sent_ns=now, replay=True) for packet in packets]
        self._maker.order(replace(make, video=self._newest.track), sources)

    def _answer_still(self, serial: int, answer: Answer) -> None:
        # A small file may be ready before the still that was to bridge the time.
        if serial != self._filmed:
            self._answer(serial, answer)

    def _answer_film(self, serial: int, answer: Answer) -> None:
        if not isinstance(answer, str):
            self._filmed = serial
        self._answer(serial, answer)

    def _answer(self, serial: int, answer: Answer) -> None:
        if isinstance(answer, str):
            self._sink.slate_failed(serial, answer)
        else:
            if answer.video.config not in self._known:
                self._known.append(answer.video.config)
            self._sink.slate_made(serial, answer)
