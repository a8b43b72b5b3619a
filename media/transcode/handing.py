"""What the show knows, as the worker is told it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.transcode.messages import Source, SourceTrack

if TYPE_CHECKING:
    from media.model import Packet, TrackFormat


def source_of(
    packet: Packet, *, sent_ns: int, replay: bool = False, realtime: bool = False
) -> Source:
    """Return an access unit's message; `sent_ns` is the monotonic clock of the machine."""
    return Source(
        kind=packet.kind,
        dts=packet.dts,
        pts=packet.pts,
        duration=packet.duration,
        key=packet.key,
        sent_ns=sent_ns,
        replay=replay,
        payload=packet.payload,
        realtime=realtime,
    )


def track_of(fmt: TrackFormat | None, *, slate: bool = False) -> SourceTrack | None:
    """Return what a decoder must know of a track; `slate`: the pictures are no encoder's."""
    if fmt is None:
        return None
    rate, colour = fmt.frame_rate, fmt.colour
    return SourceTrack(
        codec=fmt.codec,
        config=fmt.config,
        frame_rate=(0, 1) if rate is None else (rate.numerator, rate.denominator),
        sample_rate=fmt.sample_rate,
        channels=fmt.channels,
        pixels=fmt.width * fmt.height,
        colour=None if colour is None else (colour.primaries, colour.transfer, colour.matrix),
        slate=slate,
    )
