"""What a run's packets tell, second by second."""

from __future__ import annotations

import pytest

from media.diagnosis.observer import Observed, Observer
from media.model import Codec, Kind, Packet

pytestmark = pytest.mark.unit

S = 90_000
START = 10 * S


class Bench:
    """An encoder at 30 pictures and 48 kHz; everything in virtual time."""

    def __init__(self) -> None:
        self.observer = Observer()
        self.now = START
        self.picture = 0
        self.sound = 0

    def push(self, codec: Codec, dts: int, *, size: int, cts: int = 0, key: bool = True) -> None:
        packet = Packet(
            track=0,
            codec=codec,
            dts=dts,
            pts=dts + cts,
            key=key,
            payload=bytes(size),
            arrived_ns=0,
        )
        self.observer.note(packet, self.now)

    def second(
        self,
        *,
        gop: int = 60,
        every: int = 1,
        late: int = 0,
        size: int = 1000,
        sound: int = 200,
        sound_behind: int = 0,
        cts: int = 0,
    ) -> Observed:
        for _ in range(30):
            at = START + self.picture * 3000
            self.now = at + late
            while sound and START + self.sound * 1920 <= at - sound_behind:
                self.push(Codec.AAC, START + self.sound * 1920, size=sound)
                self.sound += 1
            if self.picture % every == 0:
                self.push(Codec.H264, at, size=size, cts=cts, key=self.picture % gop == 0)
            self.picture += 1
        observed = self.observer.look(self.now)
        assert observed is not None
        return observed

    def seconds(self, count: int, **how: int) -> Observed:
        for _ in range(count):
            observed = self.second(**how)
        return observed


def test_before_the_first_packet_nothing_is_known():
    assert Observer().look(START) is None


def test_a_calm_encoder():
    seen = Bench().seconds(50)
    assert seen.picture_rate == pytest.approx(30)
    assert seen.best_picture_rate == pytest.approx(30)
    assert seen.key_intervals == (2.0,) * 8
    assert not seen.reordered
    assert seen.late_s == 0
    assert seen.audio_unit_bytes == 200
    assert seen.carried_bps == pytest.approx((30 * 1000 + 46.875 * 200) * 8, rel=0.02)
    assert len(seen.spans_bps) == 10
    assert max(seen.spans_bps) == pytest.approx(240_000, rel=0.01)
    assert seen.av_offset_s == pytest.approx(0, abs=0.03)
    assert max(seen.quiet_s.values()) < 0.05


def test_pictures_left_out_show_in_the_rate():
    bench = Bench()
    bench.seconds(10)
    assert bench.seconds(6, every=2).picture_rate == pytest.approx(15, rel=0.02)


def test_a_stalled_link_is_late_but_leaves_nothing_out():
    bench = Bench()
    bench.seconds(10)
    seen = bench.seconds(6, late=2 * S)
    assert seen.late_s == pytest.approx(2)
    assert seen.picture_rate == pytest.approx(30)


def test_a_gop_that_does_not_end():
    seen = Bench().seconds(12, gop=100_000)
    assert seen.key_intervals == ()
    assert seen.since_key_s == pytest.approx(12, abs=0.1)


def test_b_frames_are_seen_and_forgotten():
    bench = Bench()
    assert bench.second(cts=3000).reordered
    assert not bench.second().reordered


def test_sound_that_lies_behind():
    seen = Bench().seconds(3, sound_behind=S // 4)
    assert seen.av_offset_s == pytest.approx(-0.25, abs=0.03)


def test_sound_that_stops():
    bench = Bench()
    bench.seconds(3)
    seen = bench.seconds(4, sound=0)
    assert seen.quiet_s[Kind.AUDIO] == pytest.approx(4, abs=0.1)
    assert seen.quiet_s[Kind.VIDEO] < 0.1
    assert seen.audio_unit_bytes is None


def test_memory_stays_as_it_is():
    bench = Bench()
    bench.seconds(200, gop=3)
    observer = bench.observer
    assert len(observer._keys) == 8
    assert len(observer._spans) == 10
    assert len(observer._pictures) == len(observer._sizes) == 5


def test_the_delay_of_the_last_ten_seconds_is_remembered():
    bench = Bench()
    seen = [bench.second(late=90 * 500 * (n > 3)) for n in range(12)][-1]
    assert len(seen.lates_s) == 10
    assert seen.lates_s[0] == pytest.approx(0, abs=0.01)
    assert seen.lates_s[-1] == pytest.approx(0.5, abs=0.01)


def test_pictures_whose_times_were_pushed_together_are_no_frame_rate():
    bench = Bench()
    for _ in range(6):
        bench.second()
    for n in range(8 * 30):  # eight seconds whose times stand still for six of ten pictures
        bench.now += 3000
        last = START + bench.picture * 3000
        bench.push(Codec.H264, last + 1 + (n // 10) * 12_000 + n % 10, size=1000)
        if n % 30 == 29:
            seen = bench.observer.look(bench.now)
    assert seen is not None
    assert seen.best_picture_rate < 30 / 0.8


def test_pictures_that_stopped_are_no_pace_of_key_frames():
    bench = Bench()
    for _ in range(4):
        bench.second()
    # The camera is off for 20 s, and comes back with half a second before its key frame.
    for _ in range(20):
        paused = bench.second(every=1000)
    assert paused.key_intervals == (2.0,)
    bench.picture += 45
    observed = bench.second()
    assert observed.key_intervals == (2.0,)
    assert observed.since_key_s == pytest.approx(0.5, abs=0.05)
    for _ in range(4):
        observed = bench.second()
    assert observed.key_intervals == (2.0, 2.0, 2.0)
    # Without one it is missed from there on.
    bench.second(every=10_000, gop=10_000)
    bench.picture += 61
    for _ in range(12):
        observed = bench.second(gop=10_000)
    assert observed.since_key_s == pytest.approx(12, abs=0.1)


def test_losses_are_those_of_five_seconds():
    bench = Bench()
    bench.observer.note_loss(lost=50, packets=1000, pictures=10)
    observed = bench.second()
    assert (observed.loss, observed.pictures_lost) == (0.05, 10.0)
    for _ in range(4):
        bench.observer.note_loss(lost=0, packets=1000, pictures=0)
        observed = bench.second()
    assert (observed.loss, observed.pictures_lost) == (0.01, 2.0)
    bench.observer.note_loss(lost=0, packets=1000, pictures=0)
    observed = bench.second()
    assert (observed.loss, observed.pictures_lost) == (0.0, 0.0)
