"""The reorder buffer on a random network in virtual time, and case by case."""

from __future__ import annotations

import heapq
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc.packets import media
from webrtc.reorder import Arrival, Event, Hole, ReorderBuffer, ReorderLimits, Restart

pytestmark = pytest.mark.unit

MS = 1_000_000
LIMITS = ReorderLimits()


def told(events: list[Event]) -> list[int | tuple[int, int] | str]:
    """Write events as short as they can be: sequence numbers, (first, count), "restart"."""
    found: list[int | tuple[int, int] | str] = []
    for event in events:
        if isinstance(event, Arrival):
            found.append(event.sequence)
        elif isinstance(event, Hole):
            found.append((event.first, event.packets))
        else:
            found.append(f"restart {event.sequence}")
    return found


def push(buffer: ReorderBuffer, at_ms: float, *sequences: int) -> list[object]:
    events: list[Event] = []
    for sequence in sequences:
        events += buffer.push(sequence, media(sequence), int(at_ms * MS))
    return list(told(events))


def test_in_sequence_nothing_waits() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 0, 65535, 65536, 65537) == [65535, 65536, 65537]
    assert buffer.held == buffer.missing == 0
    assert buffer.wake_ns(0) is None
    assert buffer.poll(10**12) == buffer.nacks(10**12, 0) == buffer.flush() == []


def test_a_late_packet_releases_those_behind_it() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 0, 1, 3, 4) == [1]
    assert push(buffer, 5, 2) == [2, 3, 4]
    assert buffer.counters.reordered == 1
    assert push(buffer, 6, 5) == [5]


def test_at_the_deadline_the_hole_is_given_up() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 0, 1, 4) == [1]
    assert push(buffer, 50, 6) == []
    assert buffer.poll(100 * MS - 1) == []
    assert told(buffer.poll(100 * MS)) == [(2, 2), 4]
    assert told(buffer.poll(150 * MS)) == [(5, 1), 6]
    assert buffer.counters.lost == 3
    assert push(buffer, 151, 3, 3, 6) == []
    assert (buffer.counters.late, buffer.counters.duplicates) == (1, 2)


def test_a_packet_after_the_deadline_is_still_taken_where_nobody_polled() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, 1, 3)
    assert push(buffer, 500, 2) == [2, 3]
    push(buffer, 501, 6)
    assert push(buffer, 700, 7) == [(4, 2), 6, 7]


def test_the_deadline_may_change() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, 1, 3)
    buffer.deadline_ns = 200 * MS
    assert buffer.poll(199 * MS) == []
    assert told(buffer.poll(200 * MS)) == [(2, 1), 3]


def test_what_is_asked_for_and_when() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, 1, 4)
    assert buffer.wake_ns(30 * MS) == 10 * MS
    assert buffer.nacks(10 * MS - 1, 30 * MS) == []
    assert buffer.nacks(10 * MS, 30 * MS) == [2, 3]
    assert buffer.nacks(10 * MS, 30 * MS) == []
    assert buffer.wake_ns(30 * MS) == 40 * MS
    push(buffer, 20, 3)
    assert buffer.nacks(40 * MS - 1, 30 * MS) == []
    assert buffer.nacks(40 * MS, 30 * MS) == [2]
    assert buffer.nacks(70 * MS, 30 * MS) == [2]
    assert buffer.nacks(99 * MS, 20 * MS) == []
    assert buffer.wake_ns(30 * MS) == 100 * MS
    assert buffer.counters.nacks == 4


def test_nothing_is_asked_for_after_its_deadline() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, 1, 3)
    assert buffer.nacks(100 * MS, 0) == []


def test_requests_are_so_many_at_a_time_and_not_too_dense() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, 1, 9)
    assert buffer.nacks(10 * MS, 0, most=5) == [2, 3, 4, 5, 6]
    assert buffer.nacks(10 * MS, 0, most=5) == [7, 8]
    assert buffer.nacks(29 * MS, 1) == []
    assert len(buffer.nacks(30 * MS, 1)) == 7


def test_a_restart_far_away_takes_two_packets() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, 1, 3)
    assert push(buffer, 1, 30_000) == []
    assert push(buffer, 2, 30_001) == [(2, 1), 3, "restart 30000", 30_000, 30_001]
    assert push(buffer, 3, 30_002) == [30_002]
    assert push(buffer, 4, 5_000, 5_002) == ["restart 5000", 5_000]
    assert push(buffer, 5, 5_001) == [5_001, 5_002]
    assert (buffer.counters.restarts, buffer.counters.outliers) == (2, 0)


def test_a_slow_restart_does_not_deliver_what_was_set_aside_for_too_long() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 0, 1, 30_000) == [1]
    assert push(buffer, 101, 30_001) == ["restart 30001", 30_001]
    assert (buffer.counters.restarts, buffer.counters.outliers) == (1, 1)


def test_one_packet_far_away_is_dropped() -> None:
    buffer = ReorderBuffer()
    assert push(buffer, 0, 1, 30_000, 2, 30_001, 3) == [1, 2, 3]
    assert buffer.counters.outliers == 2
    assert buffer.held == 0


def test_a_restart_nearby_takes_a_run_of_old_packets() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, *range(500, 900))
    assert push(buffer, 1, *range(300, 400)) == []
    assert push(buffer, 2, *range(400, 403)) == ["restart 400", 400, 401, 402]


