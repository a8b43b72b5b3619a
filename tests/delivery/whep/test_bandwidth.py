"""The estimate of a path, against paths whose width is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.whep.bandwidth import MAX_BPS, MIN_BPS, START_BPS, BandwidthEstimator
from delivery.whep.choice import FIRST_TRY_NS, Choice, Offer
from webrtc.twcc import TransportFeedback

pytestmark = pytest.mark.unit

MS = 1_000_000
SECOND = 1_000_000_000


class Path:
    """A bottleneck with a queue, jitter and loss, and a viewer that reports every 50 ms."""

    def __init__(self, bps: float, *, jitter_ms: float = 0, loss: float = 0, seed: int = 1) -> None:
        self.bps, self.jitter_ms, self.loss = bps, jitter_ms, loss
        self.random = random.Random(seed)
        self.estimator = BandwidthEstimator()
        self.now = 100 * SECOND
        self.free_ns = 0
        self.arrived: list[tuple[int, int]] = []
        self.reported_ns = self.now
        self.sequence = 0
        self.told = 0
        self.count = 0

    def send(self, rate_bps: float, seconds: float) -> None:
        """Send packets of 1,200 bytes in pictures, 30 a second."""
        for _ in range(round(seconds * 30)):
            for _ in range(max(round(rate_bps / 30 / 9600), 1)):
                number = self.estimator.sent(1200, self.now)
                self.sequence += 1
                assert number == (self.sequence - 1) & 0xFFFF
                if self.random.random() < self.loss or self.free_ns - self.now > 300 * MS:
                    continue
                self.free_ns = max(self.free_ns, self.now) + round(9600 / self.bps * SECOND)
                at = self.free_ns + 20 * MS + round(self.random.random() * self.jitter_ms * MS)
                self.arrived.append((self.sequence - 1, at))
            self.now += 33 * MS
            if self.now - self.reported_ns >= 50 * MS:
                self.reported_ns = self.now
                self.report()

    def report(self) -> None:
        came = sorted(each for each in self.arrived if each[1] <= self.now)
        if not came:
            return
        self.arrived = [each for each in self.arrived if each[1] > self.now]
        # As in libwebrtc, what came late is told of in the next report.
        first, newest = min(came[0][0], self.told), came[-1][0]
        base_ticks = min(at for _, at in came) // 250_000 // 256 * 256
        arrivals = [(number - first, at // 250_000 - base_ticks) for number, at in came]
        report = TransportFeedback(
            sender_ssrc=1,
            media_ssrc=2,
            base_sequence=first & 0xFFFF,
            status_count=newest - first + 1,
            reference_time=(base_ticks // 256) & 0x7FFFFF,
            feedback_count=self.count & 0xFF,
            arrivals=tuple(arrivals),
        )
        self.count += 1
        self.told = max(self.told, newest + 1)
        self.estimator.feedback(report, self.now)

    @property
    def bits(self) -> int:
        return self.estimator.bps(self.now)


@pytest.mark.parametrize("bps", [1e6, 2e6, 4e6])
def test_too_much_is_noticed_within_two_seconds(bps: float) -> None:
    path = Path(bps)
    path.send(0.5 * bps, 3)
    assert path.bits > 0.5 * bps
    path.send(2 * bps, 2)
    assert path.estimator.congested_ns is not None
    assert path.bits < 1.1 * bps
    path.send(2 * bps, 3)
    assert 0.3 * bps < path.bits < 1.1 * bps


@pytest.mark.parametrize("jitter_ms", [0, 5, 15])
def test_what_fits_is_let_be(jitter_ms: float) -> None:
    path = Path(10e6, jitter_ms=jitter_ms)
    path.send(3e6, 30)
    assert path.bits > 2.5e6


def test_a_little_loss_is_no_congestion_and_much_is() -> None:
    path = Path(10e6, loss=0.03)
    path.send(3e6, 10)
    assert path.bits > 2.5e6
    assert path.estimator.loss == pytest.approx(0.03, abs=0.05)
    path.loss = 0.3
    path.send(3e6, 10)
    assert path.bits < 2e6


def test_it_grows_again_but_not_beyond_what_is_sent() -> None:
    path = Path(1e6)
    path.send(3e6, 5)
    low = path.bits
    path.bps = 20e6
    path.send(1e6, 20)
    assert path.bits > low
    assert path.bits < 2e6


def test_a_viewer_that_falls_silent_is_sent_less() -> None:
    path = Path(10e6)
    path.send(3e6, 2)
    before = path.bits
    for _ in range(5):
        path.estimator.sent(1200, path.now)
        path.now += SECOND
        path.estimator.tick(path.now)
    assert path.bits <= before / 4


def test_where_nothing_was_sent_silence_says_nothing() -> None:
    path = Path(10e6)
    path.send(3e6, 2)
    path.now += SECOND
    path.report()
    before = path.bits
    for _ in range(30):
        path.now += SECOND
        path.estimator.tick(path.now)
    assert path.bits == before


@pytest.mark.parametrize("rates", [(5e6, 0.7e6), (8e6, 2.8e6, 1.2e6, 0.7e6)])
def test_a_path_that_is_wide_again_gets_the_best_rung_again(rates: tuple[float, ...]) -> None:
    path, choice = Path(50e6), Choice()
    offers = [Offer(name=str(rate), bps=round(rate)) for rate in rates]
    rung: str | None = None

    def watch(seconds: int) -> None:
        nonlocal rung
        for _ in range(4 * seconds):
            rung = choice.choose(
                offers,
                rung,
                estimate_bps=path.bits,
                congested_ns=path.estimator.congested_ns,
                now_ns=path.now,
            )
            path.send(float(rung or 0), 0.25)

    watch(10)
    assert rung == offers[0].name
    path.bps = 1e6
    watch(20)
    assert rung == offers[-1].name
    path.bps = 50e6
    watch(90)
    assert rung == offers[0].name


def test_without_feedback_losses_and_remb_count() -> None:
    estimator = BandwidthEstimator()
    assert estimator.bps(0) == START_BPS
    estimator.remb(900_000, 0)
    assert estimator.bps(SECOND) == 900_000
    assert estimator.bps(20 * SECOND) == START_BPS
    for second in range(1, 9):
        estimator.report(100, second * SECOND)
    assert estimator.bps(20 * SECOND) < START_BPS / 3
    low = estimator.bps(20 * SECOND)
    for second in range(9, 30):
        estimator.report(0, second * SECOND)
    assert estimator.bps(30 * SECOND) > 2 * low


@given(
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(-(2**23), 2**23 - 1),
    st.lists(st.tuples(st.integers(0, 65534), st.integers(-(2**20), 2**20)), max_size=50),
)
def test_inventions_do_no_harm(
    base: int, count: int, reference: int, arrivals: list[tuple[int, int]]
) -> None:
    estimator = BandwidthEstimator()
    for number in range(5000):
        estimator.sent(1200, number * MS)
    for turn in range(3):
        report = TransportFeedback(
            sender_ssrc=1,
            media_ssrc=2,
            base_sequence=base,
            status_count=max(count, len(arrivals)),
            reference_time=reference,
            feedback_count=turn,
            arrivals=tuple(arrivals),
        )
        estimator.feedback(report, 6 * SECOND + turn * SECOND)
        assert MIN_BPS <= estimator.bps(9 * SECOND) <= MAX_BPS
    assert len(estimator._arrived) <= 4096


OFFERS = [
    Offer(name="source", bps=6_000_000),
    Offer(name="720p", bps=2_500_000),
    Offer(name="360p", bps=800_000),
]


def choose(
    choice: Choice, current: str | None, bps: int, at_s: float, congested_s: float | None
) -> str | None:
    return choice.choose(
        OFFERS,
        current,
        estimate_bps=bps,
        congested_ns=None if congested_s is None else round(congested_s * SECOND),
        now_ns=round(at_s * SECOND),
    )


def test_the_best_rung_that_fits() -> None:
    assert choose(Choice(), None, 9_000_000, 0, None) == "source"
    assert choose(Choice(), None, 3_000_000, 0, None) == "720p"
    assert choose(Choice(), None, 100_000, 0, None) == "360p"
    assert Choice().choose([], None, estimate_bps=1, congested_ns=None, now_ns=0) is None


def test_down_at_once_where_far_too_much_after_a_while_where_a_little() -> None:
    assert choose(Choice(), "source", 2_700_000, 0, 0) == "720p"
    choice = Choice()
    assert choose(choice, "source", 5_000_000, 0, 0) == "source"
    assert choose(choice, "source", 5_000_000, 0.4, 0.3) == "source"
    assert choose(choice, "source", 5_000_000, 0.8, 0.7) == "720p"
    # Where the congestion is over, it stays.
    choice = Choice()
    assert choose(choice, "source", 5_000_000, 0, 0) == "source"
    assert choose(choice, "source", 5_200_000, 2, 0) == "source"


def test_a_step_up_is_tried_after_calm_and_ever_later_after_failures() -> None:
    choice = Choice()
    assert choose(choice, "360p", 800_000, 0, None) == "360p"
    wait_s = FIRST_TRY_NS / SECOND
    now = 0.0
    for _ in range(4):
        assert choose(choice, "360p", 900_000, now + wait_s - 0.1, now or None) == "360p"
        now += wait_s
        assert choose(choice, "360p", 900_000, now, now - wait_s or None) == "720p"
        now += 1
        assert choose(choice, "720p", 900_000, now, now) == "360p"
        wait_s *= 2
    # One that lasts makes the next one early again.
    now += wait_s
    assert choose(choice, "360p", 900_000, now, now - wait_s) == "720p"
    now += 31
    assert choose(choice, "720p", 2_500_000, now, now - 31 - wait_s) in ("720p", "source")
    assert choice._wait_ns == FIRST_TRY_NS
