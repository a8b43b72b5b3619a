"""Turns the packets of a part into one CMAF chunk on the track's own timescale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.hls.fmp4 import Sample, init_segment, media_fragment, media_timescale
from media.hls.pacing import MediaTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from media.model import Packet, TrackFormat


class Fragmenter:
    """Writes the chunks that belong to one init segment."""

    def __init__(self, fmt: TrackFormat) -> None:
        """Raise `ValueError` where the format has no sample entry."""
        self.format = fmt
        self.timescale = media_timescale(fmt)
        self.init = init_segment(fmt, timescale=self.timescale)
        self._time = MediaTime(self.timescale, frame=fmt.samples_per_frame)

    def chunk(
        self, packets: Sequence[Packet], end: int, *, sequence_number: int, prefix: bytes
    ) -> bytes:
        """Return `prefix`, moof and mdat of a part whose last packet lasts until `end` ticks.

        `tfdt` stays on the source's clock; only inside the part are durations differences.
        """
        time = self._time
        starts = [time.place(packet.dts) for packet in packets]
        last = packets[-1]
        after = starts[-1] + max(1, time.frame(max(end - last.dts, 0)))
        ends = [*starts[1:], after]
        samples = [
            Sample(
                dts=at,
                pts=at + time.span(packet.pts - packet.dts),
                duration=until - at,
                key=packet.key,
                payload=packet.payload,
            )
            for packet, at, until in zip(packets, starts, ends, strict=True)
        ]
        return media_fragment(
            samples, sequence_number=sequence_number, base_decode_time=starts[0], prefix=prefix
        )
