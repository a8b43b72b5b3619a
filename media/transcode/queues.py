"""Bounded hand-offs between the worker's threads."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.transcode.messages import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.video.frame import VideoFrame

    from media.transcode.messages import Boundary, Configure, Finish, Listen, MakeSlate

    Item = Configure | Source | Listen | Boundary | MakeSlate | Finish

MAX_PICTURES = 8
MAX_PACKETS = 4096
MAX_PACKET_BYTES = 40 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A raw picture on its way down the cascade."""

    frame: VideoFrame
    pts: int
    idr: bool
    """It starts a segment on every rung, and is never dropped."""
    wait: bool
    """Block rather than drop: a restart or an encoder's first pictures are being worked off."""
    queued_ns: int


class PictureQueue:
    """At most eight pictures from one thread to the next; the oldest plain one gives way."""

    def __init__(self) -> None:
        self._pictures: deque[Picture] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._dropped = 0

    def put(self, picture: Picture) -> None:
        """Append; a full queue blocks if the picture says so, else drops. Ignored once closed."""
        with self._changed:
            while len(self._pictures) >= MAX_PICTURES and not self._closed:
                if picture.wait:
                    self._changed.wait()
                else:
                    self._drop_oldest()
            if not self._closed:
                self._pictures.append(picture)
                self._changed.notify_all()

    def _drop_oldest(self) -> None:
        for index, picture in enumerate(self._pictures):
            if not picture.idr:
                del self._pictures[index]
                break
        else:
            # Eight boundaries in a row: segments shorter than a picture. The next one serves.
            self._pictures.popleft()
        self._dropped += 1

    def get(self) -> Picture | None:
        """Wait for the oldest picture; None once closed and empty."""
        with self._changed:
            while not self._pictures and not self._closed:
                self._changed.wait()
            if not self._pictures:
                return None
            picture = self._pictures.popleft()
            self._changed.notify_all()
            return picture

    def close(self) -> None:
        """Let the reader finish what is queued, and take no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take_dropped(self) -> int:
        """Return how many pictures were dropped since the last call."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def age_ns(self, now_ns: int) -> int:
        """Age of the oldest picture in here."""
        with self._changed:
            return now_ns - self._pictures[0].queued_ns if self._pictures else 0


class PacketQueue:
    """Messages from the socket to one decoder thread; full means that the socket waits."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._now_ns = now_ns

    def put(self, item: Item) -> None:
        """Append; blocks while the queue is full."""
        with self._changed:
            while len(self._items) >= MAX_PACKETS or self._bytes >= MAX_PACKET_BYTES:
                self._changed.wait()
            self._items.append(item)
            if isinstance(item, Source):
                self._bytes += len(item.payload)
            self._changed.notify_all()

    def get(self) -> Item:
        """Wait for the oldest item."""
        with self._changed:
            while not self._items:
                self._changed.wait()
            item = self._items.popleft()
            if isinstance(item, Source):
                self._bytes -= len(item.payload)
            self._changed.notify_all()
            return item

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    def age_ns(self) -> int:
        """Time since the oldest waiting access unit was sent."""
        with self._changed:
            for item in self._items:
                if isinstance(item, Source):
                    return max(0, self._now_ns() - item.sent_ns)
            return 0
