"""What one viewer is sent, in virtual time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.whep.path import COPIES, REDUNDANT_BPS, REDUNDANT_NS
from delivery.whep.pictures import BURST_BYTES, MIN_STEP
from media.bitstream.nal import length_prefixed_spans
from media.clock import START_TICKS
from tests.delivery.whep.bench import (
    AUDIO,
    IDS,
    MS,
    PPS,
    RTX,
    SECOND,
    SPS,
    UTC_MS,
    VIDEO,
    Bench,
    Guest,
    number_of,
    unit,
)
from tests.delivery.whep.material import STEP
from webrtc.ntp import unix_ns
from webrtc.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    TransportFeedback,
)
from webrtc.rtp import RtpPacket

pytestmark = pytest.mark.unit


def play(bench: Bench, numbers: range, *, gop: int = 30, size: int = 3000) -> None:
    """Pass on pictures in real time."""
    for number in numbers:
        bench.picture(number, key=number % gop == 0, size=size)
        bench.pass_time(35 if number % 3 else 30)


def nals(payload: bytes) -> list[bytes]:
    return [payload[start:stop] for start, stop in length_prefixed_spans(payload)]


def test_a_viewer_begins_with_the_newest_key_picture_and_catches_up() -> None:
    bench = Bench()
    bench.open("source")
    play(bench, range(75))
    guest = bench.viewer().join()
    assert bench.busy == 1
    assert guest.rtp  # at once
    play(bench, range(75, 90))
    units = guest.units()
    first = nals(units[0])
    assert first[:2] == [SPS, PPS]
    assert first[2] == unit(3000, True, 60)[4:]
    assert [nals(each)[-1] for each in units[1:]] == [
        unit(3000, False, number)[4:] for number in range(61, 90)
    ]
    stamps = guest.timestamps()
    assert all(b - a >= MIN_STEP for a, b in itertools.pairwise(stamps))
    # Half a second of pictures under the time in which they were sent, then each under its own.
    assert stamps[0] == pytest.approx(START_TICKS + 75 * STEP, abs=STEP)
    assert stamps[-1] == START_TICKS + 89 * STEP
    assert stamps[14] < START_TICKS + 79 * STEP


def test_a_viewer_without_a_key_picture_waits_and_asks() -> None:
    bench = Bench()
    bench.open("source")
    bench.picture(1)
    guest = bench.viewer().join()
    bench.pass_time(50)
    assert not guest.of(VIDEO)
    assert len(bench.asked) == 1
    bench.picture(2)
    bench.picture(3, key=True)
    assert guest.timestamps() == [START_TICKS + 3 * STEP]


def test_sequence_numbers_follow_each_other_and_packets_carry_what_was_agreed() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(10))
    bench.sound(16)
    sequence = [packet.sequence for packet in guest.of(VIDEO)]
    assert sequence[0] == 65_530
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(sequence))
    said = [IDS.read(packet) for _, packet in guest.rtp]
    assert [each.transport_sequence for each in said] == list(range(len(said)))
    assert {each.mid for each in said} == {"0", "1"}
    (heard,) = guest.of(AUDIO)
    assert heard.timestamp == (START_TICKS + 16 * 1800) * 8 // 15 + 77
    assert not heard.marker
    markers = [packet.marker for packet in guest.of(VIDEO)]
    assert sum(markers) == 10


def test_a_large_picture_is_spread() -> None:
    bench = Bench()
    bench.open("source")
    bench.picture(0, key=True)
    guest = bench.viewer().join()
    bench.pass_time(100)
    guest.rtp.clear()
    bench.picture(1, size=60_000)
    at_once = sum(len(packet.payload) for _, packet in guest.rtp)
    assert BURST_BYTES <= at_once <= BURST_BYTES + 1200
    assert guest.viewer.busy
    bench.pass_time(60)
    assert not guest.viewer.busy
    sent = guest.of(VIDEO)
    assert sum(len(packet.payload) for packet in sent) > 60_000
    assert [packet.marker for packet in sent] == [False] * (len(sent) - 1) + [True]


def test_lost_packets_come_again_under_rtx() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(12))
    lost = {packet.sequence for packet in guest.of(VIDEO)[5:9]}
    assert len(guest.units(lost)) < 12
    guest.say(Nack(sender_ssrc=1, media_ssrc=VIDEO, lost=tuple(sorted(lost))))
    assert len(guest.units(lost)) == 12
    assert len(guest.of(RTX)) == 4
    assert guest.viewer.video is not None
    assert guest.viewer.video.nacked == 4
    # Asked again at once, they have just been sent: no answer.
    guest.say(Nack(sender_ssrc=1, media_ssrc=VIDEO, lost=tuple(sorted(lost))))
    assert len(guest.of(RTX)) == 4


def tell(guest: Guest, packets: list[RtpPacket], lost: set[int]) -> None:
    """Have a viewer say that these have come, except for those with a sequence number of `lost`."""
    numbers = [IDS.transport_sequence(packet) or 0 for packet in packets]
    steps = [
        number - numbers[0]
        for number, packet in zip(numbers, packets, strict=True)
        if packet.sequence not in lost
    ]
    guest.say(
        TransportFeedback(
            sender_ssrc=1,
            media_ssrc=VIDEO,
            base_sequence=numbers[0],
            status_count=numbers[-1] - numbers[0] + 1,
            reference_time=0,
            feedback_count=0,
            arrivals=tuple((step, 40 * step) for step in steps),
        )
    )


@pytest.mark.parametrize("asks_again", [False, True])
def test_who_asks_for_nothing_again_gets_what_feedback_says_is_missing(asks_again: bool) -> None:
    bench = Bench(asks_again=asks_again)
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(12))
    sent = guest.of(VIDEO)
    lost = {packet.sequence for packet in sent[5:9]}
    tell(guest, sent, lost)
    if asks_again:
        assert not guest.of(RTX)
        return
    assert len(guest.units(lost)) == 12
    # Each comes twice, and again where feedback says that neither has arrived.
    assert len(guest.of(RTX)) == COPIES * 4
    play(bench, range(12, 15))
    tell(guest, guest.of(VIDEO)[len(sent) :], set())
    assert len(guest.of(RTX)) == COPIES * 8


def test_who_was_away_for_long_gets_the_newest_group_instead_of_old_packets() -> None:
    bench = Bench(asks_again=False)
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(12))
    tell(guest, guest.of(VIDEO), set())
    play(bench, range(12, 102))
    before = len(guest.of(VIDEO))
    bench.picture(102)
    tell(guest, guest.of(VIDEO)[before:], set())
    assert not guest.of(RTX)
    assert len(bench.asked) == 1
    bench.pass_time(200)
    group = [number_of(nals(each)[-1]) for each in guest.units()][103:]
    assert group == list(range(90, 103))


def test_sound_that_carries_no_numbers_does_not_pass_for_lost() -> None:
    bench = Bench(counts_sound=False)
    bench.open("source")
    guest = bench.viewer().join()
    told = 0
    for number in range(60):
        bench.sound(2 * number)
        bench.sound(2 * number + 1)
        play(bench, range(number, number + 1))
        if fresh := guest.of(VIDEO)[told:]:
            tell(guest, fresh, set())
        told += len(fresh)
    assert len(guest.of(AUDIO)) == 120
    assert guest.viewer.estimator.loss == 0


def test_what_is_too_much_to_be_sent_again_is_begun_anew() -> None:
    bench = Bench(asks_again=False)
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(60))
    tell(guest, guest.of(VIDEO), set())
    before = len(guest.of(VIDEO))
    play(bench, range(60, 85), size=40_000)  # twice what may be sent again at once
    sent = guest.of(VIDEO)[before:]
    lost = {packet.sequence for packet in sent[1:-40]}
    tell(guest, sent, lost)
    assert len(bench.asked) == 1
    bench.pass_time(2000)
    group = [number_of(nals(each)[-1]) for each in guest.units(lost)]
    assert group[-25:] == list(range(60, 85))


def test_a_packet_that_is_too_old_keeps_back_no_other() -> None:
    bench = Bench(asks_again=False)
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(25))
    bench.pass_time(1500)
    play(bench, range(30, 45))
    # Within two seconds of its beginning, the viewer is not sent the group once more.
    guest.viewer._replayed_ns = bench.now
    sent = guest.of(VIDEO)
    lost = {sent[1].sequence, sent[-40].sequence}
    tell(guest, sent, lost)
    assert len(bench.asked) == 1
    assert len(guest.of(RTX)) == COPIES


def test_without_rtx_they_come_again_as_they_were() -> None:
    bench = Bench(rtx=False)
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(3))
    before = guest.of(VIDEO)
    guest.say(Nack(sender_ssrc=1, media_ssrc=VIDEO, lost=(before[2].sequence,)))
    again = guest.of(VIDEO)[-1]
    assert again._replace(extension=b"") == before[2]._replace(extension=b"")


def loss_of(ssrc: int) -> ReceiverReport:
    block = ReportBlock(
        ssrc=ssrc,
        fraction_lost=8,
        cumulative_lost=3,
        highest_sequence=90,
        jitter=0,
        last_sr=0,
        delay_since_last_sr=0,
    )
    return ReceiverReport(ssrc=1, reports=(block,))


def test_sound_comes_twice_while_packets_get_lost() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()

    def heard(numbers: range) -> list[RtpPacket]:
        before = len(guest.of(AUDIO))
        for number in numbers:
            bench.sound(number, bytes((0xFC, number)))
            bench.pass_time(20)
        return guest.of(AUDIO)[before:]

    assert [packet.payload for packet in heard(range(3))] == [
        bytes((0xFC, number)) for number in range(3)
    ]
    guest.say(loss_of(AUDIO))
    packets = heard(range(3, 6))
    assert {packet.payload_type for packet in packets} == {63}
    # RFC 2198: one block of type 111, 960 ticks older, two bytes; then the packet's own.
    head = (1 << 31 | 111 << 24 | 960 << 10 | 2).to_bytes(4, "big") + bytes((111,))
    assert [packet.payload for packet in packets] == [
        head + bytes((0xFC, number - 1, 0xFC, number)) for number in range(3, 6)
    ]
    # Asked for again, a packet goes out alone.
    guest.say(Nack(sender_ssrc=1, media_ssrc=AUDIO, lost=(packets[0].sequence,)))
    again = guest.of(AUDIO)[-1]
    assert (again.payload_type, again.payload) == (111, bytes((0xFC, 3)))
    # What is far older helps nobody.
    assert heard(range(40, 41))[0].payload_type == 111
    bench.pass_time(REDUNDANT_NS // MS)
    assert {packet.payload_type for packet in heard(range(41, 44))} == {111}


def test_a_path_that_carries_little_gets_sound_once() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    guest.say(loss_of(AUDIO), Remb(sender_ssrc=1, bitrate=REDUNDANT_BPS // 2, ssrcs=(VIDEO,)))
    for number in range(3):
        bench.sound(number)
    assert {packet.payload_type for packet in guest.of(AUDIO)} == {111}


def test_reports_tie_sound_and_picture_to_the_shows_utc() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    for number in range(60):
        bench.picture(number, key=number == 0)
        bench.sound(number)
        bench.pass_time(35)
    reports = [each for each in guest.rtcp if isinstance(each, SenderReport)]
    assert {each.ssrc for each in reports} == {VIDEO, AUDIO}
    assert 4 <= len(reports) <= 6
    for each in reports:
        past_ms = unix_ns(each.ntp) / 1e6 - UTC_MS
        rate, offset = (90, 0xFFFFFF00) if each.ssrc == VIDEO else (48, 77)
        start = START_TICKS * rate // 90
        stamp = (each.rtp_timestamp - offset - start) & 0xFFFFFFFF
        assert stamp / rate == pytest.approx(past_ms, abs=0.1)
    names = [each for each in guest.rtcp if isinstance(each, SourceDescription)]
    assert {name for each in names for _, name in each.names} == {b"vitrina"}
    # The viewer's answer to the last one gives the round trip.
    last = next(each for each in reversed(reports) if each.ssrc == VIDEO)
    block = ReportBlock(
        ssrc=VIDEO,
        fraction_lost=5,
        cumulative_lost=3,
        highest_sequence=1,
        jitter=900,
        last_sr=last.ntp >> 16 & 0xFFFFFFFF,
        delay_since_last_sr=65536 // 100,
    )
    bench.now += 30 * MS
    guest.say(ReceiverReport(ssrc=1, reports=(block,)))
    assert guest.viewer.rtt_ns is not None
    assert guest.viewer.rtt_ns > 15 * MS
    assert guest.viewer.video is not None
    assert guest.viewer.video.lost == 3
    assert guest.viewer.video.jitter_ns == 10 * MS


def test_many_viewers_in_need_ask_the_encoder_once_a_second() -> None:
    bench = Bench()
    bench.open("source")
    guests = [bench.viewer().join() for _ in range(60)]
    play(bench, range(20), gop=1000)
    bench.asked.clear()
    bench.pass_time(1000)
    for second in range(3):
        for guest in guests:
            guest.say(PictureLoss(sender_ssrc=1, media_ssrc=VIDEO))
            guest.say(FullIntraRequest(sender_ssrc=1, entries=((VIDEO, second),)))
        bench.pass_time(1000)
    assert 2 <= len(bench.asked) <= 4
    assert all(b - a >= SECOND for a, b in itertools.pairwise(bench.asked))


def test_a_key_picture_is_asked_of_the_rung_that_a_viewer_gets() -> None:
    bench = Bench()
    bench.open("360p")
    guest = bench.viewer().join()
    for number in range(10):
        bench.picture(number, key=number == 0, rung="360p")
    bench.asked_of.clear()
    bench.pass_time(1000)
    guest.say(PictureLoss(sender_ssrc=1, media_ssrc=VIDEO))
    assert bench.asked_of == ["360p"]
    # Another rung's key picture is of no use to it.
    guest.say(PictureLoss(sender_ssrc=1, media_ssrc=VIDEO))
    bench.open("source")
    bench.picture(10, key=True)
    bench.pass_time(1000)
    assert bench.asked_of == ["360p"] * 2


def test_a_lost_picture_is_answered_with_the_newest_group_too() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(90))
    before = len(guest.units())
    guest.say(PictureLoss(sender_ssrc=1, media_ssrc=VIDEO))
    bench.pass_time(300)
    again = guest.units()[before:]
    assert nals(again[0])[-1] == unit(3000, True, 60)[4:]
    stamps = guest.timestamps()
    assert all(b - a >= MIN_STEP for a, b in itertools.pairwise(stamps))
    # Another one straight after it is not.
    count = len(guest.units())
    guest.say(PictureLoss(sender_ssrc=1, media_ssrc=VIDEO))
    bench.pass_time(30)
    assert len(guest.units()) == count


def test_who_always_wants_the_newest_group_gets_it_ever_more_rarely() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    for number in range(40 * 30):
        bench.picture(number, size=200, key=number % 300 == 0)  # groups of ten seconds
        guest.say(PictureLoss(sender_ssrc=1, media_ssrc=VIDEO))
        bench.pass_time(35)
    assert len(guest.units()) < 1.7 * 40 * 30
    # After a calm while, at once again.
    bench.now += 130 * SECOND
    for number in range(170 * 30, 172 * 30):
        bench.picture(number, size=200, key=number == 170 * 30)
        bench.pass_time(35)
    before = len(guest.units())
    guest.say(PictureLoss(sender_ssrc=1, media_ssrc=VIDEO))
    bench.pass_time(300)
    assert len(guest.units()) > before + 20


def test_who_does_not_keep_up_misses_pictures_up_to_the_next_key_picture() -> None:
    bench = Bench()
    bench.open("source")
    bench.picture(0, key=True)
    guest = bench.viewer().join()
    # 38 Mbit/s from a rung that had a tenth of it: more than pacing lets through at first.
    for number in range(1, 60):
        bench.picture(number, key=number % 30 == 0, size=160_000)
        bench.pass_time(35)
    assert guest.viewer.counters.dropped > 0
    assert bench.asked
    slices = [nals(each)[-1] for each in guest.units()]
    gaps = [b for a, b in itertools.pairwise(slices) if number_of(b) != number_of(a) + 1]
    assert gaps
    assert {each[0] for each in gaps} == {0x65}


def test_goodbye() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(3))
    count = len(guest.rtp)
    guest.viewer.end()
    bench.picture(3)
    assert len(guest.rtp) == count
    assert guest.rtcp[-1] == Goodbye(ssrcs=(VIDEO, AUDIO))
    bench.fanout.ended()
    assert bench.ended == 1


def test_what_a_viewer_can_make_us_read_is_bounded() -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(3))
    for _ in range(4000):
        guest.say(Nack(sender_ssrc=1, media_ssrc=VIDEO, lost=(65_530,)))
    assert guest.viewer.video is not None
    assert guest.viewer.video.nacked <= 2500
    assert guest.viewer.counters.flooded >= 400
    bench.now += SECOND
    guest.viewer.rtcp(b"\x80\xc9", bench.now)
    assert guest.viewer.counters.malformed == 1


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_whatever_a_viewer_says_is_borne(said: list[bytes]) -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer().join()
    play(bench, range(2))
    for data in said:
        guest.viewer.rtcp(data, bench.now)
        bench.pass_time(5)
    assert len(guest.rtp) < 200


@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(10, 40_000)), min_size=5, max_size=60),
    st.integers(0, 30),
)
def test_pictures_come_whole_in_order_and_never_back_in_time(
    pictures: list[tuple[int, int]], join_at: int
) -> None:
    bench = Bench()
    bench.open("source")
    guest = bench.viewer()
    for number, (wait_ms, size) in enumerate(pictures):
        if number == join_at:
            guest.join()
        bench.picture(number, key=number % 10 == 0, size=size)
        bench.pass_time(wait_ms)
    bench.pass_time(500)
    stamps = guest.timestamps()
    assert all(b > a for a, b in itertools.pairwise(stamps))
    sent = {unit(size, n % 10 == 0, n)[4:] for n, (_, size) in enumerate(pictures)}
    got = [nals(each)[-1] for each in guest.units()]
    assert set(got) <= sent
    if not guest.viewer.counters.dropped and join_at < len(pictures):
        assert (
            got[-1] == unit(pictures[-1][1], (len(pictures) - 1) % 10 == 0, len(pictures) - 1)[4:]
        )
