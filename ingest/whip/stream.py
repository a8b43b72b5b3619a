"""One SSRC: from RTP packets as they arrive to access units in order."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ingest.whip.trips import RoundTrips
from webrtc.payloads import DEPACKETIZERS, AccessUnit, Depacketizer, PayloadError
from webrtc.payloads.nals import NalDepacketizer
from webrtc.reception import ReceptionStatistics
from webrtc.reorder import AUDIO_LIMITS, Arrival, Event, Hole, ReorderBuffer, ReorderLimits
from webrtc.sequence import Unwrapper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.whip.clock import StreamClock
    from ingest.whip.router import Slot
    from webrtc.rtp import RtpPacket
    from webrtc.sdp.model import PayloadType

_MS = 1_000_000
FIRST_WAIT_NS = 300 * _MS
"""For a missing packet that was asked for, while the round trip is not known."""
LEAST_WAIT_NS = 100 * _MS
LONGEST_WAIT_NS = 500 * _MS
"""However long the round trip is: what comes later than this has been given up."""
_SPROP = {
    "h264": ("sprop-parameter-sets",),
    "h265": ("sprop-vps", "sprop-sps", "sprop-pps"),
}


class Unit(NamedTuple):
    """An access unit in its turn."""

    unit: AccessUnit
    arrived_ns: int
    """When its last byte arrived."""
    broken: bool
    """Something before it is missing, and no key frame has come since."""


class RtpStream:
    """Orders one SSRC's packets, asks for missing ones, puts access units together.

    Times are nanoseconds of one steady clock. Holds at most what `ReorderLimits` and
    `Depacketizer` say. `clock` hears of every timestamp's first packet.
    """

    def __init__(self, *, ssrc: int, slot: Slot, clock: StreamClock) -> None:
        payload_type = slot.section.payload_type
        assert payload_type is not None
        sound = payload_type.encoding.lower() == "opus"
        self.ssrc = ssrc
        self.slot = slot
        self.clock = clock
        self.payload_type = payload_type.number
        self.asks = "nack" in slot.section.feedback
        """Whether missing packets are asked for."""
        self.reorder = ReorderBuffer(AUDIO_LIMITS if sound else ReorderLimits())
        if self.asks:
            self.reorder.deadline_ns = FIRST_WAIT_NS
        self.reception = ReceptionStatistics(ssrc, payload_type.clock_rate)
        self.depacketizer = make_depacketizer(payload_type)
        self.packets = 0
        """Received, RTX not counted."""
        self.bytes = 0
        self.malformed = 0
        """Payloads that break their format."""
        self.repaired = 0
        """Packets that RTX brought."""
        self.newest_ns = 0
        """When the newest packet that is not padding alone arrived; 0 before it."""
        self.trips = RoundTrips()
        self._sequences = Unwrapper(16)
        self._timestamps = Unwrapper(32)
        self._timestamp: int | None = None
        self._arrived_ns = 0

    def receive(self, packet: RtpPacket, arrived_ns: int) -> list[Unit]:
        """Take a packet of this SSRC; return the units that it completes."""
        sequence = self._sequences.unwrap(packet.sequence)
        self.reception.receive(sequence, packet.timestamp, arrived_ns)
        self.packets += 1
        self.bytes += len(packet.payload)
        if packet.payload:
            self.newest_ns = arrived_ns
        if self.asks:
            self.trips.arrived(sequence, arrived_ns, answer=False)
        return self._deliver(self.reorder.push(sequence, packet, arrived_ns))

    def repair(self, packet: RtpPacket, arrived_ns: int) -> list[Unit]:
        """Take a packet that RTX brought again."""
        sequence = self._sequences.unwrap(packet.sequence)
        self.repaired += 1
        self.trips.arrived(sequence, arrived_ns, answer=True)
        return self._deliver(self.reorder.push(sequence, packet, arrived_ns))

    def poll(self, now_ns: int) -> list[Unit]:
        """Return what comes out because a deadline has passed."""
        if not self.reorder.missing:
            return []
        return self._deliver(self.reorder.poll(now_ns))

    def flush(self) -> list[Unit]:
        """Return what is whole at the end of the stream."""
        found = self._deliver(self.reorder.flush())
        return found + self._units(self.depacketizer.flush(), self.broken)

    def nacks(self, now_ns: int) -> list[int]:
        """Return the sequence numbers (16 bits) to ask for now; they count as asked for."""
        if not self.asks:
            return []
        self.trips.expire(now_ns)
        if not self.reorder.missing:
            return []
        wanted = self.reorder.nacks(now_ns, self.trips.retry_ns)
        for each in wanted:
            self.trips.asked(each, now_ns)
        self._adapt()
        return [each & 0xFFFF for each in wanted]

    @property
    def broken(self) -> bool:
        """Whether pictures are not right before the next key frame."""
        return self.depacketizer.needs_key

    def _adapt(self) -> None:
        """Wait as long as the path asks for."""
        limits, trips = self.reorder.limits, self.trips
        if limits.reorder_ns != trips.late_ns:
            limits = self.reorder.limits = replace(limits, reorder_ns=trips.late_ns)
        if trips.rtt_ns:
            wait = limits.reorder_ns + limits.max_nacks * trips.retry_ns
            self.reorder.deadline_ns = min(max(wait, LEAST_WAIT_NS), LONGEST_WAIT_NS)

    def _deliver(self, events: list[Event]) -> list[Unit]:
        found: list[Unit] = []
        for event in events:
            if isinstance(event, Arrival):
                packet = event.packet
                timestamp = self._timestamps.unwrap(packet.timestamp)
                if timestamp != self._timestamp:
                    self._timestamp = timestamp
                    self.clock.note(timestamp, event.arrived_ns)
                self._arrived_ns = max(self._arrived_ns, event.arrived_ns)
                before = self.depacketizer.needs_key
                try:
                    units = self.depacketizer.feed(
                        packet.payload, packet.marker, timestamp, event.sequence
                    )
                except PayloadError:
                    self.malformed += 1
                    continue
                if units:
                    found += self._units(units, before)
            else:
                self.depacketizer.lost(event.packets if isinstance(event, Hole) else 1)
        return found

    def _units(self, units: list[AccessUnit], broken: bool) -> list[Unit]:
        """Return units with what held when each was finished; `broken` held before the first."""
        if not any(each.key for each in units):
            broken = broken or self.broken
        found: list[Unit] = []
        for each in units:
            broken = broken and not each.key
            found.append(Unit(each, self._arrived_ns, broken))
        return found


def make_depacketizer(payload_type: PayloadType) -> Depacketizer:
    """Return the depacketizer of an answered payload type, with the parameter sets of its fmtp."""
    kind = DEPACKETIZERS[payload_type.encoding.upper()]
    sets = _parameter_sets(payload_type)
    if sets and issubclass(kind, NalDepacketizer):
        try:
            return kind(parameter_sets=sets)
        except PayloadError:
            return kind()  # they come again in band
    return kind()


def _parameter_sets(payload_type: PayloadType) -> Sequence[bytes]:
    """Return what `sprop` parameters hold (RFC 6184 8.1, RFC 7798 7.1); nothing if malformed."""
    found: list[bytes] = []
    for name in _SPROP.get(payload_type.encoding.lower(), ()):
        for text in (payload_type.parameter(name) or "").split(","):
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                return []
    return [each for each in found if each]
