"""Pictures since an older key frame, squeezed so that the present one is next."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.model import Codec, Kind, Packet
from media.standby.catchup import STEP, catch_up

pytestmark = pytest.mark.unit

WRAP = 2**32 * 90
FRAME = 3000
FRAME_NS = 33_333_333


def unwrapped(packet: Packet, near: int) -> tuple[int, int]:
    half = WRAP // 2
    dts = (packet.dts - near + half) % WRAP - half
    return dts, dts + (packet.pts - packet.dts + half) % WRAP - half


def group(order: list[int], start: int = 0) -> list[Packet]:
    """Pictures in decoding order, `order` says when each is presented; sound between them."""
    depth = max((number - at for number, at in enumerate(order)), default=0)
    packets = []
    for number, at in enumerate(order):
        for codec in (Codec.H264, Codec.AAC):
            dts = start + number * FRAME
            pts = start + (at + depth) * FRAME if codec is Codec.H264 else dts
            packets.append(
                Packet(
                    track=0,
                    codec=codec,
                    dts=dts % WRAP,
                    pts=pts % WRAP,
                    key=number == 0 or codec is Codec.AAC,
                    payload=b"%d" % number,
                    arrived_ns=number * FRAME_NS,
                )
            )
    return packets


def pictures(packets: list[Packet]) -> list[Packet]:
    return [packet for packet in packets if packet.kind is Kind.VIDEO]


def test_past_pictures_take_no_time_and_past_sound_is_left_out():
    packets = group(list(range(60)))
    result = catch_up(packets, 40 * FRAME_NS, wrap_ticks=WRAP)
    shown = pictures(result)
    assert [p.payload for p in shown] == [p.payload for p in pictures(packets)]
    assert shown[40:] == pictures(packets)[40:]
    assert shown[0].key
    assert [b.dts - a.dts for a, b in pairwise(shown[:41])] == [STEP] * 40
    assert all(p.arrived_ns == 40 * FRAME_NS for p in shown[:41])
    assert [p.payload for p in result if p.kind is Kind.AUDIO] == [b"%d" % n for n in range(39, 60)]


def test_the_last_past_picture_lasts_until_the_present_one():
    packets = group(list(range(60)))
    after_ns = 40 * FRAME_NS - 20_000_000
    shown = pictures(catch_up(packets, after_ns, wrap_ticks=WRAP))
    assert [b.dts - a.dts for a, b in pairwise(shown[:41])] == [STEP] * 39 + [1800 + STEP]
    assert all(abs(p.arrived_ns - after_ns) < 20_000 for p in shown[:40])
    assert shown[40:] == pictures(packets)[40:]


def test_a_key_frame_that_comes_a_little_later_begins_earlier():
    packets = group(list(range(10)), start=100 * FRAME)
    shown = pictures(catch_up(packets, -50_000_000, wrap_ticks=WRAP))
    assert (shown[0].dts, shown[0].pts) == (100 * FRAME - 4500, 100 * FRAME - 4500)
    assert shown[0].arrived_ns == -50_000_000
    assert shown[1:] == pictures(packets)[1:]


def test_the_newest_picture_keeps_its_time():
    packets = group(list(range(60)))
    result = pictures(catch_up(packets, 1000 * FRAME_NS, wrap_ticks=WRAP))
    assert result[-1] == pictures(packets)[-1]
    assert (result[-1].dts - result[0].dts) == 59 * STEP


def test_a_key_frame_that_is_not_past_starts_as_it_is():
    packets = group(list(range(10)))
    assert catch_up(packets, 0, wrap_ticks=WRAP) == packets
    assert catch_up(packets, -(10**9), wrap_ticks=WRAP) == packets
    assert catch_up([], 0, wrap_ticks=WRAP) == []


@given(
    blocks=st.lists(st.integers(0, 3), min_size=1, max_size=20),
    past=st.integers(0, 90),
    start=st.sampled_from([0, WRAP - 20 * FRAME]),
)
def test_with_reordered_pictures_times_stay_in_order(blocks, past, start):
    order, at = [0], 1
    for between in blocks:  # a reference picture, and before it in presentation some B-frames
        order += [at + between, *range(at, at + between)]
        at += between + 1
    packets = group(order, start)
    result = pictures(catch_up(packets, past * FRAME_NS, wrap_ticks=WRAP))
    before = pictures(packets)
    times = [unwrapped(packet, start) for packet in result]
    assert all(b[0] > a[0] for a, b in pairwise(times))
    assert all(pts >= dts for dts, pts in times)
    assert [p.payload for p in result] == [p.payload for p in before]
    original = [unwrapped(packet, start) for packet in before]
    present = min(past, len(before) - 1)
    assert times[present:] == original[present:]
    # What is presented in which order does not change.
    ranks = sorted(range(len(times)), key=lambda n: (times[n][1], original[n][1]))
    assert ranks == sorted(range(len(times)), key=lambda n: original[n][1])


def test_tracks_of_one_encoder_move_alike():
    main = group(list(range(20)))
    further = [
        replace(packet, track=1, arrived_ns=packet.arrived_ns + 3_000_000)
        for packet in main
        if packet.kind is Kind.VIDEO
    ]
    both = sorted([*main, *further], key=lambda packet: packet.arrived_ns)
    after_ns = 10 * FRAME_NS - 10_000_000
    moved = pictures(catch_up(both, after_ns, wrap_ticks=WRAP))
    times = [[(p.dts, p.pts) for p in moved if p.track == track] for track in (0, 1)]
    assert times[0] == times[1]
    assert len(times[0]) == 20
    assert catch_up(main, -50_000_000, wrap_ticks=WRAP, stretch=False) == main
