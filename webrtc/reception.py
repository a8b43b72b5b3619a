"""What a receiver tells the sender of its packets (RFC 3550 section 6.4, TWCC)."""

from __future__ import annotations

from collections import OrderedDict

from webrtc.rtcp import ReportBlock, SenderReport
from webrtc.sequence import Unwrapper
from webrtc.twcc import MAX_DELTA, REFERENCE_TICKS, TICK_NS, TransportFeedback

_SECOND_NS = 1_000_000_000
_MAX_JUMP = 3000
"""Sequence numbers; farther away, a packet counts only once the next one agrees (A.1)."""
_RESTART_STEP = 100


class ReceptionStatistics:
    """Loss and jitter of one SSRC (RFC 3550 A.3, A.8).

    Feed it what arrives on the SSRC itself: a packet that RTX brought would pass for a late one.
    Times are nanoseconds of one steady clock.
    """

    def __init__(self, ssrc: int, clock_rate: int) -> None:
        self.ssrc = ssrc
        self.clock_rate = clock_rate
        self.received = 0
        self._base = 0
        self._highest = 0
        self._outlier: int | None = None
        self._transit: int | None = None
        self._jitter = 0.0
        self._timestamps = Unwrapper(32)
        self._expected_before = 0
        self._received_before = 0
        self._last_sr: int | None = None
        self._last_sr_ns = 0

    def receive(self, sequence: int, timestamp: int, arrived_ns: int) -> None:
        """Count a packet: its unwrapped sequence number, its timestamp as sent."""
        if not self.received:
            self._base = self._highest = sequence
        elif abs(sequence - self._highest) > _MAX_JUMP:
            before, self._outlier = self._outlier, sequence
            if before is None or not 1 <= sequence - before <= _RESTART_STEP:
                return
            self.restart()
            self._base = self._highest = sequence
        elif sequence > self._highest:
            self._highest = sequence
        self._base = min(self._base, sequence)
        self.received += 1
        arrival = arrived_ns * self.clock_rate // _SECOND_NS
        transit = arrival - self._timestamps.unwrap(timestamp)
        if self._transit is not None:
            self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit

    def restart(self) -> None:
        """Begin to count anew, as after a `Restart`; the sender's report stays known."""
        self.received = 0
        self._outlier = None
        self._transit = None
        self._jitter = 0.0
        self._timestamps = Unwrapper(32)
        self._expected_before = self._received_before = 0

    def sender_report(self, report: SenderReport, arrived_ns: int) -> None:
        """Remember the sender's report, by which it measures the round trip."""
        self._last_sr = report.ntp >> 16 & 0xFFFFFFFF
        self._last_sr_ns = arrived_ns

    @property
    def expected(self) -> int:
        """How many packets the sender sent between the first and the highest one."""
        return self._highest - self._base + 1 if self.received else 0

    @property
    def lost(self) -> int:
        """Packets that did not arrive; below zero where duplicates outnumber them."""
        return self.expected - self.received

    @property
    def jitter_ns(self) -> int:
        """The interarrival jitter."""
        return int(self._jitter * _SECOND_NS / self.clock_rate)

    def report(self, now_ns: int) -> ReportBlock:
        """Return the report block, whose fraction is of the time since the last call."""
        expected = self.expected - self._expected_before
        lost = expected - (self.received - self._received_before)
        self._expected_before = self.expected
        self._received_before = self.received
        delay = 0
        if self._last_sr is not None:
            delay = min((now_ns - self._last_sr_ns) * 65536 // _SECOND_NS, 0xFFFFFFFF)
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min((lost << 8) // expected, 255) if lost > 0 and expected > 0 else 0,
            cumulative_lost=max(-0x800000, min(self.lost, 0x7FFFFF)),
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter=min(int(self._jitter), 0xFFFFFFFF),
            last_sr=self._last_sr or 0,
            delay_since_last_sr=max(delay, 0),
        )


def round_trip_ns(block: ReportBlock, now_ntp: int) -> int | None:
    """Return the round trip that a receiver's report shows, None where it shows none.

    `now_ntp` is 64 bits of the clock that our sender reports carry (RFC 3550 6.4.1).
    """
    if not block.last_sr:
        return None
    trip = ((now_ntp >> 16) - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF
    if trip >= 1 << 31:
        return None  # a clock that was set, or a peer that does not know its own delay
    return trip * _SECOND_NS >> 16


class TwccReceiver:
    """Collects arrivals of all packets of a transport and makes feedback of them.

    Arrivals of the last half second stay known, so that a packet which comes after a later one
    was told of is told of together with its neighbours. At most `max_packets` are kept.
    """

    KEEP_NS = 500_000_000
    MAX_STATUSES = 1000
    """In one feedback."""
    MAX_DELTA_BYTES = 800
    """In one feedback, which then has less than 1,200 bytes."""

    def __init__(self, sender_ssrc: int, *, max_packets: int = 8192) -> None:
        self.sender_ssrc = sender_ssrc
        self.forgotten = 0
        """Arrivals dropped for want of room before they were told of."""
        self._max_packets = max_packets
        self._sequences = Unwrapper(16)
        self._arrivals: OrderedDict[int, int] = OrderedDict()  # sequence to ticks, as they came
        self._next: int | None = None  # the first that was not told of
        self._count = 0

    def receive(self, transport_sequence: int, arrived_ns: int) -> None:
        """Note a packet's arrival; the second one of a duplicate does not count."""
        sequence = self._sequences.unwrap(transport_sequence)
        if sequence in self._arrivals:
            return
        self._arrivals[sequence] = arrived_ns // TICK_NS
        if self._next is None or sequence < self._next:
            self._next = sequence
        if len(self._arrivals) > self._max_packets:
            oldest, _ = self._arrivals.popitem(last=False)
            if oldest >= self._next:
                self.forgotten += 1

    def feedback(self, media_ssrc: int, now_ns: int) -> list[TransportFeedback]:
        """Return feedback on all that arrived since the last call, in order; [] for nothing."""
        found: list[TransportFeedback] = []
        if self._next is not None:
            told = sorted(each for each in self._arrivals.items() if each[0] >= self._next)
            first = self._next
            while told:
                if told[0][0] - first >= self.MAX_STATUSES:
                    first = told[0][0]  # the sender began anew, or was gone
                taken = self._fitting(told, first)
                found.append(self._make(media_ssrc, first, told[:taken]))
                first = told[taken - 1][0] + 1
                told = told[taken:]
            self._next = first
        horizon = (now_ns - self.KEEP_NS) // TICK_NS
        while self._arrivals and next(iter(self._arrivals.values())) < horizon:
            self._arrivals.popitem(last=False)
        return found

    def _fitting(self, told: list[tuple[int, int]], first: int) -> int:
        """Return how many arrivals fit into one feedback."""
        before = told[0][1]
        size = 0
        for index, (sequence, ticks) in enumerate(told):
            delta = ticks - before
            size += 1 if 0 <= delta <= 0xFF else 2
            if (
                sequence - first >= self.MAX_STATUSES
                or abs(delta) > MAX_DELTA
                or size > self.MAX_DELTA_BYTES
            ):
                return index
            before = ticks
        return len(told)

    def _make(self, media_ssrc: int, first: int, told: list[tuple[int, int]]) -> TransportFeedback:
        reference = told[0][1] // REFERENCE_TICKS
        count = self._count
        self._count = (count + 1) & 0xFF
        wrapped = reference & 0xFFFFFF
        return TransportFeedback(
            sender_ssrc=self.sender_ssrc,
            media_ssrc=media_ssrc,
            base_sequence=first & 0xFFFF,
            status_count=told[-1][0] - first + 1,
            reference_time=wrapped - ((wrapped & 0x800000) << 1),
            feedback_count=count,
            arrivals=tuple(
                (sequence - first, ticks - reference * REFERENCE_TICKS) for sequence, ticks in told
            ),
        )
