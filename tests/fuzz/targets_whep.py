"""Viewers: whatever they report and ask for while a stream is sent to them."""

from __future__ import annotations

import itertools

from delivery.whep.bandwidth import MAX_BPS, MIN_BPS
from tests.delivery.whep.bench import MS, VIDEO, Bench
from tests.fuzz.harness import Choices, Target, target


@target("whep_viewer", max_bytes=4096, memory_bytes=16 * 2**20)
def viewer(data: bytes) -> None:
    """RTCP of any kind at any time: bounded answers, an estimate that stays one."""
    choices = Choices(data)
    bench = Bench()
    bench.open("source")
    bench.picture(0, key=True, size=5000)
    guest = bench.viewer().join()
    number = 1
    asked = 0
    while choices.left:
        bench.now += choices.number() * MS
        bench.picture(number, key=number % 8 == 0, size=3000)
        number += 1
        datagram = choices.piece()
        asked += len(datagram)
        guest.viewer.rtcp(datagram, bench.now)
        guest.viewer.pump(bench.now)
        guest.viewer.tick(bench.now)
        bench.fanout.ask()
        assert MIN_BPS <= guest.viewer.estimator.bps(bench.now) <= MAX_BPS
        assert guest.viewer.rtt_ns is None or guest.viewer.rtt_ns >= 0
    stamps = guest.timestamps()
    assert all(b > a for a, b in itertools.pairwise(stamps))
    assert len(bench.asked) <= 1 + (bench.now - bench.clock.origin_ns) // (1000 * MS)
    # Repeats are bounded by packets sent, three of each; replays by time.
    media = len(guest.of(VIDEO))
    assert len(guest.rtp) <= 4 * media


TARGETS: list[Target] = [viewer]
