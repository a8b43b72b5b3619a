"""What is heard where packets of Opus are missing: what its decoder makes of lost ones, or silence.

libopus goes on with the sound before the loss and fades it out within a tenth of a second (RFC 6716
4.4). FFmpeg's own decoder falls silent and is not itself again for 60 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from av.audio.frame import AudioFrame

from media.model import TICKS_PER_SECOND
from media.transcode.libav import TIME_BASE

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEREO = 0x04
_LOST = ((TICKS_PER_SECOND // 50, 31 << 3), (TICKS_PER_SECOND // 400, 28 << 3))
"""Ticks, and the first byte of a packet so long (RFC 6716 3.1). Without more it has one frame of no
bytes, which was lost (3.2.1)."""


def lost_packets(start: int, end: int, following: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield pts and payload of packets that stand for lost ones from `start` to `end`, in ticks.

    `following` comes behind them: one stream, as in channel mapping family 0.
    """
    for duration, first in _LOST:
        while start + duration <= end:
            yield start, bytes((first | following[0] & _STEREO,))
            start += duration


def silence(like: AudioFrame, start: int, end: int) -> AudioFrame:
    """Return as much silence in the form of another frame; `start` and `end` in ticks."""
    samples = (end - start) * like.sample_rate // TICKS_PER_SECOND
    hole = AudioFrame(like.format.name, like.layout.name, samples)
    hole.sample_rate, hole.pts, hole.time_base = like.sample_rate, start, TIME_BASE
    for plane in hole.planes:
        plane.update(bytes(plane.buffer_size))
    return hole
