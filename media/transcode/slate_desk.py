"""Who makes a slate: the ladder's worker where it decodes pictures, else a process of its own."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from media.transcode.messages import MakeSlate, SlateFailed, SlateMade, Source
from media.transcode.replay import NewestPictures
from media.transcode.slates import SlateMaker, loop_of

if TYPE_CHECKING:
    from config.settings import LimitsSettings, SlateSettings
    from media.model import Packet
    from media.slate import SlateOrder
    from media.transcode.link import WorkerLink
    from media.transcode.messages import SourceTrack
    from media.transcode.process import RungSink
    from media.transcode.slates import Answer, FilmCache

MAX_ORDERS = 4
"""Slates that a worker owes; the oldest is given up."""
GIVEN_UP = "A newer slate was ordered."


class SlateDesk:
    """One stream's orders for slates, on the event loop; what becomes of each is told to `sink`.

    `slate` None or disabled: a process of its own has no last picture.
    """

    def __init__(
        self,
        *,
        slate: SlateSettings | None,
        nice: int,
        limits: LimitsSettings,
        films: FilmCache,
        sink: RungSink,
    ) -> None:
        self._sink = sink
        self._font = slate.font if slate is not None else None
        self._max_pixels = limits.max_pixels
        self._newest = NewestPictures() if slate is not None and slate.enabled else None
        self._owed: dict[int, SlateOrder] = {}
        self._maker = SlateMaker(
            nice=nice,
            memory_bytes=limits.worker_memory_mb * 2**20,
            cache=films,
            answer=self._answer,
        )

    async def run(self) -> None:
        """Run slate processes until cancelled."""
        await self._maker.run()

    def pushed(self, packet: Packet, track: SourceTrack | None) -> None:
        """Note a picture of the source, as the last one to be shown."""
        if self._newest is not None:
            self._newest.push(packet, track)

    def order(self, order: SlateOrder, worker: WorkerLink | None) -> None:
        """Have a slate made, a still by `worker` where one decodes the source's pictures."""
        make = self._make(order)
        if order.image is not None:
            self._maker.order(make)
        elif worker is not None and worker.send(make):
            self._owed[order.serial] = order
            if len(self._owed) > MAX_ORDERS:
                oldest = next(iter(self._owed))
                del self._owed[oldest]
                self._answer(oldest, GIVEN_UP)
        else:
            self._make_elsewhere(make)

    def answered(self, message: SlateMade | SlateFailed) -> None:
        """Take a worker's answer. Raises `WireError` or `BitstreamError`."""
        order = self._owed.get(message.serial)
        if order is None:
            return  # given up meanwhile
        answer = message.text if isinstance(message, SlateFailed) else loop_of(message, order)
        del self._owed[message.serial]
        self._answer(message.serial, answer)

    def worker_ended(self) -> None:
        """Have made elsewhere what the worker owed."""
        owed, self._owed = self._owed, {}
        for order in owed.values():
            self._make_elsewhere(self._make(order))

    def _make(self, order: SlateOrder) -> MakeSlate:
        return MakeSlate(order=order, font=self._font, video=None, max_pixels=self._max_pixels)

    def _make_elsewhere(self, make: MakeSlate) -> None:
        if self._newest is None:
            self._maker.order(make)
            return
        sources = [_source(packet) for packet in self._newest.packets()]
        self._maker.order(replace(make, video=self._newest.track), sources)

    def _answer(self, serial: int, answer: Answer) -> None:
        if isinstance(answer, str):
            self._sink.slate_failed(serial, answer)
        else:
            self._sink.slate_made(serial, answer)


def _source(packet: Packet) -> Source:
    return Source(
        kind=packet.kind,
        dts=packet.dts,
        pts=packet.pts,
        duration=packet.duration,
        key=packet.key,
        sent_ns=time.monotonic_ns(),
        replay=True,
        payload=packet.payload,
    )
