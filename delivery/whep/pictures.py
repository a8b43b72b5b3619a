"""Pictures on their way to one viewer (sans-IO).

They go through a short queue, which spreads large ones over some milliseconds. Pictures that are
sent later than they came carry timestamps later by as much, so the viewer catches up in fast motion
instead of staying behind.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from delivery.whep.programme import Frame

_MS = 1_000_000
_SECOND_NS = 1_000_000_000
BURST_BYTES = 15_000
"""What a picture may send at once; the rest is spread."""
LATE_S = 0.1
"""What would have been sent in so long may be sent at once, where pictures wait already."""
MIN_PACE_BPS = 4_000_000
PACE = 2.5
"""Pictures are sent at most so many times as fast as their rung (as in libwebrtc)."""
CATCH_UP_PACE = 4.0
QUEUE_NS = 700 * _MS
"""A picture that has waited for so long is dropped, and all behind it up to a key picture."""
CATCH_UP_NS = 4 * _SECOND_NS
"""So long catching up may take."""
QUEUE_FRAMES = 900
MIN_STEP = TICKS_PER_SECOND // 1000
"""Between the timestamps of two pictures, where one must not be before the other."""


class PictureQueue:
    """All calls with one steady clock's nanoseconds."""

    def __init__(
        self,
        *,
        send: Callable[[bytes, bool, int, int], None],
        bps: Callable[[int], float],
        now_ns: int,
    ) -> None:
        """`send` takes payload, marker, show clock ticks and now; `bps` says what to pace by."""
        self._send, self._bps = send, bps
        self._frames: deque[Frame] = deque()
        self._at = 0
        """Next packet of the first frame."""
        self._ticks = 0
        """That this frame is sent under; of the last one while none is begun."""
        self._sent_any = False
        self._catching_up_ns: int | None = None
        self._tokens = float(BURST_BYTES)
        self._tokens_ns = now_ns

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def holds_key(self) -> bool:
        """Whether a key picture is on its way, or the viewer catches up from one."""
        return self._catching_up_ns is not None or any(frame.key for frame in self._frames)

    @property
    def full(self) -> bool:
        """Whether no more pictures are taken."""
        return len(self._frames) >= QUEUE_FRAMES

    def start(self, now_ns: int) -> None:
        """Count time from now on."""
        self._tokens_ns = now_ns

    def add(self, frame: Frame, now_ns: int) -> None:
        """Take a picture; `pump` sends it."""
        if not self._frames:
            self._fill(now_ns)
            self._tokens = min(self._tokens, float(BURST_BYTES))
        self._frames.append(frame)

    def catch_up(self, frames: Iterable[Frame], now_ns: int) -> None:
        """Take pictures that came before now, in place of all that wait."""
        self.drop()
        self._frames.extend(frames)
        self._catching_up_ns = now_ns

    def pump(self, now_ns: int) -> None:
        """Send what may be sent by now."""
        if not self._frames:
            return
        self._fill(now_ns)
        frames = self._frames
        while frames and self._tokens > 0:
            frame = frames[0]
            if self._at == 0:
                self._stamp(frame, now_ns)
            payload, marker = frame.packets[self._at]
            self._send(payload, marker, self._ticks, now_ns)
            self._tokens -= len(payload)
            self._at += 1
            if self._at == len(frame.packets):
                frames.popleft()
                self._at = 0
        if not frames:
            self._catching_up_ns = None

    def too_old(self, now_ns: int) -> bool:
        """Whether what waits has waited for too long to be worth sending."""
        if not self._frames:
            return False
        if self._catching_up_ns is not None:
            return now_ns - self._catching_up_ns > CATCH_UP_NS
        return now_ns - self._frames[0].heard_ns > QUEUE_NS

    def drop(self) -> None:
        """Forget what waits, but end the picture that is begun."""
        frames = self._frames
        if frames and self._at:
            for payload, marker in frames[0].packets[self._at :]:
                self._send(payload, marker, self._ticks, self._tokens_ns)
        self.abandon()

    def abandon(self) -> int:
        """Forget what waits, also the picture that is begun; return how many pictures."""
        given_up = len(self._frames)
        self._frames.clear()
        self._at = 0
        self._catching_up_ns = None
        return given_up

    def _stamp(self, frame: Frame, now_ns: int) -> None:
        """Set the time that a picture is sent under, never before that of the one before it."""
        ticks = frame.pts
        if self._catching_up_ns is not None:
            ticks += max(now_ns - frame.heard_ns, 0) * TICKS_PER_SECOND // _SECOND_NS
        if self._sent_any:
            ticks = max(ticks, self._ticks + MIN_STEP)
        self._ticks = ticks
        self._sent_any = True

    def _fill(self, now_ns: int) -> None:
        pace = CATCH_UP_PACE if self._catching_up_ns is not None else PACE
        allowed = max(pace * self._bps(now_ns), MIN_PACE_BPS) / 8
        past_s = (now_ns - self._tokens_ns) / _SECOND_NS
        self._tokens_ns = now_ns
        # What a late call of `pump` could not send is made up for.
        most = max(LATE_S * allowed, float(BURST_BYTES))
        self._tokens = min(self._tokens + past_s * allowed, most)
