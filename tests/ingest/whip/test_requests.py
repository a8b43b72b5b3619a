"""When key frames are asked for, and what goes out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from ingest.whip.bandwidth import FIRST_BPS, LEAST_BPS, Bandwidth
from ingest.whip.feedback import Feedback
from ingest.whip.keys import GRACE_NS, LEAST_NS, KeyRequests
from ingest.whip.router import Router
from tests.ingest.whip.publisher import MS, SECOND, answer
from webrtc.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    ReceiverReport,
    SourceDescription,
    parse_rtcp,
)

pytestmark = pytest.mark.unit


def asked(
    keys: KeyRequests, since: int, until: int, *, broken: bool, grid: bool = True
) -> list[int]:
    """Return the milliseconds at which a key frame is asked for."""
    return [at for at in range(since, until, 20) if keys.due(at * MS, broken=broken, grid=grid)]


def test_the_first_key_frame_comes_unasked() -> None:
    keys = KeyRequests(interval_ns=2 * SECOND, now_ns=0)
    assert asked(keys, 0, GRACE_NS // MS, broken=True) == []
    assert asked(keys, GRACE_NS // MS, 600, broken=True) == [250]


def test_a_loss_asks_at_once_and_again_until_it_is_answered() -> None:
    keys = KeyRequests(interval_ns=100 * SECOND, now_ns=0)
    keys.key(0)
    assert asked(keys, 1000, 5000, broken=True) == [1000, 1500, 2000, 2500, 3500, 4500]
    keys.key(5000 * MS)
    assert asked(keys, 5000, 9000, broken=False) == []


def test_the_grid_is_aimed_at_ahead_of_the_answer() -> None:
    keys = KeyRequests(interval_ns=2 * SECOND, now_ns=0)
    keys.key(0)
    now, times = 0, []
    for _ in range(20):
        while not keys.due(now * MS, broken=False):
            now += 10
        times.append(now)
        now += 120  # encoder and path
        keys.key(now * MS)
    intervals = [b - a for a, b in pairwise(times)]
    assert intervals[0] > 2080
    assert intervals[-1] == pytest.approx(2000, abs=20)


def test_on_the_grid_a_deaf_encoder_is_asked_ever_more_rarely() -> None:
    keys = KeyRequests(interval_ns=2 * SECOND, now_ns=0)
    keys.key(0)
    assert asked(keys, 0, 20_000, broken=False) == [2000, 3000, 5000, 9000, 13000, 17000]
    assert asked(keys, 20_000, 21_000, broken=False, grid=False) == []


def test_requests_of_viewers_are_no_faster_than_twice_a_second() -> None:
    keys = KeyRequests(interval_ns=100 * SECOND, now_ns=0)
    keys.key(0)
    times = []
    for at in range(0, 4000, 20):
        keys.request()
        if keys.due(at * MS, broken=False):
            times.append(at)
            keys.key(at * MS)
    assert times == list(range(0, 4000, LEAST_NS // MS))


@pytest.mark.parametrize("reduced", [True, False])
def test_datagrams_without_a_report_only_where_both_sides_take_them(reduced: bool) -> None:
    sent: list[bytes] = []
    feedback = Feedback(sent.append, ssrc=1, cname=b"name", reduced=reduced)
    feedback.nack(7, [65_535, 0, 1])
    (packets,) = [parse_rtcp(data) for data in sent]
    assert packets[-1] == Nack(sender_ssrc=1, media_ssrc=7, lost=(65_535, 0, 1))
    if reduced:
        assert len(packets) == 1
    else:
        assert packets[:2] == [
            ReceiverReport(ssrc=1),
            SourceDescription(names=((1, b"name"),)),
        ]


def test_key_frames_by_pli_or_fir_or_not_at_all() -> None:
    sent: list[bytes] = []
    feedback = Feedback(sent.append, ssrc=1, cname=b"name", reduced=True)
    slot = next(each for each in Router(answer()).slots if each.kind.value == "video")
    assert feedback.key(slot, 7)
    section = replace(slot.section, feedback=("ccm fir",))
    assert feedback.key(replace(slot, section=section), 7)
    assert feedback.key(replace(slot, section=section), 7)
    section = replace(slot.section, feedback=("nack",))
    assert not feedback.key(replace(slot, section=section), 7)
    assert [parse_rtcp(data)[0] for data in sent] == [
        PictureLoss(sender_ssrc=1, media_ssrc=7),
        FullIntraRequest(sender_ssrc=1, entries=((7, 0),)),
        FullIntraRequest(sender_ssrc=1, entries=((7, 1),)),
    ]


def test_bandwidth_grows_with_what_arrives_and_shrinks_with_losses() -> None:
    bandwidth = Bandwidth(10_000_000)
    assert bandwidth.bps == FIRST_BPS
    assert bandwidth.update(received_bps=1_000_000, loss=0.0) == FIRST_BPS
    assert bandwidth.update(received_bps=4_000_000, loss=0.01) == 6_000_000
    assert bandwidth.update(received_bps=4_000_000, loss=0.05) == 6_000_000
    assert bandwidth.update(received_bps=4_000_000, loss=0.2) == 3_600_000
    assert bandwidth.update(received_bps=20_000_000, loss=0.0) == 10_000_000
    for _ in range(9):
        bandwidth.update(received_bps=0, loss=1.0)
    assert bandwidth.bps == LEAST_BPS
    assert Bandwidth(1_000).bps == LEAST_BPS
