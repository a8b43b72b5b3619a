"""Puts what the segmenter cuts into the window: bytes, names, tags and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.hls import rules
from media.hls.bitrate import BitRate
from media.hls.fragmenter import Fragmenter
from media.hls.playlist import Hints, part_line
from media.hls.window import INIT_TYPE, Init, Part, Resource, Segment, Window
from media.model import TICKS_PER_SECOND, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from media.hls.seams import Boundary, ProgramClock, TimedMetadata
    from media.meter import MediaMeter
    from media.model import Packet, TrackFormat


class Publisher:
    """The `SegmentSink` of a rendition."""

    def __init__(
        self,
        *,
        stream: str,
        name: str,
        kind: Kind,
        run_id: str,
        window: Window,
        clock: ProgramClock,
        metadata: TimedMetadata,
        meter: MediaMeter,
        now_ns: Callable[[], int],
    ) -> None:
        """`now_ns` is the monotonic clock of `Packet.arrived_ns`."""
        self._stream = stream
        self._name = name
        self._kind = kind
        self._run_id = run_id
        self._window = window
        self._clock = clock
        self._metadata = metadata
        self._meter = meter
        self._now_ns = now_ns
        self._fragmenter: Fragmenter | None = None
        self._next_fragmenter: Fragmenter | None = None
        self._init: Init | None = None
        self._next_init: Init | None = None
        self._inits = 0
        self._sequence_number = 0
        self._hinted: str | None = None
        self._last_publish: tuple[int, int] | None = None
        self.bit_rate = BitRate()
        self.version = 0
        """Counts the states of the playlist."""

    @property
    def format(self) -> TrackFormat | None:
        """The newest format."""
        fragmenter = self._next_fragmenter or self._fragmenter
        return fragmenter.format if fragmenter else None

    @property
    def format_pending(self) -> bool:
        """Whether the newest format counts only from the next segment on."""
        return self._next_init is not None

    @property
    def hinted(self) -> str | None:
        """Name that the next part will have."""
        return self._hinted

    def set_format(self, fmt: TrackFormat, declared_bps: int) -> None:
        """Announce a format for the next segment; raises `ValueError` for one without entry."""
        self.bit_rate.declare(declared_bps)
        if fmt == self.format:
            return
        fragmenter = Fragmenter(fmt)
        if self._next_init is not None:
            # Announced, but no segment ever began with it.
            self._window.drop_init(self._next_init)
        resource = Resource(body=fragmenter.init, content_type=INIT_TYPE)
        init = Init(
            number=self._inits, name=f"{self._run_id}-init-{self._inits}.mp4", resource=resource
        )
        self._inits += 1
        self._window.add_init(init)
        self._next_fragmenter, self._next_init = fragmenter, init

    def take_format(self) -> None:
        """Let the newest format count from the open segment on, while nothing is in that."""
        segment = self._window.last
        if self._next_init is None or segment is None or segment.closed or segment.parts:
            return
        self._switch_format()
        assert self._init is not None
        self._window.replace_init(segment, self._init)

    def hint(self, boundary: Boundary | None) -> None:
        """Name the next part, expected to start `boundary` or to go on with the open segment.

        The name holds even if the part turns out to belong elsewhere: a hinted URI is the one
        later used (4.4.5.3), and its number is only a name.
        """
        last = self._window.last
        if self._hinted is None and last is not None:
            msn, part = (boundary.msn, 0) if boundary else (last.msn, len(last.parts))
            self._hinted = self._free_name(msn, part)

    def hints(self, boundary: Boundary | None) -> Hints | None:
        """Return the preload hints of this state."""
        if self._hinted is None:
            return None
        expects_init = boundary is not None and self._next_init is not None
        init = self._next_init.name if expects_init and self._next_init else None
        return Hints(part=self._hinted, init=init)

    def bandwidth(self) -> tuple[int, int]:
        """Peak and average bits per second."""
        if self.bit_rate.known:
            return self.bit_rate.figures()
        bits = self._first_parts()
        return bits, bits

    def _first_parts(self) -> int:
        """Bits per second of the parts so far: the first viewer comes before the first segment."""
        parts = [part for segment in self._window for part in segment.parts if not part.gap]
        ticks = sum(part.end - part.start for part in parts)
        return sum(len(part.body) for part in parts) * 8 * TICKS_PER_SECOND // max(ticks, 1)

    def open_segment(self, boundary: Boundary, start: int, shift: int) -> None:
        """See `SegmentSink`."""
        self._switch_format()
        assert self._init is not None
        name = f"{self._run_id}-{boundary.msn}.m4s"
        segment = Segment(
            msn=boundary.msn,
            name=name,
            discontinuity=boundary.discontinuity,
            init=self._init,
            start=start,
            end=start,
            shift=shift,
        )
        self._window.open(segment, discontinuities_before=boundary.discontinuities_before)

    def move_start(self, start: int, shift: int) -> None:
        """See `SegmentSink`."""
        segment = self._window.last
        assert segment is not None
        segment.start = segment.end = start
        segment.shift = shift

    def add_part(self, packets: Sequence[Packet], start: int, end: int, shift: int) -> None:
        """See `SegmentSink`."""
        segment = self._begin_part(shift)
        assert self._fragmenter is not None
        prefix = b""
        if self._kind is Kind.VIDEO:
            prefix = self._metadata.take_events(
                self._name,
                start=start + shift,
                end=end + shift,
                timescale=self._fragmenter.timescale,
                msn=segment.msn,
                part=len(segment.parts),
            )
        self._sequence_number += 1
        body = self._fragmenter.chunk(
            packets, start, end, sequence_number=self._sequence_number, prefix=prefix
        )
        name = self._take_name(segment)
        starts_with_key = packets[0].key
        independent = starts_with_key or any(packet.key for packet in packets)
        self._window.add_part(
            Part(
                name=name,
                start=start,
                end=end,
                gap=False,
                independent=independent,
                body=body,
                line=part_line(name=name, start=start, end=end, independent=independent),
            ),
            decodable=starts_with_key,
        )
        self.version += 1
        self.bit_rate.open(segment.size * 8, end - segment.start)
        self._measure(packets, end - start)

    def add_gap(self, start: int, end: int, shift: int) -> None:
        """See `SegmentSink`."""
        segment = self._begin_part(shift)
        name = self._take_name(segment)
        part = Part(
            name=name,
            start=start,
            end=end,
            gap=True,
            independent=False,
            body=b"",
            line=part_line(name=name, start=start, end=end, gap=True),
        )
        self._window.add_part(part, decodable=False)
        self._last_publish = None
        self.version += 1

    def close_segment(self, end: int) -> None:
        """See `SegmentSink`."""
        segment = self._window.last
        assert segment is not None
        if not segment.text:
            self._stamp(segment)
        self._window.close(end)
        self.version += 1
        if segment.gap:
            self._meter.gap(self._stream, self._name)
            return
        self.bit_rate.close(segment.size * 8, segment.end - segment.start)

    def restart(self) -> None:
        """See `SegmentSink`."""
        self._window.restart()
        self.version += 1

    def _switch_format(self) -> None:
        if self._next_init is not None:
            self._init, self._next_init = self._next_init, None
            self._fragmenter, self._next_fragmenter = self._next_fragmenter, None

    def _begin_part(self, shift: int) -> Segment:
        segment = self._window.last
        assert segment is not None
        if not segment.text:
            segment.shift = shift
            self._stamp(segment)
        return segment

    def _stamp(self, segment: Segment) -> None:
        """Every segment carries its program date-time (4.4.4.6)."""
        utc_ms = self._clock.utc_ms(segment.start + segment.shift)
        segment.text = f"#EXT-X-PROGRAM-DATE-TIME:{rules.date_time(utc_ms)}\n"

    def _take_name(self, segment: Segment) -> str:
        name, self._hinted = self._hinted, None
        return name or self._free_name(segment.msn, len(segment.parts))

    def _free_name(self, msn: int, part: int) -> str:
        name = f"{self._run_id}-{msn}.{part}.m4s"
        while self._window.has(name):
            name = f"{name[:-4]}x.m4s"
        return name

    def _measure(self, packets: Sequence[Packet], duration: int) -> None:
        now = self._now_ns()
        last = self._last_publish
        self._last_publish = (now, duration)
        jitter = 0.0
        if last is not None:
            jitter = abs((now - last[0]) / 1e9 - last[1] / TICKS_PER_SECOND)
        latencies = [(now - packet.arrived_ns) / 1e9 for packet in packets]
        self._meter.part_published(self._stream, self._name, jitter, latencies)
