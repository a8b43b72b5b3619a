"""One publisher's part of a show, and what is measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from media.diagnosis.observer import Observer
from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from media.meter import MediaMeter
    from media.settling import Settling
    from media.timeline import Timeline


SLOWEST = TICKS_PER_SECOND
"""Pictures further apart are not the encoder's pace."""
SHORT_SOUND = TICKS_PER_SECOND // 50
"""An Opus packet of the usual 20 ms."""


@dataclass(slots=True, kw_only=True)
class Run:
    """From a publisher's connect to its leave. Times are show ticks."""

    protocol: str
    wrap_ticks: int
    """Modulus of the encoder's clock."""
    settling: Settling | None
    """Holds the first packets, and those after a silence; else None."""
    timeline: Timeline | None = None
    formats: dict[Kind, TrackFormat] = field(default_factory=dict)
    further: dict[tuple[Kind, int], TrackFormat] = field(default_factory=dict)
    """Formats of the tracks beside the main ones."""
    started: bool = False
    behind: bool = False
    """It was placed where others are on air: it begins with a key frame that is not."""
    first: int | None = None
    """Time of the first packet."""
    heard: int = 0
    """When the newest packet arrived."""
    picture_heard: int = 0
    """When the newest picture arrived; 0 before the first."""
    sound_heard: int = 0
    picture_interval: int = TICKS_PER_SECOND // 30
    """Between the last two pictures, as far as that is plausible."""
    declared: Mapping[tuple[Kind, int], int] = field(default_factory=dict)
    """Bits a second that the encoder is set to, by a track's kind and number."""
    bitrates_by_track: dict[tuple[Kind, int], int] = field(default_factory=dict)
    """Bits per second over the last second."""
    observer: Observer = field(default_factory=Observer)
    _last: dict[Kind, int] = field(default_factory=dict)
    _pictures: int = 0
    _first_picture: int | None = None
    _received: dict[Kind, tuple[int, int]] = field(default_factory=dict)
    _bytes: dict[tuple[Kind, int], int] = field(default_factory=dict)
    _since: int = 0

    def set_format(self, track_format: TrackFormat) -> None:
        """Note a track's parameters."""
        known = self.formats.get(track_format.kind)
        if track_format.kind is Kind.VIDEO and known is not None and known != track_format:
            self.observer.pictures_changed()
        self.formats[track_format.kind] = track_format

    def received(self, kind: Kind, size: int) -> None:
        """Count an access unit as it comes in."""
        frames, total = self._received.get(kind, (0, 0))
        self._received[kind] = (frames + 1, total + size)

    def mapped(self, packet: Packet, arrived: int) -> None:
        """Note a packet on the show clock and when it arrived."""
        kind = packet.kind
        if self.first is None:
            self.first = self._since = packet.dts
        if kind is Kind.VIDEO:
            step = packet.dts - self._last.get(kind, packet.dts)
            if 0 < step <= SLOWEST:
                self.picture_interval = step
            self.picture_heard = arrived
        else:
            self.sound_heard = arrived
        self._last[kind] = packet.dts
        self.heard = arrived
        self.observer.note(packet, arrived)
        self.mapped_further(packet)
        if kind is Kind.VIDEO:
            self._pictures += 1
            if self._first_picture is None:
                self._first_picture = packet.dts

    def mapped_further(self, packet: Packet) -> None:
        """Note a packet of any track: its size."""
        place = (packet.kind, packet.track)
        self._bytes[place] = self._bytes.get(place, 0) + len(packet.payload)

    @property
    def frame_rate(self) -> float | None:
        """Pictures a second since the run began, None in its first second."""
        if self._pictures < 2 or self._first_picture is None:
            return None
        elapsed = self._last[Kind.VIDEO] - self._first_picture
        if elapsed < TICKS_PER_SECOND:
            return None
        return (self._pictures - 1) * TICKS_PER_SECOND / elapsed

    def interval(self, packet: Packet) -> int:
        """Ticks that an access unit lasts, as far as that is known."""
        if packet.kind is Kind.VIDEO:
            return packet.duration or self.picture_interval
        sound = self.formats.get(Kind.AUDIO)
        if sound is None or not sound.samples_per_frame or not sound.sample_rate:
            return packet.duration or SHORT_SOUND
        return sound.samples_per_frame * TICKS_PER_SECOND // sound.sample_rate

    def report(self, meter: MediaMeter, stream: str) -> None:
        """Tell the meter in batches: once a packet, it cost a twentieth of the whole ingest."""
        received, self._received = self._received, {}
        for kind, (frames, size) in received.items():
            meter.media_in(stream, self.protocol, kind, frames, size)

    def measure(self, meter: MediaMeter, stream: str, now: int) -> None:
        """Once a second: bit rates, and how far sound and pictures lie apart."""
        elapsed = now - self._since
        if self.first is None or elapsed < TICKS_PER_SECOND:
            return
        self.bitrates_by_track = {
            place: size * 8 * TICKS_PER_SECOND // elapsed for place, size in self._bytes.items()
        }
        self._bytes = {}
        self._since = now
        if len(self._last) == len(Kind):
            offset = self._last[Kind.AUDIO] - self._last[Kind.VIDEO]
            meter.av_offset(stream, offset / TICKS_PER_SECOND)
