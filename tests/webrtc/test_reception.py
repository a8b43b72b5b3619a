"""What a receiver reports, the sender's clock, and feedback on a transport's arrivals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc.ntp import ntp_time
from webrtc.reception import ReceptionStatistics, TwccReceiver, round_trip_ns
from webrtc.rtcp import SenderReport, parse_rtcp, serialise_rtcp
from webrtc.twcc import TransportFeedback

pytestmark = pytest.mark.unit

MS = 1_000_000
SECOND = 1_000_000_000


def sender_report(ntp: int, timestamp: int, packets: int = 10) -> SenderReport:
    return SenderReport(
        ssrc=1, ntp=ntp, rtp_timestamp=timestamp, packet_count=packets, octet_count=0
    )


def test_loss_since_the_start_and_since_the_last_report() -> None:
    statistics = ReceptionStatistics(7, 90_000)
    for sequence in (65534, 65535, 65537, 65536 + 3):
        statistics.receive(sequence, 0, 0)
    block = statistics.report(0)
    assert (block.ssrc, block.cumulative_lost, block.highest_sequence) == (7, 2, 0x0001_0003)
    assert block.fraction_lost == 2 * 256 // 6
    assert (block.last_sr, block.delay_since_last_sr) == (0, 0)
    for sequence in (65536, 65540, 65541, 65542):
        statistics.receive(sequence, 0, 0)
    block = statistics.report(0)
    assert (block.cumulative_lost, block.fraction_lost) == (1, 0)
    assert statistics.report(0).fraction_lost == 0


def test_duplicates_count_against_losses_and_everything_lost_is_255() -> None:
    statistics = ReceptionStatistics(7, 90_000)
    for sequence in (1, 1, 1):
        statistics.receive(sequence, 0, 0)
    assert statistics.report(0).cumulative_lost == -2
    statistics.receive(2900, 0, 0)
    assert statistics.report(0).fraction_lost == 255


def test_nothing_received_reports_nothing_lost() -> None:
    block = ReceptionStatistics(7, 48_000).report(5)
    assert (block.cumulative_lost, block.fraction_lost, block.highest_sequence) == (0, 0, 0)


def test_jitter_is_that_of_the_rfc() -> None:
    statistics = ReceptionStatistics(7, 90_000)
    expected = 0.0
    before = None
    chance = random.Random(1)
    for index in range(500):
        arrived = index * 20 * MS + chance.randrange(15 * MS)
        timestamp = (2**32 - 5000 + index * 1800) % 2**32
        statistics.receive(index, timestamp, arrived)
        transit = arrived * 90_000 / SECOND - index * 1800
        if before is not None:
            expected += (abs(transit - before) - expected) / 16
        before = transit
    assert statistics.report(0).jitter == pytest.approx(expected, abs=2)
    assert statistics.jitter_ns == pytest.approx(expected / 90_000 * SECOND, rel=0.02)
    assert 2 * MS < statistics.jitter_ns < 10 * MS


def test_one_packet_far_away_does_not_count_and_two_are_a_restart() -> None:
    statistics = ReceptionStatistics(7, 90_000)
    for sequence in (1, 2, 30_000, 3):
        statistics.receive(sequence, 0, 0)
    assert statistics.report(0).cumulative_lost == 0
    for sequence in (50_000, 50_002):
        statistics.receive(sequence, 0, 0)
    block = statistics.report(0)
    assert (block.cumulative_lost, block.highest_sequence) == (0, 50_002)


def test_the_round_trip_comes_out_of_the_last_sender_report() -> None:
    statistics = ReceptionStatistics(7, 90_000)
    sent_ns = 1_800_000_000 * SECOND
    statistics.sender_report(sender_report(ntp_time(sent_ns), 0), 5 * SECOND)
    block = statistics.report(5 * SECOND + 250 * MS)
    assert block.last_sr == ntp_time(sent_ns) >> 16 & 0xFFFFFFFF
    assert block.delay_since_last_sr == 16384
    trip = round_trip_ns(block, ntp_time(sent_ns + 330 * MS))
    assert trip == pytest.approx(80 * MS, abs=MS // 10)
    assert round_trip_ns(block, ntp_time(sent_ns + 100 * MS)) is None
    assert round_trip_ns(ReceptionStatistics(7, 90_000).report(0), 1 << 60) is None


def arrivals(feedbacks: list[TransportFeedback]) -> dict[int, int]:
    """Return sequence numbers to microseconds, as a sender would read them."""
    found: dict[int, int] = {}
    for each in parse_rtcp(b"".join(serialise_rtcp([each]) for each in feedbacks)):
        assert isinstance(each, TransportFeedback)
        for step, ticks in each.arrivals:
            time = each.reference_time * 64_000 + ticks * 250
            found[(each.base_sequence + step) & 0xFFFF] = time
    return found


def test_feedback_tells_arrivals_and_losses_once() -> None:
    receiver = TwccReceiver(9)
    assert receiver.feedback(3, 0) == []
    for sequence, ms in ((65534, 100), (65535, 101), (1, 103), (0, 104)):
        receiver.receive(sequence, ms * MS)
    receiver.receive(0, 150 * MS)
    (first,) = feedbacks = receiver.feedback(3, 200 * MS)
    assert (first.sender_ssrc, first.media_ssrc, first.feedback_count) == (9, 3, 0)
    assert arrivals(feedbacks) == {65534: 100_000, 65535: 101_000, 0: 104_000, 1: 103_000}
    assert receiver.feedback(3, 200 * MS) == []
    receiver.receive(4, 210 * MS)
    (second,) = receiver.feedback(3, 220 * MS)
    assert (second.base_sequence, second.status_count, len(second.arrivals)) == (2, 3, 1)
    assert second.feedback_count == 1
    receiver.receive(3, 230 * MS)
    (third,) = feedbacks = receiver.feedback(3, 240 * MS)
    assert third.base_sequence == 3
    assert arrivals(feedbacks) == {3: 230_000, 4: 210_000}


def test_a_long_pause_begins_another_feedback() -> None:
    receiver = TwccReceiver(9)
    receiver.receive(1, 0)
    receiver.receive(2, 9 * SECOND)
    receiver.receive(30_000, 9 * SECOND)
    feedbacks = receiver.feedback(3, 9 * SECOND)
    assert [each.base_sequence for each in feedbacks] == [1, 2, 30_000]
    assert arrivals(feedbacks) == {1: 0, 2: 9_000_000, 30_000: 9_000_000}


def test_the_reference_time_wraps() -> None:
    receiver = TwccReceiver(9)
    receiver.receive(1, ((1 << 23) + 5) * 64 * MS)
    (feedback,) = receiver.feedback(3, 0)
    assert feedback.reference_time == 5 - (1 << 23)


def test_what_is_kept_is_bounded() -> None:
    receiver = TwccReceiver(9, max_packets=100)
    for sequence in range(150):
        receiver.receive(sequence, sequence * MS)
    assert receiver.forgotten == 50
    assert len(arrivals(receiver.feedback(3, 150 * MS))) == 100
    receiver.feedback(3, 10 * SECOND)
    receiver.receive(150, 10 * SECOND)
    assert arrivals(receiver.feedback(3, 10 * SECOND)) == {150: 10_000_000}


@given(
    st.lists(st.tuples(st.integers(-3, 40), st.integers(-5 * MS, 3 * SECOND)), max_size=1200),
    st.integers(0, 65535),
)
def test_any_arrivals_are_told_exactly_and_within_a_datagram(
    steps: list[tuple[int, int]], start: int
) -> None:
    receiver = TwccReceiver(9)
    sequence, now = start, 10 * SECOND
    sent: dict[int, int] = {}
    for step, wait in steps:
        sequence += step
        now += wait
        sent.setdefault(sequence, now // 250_000 * 250)
        receiver.receive(sequence & 0xFFFF, now)
    feedbacks = receiver.feedback(3, now)
    told: dict[int, int] = {}
    position = None
    for each in feedbacks:
        assert len(serialise_rtcp([each])) <= 1200
        read = arrivals([each])
        assert not read.keys() & told.keys()
        told |= read
        if position is not None and each.base_sequence != position:
            assert each.arrivals[0][0] == 0  # a gap too wide to be told of
        position = (each.base_sequence + each.status_count) & 0xFFFF
    assert told == {number & 0xFFFF: time for number, time in sent.items()}