def test_packets_bytes_and_holes_are_bounded() -> None:
    few = ReorderBuffer(ReorderLimits(max_packets=3))
    assert push(few, 0, 1, 3, 4, 5) == [1]
    assert push(few, 0, 7) == [(2, 1), 3, 4, 5]
    small = ReorderBuffer(ReorderLimits(max_bytes=9))
    assert push(small, 0, 1, 3) == [1]
    assert push(small, 0, 4) == [(2, 1), 3, 4]
    assert small.held_bytes == 0
    wide = ReorderBuffer(ReorderLimits(max_jump=10))
    assert push(wide, 0, 1, 9) == [1]
    assert push(wide, 0, 16) == [(2, 7), 9]
    assert few.counters.overflows == small.counters.overflows == wide.counters.overflows == 1


def test_flush_gives_everything_up() -> None:
    buffer = ReorderBuffer()
    push(buffer, 0, 1, 3, 6)
    assert told(buffer.flush()) == [(2, 1), 3, (4, 2), 6]
    assert buffer.held == buffer.missing == buffer.held_bytes == 0


RTT = 25 * MS


class Network:
    """Sends packets each 4 ms, loses, delays and doubles them, and answers NACKs."""

    def __init__(self, seed: int, count: int, loss: float, jitter_ms: float) -> None:
        self.chance = random.Random(seed)
        self.loss, self.jitter_ns = loss, int(jitter_ms * MS)
        self.first = 2**16 - self.chance.randrange(60)
        self.queue: list[tuple[int, int, int]] = []  # (time, order, sequence; -1 is a timer)
        self.order = 0
        for index in range(count):
            self.send(self.first + index, index * 4 * MS, lossy=index > 0)

    def send(self, sequence: int, at_ns: int, *, lossy: bool = True) -> None:
        for _ in range(2 if self.chance.random() < 0.05 else 1):
            if lossy and self.chance.random() < self.loss:
                continue
            delay = self.chance.randrange(self.jitter_ns + 1) if lossy else 0
            self.put(at_ns + RTT // 2 + delay, sequence)

    def put(self, at_ns: int, sequence: int) -> None:
        self.order += 1
        heapq.heappush(self.queue, (at_ns, self.order, sequence))


@given(
    st.integers(0, 2**32),
    st.integers(1, 300),
    st.sampled_from([0.0, 0.03, 0.3, 0.9]),
    st.sampled_from([0, 30, 150]),
    st.sampled_from([LIMITS, ReorderLimits(max_packets=4), ReorderLimits(max_bytes=30)]),
)
def test_a_random_network(
    seed: int, count: int, loss: float, jitter_ms: float, limits: ReorderLimits
) -> None:
    network = Network(seed, count, loss, jitter_ms)
    buffer = ReorderBuffer(limits)
    output: list[tuple[int, Event]] = []
    arrived: set[int] = set()
    requests: dict[int, list[int]] = {}
    end = 0
    while network.queue:
        now, _, sequence = heapq.heappop(network.queue)
        if sequence < 0:
            events = buffer.poll(now)
        else:
            end = max(end, sequence)
            events = buffer.push(sequence, media(sequence), now)
            arrived.add(sequence)
        output += [(now, event) for event in events]
        assert buffer.held <= limits.max_packets
        assert buffer.held_bytes <= limits.max_bytes
        for wanted in buffer.nacks(now, RTT):
            requests.setdefault(wanted, []).append(now)
            network.send(wanted, now + RTT // 2)
        wake = buffer.wake_ns(RTT)
        if wake is not None:
            network.put(max(wake, now), -1)
    assert buffer.held == buffer.missing == 0
    position = network.first
    delivered = set()
    for now, event in output:
        assert not isinstance(event, Restart)
        if isinstance(event, Hole):
            assert event.first == position
            position += event.packets
            continue
        assert event.sequence == position
        assert event.packet.sequence == position & 0xFFFF
        assert now - event.arrived_ns <= limits.deadline_ns
        delivered.add(position)
        position += 1
    assert position == end + 1
    assert delivered <= arrived
    counters = buffer.counters
    assert counters.delivered == len(delivered)
    assert counters.lost == end + 1 - network.first - len(delivered)
    if loss == 0 and jitter_ms < 100 and limits is LIMITS:
        assert counters.lost == 0
    for times in requests.values():
        assert len(times) <= limits.max_nacks
        assert all(b - a >= RTT for a, b in itertools.pairwise(times))
        assert times[-1] - times[0] < limits.deadline_ns


def test_most_of_what_a_usual_network_loses_comes_back() -> None:
    network = Network(7, 2000, 0.03, 30)
    buffer = ReorderBuffer()
    while network.queue:
        now, _, sequence = heapq.heappop(network.queue)
        if sequence < 0:
            buffer.poll(now)
        else:
            buffer.push(sequence, media(sequence), now)
        for wanted in buffer.nacks(now, RTT):
            network.send(wanted, now + RTT // 2)
        if (wake := buffer.wake_ns(RTT)) is not None:
            network.put(max(wake, now), -1)
    assert buffer.counters.delivered + buffer.counters.lost == 2000
    assert buffer.counters.lost <= 2


@given(st.lists(st.tuples(st.integers(-3000, 3000), st.integers(0, 20)), max_size=300))
def test_any_sequence_numbers_keep_the_bounds_and_the_order(steps: list[tuple[int, int]]) -> None:
    limits = ReorderLimits(max_packets=20, max_jump=100)
    buffer = ReorderBuffer(limits)
    sequence = now = 0
    position: int | None = None
    for step, wait in steps:
        sequence += step
        now += wait * MS
        events = buffer.push(sequence, media(sequence), now)
        assert buffer.held <= 20
        assert buffer.missing <= 100
        for event in events:
            if isinstance(event, Restart):
                position = event.sequence
            elif isinstance(event, Hole):
                assert event.first == position
                position += event.packets
            else:
                assert position in (None, event.sequence)
                position = event.sequence + 1
