"""What a restarted worker must see again, and which source unit a coded one stems from."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND, Kind, Packet
from media.transcode.messages import Boundary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from media.transcode.messages import SourceTrack

MAX_VIDEO_TICKS = 10 * TICKS_PER_SECOND
MAX_VIDEO_BYTES = 32 * 2**20
MAX_AUDIO_TICKS = 4 * TICKS_PER_SECOND
MAX_AUDIO_PACKETS = 2048
MAX_BOUNDARIES = 64
"""Boundaries that no picture has met: sound alone goes on making them for hours."""


class Replay:
    """Video since the last key frame, the boundaries not yet met, and recent audio.

    Bounded: a GOP longer than 10 s or 32 MiB is given up, and the restart waits for the next
    key frame.
    """

    def __init__(self) -> None:
        self._video: deque[Packet | Boundary] = deque()
        self._audio: deque[Packet] = deque()
        self._bytes = 0
        self._newest_pts: int | None = None
        self.holding = True
        """No worker runs: keep the segment that the next one can start with."""

    def boundary(self, boundary: Boundary) -> None:
        """Note a boundary, before the packet of its time."""
        self._video.append(boundary)
        pending = [item for item in self._video if self._ahead(item)]
        if len(pending) > MAX_BOUNDARIES:
            self._video.remove(pending[0])

    def push(self, packet: Packet) -> None:
        """Note a packet that was (or would have been) sent."""
        if packet.kind is Kind.AUDIO:
            self._audio.append(packet)
            oldest = packet.dts - MAX_AUDIO_TICKS
            while self._audio[0].dts < oldest or len(self._audio) > MAX_AUDIO_PACKETS:
                self._audio.popleft()
            return
        if packet.key and not (self.holding and self._began_segment()):
            self._restart_at_key()
        self._video.append(packet)
        self._bytes += len(packet.payload)
        if self._newest_pts is None or packet.pts > self._newest_pts:
            self._newest_pts = packet.pts
        first = next((item for item in self._video if isinstance(item, Packet)), packet)
        if self._bytes > MAX_VIDEO_BYTES or packet.dts - first.dts > MAX_VIDEO_TICKS:
            self._restart_at_key()

    def _restart_at_key(self) -> None:
        pending = [item for item in self._video if self._ahead(item)]
        self._video = deque(pending)
        self._bytes = 0

    def _began_segment(self) -> bool:
        return any(isinstance(i, Boundary) and not self._ahead(i) for i in self._video)

    def _ahead(self, item: Packet | Boundary) -> bool:
        """Whether this is a boundary that no pushed picture has met."""
        if isinstance(item, Packet):
            return False
        return self._newest_pts is None or item.ticks > self._newest_pts

    def forget_boundaries(self) -> None:
        """The worker died. Segments that it had begun are lost, only later ones may start."""
        self._video = deque(
            item for item in self._video if isinstance(item, Packet) or self._ahead(item)
        )

    def clear(self) -> None:
        """Forget everything: the format changed."""
        self._video.clear()
        self._audio.clear()
        self._bytes = 0
        self._newest_pts = None

    def drop_video(self) -> None:
        """Forget pictures (they may be what kills the worker), keep boundaries ahead."""
        self._restart_at_key()

    def video(self) -> Iterator[Packet | Boundary]:
        """Iterate what to send again, in order, from a key frame on."""
        seen_key = False
        for item in self._video:
            if isinstance(item, Packet):
                seen_key = seen_key or item.key
                if not seen_key:
                    continue
            yield item

    def audio(self, after: int) -> Iterator[Packet]:
        """Iterate audio from `after` ticks on."""
        return (packet for packet in self._audio if packet.pts >= after)


class NewestPictures:
    """Access units since the last key frame: the newest picture of a source nobody decodes.

    Bounded: of a GOP longer than 10 s or 32 MiB the first part is kept.
    """

    def __init__(self) -> None:
        self._packets: list[Packet] = []
        self._bytes = 0
        self.track: SourceTrack | None = None
        """What decodes them."""

    def push(self, packet: Packet, track: SourceTrack | None) -> None:
        """Note a video packet."""
        if packet.key:
            self._packets, self._bytes, self.track = [], 0, track
        elif not self._packets:
            return
        first = self._packets[0].dts if self._packets else packet.dts
        size = self._bytes + len(packet.payload)
        if size <= MAX_VIDEO_BYTES and packet.dts - first <= MAX_VIDEO_TICKS:
            self._packets.append(packet)
            self._bytes = size

    def packets(self) -> tuple[Packet, ...]:
        """From a key frame on."""
        return tuple(self._packets)


class Arrivals:
    """When the source unit of a presentation time arrived. Bounded: the newest 2048."""

    LIMIT = 2048

    def __init__(self) -> None:
        self._times: list[tuple[int, int]] = []

    def note(self, pts: int, arrived_ns: int) -> None:
        """Remember a pushed packet."""
        insort(self._times, (pts, arrived_ns))
        if len(self._times) > self.LIMIT:
            del self._times[: self.LIMIT // 2]

    def at(self, pts: int) -> int | None:
        """Return the arrival of the unit that was shown or heard at `pts`; None if unknown."""
        index = bisect_right(self._times, (pts, 2**63)) - 1
        if index < 0:
            return self._times[0][1] if self._times else None
        return self._times[index][1]

    def clear(self) -> None:
        """Forget all."""
        self._times.clear()
