"""One publisher's hold on a stream: its limits, its tracks, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from media.diagnosis.findings import Code, Severity
from media.excess import ExcessWatch
from media.keys import KeyRequests
from media.limits import LimitExceeded, Limits, check_format, check_tracks
from media.model import Kind, Packet, TrackFormat
from media.settling import TrackChange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from media.standby.source import Source
    from media.stream import Stream

log = structlog.get_logger(__name__)


class Publication:
    """One publisher's hold on a stream (`ingest.source.Publication`)."""

    def __init__(
        self,
        stream: Stream,
        source: Source,
        *,
        on_revoked: Callable[[str], None],
        limits: Limits,
        on_key_wanted: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self.source = source
        self._limits = limits
        self._watch = ExcessWatch(limits)
        self._excess = False
        self._tracks: set[tuple[Kind, int]] = set()
        self._on_revoked = on_revoked
        self.keys = KeyRequests(on_key_wanted or _nobody, stream.host.now_ns)
        """Asks the encoder for key frames."""
        self.closed = False
        self.packets = 0

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self._stream.name

    @property
    def lead_s(self) -> float:
        """Seconds by which the encoder is ahead of real time: slow its reading down above 1."""
        return 0.0 if self.closed else self._stream.switcher.lead_s(self.source)

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        """Announce or change a track; raises `media.model.FormatRefused`."""
        check_format(track_format, self._limits)
        self._tracks.add((track_format.kind, track))
        check_tracks(len(self._tracks), self._limits)
        if self.closed:
            return
        if track == 0:
            self._stream.switcher.set_format(self.source, track_format)
        else:
            change = TrackChange(track=track, kind=track_format.kind, format=track_format)
            self._stream.switcher.change_track(self.source, change)

    def describe_sound(self, languages: Mapping[int, str]) -> None:
        """Note the languages (BCP 47) of the encoder's audio tracks by their number."""
        if not self.closed:
            self._stream.switcher.describe_sound(self.source, languages)

    def declare_rates(self, rates: Mapping[tuple[Kind, int], int]) -> None:
        """Note the bits a second that the encoder is set to, by a track's kind and number.

        More than it may send says nothing of what it sends.
        """
        if not self.closed:
            most = self._limits.max_bitrate_kbps * 1000
            believed = {place: bps for place, bps in rates.items() if bps <= most}
            self._stream.switcher.declare_rates(self.source, believed)

    def note_loss(self, *, lost: int, packets: int, pictures: int) -> None:
        """Note what the network lost on the way to us (`ingest.source.Publication`)."""
        if not self.closed:
            self._stream.switcher.note_loss(
                self.source, lost=lost, packets=packets, pictures=pictures
            )

    def drop_track(self, track: int, kind: Kind) -> None:
        """Note that the encoder ended a track."""
        self._tracks.discard((kind, track))
        if self.closed:
            return
        if track == 0:
            self._stream.switcher.drop_track(self.source, kind)
        else:
            change = TrackChange(track=track, kind=kind, format=None)
            self._stream.switcher.change_track(self.source, change)

    def push(self, packet: Packet) -> None:
        """Take one access unit in source time; raises `media.limits.LimitExceeded`."""
        excess = self._watch.add(packet)
        if excess is not None or self._excess:
            self._note(excess)
        if not self.closed:
            self.packets += 1
            if packet.key and packet.track == 0 and packet.kind is Kind.VIDEO:
                self.keys.came()
            self._stream.switcher.push(self.source, packet)

    def _note(self, excess: str | None) -> None:
        """Close the connection of an encoder that sends too much, or keep its finding current."""
        if self.closed:
            return
        findings = self._stream.require_show().findings
        if excess is None:
            if self._watch.calm:
                self._excess = False
                findings.clear(Code.EXCESS)
            return
        if self._limits.on_excess == "close":
            raise LimitExceeded(excess)
        if not self._excess:
            self._excess = True
            log.warning("finding", stream=self.stream, code="excess", text=excess)
            now_ms = self._stream.host.utc_ms()
            findings.report(Code.EXCESS, Severity.WARNING, excess, now_ms=now_ms)

    def close(self, reason: str) -> None:
        """Let go of the stream. Idempotent."""
        if not self.closed:
            self._end()
            self._stream.left(self, reason)

    def revoke(self, text: str) -> None:
        """Take the stream away; `text` tells the producer why."""
        self._end()
        self._on_revoked(text)

    def _end(self) -> None:
        self.closed = True
        if self._excess:
            self._stream.require_show().findings.clear(Code.EXCESS)


def _nobody() -> None:
    """Ask an encoder that cannot be asked."""
