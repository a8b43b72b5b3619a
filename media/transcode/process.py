"""The server's side of transcoding: starts, feeds, watches and restarts one stream's worker."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from media.bitstream import BitstreamError
from media.model import Kind, Packet
from media.transcode.handing import source_of, track_of
from media.transcode.link import WorkerLink
from media.transcode.messages import (
    Boundary,
    Coded,
    Configure,
    Fault,
    Finish,
    KeyWanted,
    Listen,
    Opened,
    Report,
    SlateFailed,
    SlateMade,
)
from media.transcode.plan import Plan
from media.transcode.replay import Replay
from media.transcode.reports import Reports
from media.transcode.returns import Returns
from media.transcode.slate_orders import SlateOrders
from media.transcode.slates import FilmCache
from media.transcode.watch import Backoff, HangRule
from media.transcode.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from config.settings import LadderSettings, LimitsSettings, SlateSettings
    from media.meter import MediaMeter
    from media.model import TrackFormat
    from media.slate.loop import SlateOrder
    from media.transcode.messages import Source
    from media.transcode.pressure import Strain
    from media.transcode.sink import RungSink

WATCH_S = 0.25
FLUSH_S = 1.5
"""How long a worker may take to flush its encoders when it is asked to end."""
EXIT_S = 1.0
AUDIO_OVERLAP = 9_000
"""Ticks of sound sent again before the end of what came back: decoders need a run-up."""

log = structlog.get_logger(__name__)


class Transcoder:
    """One stream's ladder. All methods on the event loop; `run` supervises until `stop`."""

    def __init__(
        self,
        *,
        stream: str,
        settings: LadderSettings,
        limits: LimitsSettings,
        sink: RungSink,
        meter: MediaMeter,
        slate: SlateSettings | None = None,
        slate_image: Path | None = None,
        films: FilmCache | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`slate` None or disabled: `order_slate` has no last picture where no worker runs.

        `slate_image`: a file that is prepared as a slate for each source's formats.
        """
        self._stream = stream
        self._settings = settings
        self._limits = limits
        self._sink = sink
        self._meter = meter
        self._now_ns = now_ns
        self._log = log.bind(stream=stream)
        self._configured: Configure | None = None
        self._listen: Listen | None = None
        """What somebody listens to without a segment's delay, since anybody did."""
        self._link: WorkerLink | None = None
        self._hang = HangRule(0.0)
        self._replay = Replay()
        self._returns = Returns()
        self._memory_bytes = limits.worker_memory_mb * 2**20
        self.films = films if films is not None else FilmCache()
        """Slates of files that are at hand."""
        self._slates = SlateOrders(
            slate=slate,
            nice=settings.nice,
            limits=limits,
            image=slate_image,
            worker=self._picture_worker,
            films=self.films,
            sink=sink,
            now_s=self._now_s,
        )
        self._reports = Reports(stream, meter)
        self._fault = ""
        self._hung = False
        self._stopping = False
        self._finish_by: float | None = None
        self._wake = asyncio.Event()
        self._running = False
        self._done = asyncio.Event()
        self.speeds = self._reports.speeds
        """Media time to busy time of each rung's encoder in the worker's last report."""

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker that serves now."""
        return self._link.pid if self._link is not None else None

    @property
    def pressure_step(self) -> int:
        """Step of the pressure rule in force; 0 is full quality."""
        return self._reports.step

    @property
    def strain(self) -> Strain:
        """What was given up since the start of the show."""
        return self._reports.strain

    def configure(
        self, plan: Plan, *, video: TrackFormat | None, audio: TrackFormat | None
    ) -> None:
        """Start with this plan, or change to it from the next packet on.

        Encoders of rungs that are the same in both plans keep running. An empty plan ends
        the worker.
        """
        before = self._configured
        after = Configure(
            plan=plan,
            video=track_of(video, slate=self._slates.made(video)),
            audio=track_of(audio),
            max_pixels=self._limits.max_pixels,
        )
        if after == before:
            return
        self._configured = after
        if before is None or (before.video, before.audio) != (after.video, after.audio):
            self._slates.prepare(video, audio, plan.audio)
            if before is not None:
                self._replay.clear()
        self._returns.plan(plan)
        self._reports.plan(plan)
        if self._link is not None and not self._link.finishing:
            if self._idle:
                self._finish(self._link)
            else:
                self._link.send(after)
                self._link.send(self._reports.relief)
        self._wake.set()

    def push(self, packet: Packet) -> None:
        """Hand over one access unit of a main track, on the show clock. Never blocks.

        While the worker does not keep up with reading, video is dropped to the next key frame.
        """
        if packet.track != 0:
            return
        if packet.kind is Kind.VIDEO and self._configured is not None:
            self._slates.pushed(packet, self._configured.video)
        if not self._wants(packet.kind):
            return
        self._returns.sent(packet)
        self._replay.push(packet)
        if self._link is not None:
            self._hang.pushed(self._now_s())
            if not self._link.send(self._source(packet, replay=False)):
                self._reports.dropped()

    def boundary(self, ticks: int) -> None:
        """Make the first picture at or after `ticks` an IDR on every rung.

        Call it before the packet of that time is pushed. The first boundary of all starts
        the rungs.
        """
        boundary = Boundary(ticks=ticks)
        self._replay.boundary(boundary)
        if self._link is not None:
            self._link.send(boundary)

    def order_slate(self, order: SlateOrder) -> None:
        """Have a slate made; `RungSink.slate_made` or `slate_failed` answers.

        A still shows the last picture pushed before this call, and takes a worker under 0.1 s
        at 1080 lines; where none decodes pictures a process is started for it (half a second).
        The slate of a file is at hand where one of its form was made before; else a still comes
        first and the file's own later, with the same serial. A file that cannot be shown is told
        by `slate_failed`, beside the still. Of each kind one order waits at most; an older one is
        answered as failed.
        """
        self._slates.order(order)

    def _picture_worker(self) -> WorkerLink | None:
        return self._link if self._wants(Kind.VIDEO) else None

    def listen(self, sound: TrackFormat | None) -> None:
        """Encode `sound` to the rung `opus` from now on; None: nobody listens any more.

        Starts a worker where none runs; it stays until `stop`, so that it need not start again.
        """
        self._listen = Listen(track=track_of(sound))
        if self._link is not None:
            self._link.send(self._listen)
        self._wake.set()

    def hear(self, packet: Packet) -> None:
        """Hand over an access unit of that sound, on the show clock. Never blocks."""
        if self._link is None or self._listen is None:
            return
        self._returns.heard(packet)
        self._hang.pushed(self._now_s())
        if not self._link.send(source_of(packet, sent_ns=self._now_ns(), realtime=True)):
            self._reports.dropped()

    def want_key(self, rung: str) -> None:
        """Make the next picture of a rung an IDR, beside those on boundaries."""
        if self._link is not None:
            self._link.send(KeyWanted(rung=rung))

    async def stop(self) -> None:
        """Flush what is coded, end the worker and wait for `run` to return; at most 2.5 s."""
        self._stopping = True
        if self._link is not None:
            self._finish(self._link)
        self._wake.set()
        if self._running:
            await self._done.wait()

    async def run(self) -> None:
        """Supervise workers until `stop`: a fault is counted and followed by a restart."""
        self._running = True
        self._done.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                slates = tasks.create_task(self._slates.run())
                await self._supervise()
                slates.cancel()
        finally:
            self._running = False
            self._done.set()

    async def _supervise(self) -> None:
        backoff = Backoff()
        while not self._stopping:
            self._wake.clear()
            if self._idle:
                await self._wake.wait()
                continue
            started = self._now_s()
            reason = await self._serve()
            if not self._stopping:
                self._slates.worker_ended()
            if reason is None:
                continue
            delay = backoff.died(self._now_s() - started)
            self._lost(reason, backoff.failures)
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next start; `stop` cuts it short."""
        until = self._now_s() + seconds
        while not self._stopping and (left := until - self._now_s()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _lost(self, reason: str, failures: int) -> None:
        self._log.warning("transcode worker lost", reason=reason, failures=failures)
        self._replay.forget_boundaries()
        self._replay.holding = True
        if failures > 1:
            # The pictures themselves may be what ends it: start at the next key frame.
            self._replay.drop_video()
        self._meter.worker_restarted(self._stream, reason)
        self._sink.worker_lost(reason)

    async def _serve(self) -> str | None:
        """Run one worker to its end; return why it ended, None where that was wanted."""
        self._hung, self._fault, self._finish_by = False, "", None
        self._hang = HangRule(self._now_s())
        self._reports.begin()
        try:
            link = await WorkerLink.spawn(self._settings.nice, self._memory_bytes)
        except OSError as err:
            self._log.error("transcode worker does not start", error=str(err))
            return "spawn"
        self._log.info("transcode worker started", pid=link.pid)
        broken = False
        try:
            self._link = link
            self._prime(link)
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._watch(link))
                tasks.create_task(link.read_stderr(self._worker_said))
                try:
                    async for message in link.messages():
                        self._take(message)
                except (WireError, BitstreamError) as err:
                    broken = True
                    self._log.error("transcode worker sent nonsense", error=str(err))
                    link.kill()
                await link.exited(EXIT_S)
                watch.cancel()
                link.kill()
        finally:
            self._link = None
            code = await link.close()
        if link.finishing and (code == 0 or self._finish_by is not None):
            return None
        return "protocol" if broken else self._reason(code)

    def _reason(self, code: int) -> str:
        if self._hung:
            return "hang"
        if self._fault:
            self._log.error("transcode worker gave up", error=self._fault)
            return "fault"
        return "signal" if code < 0 else "exit"

    def _prime(self, link: WorkerLink) -> None:
        """Tell a new worker everything: plan, pressure, and what it needs to catch up."""
        configured = self._configured
        if configured is None or self._stopping or self._idle:
            self._finish(link)
            return
        link.send(configured)
        if self._listen is not None:
            link.send(self._listen)
        if self._reports.step:
            link.send(self._reports.relief)
        for item in self._replay.video():
            message = item if isinstance(item, Boundary) else self._source(item, replay=True)
            link.send(message)
        end = self._returns.audio_end
        after = 0 if end is None else end - AUDIO_OVERLAP
        self._replay.holding = False
        for packet in self._replay.audio(after):
            link.send(self._source(packet, replay=True))

    async def _watch(self, link: WorkerLink) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            now = self._now_s()
            self._slates.watch()
            if self._finish_by is not None and now > self._finish_by:
                link.kill()
            elif self._hang.hung(now) and not self._hung:
                self._hung = True
                link.kill()

    def _finish(self, link: WorkerLink) -> None:
        link.send(Finish())
        if self._finish_by is None:
            self._finish_by = self._now_s() + FLUSH_S

    def _take(self, message: object) -> None:
        match message:
            case Coded():
                packet = self._returns.coded(message, self._now_ns())
                if packet is not None:
                    self._sink.rung_packet(message.rung, packet)
            case Opened():
                self._sink.rung_format(message.rung, self._returns.opened(message))
            case Report():
                self._reported(message)
            case SlateMade() | SlateFailed():
                self._slates.answered(message)
            case Fault():
                self._fault = message.text
            case _:
                raise WireError(f"a worker does not send {type(message).__name__}")

    def _reported(self, report: Report) -> None:
        now = self._now_s()
        self._hang.reported(now, report)
        relief = self._reports.take(report, now)
        if relief is not None and self._link is not None:
            self._link.send(relief)

    def _worker_said(self, line: str) -> None:
        self._log.warning("transcode worker says", line=line)

    @property
    def _idle(self) -> bool:
        """Whether there is nothing for a worker to do."""
        if self._configured is None:
            return True
        return self._configured.plan.empty and self._listen is None

    def _wants(self, kind: Kind) -> bool:
        if self._configured is None:
            return False
        plan = self._configured.plan
        return bool(plan.rungs) if kind is Kind.VIDEO else plan.audio is not None

    def _source(self, packet: Packet, *, replay: bool) -> Source:
        return source_of(packet, sent_ns=self._now_ns(), replay=replay)

    def _now_s(self) -> float:
        return self._now_ns() / 1e9
