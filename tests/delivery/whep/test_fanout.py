"""Rungs, what they cost, and who is sent which (in virtual time)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from media.bitstream.formats import describe
from media.bitstream.h264 import build_avcc
from media.model import Codec
from tests.delivery.whep.bench import AUDIO, FORMAT, MS, PPS, SECOND, SPS, VIDEO, Bench
from webrtc.rtcp import ReceiverReport, Remb, ReportBlock
from webrtc.sdp.h264 import plays

pytestmark = pytest.mark.unit

SMALL = replace(FORMAT, width=FORMAT.width // 2, height=FORMAT.height // 2)


def ladder() -> Bench:
    """A source of 4.8 Mbit/s, a rung of a quarter of its pixels and of 0.7 Mbit/s."""
    bench = Bench()
    bench.open("source")
    bench.fanout.formats("240p", SMALL)
    return bench


def play(bench: Bench, numbers: range, *, sizes: dict[str, int] | None = None) -> None:
    for number in numbers:
        for rung, size in (sizes or {"source": 20_000, "240p": 3000}).items():
            bench.picture(number, key=number % 30 == 0, size=size, rung=rung)
        bench.pass_time(35 if number % 3 else 30)


def reception(fraction_lost: int) -> ReceiverReport:
    block = ReportBlock(
        ssrc=VIDEO,
        fraction_lost=fraction_lost,
        cumulative_lost=0,
        highest_sequence=0,
        jitter=0,
        last_sr=0,
        delay_since_last_sr=0,
    )
    return ReceiverReport(ssrc=1, reports=(block,))


def test_the_source_first_a_lower_rung_where_the_path_is_narrow() -> None:
    bench = ladder()
    play(bench, range(60))
    guest, other = bench.viewer().join(), bench.viewer().join()
    play(bench, range(60, 120))
    assert guest.viewer.lane is bench.fanout.lanes["source"]
    for number in range(120, 240, 30):
        guest.say(reception(90), Remb(sender_ssrc=1, bitrate=1_500_000, ssrcs=(VIDEO,)))
        play(bench, range(number, number + 30))
    assert guest.viewer.lane is bench.fanout.lanes["240p"]
    assert guest.viewer.counters.switches == 1
    assert other.viewer.lane is bench.fanout.lanes["source"]
    stamps = guest.timestamps()
    assert stamps == sorted(stamps)
    assert len(guest.units()) >= 120
    # The path is wide again: after some calm seconds, up.
    for number in range(240, 600, 30):
        guest.say(reception(0))
        play(bench, range(number, number + 30))
    assert guest.viewer.lane is bench.fanout.lanes["source"]


def test_a_viewer_gets_only_what_it_decodes() -> None:
    bench = ladder()
    play(bench, range(30))
    level = bench.fanout.lanes["240p"].profile_level_id
    guest = bench.viewer(plays=lambda _: False).join()
    play(bench, range(30, 40))
    assert guest.viewer.lane is None
    assert not guest.of(VIDEO)
    assert level == "42c01f"


def test_baseline_without_the_flag_is_what_browsers_play() -> None:
    bench = Bench()
    bare = bytes((*SPS[:2], 0, *SPS[3:]))
    bench.fanout.formats("source", describe(Codec.H264, build_avcc([bare], [PPS])))
    level = bench.fanout.lanes["source"].profile_level_id
    assert level is not None
    assert plays({"packetization-mode": "1", "profile-level-id": "42e01f"}, level)


def test_a_rung_that_ends_is_left_for_another() -> None:
    bench = ladder()
    play(bench, range(60))
    guest = bench.viewer().join()
    play(bench, range(60, 70))
    assert guest.viewer.lane is bench.fanout.lanes["source"]
    bench.fanout.gone("source")
    play(bench, range(70, 80), sizes={"240p": 3000})
    assert guest.viewer.lane is bench.fanout.lanes["240p"]
    # It had not to wait for a key picture: the group that is running was there.
    assert guest.timestamps()[-1] >= 79 * 3000
    bench.fanout.formats("source", FORMAT)
    play(bench, range(90, 400))
    assert guest.viewer.lane is bench.fanout.lanes["source"]


def test_a_rung_that_falls_silent_is_left_too() -> None:
    bench = ladder()
    play(bench, range(60))
    guest = bench.viewer().join()
    play(bench, range(60, 130), sizes={"240p": 3000})
    assert guest.viewer.lane is bench.fanout.lanes["240p"]


def test_rungs_with_b_pictures_are_not_sent() -> None:
    bench = ladder()
    bench.reorders.add("source")
    play(bench, range(60))
    guest = bench.viewer().join()
    play(bench, range(60, 70))
    assert guest.viewer.lane is bench.fanout.lanes["240p"]


def test_no_more_than_h264_is_sent() -> None:
    bench = Bench()
    bench.fanout.formats("source", replace(FORMAT, codec=Codec.HEVC))
    bench.picture(0, key=True)
    assert not bench.fanout.lanes["source"].usable(bench.now)
    bench.fanout.formats("source", replace(FORMAT, config=b"\1\2"))
    bench.picture(1, key=True)
    assert not bench.fanout.lanes["source"].usable(bench.now)
    bench.fanout.formats("source", FORMAT)
    bench.picture(2, key=True)
    assert bench.fanout.lanes["source"].usable(bench.now)
    assert not bench.fanout.lanes["source"].usable(bench.now + 2 * SECOND)


def test_a_rung_that_costs_as_much_as_a_better_one_is_none() -> None:
    bench = ladder()
    play(bench, range(90), sizes={"source": 3000, "240p": 3000})
    guest = bench.viewer()
    assert [lane.name for lane in guest.viewer.offers(bench.now)] == ["source"]


def test_what_is_kept_of_a_rung_is_bounded() -> None:
    bench = ladder()
    bench.picture(0, key=True)
    for number in range(1, 1000):
        bench.picture(number, size=20_000)
        lane = bench.fanout.lanes["source"]
        assert sum(frame.size for frame in lane.gop) <= 4 * 2**20
        assert len(lane.gop) <= 181
    assert not lane.gop
    bench.picture(1000, key=True)
    assert len(lane.gop) == 1


def test_broken_access_units_are_left_out() -> None:
    bench = ladder()
    play(bench, range(3))
    guest = bench.viewer().join()
    count = len(guest.rtp)
    packet = bench.fanout.lanes["source"]
    for payload in (b"", b"\0\0\0\x09abc", b"\0\0\0\1\x09"):
        from tests.delivery.whep.material import picture

        bench.packet("source", picture(9_000_000, payload, False))
    assert packet.broken == 3
    assert len(guest.rtp) == count


def test_many_viewers_of_a_large_picture_do_not_hold_up_the_loop() -> None:
    bench = ladder()
    bench.picture(0, key=True)
    guests = [bench.viewer().join() for _ in range(40)]
    for guest in guests:
        guest.rtp.clear()
    sends = 0
    # Every packet takes a tenth of a millisecond.
    now_ns = bench.fanout._now_ns

    def slow() -> int:
        bench.now += MS
        return now_ns()

    bench.fanout._now_ns = slow
    started = bench.now
    bench.picture(1, size=4000)
    assert bench.now - started < 60 * MS
    bench.fanout._now_ns = now_ns
    sends = sum(bool(guest.rtp) for guest in guests)
    assert 3 <= sends <= 8
    assert bench.busy >= 1
    bench.pass_time(20)
    assert all(guest.rtp for guest in guests)


def test_a_sound_that_fits_no_packet_is_left_out() -> None:
    bench = ladder()
    play(bench, range(3))
    guest = bench.viewer().join()
    bench.sound(0, b"\xfc" + bytes(3000))
    assert bench.fanout.unsendable == 1
    bench.fanout.gone("opus")
    bench.sound(1)
    assert all(packet.ssrc == VIDEO for _, packet in guest.rtp)


def test_sound_that_waited_for_its_encoder_is_left_out() -> None:
    bench = ladder()
    play(bench, range(30))
    guest = bench.viewer().join()
    # A second of sound at once; then it comes as it is made, 20 ms each.
    for number in range(50):
        bench.sound(number)
    first = len(guest.of(AUDIO))
    assert 5 <= first <= 9
    for number in range(50, 60):
        bench.pass_time(20)
        bench.sound(number)
    assert len(guest.of(AUDIO)) == first + 10
    # Later on all of it counts, however late.
    play(bench, range(30, 95))
    bench.sound(60)
    assert len(guest.of(AUDIO)) == first + 11


def test_sound_without_pictures_is_never_stale() -> None:
    bench = Bench()
    bench.open()
    guest = bench.viewer().join()
    for number in range(50):
        bench.sound(number)
    assert len(guest.of(AUDIO)) == 50
