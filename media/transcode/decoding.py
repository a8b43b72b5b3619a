"""The worker's decoding threads: pictures into the cascade, sound into AAC or Opus."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from media.transcode.cadence import BoundaryMarks, FrameRateCap, measured_rate, nominal_rate
from media.transcode.libav import TIME_BASE, DecodeFailed, VideoDecoder
from media.transcode.making import still_slate
from media.transcode.messages import (
    Boundary,
    Coded,
    Configure,
    Finish,
    Listen,
    MakeSlate,
    Opened,
    Relief,
    SlateFailed,
    SlateMade,
    Source,
)
from media.transcode.plan import REALTIME_SOUND
from media.transcode.queues import PacketQueue, Picture
from media.transcode.rungs import RungThread
from media.transcode.sound import AudioTranscoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.video.frame import VideoFrame

    from media.transcode.messages import FromWorker, SourceTrack
    from media.transcode.plan import AudioPlan
    from media.transcode.queues import Item
    from media.transcode.sound import AudioUnit

CATCH_UP_NS = 5_000_000_000
"""After this a restarted worker drops pictures rather than to stay behind."""
BURST_NS = 700_000_000
"""Pictures this young wait for a full rung: an encoder's first ones come all at once."""
MAX_AGE_NS = 2_000_000_000
"""A decoder this far behind skips to the next key frame."""


