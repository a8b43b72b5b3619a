"""Sound and pictures on one clock, in virtual time."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.whip.clock import START, CommonClock, StreamClock
from media.model import Kind
from webrtc.ntp import ntp_time
from webrtc.rtcp import SenderReport

pytestmark = pytest.mark.unit

MS = 1_000_000
SECOND = 1_000_000_000
UTC = 1_795_000_000 * SECOND
TICKS = 90_000


class Sender:
    """One stream of a sender: what it captures, stamps and reports."""

    def __init__(
        self, common: CommonClock, kind: Kind, rate: int, *, ppm: float = 0.0, delay_ns: int = 0
    ) -> None:
        self.clock: StreamClock = common.add(kind, rate)
        self.kind, self.rate, self.ppm, self.delay_ns = kind, rate, ppm, delay_ns
        self.base = 4_294_000_000
        self.times: list[tuple[int, int]] = []
        """(captured, dts) in ns and ticks."""

    def stamp(self, at_ns: int) -> int:
        return self.base + round(at_ns * self.rate * (1 + self.ppm / 1e6) / SECOND)

    def capture(self, at_ns: int, jitter_ns: int = 0) -> None:
        """Send what was captured at a time; it arrives after the stream's delay."""
        arrived = at_ns + self.delay_ns + jitter_ns
        self.clock.note(self.stamp(at_ns), arrived)
        self.times.append((at_ns, self.clock.map(self.stamp(at_ns), arrived)))

    def report(self, at_ns: int, *, error_ns: int = 0, utc_ns: int = UTC, packets: int = 1) -> bool:
        report = SenderReport(
            ssrc=1,
            ntp=ntp_time(utc_ns + at_ns),
            rtp_timestamp=self.stamp(at_ns + error_ns) & 0xFFFFFFFF,
            packet_count=packets,
            octet_count=0,
        )
        return self.clock.report(report, at_ns + 30 * MS)

    @property
    def offset_ms(self) -> float:
        """Of the newest unit: the common clock against the time of capture."""
        at, dts = self.times[-1]
        return dts / 90 - at / MS


def pair(
    *,
    sound_ppm: float = 0.0,
    video_ppm: float = 0.0,
    sound_ns: int = 20 * MS,
    video_ns: int = 90 * MS,
) -> tuple[Sender, Sender]:
    common = CommonClock(0)
    return (
        Sender(common, Kind.AUDIO, 48_000, ppm=sound_ppm, delay_ns=sound_ns),
        Sender(common, Kind.VIDEO, 90_000, ppm=video_ppm, delay_ns=video_ns),
    )


