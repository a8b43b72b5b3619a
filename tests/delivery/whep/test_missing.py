"""Which packets are lost, by feedback alone: a virtual path that loses, delays and disorders."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.whep.missing import MOST_NS, REMEMBERED, Missing
from tests.delivery.whep.bench import MS
from tests.support.examples import examples
from webrtc.twcc import TransportFeedback

pytestmark = pytest.mark.unit


def told(base: int, arrived: list[int], count: int = 0) -> TransportFeedback:
    """Return feedback: `arrived` are steps after `base`."""
    return TransportFeedback(
        sender_ssrc=1,
        media_ssrc=2,
        base_sequence=base & 0xFFFF,
        status_count=max(count, *(step + 1 for step in arrived)),
        reference_time=0,
        feedback_count=0,
        arrivals=tuple((step, step) for step in arrived),
    )


class Path:
    """Packets every 3 ms, feedback every 50 ms; what is missing comes again by the same path."""

    def __init__(self, *, loss: float, jitter_ms: float, lossy_feedback: bool = False) -> None:
        self.luck = random.Random(3)
        self.loss, self.jitter_ns, self.lossy_feedback = loss, jitter_ms * MS, lossy_feedback
        self.missing = Missing()
        self.number = 65_000
        self.now = 0
        self.sent = self.again = 0
        self.underway: list[tuple[float, int, int]] = []
        """(arrival, transport's number, sequence)"""
        self.first_sent: dict[int, int] = {}
        self.came: dict[int, float] = {}
        self.untold: list[int] = []

    def send(self, sequence: int, *, again: bool = False) -> None:
        self.sent += 1
        self.missing.sent(self.number & 0xFFFF, sequence, self.now, again=again)
        if self.luck.random() >= self.loss:
            due = self.now + 20 * MS + self.luck.random() * self.jitter_ns
            self.underway.append((due, self.number, sequence))
        self.number += 1

    def run(self, count: int) -> None:
        at = 0
        while at < count or self.now < 3 * MS * count + 2000 * MS:
            self.now += 3 * MS
            if at < count:
                self.first_sent[at] = self.now
                self.send(at)
                at += 1
            elif self.now % (30 * MS) == 0:
                self.missing.sent(self.number & 0xFFFF, None, self.now)  # sound goes on
                self.underway.append((self.now + 20 * MS, self.number, -1))
                self.number += 1
            for each in [each for each in self.underway if each[0] <= self.now]:
                self.underway.remove(each)
                self.came.setdefault(each[2], each[0])
                self.untold.append(each[1])
            if self.now % (51 * MS) == 0 and self.untold:
                base = min(self.untold)
                report = told(base, sorted(number - base for number in self.untold))
                self.untold = []
                if self.lossy_feedback and self.luck.random() < self.loss:
                    continue
                for sequence in self.missing.feedback(report):
                    self.again += 1
                    for _ in range(2):
                        self.send(sequence, again=True)


def test_a_path_that_only_disorders_is_left_alone_once_it_is_known() -> None:
    path = Path(loss=0, jitter_ms=30)
    path.run(1000)
    assert path.again < 30
    assert all(number in path.came for number in range(1000))


@pytest.mark.parametrize("lossy_feedback", [False, True])
def test_what_is_lost_comes_soon(lossy_feedback: bool) -> None:
    path = Path(loss=0.03, jitter_ms=30, lossy_feedback=lossy_feedback)
    path.run(3000)
    assert all(number in path.came for number in range(3000))
    assert path.again < (0.06 if not lossy_feedback else 0.12) * 3000
    waits = sorted(path.came[number] - path.first_sent[number] for number in range(3000))
    assert waits[int(0.99 * len(waits))] < 200 * MS
    assert waits[-1] < 500 * MS


def test_a_path_in_order_has_losses_noticed_at_once() -> None:
    missing = Missing()
    for at in range(20):
        missing.sent(at, 100 + at, at * MS)
    assert missing.feedback(told(0, [at for at in range(20) if at not in (3, 9)])) == [103, 109]
    assert missing.feedback(told(0, [3, 9])) == []  # too late, and known to be


def test_of_two_copies_one_is_enough_and_neither_is_one_loss() -> None:
    missing = Missing()
    for at in range(10):
        missing.sent(at, at, at * MS)
    assert missing.feedback(told(0, [0, 2, 9])) == [1, 3]
    for number, sequence in ((10, 1), (11, 1), (12, 3), (13, 3)):
        missing.sent(number, sequence, 20 * MS, again=True)
    for number in range(14, 20):
        missing.sent(number, number, (20 + number) * MS)
    rest = [step for step in range(4, 20) if step not in (10, 12, 13)]
    assert missing.feedback(told(0, rest)) == [3]


def test_what_has_arrived_is_forgotten() -> None:
    missing = Missing()
    for at in range(8200):
        missing.sent(at, at, at * MS)
        if at % 50 == 49:
            missing.feedback(told(at - 49, [step for step in range(50) if step != 7]))
    assert len(missing) in (REMEMBERED // 50, REMEMBERED // 50 + 1)  # those that were lost


def test_only_pictures_are_missing() -> None:
    missing = Missing()
    for at in range(20):
        missing.sent(at, at if at % 2 else None, at * MS)
    assert missing.feedback(told(0, [19])) == [1, 3, 5, 7, 9, 11, 13]


def test_feedback_of_packets_that_nobody_sent_means_nothing() -> None:
    missing = Missing()
    missing.sent(7, 1, 0)
    assert missing.feedback(told(40_000, [0, 1, 2])) == []
    assert missing.feedback(told(8, [0])) == []


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.sets(st.integers(0, 300), max_size=30))))
def test_whatever_is_told_each_packet_is_missing_once(
    reports: list[tuple[int, set[int]]],
) -> None:
    missing = Missing()
    found: list[int] = []
    now = 0
    for number, (base, steps) in enumerate(reports):
        for at in range(200):
            now += MS
            sequence = number * 200 + at
            missing.sent(sequence & 0xFFFF, sequence, now)
        if steps:
            found += missing.feedback(told(base, sorted(steps)))
    assert len(set(found)) == len(found)
    assert missing.late_ns <= max(now, 1)
    assert REMEMBERED * MS > MOST_NS
