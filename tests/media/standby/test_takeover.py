"""A newer encoder with the same key: its place is its own at once, viewers see no seam."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.diagnosis.findings import Code
from media.model import Codec, Packet, Role
from media.programme import Feeder
from media.standby.contest import TAKEOVERS, WINDOW_NS, Contest
from media.standby.source import SourceState
from tests.media.standby.studio import AAC, Encoder, Studio, h264
from tests.support.examples import FUZZ, examples

pytestmark = pytest.mark.component

PRIMARY, BACKUP = Role.PRIMARY, Role.BACKUP
TAKEN = ["Another encoder publishes this stream now."]
KEPT = (
    "No key frame came for 10 s, so the encoder before stays on air: check the picture, set the "
    "keyframe interval to 2 s and start again."
)
S = 1_000_000_000


@pytest.fixture
def studio() -> Studio:
    return Studio()


def frames(studio: Studio) -> list[int]:
    return [int(p.payload.decode().split(":")[1]) for p in studio.heard.pictures()]


def seam(studio: Studio, newcomer: int) -> tuple[int, float]:
    """Return the last frame of the one before and the pause to `newcomer`'s first one.

    Asserts that nothing is lost of either, and that it is a key frame on which they meet.
    """
    pictures = studio.heard.pictures()
    seams = []
    for before, after in pairwise(pictures):
        was, now = (int(p.payload.decode().split(":")[1]) for p in (before, after))
        assert after.dts > before.dts
        if now != was + 1:
            assert now == newcomer
            assert after.key
            seams.append((was, (after.dts - before.dts) / 90_000))
    ((last, pause),) = seams
    return last, pause


@pytest.mark.parametrize("behind", [1, 59])
def test_the_older_ones_pictures_last_until_the_newer_ones_first_key_frame(
    studio: Studio, behind: int
):
    """A newcomer that begins amid a group of pictures: it was up to a key interval of slate."""
    older = studio.connect(PRIMARY)
    studio.run(5)
    newer = studio.connect(PRIMARY, phase=6000 + behind)
    studio.run((60 - behind) / 30 - 0.034)
    assert older.revoked == []
    assert not older.publication.closed
    assert studio.states() == {PRIMARY: SourceState.ON_AIR}
    studio.run(4)
    assert older.revoked == TAKEN
    assert older.publication.closed
    assert newer.revoked == []
    last, pause = seam(studio, 6060)
    assert last == 150 + 60 - behind
    assert pause <= 0.05
    assert studio.stream.show is not None
    assert studio.stream.show.feeder is Feeder.ENCODER
    assert not [f for f in studio.stream.show.findings.closed() if f.code is Code.SLATE]
    assert studio.meter.switches == []


def test_a_newcomer_that_begins_with_a_key_frame_is_on_air_with_it(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    studio.connect(PRIMARY, phase=6000)
    studio.run(0.1)
    assert older.revoked == TAKEN
    studio.run(2)
    assert seam(studio, 6000)[1] <= 0.05


def test_a_newcomer_whose_clock_begins_has_not_run_over_its_largest_number(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    older.paused = True
    studio.host.time_ns += 20_000_000
    studio.connect(PRIMARY)
    studio.run(3)
    assert seam(studio, 0) == (149, pytest.approx(1 / 30, abs=0.001))
    assert studio.meter.repairs == []


def test_a_key_frame_that_is_begun_earlier_to_close_a_hole_is_not_irregular(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    older.paused = True
    studio.host.time_ns += 400_000_000
    studio.connect(PRIMARY, phase=6000)
    studio.run(12)
    assert seam(studio, 6000)[1] == pytest.approx(1 / 30, abs=0.001)
    assert studio.stream.show is not None
    findings = (*studio.stream.show.findings.open(), *studio.stream.show.findings.closed())
    assert Code.KEYFRAME_IRREGULAR not in {f.code for f in findings}


def test_a_newcomer_without_pictures_goes_and_the_show_stays(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    newer = studio.connect(PRIMARY, phase=6001, gop=10**9)
    studio.run(9.8)
    assert newer.revoked == []
    studio.run(0.6)
    assert newer.revoked == [KEPT]
    assert newer.publication.closed
    assert older.revoked == []
    studio.run(3)
    assert frames(studio) == list(range(len(frames(studio))))
    assert studio.states() == {PRIMARY: SourceState.ON_AIR}
    older.publication.close("bye")
    assert studio.stream.state == "reconnecting"


def test_a_newcomer_that_leaves_before_it_was_seen_changes_nothing(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    newer = studio.connect(PRIMARY, phase=6001)
    studio.run(0.5)
    newer.publication.close("error")
    studio.run(3)
    assert older.revoked == []
    assert frames(studio) == list(range(len(frames(studio))))
    studio.connect(PRIMARY, phase=7000)
    studio.run(2)
    assert older.revoked == TAKEN
    assert seam(studio, 7020)[1] <= 0.05


def test_an_older_one_that_hangs_is_left_as_soon_as_that_is_known(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    studio.connect(PRIMARY, phase=6001)
    studio.run(0.2)
    older.paused = True
    studio.run(0.7)
    assert older.revoked == []
    studio.run(0.4)
    assert older.revoked == TAKEN
    studio.run(2)
    assert seam(studio, 6060)[0] < 160


def test_an_older_one_that_leaves_makes_way_at_once(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    newer = studio.connect(PRIMARY, phase=6031)
    studio.run(0.2)
    older.publication.close("bye")
    assert studio.stream.state == "live"
    source = studio.stream.switcher.get(PRIMARY)
    assert studio.stream.switcher.on_air is source
    assert newer.publication.source is source
    studio.run(3)
    assert seam(studio, 6060)[0] < 160
    assert older.revoked == newer.revoked == []


def test_of_two_newcomers_the_second_follows(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    first = studio.connect(PRIMARY, phase=6001)
    studio.run(0.5)
    studio.connect(PRIMARY, phase=7001)
    assert first.revoked == TAKEN
    assert older.revoked == []
    studio.run(3)
    assert older.revoked == TAKEN
    assert seam(studio, 7020)[1] <= 0.05


def test_a_third_that_comes_right_behind_the_second_waits_as_well(studio: Studio):
    studio.connect(PRIMARY)
    studio.run(5)
    second = studio.connect(PRIMARY, phase=6000)
    studio.run(0.1)
    studio.connect(PRIMARY, phase=9001)
    studio.run(1)
    assert second.revoked == []
    studio.run(3)
    assert second.revoked == TAKEN
    assert [n for n in frames(studio) if n % 60 == 0 and n >= 6000][:3] == [6000, 6060, 9060]
    times = [p.dts for p in studio.heard.pictures()]
    assert max(after - before for before, after in pairwise(times)) <= 0.05 * 90_000


def test_a_backup_that_stands_by_covers_an_older_one_that_fails_meanwhile(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(5)
    newer = studio.connect(PRIMARY, phase=6001, gop=10**9)
    studio.run(0.2)
    older.publication.close("error")
    studio.wait_for(BACKUP, 0.5)
    assert studio.meter.switches == ["closed"]
    studio.run(3)
    assert newer.revoked == []
    assert studio.states() == {PRIMARY: SourceState.STANDBY, BACKUP: SourceState.ON_AIR}


@pytest.mark.parametrize("both", [False, True])
def test_a_backup_that_is_about_to_cover_is_not_forgotten_for_a_newer_one(
    studio: Studio, *, both: bool
):
    primary = studio.connect(PRIMARY)
    older = studio.connect(BACKUP, phase=1020)
    studio.run(5)
    primary.publication.close("error")
    if both:
        studio.connect(PRIMARY, phase=7001, gop=10**9)
    newer = studio.connect(BACKUP, phase=6031)
    studio.run(0.5)
    assert older.revoked == []
    studio.run(3)
    assert older.revoked == TAKEN
    assert newer.revoked == []
    times = [packet.dts for packet in studio.heard.pictures()]
    assert max(after - before for before, after in pairwise(times)) <= 0.11 * 90_000


def test_a_backup_asked_for_ends_the_wait(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.connect(BACKUP, phase=1020)
    studio.run(5)
    newer = studio.connect(PRIMARY, phase=6001, gop=10**9)
    studio.stream.switcher.choose(BACKUP)
    studio.wait_for(BACKUP, 2.5)
    assert older.revoked == TAKEN
    assert newer.revoked == []


def sound_after(studio: Studio, protocol: str, older: Encoder, *, seconds: float) -> float:
    """Have a newcomer send sound alone, until it has taken over; return the seconds that took."""
    publication = studio.stream.publish(
        protocol=protocol, wrap_ticks=2**32 * 90, on_revoked=lambda _text: None
    )
    publication.set_format(0, AAC)
    number = 0
    while not older.revoked and number < seconds * 30:
        sound = Packet(
            track=0,
            codec=Codec.AAC,
            dts=number * 3000,
            pts=number * 3000,
            key=True,
            payload=b"sound",
            arrived_ns=studio.host.time_ns,
        )
        publication.push(sound)
        studio.run(1 / 30)
        number += 1
    return number / 30


def test_sound_alone_takes_over_when_no_pictures_are_announced(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    assert 0.5 <= sound_after(studio, "rtmp", older, seconds=2) <= 0.8
    assert older.revoked == TAKEN


def test_by_webrtc_pictures_are_announced_by_their_first_key_frame(studio: Studio):
    """A camera that opens slowly, a layer that is waited for: viewers saw the slate meanwhile."""
    older = studio.connect(PRIMARY)
    studio.run(5)
    assert sound_after(studio, "whip", older, seconds=2.5) == 2.5
    assert older.revoked == []
    assert frames(studio) == list(range(len(frames(studio))))
    assert 2.5 <= sound_after(studio, "whip", older, seconds=5) <= 3.3
    assert older.revoked == TAKEN


def test_sound_that_broke_off_takes_nothing_over(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    sound_after(studio, "rtmp", older, seconds=0.3)
    studio.run(9)
    assert older.revoked == []
    assert frames(studio) == list(range(len(frames(studio))))


def test_the_end_of_the_show_sends_both_away(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    newer = studio.connect(PRIMARY, phase=6001)
    studio.stream.end("The show was ended.")
    assert older.revoked == newer.revoked == ["The show was ended."]
    assert studio.stream.switcher.outgoing is None


def test_a_newcomer_of_another_size_cuts_in_as_well(studio: Studio):
    older = studio.connect(PRIMARY)
    studio.run(5)
    studio.video = h264((128, 72))
    studio.connect(PRIMARY, phase=6031)
    studio.run(3)
    assert older.revoked == TAKEN
    assert seam(studio, 6060)[1] <= 0.05


# ── two that fight ───────────────────────────────────────────────────────────────────────────


class Rival:
    """An encoder that connects again whenever it is sent away, as OBS does."""

    def __init__(self, studio: Studio, number: int, every_s: float, *, key_after: int = 0) -> None:
        """`key_after`: pictures that come before its first key frame."""
        self.studio, self.every_ns = studio, int(every_s * S)
        self.phase = number * 120_000 + (60 - key_after) % 60
        self.encoder: Encoder | None = None
        self.again_ns = 0
        self.refused = 0
        self.granted = 0

    def step(self) -> None:
        now_ns = self.studio.host.time_ns
        if self.encoder is not None and not self.encoder.publication.closed:
            return
        if self.encoder is not None:
            self.encoder, self.again_ns = None, now_ns + self.every_ns
        if now_ns < self.again_ns:
            return
        if self.studio.stream.refusal(PRIMARY) is not None:
            self.refused += 1
            self.again_ns = now_ns + self.every_ns
            return
        self.granted += 1
        self.phase += 6000
        self.encoder = self.studio.connect(PRIMARY, phase=self.phase)


def fight(studio: Studio, rivals: list[Rival], seconds: float) -> None:
    for _ in range(round(seconds * 15)):
        for rival in rivals:
            rival.step()
        studio.encoders = [r.encoder for r in rivals if r.encoder is not None]
        studio.run(1 / 15)


def test_of_two_that_fight_for_a_key_one_stays(studio: Studio):
    first, second = Rival(studio, 1, 2.0), Rival(studio, 2, 2.0)
    fight(studio, [first], 10)
    fight(studio, [first, second], 60)
    assert (first.granted, second.granted) == (2, 1)
    assert second.refused > 20
    assert studio.meter.takeovers == ["primary", "primary"]
    assert first.encoder is not None
    assert first.encoder.revoked == []
    assert studio.stream.show is not None
    (finding,) = (f for f in studio.stream.show.findings.open() if f.code is Code.KEY_CONTESTED)
    assert finding.text.startswith(
        "Another encoder fights for the show with the same stream key and was refused "
    )
    assert studio.stream.refusal(PRIMARY) == (
        "Another encoder is publishing with this stream key, and took turns with this one: stop "
        "one of them, or give it the backup key."
    )
    # Nobody else: the other key has nothing to do with it.
    assert studio.stream.refusal(BACKUP) is None


@settings(max_examples=examples(8, fuzz=500), derandomize=not FUZZ)
@given(
    every_s=st.tuples(*[st.sampled_from([0.2, 1.0, 3.0])] * 3),
    key_after=st.tuples(*[st.integers(0, 59)] * 3),
    count=st.integers(2, 3),
)
def test_no_fight_interrupts_the_pictures(
    every_s: tuple[float, ...], key_after: tuple[int, ...], count: int
):
    studio = Studio()
    rivals = [Rival(studio, n, every_s[n], key_after=key_after[n]) for n in range(count)]
    fight(studio, rivals[:1], 4)
    fight(studio, rivals, 12)
    assert sum(rival.granted for rival in rivals) <= 1 + TAKEOVERS
    assert sum(rival.refused for rival in rivals) > 0
    fight(studio, rivals, 4)
    assert sum(rival.granted for rival in rivals) <= 1 + TAKEOVERS
    times = [packet.dts for packet in studio.heard.pictures()]
    first_key_s = key_after[0] / 30
    assert len(times) > (19 - first_key_s) * 30
    assert max(after - before for before, after in pairwise(times)) <= 0.11 * 90_000


def test_the_one_that_stays_is_protected_only_while_it_sends(studio: Studio):
    first, second = Rival(studio, 1, 2.0), Rival(studio, 2, 1.0)
    fight(studio, [first], 10)
    fight(studio, [first, second], 30)
    assert first.encoder is not None
    assert second.encoder is None
    first.encoder.paused = True
    fight(studio, [first, second], 2)
    assert second.encoder is not None
    fight(studio, [second], 60)
    assert studio.stream.refusal(PRIMARY) is None


def test_who_asks_for_the_next_one_gets_it_and_it_stays(studio: Studio):
    first, second = Rival(studio, 1, 2.0), Rival(studio, 2, 3.0)
    fight(studio, [first], 10)
    fight(studio, [first, second], 30)
    assert first.encoder is not None
    studio.stream.yield_to_next(PRIMARY)
    fight(studio, [first, second], 60)
    assert second.encoder is not None
    assert first.encoder is None
    assert first.refused > 10


def test_an_operator_may_change_encoders_now_and_then(studio: Studio):
    studio.connect(PRIMARY)
    studio.run(5)
    for number in range(6):
        assert studio.stream.refusal(PRIMARY) is None
        studio.connect(PRIMARY, phase=6000 * (number + 1))
        studio.run(16)


def test_a_contest_forgets_after_its_window():
    contest = Contest()
    assert not contest.refuses(0)
    contest.let_in(0, took_over=True)
    assert not contest.refuses(1)
    contest.let_in(S, took_over=True)
    assert contest.refuses(2 * S)
    assert contest.refuses(WINDOW_NS)
    assert contest.refuses(2 * WINDOW_NS - 1)  # it tried again within the window
    assert not contest.refuses(3 * WINDOW_NS)
    contest.let_in(100 * S, took_over=True)
    contest.let_in(101 * S, took_over=True)
    contest.let_in(102 * S, took_over=False)
    assert not contest.refuses(103 * S)
    contest.settle()
    contest.let_in(104 * S, took_over=False)
    assert contest.refuses(105 * S)
