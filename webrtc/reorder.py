"""The receiving side of one RTP stream: back in order, holes asked for again or given up."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from webrtc.rtp import RtpPacket

_MS = 1_000_000
_REMEMBERED = 1024
"""Given-up sequence numbers, to tell a late packet from a duplicate."""
_RESTART_STEP = 100
"""How far behind an outlier the packet may be that proves a restart."""


class Arrival(NamedTuple):
    """A packet in its turn."""

    sequence: int
    """Unwrapped."""
    packet: RtpPacket
    arrived_ns: int


class Hole(NamedTuple):
    """Packets that will not come any more; what depends on them is broken, ask for a picture."""

    first: int
    """Unwrapped."""
    packets: int


class Restart(NamedTuple):
    """The sender began anew at another sequence number; nothing is known of what lies between."""

    sequence: int
    """Unwrapped: that of the arrival which follows."""


Event = Arrival | Hole | Restart


@dataclass(frozen=True, slots=True, kw_only=True)
class ReorderLimits:
    """Times and bounds of one stream."""

    deadline_ns: int = 100 * _MS
    """How long a packet is held at most while one before it is missing."""
    reorder_ns: int = 10 * _MS
    """How long a missing packet may just be late before it is asked for."""
    max_nacks: int = 3
    """How often one packet is asked for."""
    min_retry_ns: int = 20 * _MS
    """Between two requests for one packet, where the round trip is shorter."""
    max_packets: int = 2048
    max_bytes: int = 4 * 2**20
    """Held payload. Beyond this or `max_packets`, the oldest holes are given up."""
    max_jump: int = 1000
    """Sequence numbers. Farther away, ahead or behind, a packet does not belong to the stream,
    unless the next one agrees with it (RFC 3550 A.1)."""
    max_stale: int = 100
    """So many packets in a row of the past prove a restart, too."""


AUDIO_LIMITS = ReorderLimits(deadline_ns=60 * _MS, reorder_ns=5 * _MS, max_packets=256)
"""Sound is better patched than late."""


@dataclass(slots=True)
class ReorderCounters:
    """What has happened since the stream began."""

    delivered: int = 0
    reordered: int = 0
    """Packets that arrived after a later one, in time."""
    duplicates: int = 0
    late: int = 0
    """Packets that arrived after they were given up."""
    lost: int = 0
    """Packets that were given up; those that came late afterwards are among them."""
    outliers: int = 0
    """Packets dropped because their sequence number was too far away."""
    restarts: int = 0
    overflows: int = 0
    """Times a hole was given up before its deadline, for want of room."""
    nacks: int = 0
    """Sequence numbers asked for, repetitions counted."""


class _Missing:
    __slots__ = ("asked_ns", "requests", "since_ns")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.requests = 0
        self.asked_ns = 0


class ReorderBuffer:
    """Puts one SSRC's packets in order.

    A packet in sequence comes out at once. Where one is missing, the later ones are held until it
    comes or has been missing for the deadline; then a `Hole` stands in its place. All times are
    nanoseconds of one steady clock, handed in; call `poll` and `nacks` at `wake_ns`.
    """

    def __init__(self, limits: ReorderLimits | None = None) -> None:
        self.limits = limits or ReorderLimits()
        self.deadline_ns = self.limits.deadline_ns
        """May be changed at any time, as when the round trip becomes known."""
        self.counters = ReorderCounters()
        self.held_bytes = 0
        self._next: int | None = None
        self._end = 0  # one past the highest sequence number
        self._held: dict[int, Arrival] = {}
        self._missing: dict[int, _Missing] = {}  # ascending: only ever appended at the end
        self._given_up: OrderedDict[int, None] = OrderedDict()
        self._outlier: Arrival | None = None
        self._stale = 0

    @property
    def held(self) -> int:
        """How many packets wait for one before them."""
        return len(self._held)

    @property
    def missing(self) -> int:
        """How many packets are waited for."""
        return len(self._missing)

    def push(self, sequence: int, packet: RtpPacket, arrived_ns: int) -> list[Event]:
        """Take a packet with its unwrapped sequence number; return what is now in order."""
        arrival = Arrival(sequence, packet, arrived_ns)
        if sequence == self._next and not self._held:
            self._next = self._end = sequence + 1
            self._stale = 0
            self._outlier = None
            self.counters.delivered += 1
            return [arrival]
        events: list[Event] = []
        if self._next is None:
            self._next = self._end = sequence
        if sequence < self._next:
            return self._push_stale(arrival)
        if sequence >= self._end + self.limits.max_jump:
            return self._push_outlier(arrival)
        self._stale = 0
        self._outlier = None
        if sequence >= self._end:
            for each in range(self._end, sequence):
                self._missing[each] = _Missing(arrived_ns)
            self._end = sequence + 1
        elif self._missing.pop(sequence, None) is None:
            self.counters.duplicates += 1
            return self.poll(arrived_ns)
        else:
            self.counters.reordered += 1
        self._held[sequence] = arrival
        self.held_bytes += len(packet.payload)
        self._drain(events)
        self._expire(events, arrived_ns)
        self._make_room(events)
        return events

    def poll(self, now_ns: int) -> list[Event]:
        """Return what comes out because a deadline has passed."""
        events: list[Event] = []
        if self._missing:
            self._expire(events, now_ns)
        return events

    def nacks(self, now_ns: int, rtt_ns: int, *, most: int = 256) -> list[int]:
        """Return the unwrapped sequence numbers to ask for now, ascending, `most` at a time.

        They count as asked for. A packet is asked for after a short delay, again after each round
        trip, a few times and never after its deadline.
        """
        limits = self.limits
        retry_ns = max(rtt_ns, limits.min_retry_ns)
        wanted = []
        for sequence, each in self._missing.items():
            if each.requests >= limits.max_nacks or now_ns >= each.since_ns + self.deadline_ns:
                continue
            if now_ns < self._ask_ns(each, retry_ns):
                continue
            each.requests += 1
            each.asked_ns = now_ns
            wanted.append(sequence)
            if len(wanted) == most:
                break
        self.counters.nacks += len(wanted)
        return wanted

    def wake_ns(self, rtt_ns: int) -> int | None:
        """Return when `poll` or `nacks` has something to do; None while nothing is missing."""
        retry_ns = max(rtt_ns, self.limits.min_retry_ns)
        wake: int | None = None
        for each in self._missing.values():
            due = each.since_ns + self.deadline_ns
            if each.requests < self.limits.max_nacks:
                due = min(due, self._ask_ns(each, retry_ns))
            if wake is None or due < wake:
                wake = due
        return wake

    def flush(self) -> list[Event]:
        """Give up all holes and return what is held, as at the end of the stream."""
        events: list[Event] = []
        while self._missing:
            self._give_up_first(events)
        return events

    def _ask_ns(self, each: _Missing, retry_ns: int) -> int:
        if each.requests:
            return each.asked_ns + retry_ns
        return each.since_ns + self.limits.reorder_ns

    def _drain(self, events: list[Event]) -> None:
        """Take out what is in sequence."""
        held = self._held
        assert self._next is not None
        position = self._next
        while (arrival := held.pop(position, None)) is not None:
            self.held_bytes -= len(arrival.packet.payload)
            self.counters.delivered += 1
            events.append(arrival)
            position += 1
        self._next = position

    def _expire(self, events: list[Event], now_ns: int) -> None:
        """Give up what has been missing for the deadline, and all that is missing before it.

        Times ascend with sequence numbers, so the first one decides.
        """
        while self._missing:
            first = next(iter(self._missing.values()))
            if now_ns < first.since_ns + self.deadline_ns:
                return
            self._give_up_first(events)

    def _make_room(self, events: list[Event]) -> None:
        limits = self.limits
        while self._missing and (
            len(self._held) > limits.max_packets
            or self.held_bytes > limits.max_bytes
            or len(self._missing) > limits.max_jump
        ):
            self.counters.overflows += 1
            self._give_up_first(events)

    def _give_up_first(self, events: list[Event]) -> None:
        """Put a `Hole` in the place of the first run of missing packets and go on behind it."""
        first = self._next
        assert first is not None
        position = first
        while self._missing.pop(position, None) is not None:
            self._given_up[position] = None
            position += 1
        while len(self._given_up) > _REMEMBERED:
            self._given_up.popitem(last=False)
        self.counters.lost += position - first
        events.append(Hole(first, position - first))
        self._next = position
        self._drain(events)

    def _push_stale(self, arrival: Arrival) -> list[Event]:
        """Count a packet of the past; a far one or many in a row may be a restart."""
        assert self._next is not None
        if self._next - arrival.sequence > self.limits.max_jump:
            return self._push_outlier(arrival)
        if arrival.sequence in self._given_up:
            del self._given_up[arrival.sequence]
            self.counters.late += 1
        else:
            self.counters.duplicates += 1
        self._stale += 1
        if self._stale > self.limits.max_stale:
            return self._restart([arrival])
        return self.poll(arrival.arrived_ns)

    def _push_outlier(self, arrival: Arrival) -> list[Event]:
        """Set a far packet aside; a second one shortly behind it proves a restart."""
        before = self._outlier
        if before is not None and 1 <= arrival.sequence - before.sequence <= _RESTART_STEP:
            if arrival.arrived_ns - before.arrived_ns > self.deadline_ns:
                return self._restart([arrival])  # the first one has been held for too long
            self.counters.outliers -= 1
            return self._restart([before, arrival])
        self._outlier = arrival
        self.counters.outliers += 1
        return self.poll(arrival.arrived_ns)

    def _restart(self, arrivals: list[Arrival]) -> list[Event]:
        """Give up all that is waited for and go on with these packets."""
        events = self.flush()
        first = arrivals[0].sequence
        self.counters.restarts += 1
        self._given_up.clear()
        self._outlier = None
        self._stale = 0
        self._next = self._end = first
        events.append(Restart(first))
        for each in arrivals:
            events += self.push(*each)
        return events