def play(
    sound: Sender,
    video: Sender,
    seconds: float,
    *,
    since_s: float = 0.0,
    reports: bool = True,
    tremble_ns: int = 0,
    step_ns: int = 20 * MS,
) -> list[float]:
    """Send both; return how far pictures are off the sound, in ms, each second."""
    luck = random.Random(7)
    found: list[float] = []
    start = round(since_s * SECOND)
    for number in range(round(seconds * SECOND / step_ns)):
        at = start + number * step_ns
        sound.capture(at, luck.randrange(tremble_ns + 1))
        if number % 2 == 0:
            video.capture(at, luck.randrange(tremble_ns + 1))
        if number * step_ns % SECOND == 0:
            found.append(video.offset_ms - sound.offset_ms)
            if reports:
                video.report(at, error_ns=luck.randrange(-tremble_ns // 4, tremble_ns // 4 + 1))
            if reports and number * step_ns % (5 * SECOND) == 0:
                sound.report(at, error_ns=luck.randrange(-tremble_ns // 4, tremble_ns // 4 + 1))
    for stream in (sound, video):
        assert all(a[1] < b[1] for a, b in pairwise(stream.times))
    return found


def test_streams_begin_where_they_arrive() -> None:
    sound, video = pair(sound_ns=5 * MS, video_ns=40 * MS)
    sound.capture(SECOND)
    video.capture(SECOND)
    assert sound.times == [(SECOND, START + TICKS + 5 * 90)]
    assert video.times == [(SECOND, START + TICKS + 40 * 90)]


def test_reports_put_pictures_to_their_sound() -> None:
    sound, video = pair()
    off = play(sound, video, 20)
    assert off[0] == pytest.approx(70, abs=1)
    assert max(map(abs, off[12:])) < 2


def test_far_pictures_hurry_without_a_jump() -> None:
    sound, video = pair(video_ns=1500 * MS)
    off = play(sound, video, 30)
    assert off[1] > 900
    assert max(map(abs, off[25:])) < 5
    steps = [b[1] - a[1] for a, b in pairwise(video.times)]
    assert min(steps) >= 3600 * 0.5 - 1
    assert {b[1] - a[1] for a, b in pairwise(sound.times)} == {1800}


def test_what_waited_for_the_connection_is_soon_together() -> None:
    sound, video = pair(sound_ns=0, video_ns=0)
    for number in range(16):
        video.capture(number * 40 * MS, (640 - number * 40) * MS)
    for number in range(32):
        sound.capture(number * 20 * MS, (642 - number * 20) * MS)
    off = play(sound, video, 10, since_s=0.66)
    assert abs(off[0]) > 500
    assert max(map(abs, off[4:])) < 60
    assert max(map(abs, off[8:])) < 20


def test_reports_that_tremble_do_not_shake_pictures() -> None:
    sound, video = pair()
    off = play(sound, video, 120, tremble_ns=30 * MS)
    assert max(map(abs, off[20:])) < 15
    steps = [b[1] - a[1] for a, b in pairwise(video.times)][1000:]
    assert max(abs(step - 3600) for step in steps) <= 40


@pytest.mark.parametrize(("sound_ppm", "video_ppm"), [(200, -200), (-200, 200), (200, 200)])
@pytest.mark.parametrize("reports", [True, False])
def test_three_hours_of_drifting_clocks(sound_ppm: float, video_ppm: float, reports: bool) -> None:
    sound, video = pair(
        sound_ppm=sound_ppm, video_ppm=video_ppm, sound_ns=20 * MS, video_ns=50 * MS
    )
    off = play(sound, video, 3 * 3600, reports=reports, tremble_ns=8 * MS, step_ns=200 * MS)
    assert max(map(abs, off[20:])) < 40
    # Sound stays the count of its samples: nothing has to be resampled.
    first, last = sound.times[0], sound.times[-1]
    samples = sound.stamp(last[0]) - sound.stamp(first[0])
    assert last[1] - first[1] == pytest.approx(samples * 90_000 / 48_000, abs=2)


def test_pictures_alone_are_never_moved() -> None:
    _, video = pair()
    for number in range(100):
        video.capture(number * 40 * MS)
        video.report(number * 40 * MS, error_ns=number * MS)
    assert {b[1] - a[1] for a, b in pairwise(video.times)} == {3600}


def test_sound_that_comes_late_is_placed_by_the_reports() -> None:
    sound, video = pair(sound_ns=20 * MS, video_ns=220 * MS)
    for number in range(100):
        video.capture(number * 40 * MS)
    video.report(4 * SECOND)
    sound.clock.note(sound.stamp(4 * SECOND), 4 * SECOND + 20 * MS)
    assert sound.report(4 * SECOND)
    sound.capture(4 * SECOND)
    assert sound.offset_ms == pytest.approx(video.offset_ms, abs=1)


@pytest.mark.parametrize("packets", [0, 1])
def test_empty_and_absurd_reports_are_ignored(packets: int) -> None:
    sound, video = pair()
    sound.capture(0)
    video.capture(0)
    report = SenderReport(
        ssrc=1, ntp=ntp_time(UTC), rtp_timestamp=0x7FFFFFFF, packet_count=packets, octet_count=0
    )
    assert not video.clock.report(report, 0)


def test_a_sender_that_sets_its_clock_moves_nothing() -> None:
    sound, video = pair()
    play(sound, video, 20)
    at = 20 * SECOND
    video.report(at, utc_ns=UTC + 3600 * SECOND)  # the sound's report is of the time before
    off = play(sound, video, 4, since_s=20.0, reports=False)
    assert max(map(abs, off)) < 75
    steps = [b[1] - a[1] for a, b in pairwise(video.times)][-90:]
    assert max(abs(step - 3600) for step in steps) <= 3600 * 0.02 + 1


def test_timestamps_that_jump_begin_anew() -> None:
    sound, video = pair()
    play(sound, video, 10)
    before = video.times[-1][1]
    video.base += 1_000_000_000
    play(sound, video, 20, since_s=10.0)
    assert video.clock.jumps == 1
    after = next(dts for at, dts in video.times if at >= 10 * SECOND)
    assert after - before == pytest.approx(3600, abs=400)
    assert abs(video.offset_ms - sound.offset_ms) < 5


@pytest.mark.parametrize("kind", [Kind.AUDIO, Kind.VIDEO])
def test_timestamps_that_stood_still_during_a_pause_begin_anew(kind: Kind) -> None:
    sound, video = pair()
    play(sound, video, 12)
    paused = sound if kind is Kind.AUDIO else video
    paused.base -= round(30 * paused.rate)
    play(sound, video, 20, since_s=42.0)
    assert paused.clock.jumps == 1
    assert abs(video.offset_ms - sound.offset_ms) < 5
    assert abs(paused.offset_ms - 10_000) < 200


def test_a_link_that_stalls_moves_nothing() -> None:
    sound, video = pair()
    play(sound, video, 12)
    before = sound.offset_ms, video.offset_ms
    for number in range(200):
        stall = max(0, 3_000 - number * 20) * MS
        sound.capture(12 * SECOND + number * 20 * MS, stall)
        video.capture(12 * SECOND + number * 20 * MS, stall)
    assert sound.clock.jumps == video.clock.jumps == 0
    assert (sound.offset_ms, video.offset_ms) == pytest.approx(before, abs=2)


def test_a_wild_timestamp_before_the_first_unit_is_forgotten() -> None:
    _, video = pair()
    video.clock.note(video.stamp(0) + 1_000_000_000, 0)
    video.capture(SECOND)
    assert video.offset_ms == pytest.approx(10_090, abs=1)


def test_sound_that_ends_leaves_pictures_alone() -> None:
    common = CommonClock(0)
    sound = Sender(common, Kind.AUDIO, 48_000, delay_ns=20 * MS)
    video = Sender(common, Kind.VIDEO, 90_000, delay_ns=90 * MS)
    play(sound, video, 20)
    common.remove(sound.clock)
    before = len(video.times)
    for number in range(100):
        video.capture(20 * SECOND + number * 40 * MS)
    assert {b[1] - a[1] for a, b in pairwise(video.times[before:])} == {3600}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sound", "video", "report", "jump"]),
            st.integers(0, 2**32),
            st.integers(0, 3 * SECOND),
        ),
        max_size=60,
    )
)
def test_times_rise_whatever_comes(events: list[tuple[str, int, int]]) -> None:
    common = CommonClock(0)
    streams = {
        "sound": common.add(Kind.AUDIO, 48_000),
        "video": common.add(Kind.VIDEO, 90_000),
    }
    last: dict[str, int] = {}
    now = 0
    for kind, value, passed in events:
        now += passed
        if kind in streams:
            streams[kind].note(value, now)
            time = streams[kind].map(value, now)
            assert time > last.get(kind, -1)
            last[kind] = time
        else:
            report = SenderReport(
                ssrc=1, ntp=value << 31, rtp_timestamp=value, packet_count=1, octet_count=0
            )
            for stream in streams.values():
                stream.report(report, now)
