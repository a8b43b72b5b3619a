"""What waits for a target, and what is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.model import Packet
from restream.queue import OVERHEAD, PacketQueue
from tests.restream.media import AAC, AVC, AVC_LARGER, picture, sound

pytestmark = pytest.mark.unit


def make(**limits: float) -> PacketQueue:
    queue = PacketQueue(max_bytes=int(limits.get("bytes", 10_000)), max_s=limits.get("s", 5.0))
    queue.put_formats([AVC, AAC])
    queue.open()
    return queue


def drain(queue: PacketQueue) -> list[object]:
    items: list[object] = []
    while (item := queue.pop()) is not None:
        items.append(item.dts if isinstance(item, Packet) else item)
    return items


def test_it_begins_with_the_formats_and_a_key_frame() -> None:
    queue = make()
    queue.put(picture(1))
    queue.put(sound(2))
    queue.put(picture(3, key=True))
    queue.put(sound(4))
    queue.put(picture(5))
    assert drain(queue) == [(AVC, AAC), 3, 4, 5]
    assert queue.dropped == 0
    assert queue.empty
    assert queue.bytes == 0


def test_sound_alone_begins_anywhere() -> None:
    queue = PacketQueue(max_bytes=1000, max_s=5)
    queue.put_formats([AAC])
    queue.open()
    queue.put(sound(7))
    assert drain(queue) == [(AAC,), 7]


def test_closed_it_holds_nothing_but_knows_the_formats() -> None:
    queue = make()
    queue.put(picture(0, key=True))
    queue.close()
    queue.put(picture(1, key=True))
    queue.put_formats([AVC_LARGER])
    assert queue.empty
    queue.open()
    queue.put(picture(2, key=True))
    assert drain(queue) == [(AVC_LARGER,), 2]


def test_what_waits_too_long_is_dropped_to_the_newest_key_frame() -> None:
    queue = make(s=5)
    for number in range(9):  # a picture each 0.6 s, every third a key frame
        queue.put(picture(number, key=number % 3 == 0, at_s=number * 0.6))
    assert queue.oldest_ns == 0
    queue.put(picture(9, key=True, at_s=5.4))
    assert queue.dropped == 9
    assert queue.oldest_ns == 5_400_000_000
    assert drain(queue) == [(AVC, AAC), 9]


def test_without_a_key_frame_everything_goes_until_the_next() -> None:
    queue = make(bytes=1000)
    queue.put(picture(0, key=True, size=400))
    queue.put(picture(1, size=400))
    assert queue.dropped == 2
    queue.put(picture(2))
    queue.put(sound(3))
    assert queue.dropped == 4
    queue.put(picture(4, key=True))
    assert drain(queue) == [(AVC, AAC), 4]


def test_a_key_frame_that_is_larger_than_the_queue_is_not_kept() -> None:
    queue = make(bytes=1000)
    queue.put(picture(0, key=True, size=400))
    queue.put(picture(1, key=True, size=900))
    assert queue.bytes == 0
    assert queue.dropped == 2


def test_tiny_packets_are_bounded_in_number() -> None:
    queue = make(bytes=100 * OVERHEAD)
    for number in range(1000):
        queue.put(picture(number, key=number % 10 == 0, size=0))
    assert len(drain(queue)) <= 101
    assert queue.dropped >= 900


def test_formats_that_were_dropped_over_are_not_lost() -> None:
    queue = make(bytes=1000)
    queue.put(picture(0, key=True, size=400))
    queue.put_formats([AVC_LARGER, AAC])
    queue.put(picture(1, key=True, size=400))
    assert drain(queue) == [(AVC_LARGER, AAC), 1]


def test_a_flood_of_formats_takes_no_room() -> None:
    queue = make()
    for _ in range(1000):
        queue.put_formats([AVC_LARGER])
        queue.put_formats([AVC])
    assert drain(queue) == [(AVC,)]


def test_opened_again_for_another_connection_it_keeps_what_it_holds() -> None:
    queue = make()
    queue.put(picture(0, key=True))
    formats = queue.pop()
    assert isinstance(formats, tuple)
    queue.push_back(formats)
    queue.open()
    assert drain(queue) == [(AVC, AAC), 0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["key", "picture", "sound", "formats", "pop", "open", "close"]),
            st.integers(0, 300),
            st.floats(0, 2),
        ),
        max_size=200,
    ),
    st.booleans(),
)
def test_it_is_bounded_and_every_gap_ends_at_a_key_frame(steps, pictures) -> None:
    queue = PacketQueue(max_bytes=1000, max_s=5)
    queue.put_formats([AVC, AAC] if pictures else [AAC])
    queue.open()
    now, expected = 0.0, 0
    opened = True
    for number, (kind, size, wait_s) in enumerate(steps):
        now += wait_s
        before = queue.dropped
        match kind:
            case "key" | "picture" if pictures:
                queue.put(picture(number, key=kind == "key", size=size, at_s=now))
            case "sound" | "key" | "picture":
                queue.put(sound(number, size=size, at_s=now))
            case "formats":
                queue.put_formats([AVC_LARGER, AAC] if pictures else [AAC])
            case "open":
                queue.open()
                opened = True
            case "close":
                queue.close()
                opened = False
                expected = 0
            case "pop":
                item = queue.pop()
                if isinstance(item, Packet):
                    if pictures and item.dts < expected:
                        pytest.fail("packets are out of order")
                    expected = item.dts
        assert queue.bytes <= 1000
        assert queue.dropped >= before
        assert opened or queue.empty
        if queue.oldest_ns is not None:
            assert now * 1e9 - queue.oldest_ns <= 5e9 + 1 or kind in ("pop", "formats", "open")
        else:
            assert queue.bytes == 0
