"""The server's side of slates: processes that make them, and what was made of files before."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from media.bitstream import BitstreamError, describe
from media.model import TICKS_PER_SECOND, Codec
from media.slate.loop import MAX_LOOP_SECONDS, SlateLoop
from media.transcode.link import WorkerLink
from media.transcode.messages import MakeSlate, SlateFailed, SlateMade
from media.transcode.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from media.slate.loop import SlateOrder, SlateUnit
    from media.transcode.messages import Source

PROCESS = "media.transcode.slate"
STILL_DEADLINE_S = 10.0
FILM_DEADLINE_S = 300.0
FILM_NICE = 19
"""Films are made ahead of time: a live encoder next door goes first."""
CACHE_BYTES = 64 * 2**20
EXIT_S = 1.0
LOOK_S = 1.0
"""A file on a server that is away is not waited for."""
AHEAD_S = 1.0
GIVEN_UP = "A newer slate was ordered."

log = structlog.get_logger(__name__)

Answer = SlateLoop | str
"""A slate, or the sentence that says why there is none."""


def loop_of(made: SlateMade, order: SlateOrder) -> SlateLoop:
    """Check what a process made against its order. Raises `WireError` or `BitstreamError`."""
    video = describe(Codec.H264, made.avcc)
    if (video.width, video.height) != order.size:
        raise WireError(f"a slate of {video.width}x{video.height} was not ordered")
    end = _checked(made.pictures)
    if end != made.duration or not 0 < end <= MAX_LOOP_SECONDS * TICKS_PER_SECOND:
        raise WireError(f"a slate of {made.duration} ticks has pictures for {end}")
    if bool(made.sounds) != (order.audio is not None):
        raise WireError("a slate has sound exactly where it was ordered")
    if made.sounds:
        _checked(made.sounds)
    return SlateLoop(
        # x264 writes the pixel shape only where it is not square.
        video=replace(video, sar=order.sar if min(order.sar) > 0 else (1, 1)),
        audio=describe(Codec.AAC, made.asc) if made.sounds else None,
        pictures=made.pictures,
        sounds=made.sounds,
        duration=made.duration,
    )


def _checked(units: tuple[SlateUnit, ...]) -> int:
    """Return the end of access units that follow each other from 0. Raises `WireError`."""
    end = 0
    for unit in units:
        if unit.dts != end or unit.pts != end or unit.duration <= 0 or not unit.payload:
            raise WireError("the access units of a slate do not follow each other")
        end += unit.duration
    if not units or not units[0].key:
        raise WireError("a slate does not begin with a key frame")
    return end


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmKey:
    """What a slate of a file depends on."""

    path: Path
    modified_ns: int
    bytes: int
    form: tuple[int, int, tuple[int, int], tuple[int, int] | None]


class FilmCache:
    """Slates of files, for all streams: the ones used last, up to 64 MiB."""

    def __init__(self) -> None:
        self._loops: OrderedDict[FilmKey, tuple[SlateLoop, int]] = OrderedDict()
        self._bytes = 0
        self._files = ThreadPoolExecutor(1, thread_name_prefix="slate-files")

    async def key(self, order: SlateOrder, path: Path) -> FilmKey:
        """Look at the file. Raises `OSError`."""
        stat = await asyncio.get_running_loop().run_in_executor(self._files, path.stat)
        form = (*order.size, order.sar, order.audio)
        return FilmKey(path=path, modified_ns=stat.st_mtime_ns, bytes=stat.st_size, form=form)

    def get(self, key: FilmKey) -> SlateLoop | None:
        """Return what was made of this file in this form."""
        if key not in self._loops:
            return None
        self._loops.move_to_end(key)
        return self._loops[key][0]

    def put(self, key: FilmKey, loop: SlateLoop) -> None:
        """Keep a slate; the ones not used for longest give way."""
        size = sum(len(unit.payload) for unit in (*loop.pictures, *loop.sounds))
        _, replaced = self._loops.pop(key, (loop, 0))  # two streams may make the same one
        self._loops[key] = loop, size
        self._bytes += size - replaced
        while self._bytes > CACHE_BYTES and len(self._loops) > 1:
            _, (_, freed) = self._loops.popitem(last=False)
            self._bytes -= freed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    make: MakeSlate
    sources: tuple[Source, ...] = ()
    ahead: bool = False
    """Nobody waits for the answer yet."""
    bridged: bool = False
    """A still was asked for meanwhile."""


class _Slot:
    """At most one job that waits; a newer one takes its place."""

    def __init__(self) -> None:
        self._job: _Job | None = None
        self._filled = asyncio.Event()

    @property
    def waits(self) -> bool:
        return self._job is not None

    def put(self, job: _Job) -> _Job | None:
        """Return the job that gave way."""
        before, self._job = self._job, job
        self._filled.set()
        return before

    async def fills(self, within_s: float) -> bool:
        """Wait for a job; whether there is one after so many seconds at most."""
        self._filled.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self.waits else within_s):
                await self._filled.wait()
        return self.waits

    async def get(self) -> _Job:
        while self._job is None:
            self._filled.clear()
            await self._filled.wait()
        job, self._job = self._job, None
        return job


class SlateMaker:
    """Has one stream's slates made in processes of their own, one still and one film at a time.

    On the event loop `still` and `film` get the serial of an order and its slate, and `missing`
    orders whose file takes time or cannot be shown: a still is wanted meanwhile.
    """

    def __init__(
        self,
        *,
        nice: int,
        memory_bytes: int,
        cache: FilmCache,
        still: Callable[[int, Answer], None],
        film: Callable[[int, Answer], None],
        missing: Callable[[SlateOrder], None],
    ) -> None:
        self._missing = missing
        self._nice = nice
        self._memory_bytes = memory_bytes
        self._cache = cache
        self._answer_still = still
        self._answer_film = film
        self._stills = _Slot()
        self._films = _Slot()
        self._filming = False

    def order(self, make: MakeSlate, sources: Iterable[Source] = ()) -> None:
        """Have a slate made; a waiting order of the same kind is answered as given up."""
        bridged = make.order.image is not None and self._filming
        job = _Job(make=make, sources=tuple(sources), bridged=bridged)
        if make.order.image is None:
            dropped, answer = self._stills.put(job), self._answer_still
        else:
            dropped, answer = self._films.put(job), self._answer_film
        if dropped is not None and not dropped.ahead:
            answer(dropped.make.order.serial, GIVEN_UP)
        if bridged:
            # Another file, or another form of it, is being coded: that may take minutes.
            self._missing(make.order)

    def prepare(self, make: MakeSlate) -> None:
        """Have the slate of a file made before it is ordered, unless an order waits."""
        if not self._films.waits:
            self._films.put(_Job(make=make, ahead=True))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._make_stills())
            tasks.create_task(self._make_films())

    async def _make_stills(self) -> None:
        while True:
            job = await self._stills.get()
            answer = await self._made(job, self._nice, STILL_DEADLINE_S)
            self._answer_still(job.make.order.serial, answer)

    async def _make_films(self) -> None:
        while True:
            job = await self._films.get()
            # Formats come one by one: a form that holds for a moment is worth the work.
            if job.ahead and await self._films.fills(AHEAD_S):
                continue
            self._filming = True
            try:
                answer = await self._film(job)
            finally:
                self._filming = False
            if job.ahead and isinstance(answer, str):
                log.warning("slate cannot be prepared", reason=answer)
            elif not job.ahead:
                self._answer_film(job.make.order.serial, answer)

    async def _film(self, job: _Job) -> Answer:
        order = job.make.order
        path = order.image
        assert path is not None
        key: FilmKey | None = None
        kept: SlateLoop | None = None
        with contextlib.suppress(OSError, ValueError):
            async with asyncio.timeout(LOOK_S):
                key = await self._cache.key(order, path)
            kept = self._cache.get(key)
        if kept is not None:
            return kept
        if not job.ahead and not job.bridged:
            self._missing(order)
        if key is None:
            return f"The slate {path.name} cannot be shown: there is no such file."
        answer = await self._made(job, FILM_NICE, FILM_DEADLINE_S)
        if isinstance(answer, SlateLoop):
            self._cache.put(key, answer)
        return answer

    async def _made(self, job: _Job, nice: int, deadline_s: float) -> Answer:
        """Run one process. Every failure is a sentence."""
        try:
            link = await WorkerLink.spawn(nice, self._memory_bytes, module=PROCESS)
        except OSError as err:
            log.error("slate process does not start", error=str(err))
            return "The slate cannot be made: its process does not start."
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(link.read_stderr(_process_said))
                try:
                    async with asyncio.timeout(deadline_s):
                        return await self._exchange(link, job)
                except TimeoutError:
                    return f"The slate cannot be made within {deadline_s:.0f} s."
                except (WireError, BitstreamError) as err:
                    log.error("slate process sent nonsense", error=str(err))
                    return "The slate cannot be made: its process is not to be trusted."
                finally:
                    reading.cancel()
        finally:
            await link.close()

    async def _exchange(self, link: WorkerLink, job: _Job) -> Answer:
        for source in job.sources:
            link.send(source)
        link.send(job.make)
        async for message in link.messages():
            match message:
                case SlateMade(serial=serial) if serial == job.make.order.serial:
                    return loop_of(message, job.make.order)
                case SlateFailed():
                    return message.text
                case _:
                    raise WireError(f"a slate process does not send {type(message).__name__}")
        await link.exited(EXIT_S)
        return "The slate cannot be made: its process ended (it may lack memory)."


def _process_said(line: str) -> None:
    log.warning("slate process says", line=line)