class VideoThread:
    """Owns the video decoder and the cascade of rungs.

    Hand-offs: `inbox` from the socket reader, pictures to the first `RungThread`, counters read
    by the reporter. Ends after `Finish`; `join` it then.
    """

    def __init__(
        self, *, send: Callable[[FromWorker], None], failed: Callable[[Exception], None]
    ) -> None:
        self.inbox = PacketQueue(time.monotonic_ns)
        self.rungs: tuple[RungThread, ...] = ()
        self.consumed = 0
        self.errors = 0
        self.skipped = 0
        self.catching_up = True
        self._send = send
        self._failed = failed
        self._relief = Relief()
        self._started_ns = time.monotonic_ns()
        self._marks = BoundaryMarks()
        self._cap = FrameRateCap(60)
        self._configured: Configure | None = None
        self._decoder: VideoDecoder | None = None
        self._need_key = True
        self._sent_ns = 0
        """When the picture that is being decoded entered the pipe."""
        self._rate_unknown = False
        self._first: Picture | None = None
        self._newest: VideoFrame | None = None
        self._of_slate = False
        self._thread = threading.Thread(target=self._run, name="decode-video", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until everything is flushed."""
        self._thread.join()

    def relieve(self, relief: Relief) -> None:
        """Let the rungs give up what `relief` names. Called by the reader thread."""
        self._relief = relief
        for rung in self.rungs:
            rung.relief = relief

    def want_key(self, rung: str) -> None:
        """Have a rung make its next picture an IDR. Called by the reader thread."""
        for thread in self.rungs:
            if thread.rung.name == rung:
                thread.key_wanted = True

    def _run(self) -> None:
        try:
            while self._handle(self.inbox.get()):
                pass
        except Exception as err:  # the thread's fault boundary: the process ends with a reason
            self._failed(err)

    def _handle(self, item: Item) -> bool:
        match item:
            case Source():
                self._decode(item)
                self.consumed += 1
                if self.catching_up and self._caught_up(item):
                    self.catching_up = False
            case Boundary():
                self._marks.announce(item.ticks)
            case Configure():
                self._configure(item)
            case MakeSlate():
                self._send(self._slate(item))
            case Finish():
                self._drain_decoder()
                self._release_first()
                self._retire(self.rungs)
                return False
        return True

    def _slate(self, item: MakeSlate) -> SlateMade | SlateFailed:
        try:
            return still_slate(item, self._newest)
        except Exception as err:  # whatever a slate meets, the ladder goes on
            sys.excepthook(type(err), err, err.__traceback__)
            sys.stderr.flush()
            text = f"The slate cannot be made: {type(err).__name__}."
            return SlateFailed(serial=item.order.serial, text=text)

    def _caught_up(self, source: Source) -> bool:
        if time.monotonic_ns() - self._started_ns > CATCH_UP_NS:
            return True
        return not source.replay and self.inbox.empty

    def _configure(self, item: Configure) -> None:
        before, self._configured = self._configured, item
        if before is None or before.video != item.video:
            self._drain_decoder()
            self._release_first()
            self._decoder = None
            self._need_key = True
            self._rate_unknown = item.video is not None and item.video.frame_rate[0] <= 0
        rate = item.plan.rungs[0].max_frame_rate if item.plan.rungs else 60
        self._cap = FrameRateCap(rate)
        self._rebuild(item)

    def _rebuild(self, item: Configure) -> None:
        """Make the cascade that of the plan; threads of rungs that stay keep their encoder."""
        running = {thread.rung: thread for thread in self.rungs}
        wanted = item.plan.rungs if item.video is not None else ()
        threads = []
        for rung in wanted:
            thread = running.pop(rung, None)
            if thread is None:
                source_rate = item.video.frame_rate if item.video is not None else (0, 1)
                thread = RungThread(
                    rung,
                    frame_rate=nominal_rate(source_rate, rung.max_frame_rate),
                    send=self._send,
                    failed=self._failed,
                )
                thread.relief = self._relief
                thread.start()
            threads.append(thread)
        below = [*threads[1:], None][: len(threads)]
        for thread, next_thread in zip(threads, below, strict=True):
            thread.below = next_thread
        self.rungs = tuple(threads)
        self._retire(tuple(running.values()))

    def _retire(self, threads: tuple[RungThread, ...]) -> None:
        for thread in threads:
            thread.queue.close()
            # In cascade order: a rung above may still hand pictures to the one below.
            thread.join()

    def _decode(self, source: Source) -> None:
        if not self.rungs or self._configured is None or self._configured.video is None:
            return
        self._sent_ns = source.sent_ns
        if self._too_late(source):
            self._need_key = True
        if self._need_key and not source.key:
            self.skipped += 1
            return
        try:
            if self._decoder is None:
                self._decoder = VideoDecoder(
                    self._configured.video, max_pixels=self._configured.max_pixels
                )
                self._of_slate = self._configured.video.slate
            elif self._need_key:
                self._decoder.reset()
            self._need_key = False
            frames = self._decoder.decode(source)
        except DecodeFailed:
            self.errors += 1
            self._need_key = True
            return
        for frame in frames:
            self._show(frame)

    def _too_late(self, source: Source) -> bool:
        if self.catching_up:
            return False
        return time.monotonic_ns() - source.sent_ns > MAX_AGE_NS

    def _show(self, frame: VideoFrame) -> None:
        if not self._of_slate:
            self._newest = frame
        self._picture(frame)

    def _picture(self, frame: VideoFrame) -> None:
        if frame.pts is None:
            self.skipped += 1
            return
        if frame.is_corrupt:
            self.errors += 1
        idr = self._marks.mark(frame.pts)
        if idr is None or not self._cap.keeps(frame.pts, idr=idr):
            return
        frame.time_base = TIME_BASE
        picture = Picture(
            frame=frame,
            pts=frame.pts,
            idr=idr,
            wait=self.catching_up or time.monotonic_ns() - self._sent_ns < BURST_NS,
            queued_ns=time.monotonic_ns(),
        )
        if not self._rate_unknown:
            self.rungs[0].queue.put(picture)
        elif self._first is None:
            # Rate control needs the frame rate, and only the second picture tells it.
            self._first = picture
        else:
            self._set_rate(picture.pts - self._first.pts)
            self._release_first()
            self.rungs[0].queue.put(picture)

    def _set_rate(self, interval: int) -> None:
        for thread in self.rungs:
            thread.frame_rate = measured_rate(interval, thread.rung.max_frame_rate)

    def _release_first(self) -> None:
        self._rate_unknown = False
        first, self._first = self._first, None
        if first is not None and self.rungs:
            self.rungs[0].queue.put(first)

    def _drain_decoder(self) -> None:
        if self._decoder is not None:
            for frame in self._decoder.flush():
                self._show(frame)


class AudioThread:
    """Owns the audio transcoder of `rung`. Hand-offs as `VideoThread`; sound is never dropped.

    `plan.AUDIO` is what `Configure` plans, `plan.OPUS` what `Listen` asks for.
    """

    def __init__(
        self,
        rung: str,
        *,
        send: Callable[[FromWorker], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.inbox = PacketQueue(time.monotonic_ns)
        self.consumed = 0
        self.errors = 0
        self._send = send
        self._failed = failed
        self._rung = rung
        self._job: tuple[SourceTrack, AudioPlan] | None = None
        self._transcoder: AudioTranscoder | None = None
        self._announced = b""
        self._last_end: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"decode-{rung}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until everything is flushed."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._handle(self.inbox.get()):
                pass
        except Exception as err:  # the thread's fault boundary: the process ends with a reason
            self._failed(err)

    def _handle(self, item: Item) -> bool:
        match item:
            case Source():
                self._convert(item)
                self.consumed += 1
            case Configure():
                self._take_job(item.audio, item.plan.audio)
            case Listen():
                self._take_job(item.track, REALTIME_SOUND)
            case Finish():
                self._close()
                return False
            case Boundary() | MakeSlate():
                pass
        return True

    def _take_job(self, track: SourceTrack | None, plan: AudioPlan | None) -> None:
        before = self._job
        self._job = (track, plan) if track is not None and plan is not None else None
        if self._job != before:
            self._close()

    def _close(self) -> None:
        if self._transcoder is not None:
            self._emit(self._transcoder.flush())
            self._transcoder = None

    def _convert(self, source: Source) -> None:
        if self._job is None:
            return
        try:
            if self._transcoder is None:
                self._transcoder = AudioTranscoder(*self._job)
            units = self._transcoder.convert(source)
        except DecodeFailed:
            self.errors += 1
            return
        self._emit(units)

    def _emit(self, units: list[AudioUnit]) -> None:
        if units and self._transcoder is not None and self._transcoder.config != self._announced:
            self._announced = self._transcoder.config
            self._send(Opened(rung=self._rung, extradata=self._announced))
        for pts, duration, payload in units:
            if self._last_end is not None and pts < self._last_end:
                continue
            self._last_end = pts + duration
            self._send(
                Coded(
                    rung=self._rung,
                    dts=pts,
                    pts=pts,
                    duration=duration,
                    key=True,
                    payload=payload,
                )
            )
