"""An encoder's health from what arrives of it, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.model import Codec, Kind, Packet
from media.standby.hold import MAX_AGE_NS, MAX_BYTES, MAX_NS, SOUND_NS, KeyHold
from media.standby.vitals import HISTORY, MAX_SILENCE_NS, RECENT, SECOND_NS, Vitals

pytestmark = pytest.mark.unit

WRAP = 2**32 * 90
START_NS = 5 * SECOND_NS


def packet(dts: int, arrived_ns: int, *, size: int = 5000, key: bool = False, audio: bool = False):
    return Packet(
        track=0,
        codec=Codec.AAC if audio else Codec.H264,
        dts=dts % WRAP,
        pts=dts % WRAP,
        key=key or audio,
        payload=bytes(size),
        arrived_ns=arrived_ns,
    )


class Encoder:
    """Sends 30 pictures and 50 sounds a second into a `Vitals`."""

    def __init__(self, dts: int = 0) -> None:
        self.vitals = Vitals(wrap_ticks=WRAP, start_ns=START_NS)
        self.now_ns = START_NS
        self.dts = dts
        self.frame = 0

    def send(
        self,
        seconds: float,
        *,
        size: int = 5000,
        rate: int = 30,
        pace: float = 1.0,
        sound: bool = True,
        gop_s: float = 2.0,
        step: int | None = None,
    ) -> None:
        for _ in range(round(seconds * rate)):
            key = self.frame % round(rate * gop_s) == 0
            self.vitals.take(packet(self.dts, self.now_ns, size=size, key=key))
            if sound:
                self.vitals.take(packet(self.dts, self.now_ns + 1, size=300, audio=True))
            self.frame += 1
            self.dts += step if step is not None else round(90000 / rate * pace)
            self.now_ns += SECOND_NS // rate

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND_NS)

    @property
    def score(self) -> float:
        return self.vitals.assess(self.now_ns).score

    @property
    def complaint(self) -> str | None:
        return self.vitals.assess(self.now_ns).complaint


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def test_a_steady_encoder_is_perfectly_well(encoder: Encoder):
    for _ in range(60):
        encoder.send(1)
        assert encoder.vitals.assess(encoder.now_ns) == (encoder.vitals.assess(encoder.now_ns))
        assert encoder.score == 1.0
        assert encoder.complaint is None
    assert encoder.vitals.bitrate_bps == pytest.approx(30 * 5300 * 8, rel=0.05)
    assert encoder.vitals.lead_s < 0.1


def test_the_wrap_of_its_clock_is_no_fault():
    encoder = Encoder(dts=WRAP - 10 * 90000)
    encoder.send(20)
    assert encoder.score == 1.0


@pytest.mark.parametrize(("waited", "silent"), [(0.7, False), (0.85, True)])
def test_silence_is_a_failure_after_most_of_a_second(encoder: Encoder, waited, silent):
    encoder.send(10)
    encoder.wait(waited)
    assert encoder.vitals.silent(encoder.now_ns) is silent
    if silent:
        assert encoder.score == 0
        assert encoder.complaint == "sent no picture for 0.9 s"


def test_sound_alone_does_not_hide_that_pictures_stopped(encoder: Encoder):
    encoder.send(10)
    for _ in range(60):
        encoder.vitals.take(packet(encoder.dts, encoder.now_ns, audio=True))
        encoder.wait(0.02)
    assert encoder.vitals.silent(encoder.now_ns)


def test_an_encoder_of_sound_alone_is_heard():
    encoder = Encoder()
    for _ in range(500):
        encoder.vitals.take(packet(encoder.dts, encoder.now_ns, audio=True))
        encoder.dts += 1800
        encoder.wait(0.02)
    assert encoder.score == 1.0
    encoder.wait(1)
    assert encoder.complaint == "sent no sound for 1.0 s"


def test_few_pictures_a_second_are_no_silence(encoder: Encoder):
    encoder.send(30, rate=1)
    encoder.wait(0.9)
    assert not encoder.vitals.silent(encoder.now_ns)
    encoder.wait(MAX_SILENCE_NS / SECOND_NS)
    assert encoder.vitals.silent(encoder.now_ns)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"size": 500}, "of its usual bitrate"),
        ({"rate": 10, "size": 15000}, "of its usual pictures"),
        ({"pace": 0.4}, "falls behind: 0.40 s of media a second"),
        ({"sound": False, "size": 5300}, "lost its sound"),
        ({"step": -90, "size": 5000}, "wrong timestamps in ten seconds"),
    ],
)
def test_each_fault_takes_away_from_the_score(encoder: Encoder, fault, words):
    encoder.send(20)
    encoder.send(4, **fault)
    assert encoder.score < 0.5
    assert encoder.complaint is not None
    assert words in encoder.complaint
    encoder.send(15)
    assert encoder.score == 1.0


def test_an_overdue_key_frame_is_a_fault(encoder: Encoder):
    encoder.send(20, gop_s=100)
    assert encoder.score == pytest.approx(0.5, abs=0.02)
    assert encoder.complaint == "sent no key frame for 20 s"


def test_what_the_decoder_refuses_is_charged_until_it_is_on_air_again(encoder: Encoder):
    encoder.send(10)
    for _ in range(8):
        encoder.vitals.decoded(5)
    assert encoder.score == pytest.approx(0.2)
    assert encoder.complaint == "sent 40 damaged frames in ten seconds"
    encoder.send(60)
    assert encoder.score == pytest.approx(0.2)
    for _ in range(40):
        encoder.vitals.decoded(0)
    assert encoder.score == 1.0


def test_a_lower_bitrate_becomes_the_usual(encoder: Encoder):
    encoder.send(20)
    encoder.send(HISTORY + RECENT + 1, size=1000)
    assert encoder.score == 1.0


def test_a_file_pushed_at_full_speed_is_ahead(encoder: Encoder):
    encoder.send(2, pace=3.0)
    assert encoder.vitals.lead_s == pytest.approx(4.0, abs=0.2)


@given(
    st.lists(
        st.tuples(
            st.integers(0, WRAP - 1),
            st.integers(0, 100 * SECOND_NS),
            st.integers(0, 100_000),
            st.booleans(),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_whatever_comes_the_score_is_a_share_and_memory_is_bounded(entries):
    vitals = Vitals(wrap_ticks=WRAP, start_ns=0)
    now_ns = 0
    for dts, waited, size, key, audio in entries:
        now_ns += waited
        vitals.take(packet(dts, now_ns, size=size, key=key, audio=audio))
        assessed = vitals.assess(now_ns + waited // 2)
        assert 0.0 <= assessed.score <= 1.0
        assert vitals.lead_s >= 0
        assert len(vitals._past) <= HISTORY + RECENT


class TestHold:
    def test_it_starts_with_a_key_frame(self):
        hold = KeyHold()
        hold.add(packet(0, 0), pictures=True)
        assert hold.since_ns is None

    @pytest.mark.parametrize(("after", "first"), [(10, 6), (6, 6), (5, 2), (1, 2)])
    def test_the_newest_key_frame_before_the_moment_is_taken(self, after, first):
        hold = KeyHold()
        for number in range(10):
            key = number in (2, 6)
            hold.add(packet(number, number, key=key), pictures=True)
            hold.add(packet(number, number, audio=True), pictures=True)
        held = hold.release(after, pictures=True)
        assert [p.dts for p in held if p.kind is Kind.VIDEO] == list(range(first, 10))
        assert len(held) == 2 * (10 - first)
        assert hold.since_ns is None

    def test_a_group_goes_when_no_failure_can_lie_in_it_any_more(self):
        hold = KeyHold()
        for number in range(4):
            hold.add(packet(number, number * SECOND_NS, key=True), pictures=True)
        hold.add(packet(4, 3 * SECOND_NS + 1), pictures=True)
        assert hold.since_ns == SECOND_NS
        assert hold.dropped == 0

    def test_a_much_older_key_frame_is_not_shown(self):
        hold = KeyHold()
        hold.add(packet(0, 5, key=True), pictures=True)
        assert len(hold.release(5 + MAX_AGE_NS, pictures=True)) == 1
        hold.add(packet(0, 5, key=True), pictures=True)
        assert hold.release(6 + MAX_AGE_NS, pictures=True) == []
        assert hold.since_ns is None

    def test_of_sound_alone_the_last_second_is_kept(self):
        hold = KeyHold()
        for number in range(500):
            hold.add(packet(number, number * 20_000_000, audio=True), pictures=False)
        assert hold.since_ns == 499 * 20_000_000 - SOUND_NS
        held = hold.release(499 * 20_000_000 - SECOND_NS // 2, pictures=False)
        assert len(held) == 26

    @pytest.mark.parametrize("pictures", [True, False])
    @given(
        sent=st.lists(
            st.tuples(
                st.integers(0, 4 * SECOND_NS),
                st.integers(0, 9_000_000),
                st.booleans(),
                st.booleans(),
            ),
            max_size=40,
        )
    )
    def test_bytes_and_time_are_bounded(self, pictures, sent):
        hold, now_ns, payload = KeyHold(), 0, bytes(9_000_000)
        for waited, size, key, audio in sent:
            now_ns += waited
            base = packet(0, now_ns, size=0, key=key, audio=audio)
            hold.add(
                Packet(
                    track=0,
                    codec=base.codec,
                    dts=0,
                    pts=0,
                    key=base.key,
                    payload=payload[:size],
                    arrived_ns=now_ns,
                ),
                pictures=pictures,
            )
            assert hold.size <= MAX_BYTES
            if hold.since_ns is not None:
                assert now_ns - hold.since_ns <= MAX_NS

    def test_what_is_given_up_is_counted(self):
        hold = KeyHold()
        hold.add(packet(0, 0, key=True), pictures=True)
        hold.add(packet(1, MAX_NS + 1), pictures=True)
        assert (hold.dropped, hold.size, hold.since_ns) == (2, 0, None)
        hold.add(packet(2, MAX_NS + 2), pictures=True)
        assert hold.size == 0
