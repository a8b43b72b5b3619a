"""The threads that scale and encode: one per rung, each feeding the next smaller one."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from media.transcode.cadence import Durations, Halver
from media.transcode.encoders import relieved_preset
from media.transcode.libav import Scaler, VideoEncoder, colour_of
from media.transcode.messages import Coded, Opened, Relief, RungReport
from media.transcode.queues import PictureQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from av.video.frame import VideoFrame

    from media.transcode.messages import FromWorker
    from media.transcode.plan import Rung
    from media.transcode.queues import Picture

_Units = list[tuple[int, int, bool, bytes]]


class RungThread:
    """Owns one rung's scaler and encoder.

    Hand-offs: pictures come by `queue`, go to `below.queue` scaled; `send` takes coded units.
    `relief`, `below`, `key_wanted` and `frame_rate` (before the first picture) are set by other
    threads, one reference each.
    Ends when the queue is closed and empty; `join` it then.
    """

    def __init__(
        self,
        rung: Rung,
        *,
        frame_rate: Fraction,
        send: Callable[[FromWorker], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.rung = rung
        self.queue = PictureQueue()
        self.below: RungThread | None = None
        self.relief = Relief()
        self.key_wanted = False
        """The next picture is to be an IDR."""
        self.frame_rate = frame_rate
        self._send = send
        self._failed = failed
        self._scaler = Scaler(rung.width, rung.height)
        self._encoder: VideoEncoder | None = None
        self._waiting = True
        self._last_pts: int | None = None
        self._halver = Halver()
        self._durations = Durations(frame_rate)
        self._announced = b""
        self._lock = threading.Lock()
        self._frames = 0
        self._busy_ns = 0
        self._media_ticks = 0
        self._thread = threading.Thread(target=self._run, name=f"rung-{rung.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def report(self, now_ns: int) -> RungReport:
        """Return the figures since the last report, and start anew."""
        with self._lock:
            frames, self._frames = self._frames, 0
            busy, self._busy_ns = self._busy_ns, 0
            media, self._media_ticks = self._media_ticks, 0
        return RungReport(
            rung=self.rung.name,
            frames=frames,
            dropped=self.queue.take_dropped(),
            busy_ns=busy,
            media_ticks=media,
            queue_age_ms=self.queue.age_ns(now_ns) // 1_000_000,
        )

    def _run(self) -> None:
        try:
            while (picture := self.queue.get()) is not None:
                self._take(picture)
            if self._encoder is not None:
                self._emit(self._encoder.flush())
        except Exception as err:  # the thread's fault boundary: the process ends with a reason
            self._failed(err)

    def _take(self, picture: Picture) -> None:
        # After a change of plan a leaving rung above may still hand down older pictures.
        if self._last_pts is not None and picture.pts <= self._last_pts:
            return
        self._last_pts = picture.pts
        below = self.below
        # A rung pauses at a boundary: a segment that ends halfway is a hole for its viewers.
        if self.rung.name in self.relief.paused and (picture.idr or self._waiting):
            self._waiting = True
            if below is not None:
                below.queue.put(replace(picture, queued_ns=time.monotonic_ns()))
            return
        started = time.monotonic_ns()
        frame = self._scaler.scale(picture.frame)
        scaled = time.monotonic_ns()
        if below is not None:
            below.queue.put(replace(picture, frame=frame, queued_ns=scaled))
        encoding = time.monotonic_ns()
        if self._halver.keeps(idr=picture.idr, on=self.rung.name in self.relief.halved):
            self._encode(frame, picture)
        with self._lock:
            self._busy_ns += scaled - started + time.monotonic_ns() - encoding

    def _encode(self, frame: VideoFrame, picture: Picture) -> None:
        if self._waiting and not picture.idr:
            return
        self._waiting = False
        if picture.idr:
            self._reopen_if_changed(frame)
        if self._encoder is not None:
            idr = picture.idr or self.key_wanted
            if idr:
                self.key_wanted = False
            self._emit(self._encoder.encode(frame, idr=idr))

    def _reopen_if_changed(self, frame: VideoFrame) -> None:
        """Open the encoder for this boundary if colours or preset are not as they were."""
        rung = self.rung
        preset = relieved_preset(rung.encoder, rung.preset) if self.relief.faster else rung.preset
        colour = colour_of(frame)
        encoder = self._encoder
        if encoder is not None:
            if (encoder.colour, encoder.preset) == (colour, preset):
                return
            self._emit(encoder.flush())
        self._encoder = VideoEncoder(rung, preset=preset, frame_rate=self.frame_rate, colour=colour)
        self._announce(self._encoder.extradata)

    def _announce(self, extradata: bytes) -> None:
        if extradata and extradata != self._announced:
            self._announced = extradata
            self._send(Opened(rung=self.rung.name, extradata=extradata))

    def _emit(self, units: _Units) -> None:
        for dts, pts, key, payload in units:
            duration = self._durations.of(pts)
            self._send(
                Coded(
                    rung=self.rung.name,
                    dts=dts,
                    pts=pts,
                    duration=duration,
                    key=key,
                    payload=payload,
                )
            )
            with self._lock:
                self._frames += 1
                self._media_ticks += duration
