"""Turns the packets of a part into one CMAF chunk on the track's own timescale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.hls.fmp4 import Sample, init_segment, media_fragment, media_timescale
from media.hls.pacing import MediaTime
from media.model import Kind

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
        self._latest: int | None = None

    def chunk(
        self,
        packets: Sequence[Packet],
        start: int,
        end: int,
        *,
        sequence_number: int,
        prefix: bytes,
    ) -> bytes:
        """Return `prefix`, moof and mdat of a part that is declared to last from `start` to `end`.

        `tfdt` stays on the source's clock; only inside the part are durations differences. But
        where the first packet comes late, the duration of the one before, long published, was
        guessed too short, and Media Source Extensions (coded frame processing, step 6) drop
        everything up to the next key frame from two such durations on: then it is decoded
        earlier and still presented in its time.
        """
        time = self._time
        places = [time.place(packet.dts) for packet in packets]
        after = places[-1] + max(1, time.frame(max(end - packets[-1].dts, 0)))
        starts = [self._in_time(places[0], time.span(start)), *places[1:]]
        ends = [*starts[1:], after]
        self._latest = 2 * after - starts[-1] - 1
        samples = [
            Sample(
                dts=at,
                pts=place + time.span(packet.pts - packet.dts),
                duration=until - at,
                key=packet.key,
                payload=packet.payload,
            )
            for packet, place, at, until in zip(packets, places, starts, ends, strict=True)
        ]
        return media_fragment(
            samples, sequence_number=sequence_number, base_decode_time=starts[0], prefix=prefix
        )

    def _in_time(self, place: int, start: int) -> int:
        """Return when a part that is declared from `start` on may at latest begin to be decoded."""
        if self.format.kind is Kind.AUDIO or self._latest is None:
            return place
        return min(place, max(self._latest, start))
