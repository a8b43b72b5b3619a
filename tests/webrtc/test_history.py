"""Answers to NACKs from a bounded memory, and requests for key pictures."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc.extensions import ExtensionMap
from webrtc.header import HeaderWriter
from webrtc.history import HistoryLimits, KeyframeRequests, SentHistory
from webrtc.rtp import parse_rtp, restore_rtx

pytestmark = pytest.mark.unit

MS = 1_000_000
SECOND = 1_000_000_000
MEDIA = HeaderWriter(ssrc=5, payload_type=96)
RTX = HeaderWriter(ssrc=6, payload_type=97)


def filled(history: SentHistory, count: int = 10, first: int = 65_530) -> SentHistory:
    for index in range(count):
        history.add(
            b"payload %d" % index,
            marker=index % 2 == 1,
            sequence=(first + index) & 0xFFFF,
            timestamp=index * 3000,
            now_ns=index * MS,
        )
    return history


def original(index: int) -> bytes:
    return MEDIA.write(
        b"payload %d" % index,
        marker=index % 2 == 1,
        sequence=(65_530 + index) & 0xFFFF,
        timestamp=index * 3000,
    )


def test_without_rtx_the_same_packet_goes_out_again() -> None:
    history = filled(SentHistory(MEDIA))
    assert history.answer([65_531, 2], 20 * MS) == [original(1), original(8)]
    assert history.answer([100], 20 * MS) == []
    assert (history.counters.resent, history.counters.unknown) == (2, 1)


def test_rtx_carries_the_packet_on_a_stream_of_its_own() -> None:
    history = filled(SentHistory(MEDIA, RTX, rtx_sequence=65_535))
    packets = [parse_rtp(data) for data in history.answer([65_531, 2], 20 * MS)]
    assert [(each.sequence, each.ssrc, each.payload_type) for each in packets] == [
        (65_535, 6, 97),
        (0, 6, 97),
    ]
    restored = [restore_rtx(each, ssrc=5, payload_type=96) for each in packets]
    assert restored == [parse_rtp(original(1)), parse_rtp(original(8))]


def test_resent_packets_count_on_the_transports_numbers() -> None:
    ids = ExtensionMap(mid=1, abs_send_time=2, transport_cc=3)
    writer = HeaderWriter(ssrc=6, payload_type=97, ids=ids, mid="0")
    history = filled(SentHistory(MEDIA, writer))
    numbers = itertools.count(500)
    packets = history.answer(
        [65_531, 77, 65_532], 20 * MS, send_time=8, transport_sequence=lambda: next(numbers)
    )
    read = [ids.read(parse_rtp(data)) for data in packets]
    assert [(each.mid, each.abs_send_time, each.transport_sequence) for each in read] == [
        ("0", 8, 500),
        ("0", 8, 501),
    ]


def test_a_packet_is_sent_again_so_often_and_not_too_soon() -> None:
    history = filled(SentHistory(MEDIA))
    counts = [len(history.answer([0], ms * MS)) for ms in (20, 29, 30, 40, 50, 60)]
    assert counts == [1, 0, 1, 1, 0, 0]
    assert (history.counters.too_soon, history.counters.too_often) == (1, 2)


def test_what_is_resent_is_bounded_by_rate() -> None:
    history = SentHistory(MEDIA, limits=HistoryLimits(bytes_per_second=1000))
    for sequence in range(100):
        history.add(bytes(100), marker=False, sequence=sequence, timestamp=0, now_ns=0)
    assert len(history.answer(range(100), 0)) == 20
    assert history.counters.throttled == 80
    assert len(history.answer(range(20, 100), SECOND)) == 10
    assert len(history.answer(range(30, 100), SECOND + 50 * MS)) == 0
    assert len(history.answer(range(30, 100), SECOND + 100 * MS)) == 1


def test_what_is_remembered_is_bounded_by_age() -> None:
    history = filled(SentHistory(MEDIA, limits=HistoryLimits(max_age_ns=SECOND)))
    assert history.answer([65_534], 4 * MS + SECOND) == [original(4)]
    assert history.answer([65_533], 4 * MS + SECOND) == []
    history.add(b"new", marker=True, sequence=50, timestamp=0, now_ns=8 * MS + SECOND)
    assert history.held == 3


def test_a_number_that_comes_round_again_is_the_new_packet() -> None:
    history = filled(SentHistory(MEDIA))
    history.add(b"new", marker=True, sequence=65_530, timestamp=1, now_ns=20 * MS)
    (data,) = history.answer([65_530], 20 * MS)
    assert parse_rtp(data).payload == b"new"
    assert history.held == 10


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50), st.integers(0, 300))))
def test_the_memory_is_bounded(steps: list[tuple[int, int, int]]) -> None:
    limits = HistoryLimits(max_packets=10, max_bytes=1000, max_age_ns=100 * MS)
    history = SentHistory(MEDIA, limits=limits)
    now = 0
    sizes: dict[int, tuple[int, int]] = {}
    for sequence, wait, size in steps:
        now += wait * MS
        payload = bytes(size)
        history.add(payload, marker=False, sequence=sequence, timestamp=0, now_ns=now)
        sizes[sequence] = (size, now)
        assert history.held <= 10
        assert history.held_bytes <= 1000
        for data in history.answer(range(300), now):
            packet = parse_rtp(data)
            known, sent = sizes[packet.sequence]
            assert len(packet.payload) == known
            assert now - sent <= 100 * MS


def test_many_viewers_ask_for_one_key_picture_a_second() -> None:
    requests = KeyframeRequests()
    assert not requests.due(0)
    for _ in range(50):
        requests.picture_loss()
    assert requests.due(5)
    assert not requests.due(5)
    requests.picture_loss()
    assert requests.wake_ns(6) == 5 + SECOND
    assert not requests.due(4 + SECOND)
    assert requests.due(5 + SECOND)
    assert requests.wake_ns(5 + SECOND) is None
    assert (requests.asked, requests.received) == (2, 51)


def test_a_key_picture_serves_all_who_asked_before() -> None:
    requests = KeyframeRequests()
    requests.picture_loss()
    assert requests.due(0)
    requests.picture_loss()
    requests.key_picture()
    assert not requests.due(2 * SECOND)


def test_a_repeated_fir_is_no_new_request() -> None:
    requests = KeyframeRequests()
    requests.full_intra("a", 1, 7)
    assert requests.due(0)
    requests.full_intra("a", 1, 7)
    assert not requests.due(2 * SECOND)
    requests.full_intra("a", 2, 7)
    assert requests.due(2 * SECOND)
    requests.full_intra("b", 1, 7)
    assert requests.due(4 * SECOND)
    requests.full_intra("a", 1, 8)
    assert requests.due(6 * SECOND)


def test_the_numbers_of_so_many_viewers_are_remembered() -> None:
    requests = KeyframeRequests()
    for index in range(KeyframeRequests.MAX_VIEWERS + 1):
        requests.full_intra("a", index, 1)
    assert requests.due(0)
    requests.full_intra("a", 1, 1)
    assert not requests.due(2 * SECOND)
    requests.full_intra("a", 0, 1)
    assert requests.due(2 * SECOND)
