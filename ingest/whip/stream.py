"""One SSRC: from RTP packets as they arrive to access units in order."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple

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
FIRST_RTT_NS = 60 * _MS
"""Of a path that is not measured yet."""
LONGEST_WAIT_NS = 300 * _MS
"""However long the round trip is: what comes later than this has been given up."""
_SPROP = {
    "h264": ("sprop-parameter-sets",),
    "h265": ("sprop-vps", "sprop-sps", "sprop-pps"),
}


class Unit(NamedTuple):
    """An access unit and when its last byte arrived."""

    unit: AccessUnit
    arrived_ns: int


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
        """When the newest packet arrived; 0 before it."""
        self.rtt_ns = 0
        """Smoothed, of requests that were answered; 0 before the first."""
        self._sequences = Unwrapper(16)
        self._timestamps = Unwrapper(32)
        self._timestamp: int | None = None
        self._arrived_ns = 0
        self._asked: dict[int, int] = {}
        """Packets asked for once, and when."""

    def receive(self, packet: RtpPacket, arrived_ns: int) -> list[Unit]:
        """Take a packet of this SSRC; return the units that it completes."""
        sequence = self._sequences.unwrap(packet.sequence)
        self.reception.receive(sequence, packet.timestamp, arrived_ns)
        self.packets += 1
        self.bytes += len(packet.payload)
        self.newest_ns = arrived_ns
        if self._asked:
            self._answered(sequence, arrived_ns)
        return self._deliver(self.reorder.push(sequence, packet, arrived_ns))

    def repair(self, packet: RtpPacket, arrived_ns: int) -> list[Unit]:
        """Take a packet that RTX brought again."""
        sequence = self._sequences.unwrap(packet.sequence)
        self.repaired += 1
        if self._asked:
            self._answered(sequence, arrived_ns)
        return self._deliver(self.reorder.push(sequence, packet, arrived_ns))

    def poll(self, now_ns: int) -> list[Unit]:
        """Return what comes out because a deadline has passed."""
        if not self.reorder.missing:
            return []
        return self._deliver(self.reorder.poll(now_ns))

    def flush(self) -> list[Unit]:
        """Return what is whole at the end of the stream."""
        found = self._deliver(self.reorder.flush())
        return found + [Unit(each, self._arrived_ns) for each in self.depacketizer.flush()]

    def nacks(self, now_ns: int) -> list[int]:
        """Return the sequence numbers (16 bits) to ask for now; they count as asked for."""
        if not self.asks or not self.reorder.missing:
            self._asked.clear()
            return []
        wanted = self.reorder.nacks(now_ns, self.rtt_ns or FIRST_RTT_NS)
        for each in wanted:
            # Asked twice, nobody knows which request an answer is to.
            self._asked[each] = 0 if each in self._asked else now_ns
        return [each & 0xFFFF for each in wanted]

    @property
    def broken(self) -> bool:
        """Whether pictures are not right before the next key frame."""
        return self.depacketizer.needs_key

    def _answered(self, sequence: int, arrived_ns: int) -> None:
        asked_ns = self._asked.pop(sequence, 0)
        if not asked_ns:
            return
        trip = arrived_ns - asked_ns
        self.rtt_ns = (7 * self.rtt_ns + trip) // 8 if self.rtt_ns else trip
        limits = self.reorder.limits
        wait = limits.reorder_ns + (limits.max_nacks + 1) * self.rtt_ns
        self.reorder.deadline_ns = min(max(limits.deadline_ns, wait), LONGEST_WAIT_NS)

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
                try:
                    units = self.depacketizer.feed(
                        packet.payload, packet.marker, timestamp, event.sequence
                    )
                except PayloadError:
                    self.malformed += 1
                    continue
                if units:
                    found += [Unit(each, self._arrived_ns) for each in units]
            else:
                self.depacketizer.lost(event.packets if isinstance(event, Hole) else 1)
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
