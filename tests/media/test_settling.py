"""How late a run's first packets arrived."""

from __future__ import annotations

import pytest

from media.model import Codec, Packet
from media.settling import MAX_BACKLOG, MAX_BYTES, SETTLE, Settling

pytestmark = pytest.mark.unit


def packet(dts: int, arrived: int, *, codec: Codec = Codec.H264, size: int = 1) -> Packet:
    """`arrived` in ticks: the clock of these tests reads it back as it is."""
    return Packet(
        track=0, codec=codec, dts=dts, pts=dts, key=True, payload=bytes(size), arrived_ns=arrived
    )


def held(*packets: Packet) -> Settling:
    settling = Settling(lambda ns: ns)
    for each in packets:
        settling.hold(each)
    return settling


def test_packets_in_time_are_not_late():
    packets, late = held(*(packet(500 + i * 3000, i * 3000) for i in range(8))).release()
    assert late == 0
    assert [p.dts for p in packets] == [500 + i * 3000 for i in range(8)]


def test_a_backlog_read_at_once_is_as_late_as_it_is_long():
    assert held(*(packet(i * 3000, 0) for i in range(30))).release()[1] == 29 * 3000


def test_other_tracks_do_not_count():
    sound = [packet(90_000 + i, 0, codec=Codec.AAC) for i in range(3)]
    assert held(packet(0, 0), *sound, packet(3000, 3000)).release()[1] == 0


def test_a_file_at_full_speed_is_no_backlog():
    assert held(packet(0, 0), packet(MAX_BACKLOG + 1, 0)).release()[1] == 0


def test_a_file_at_full_speed_is_known_by_its_fifth_second():
    settling = held(packet(0, 0), packet(MAX_BACKLOG, 0))
    assert not settling.due(1)
    settling.hold(packet(MAX_BACKLOG + 3000, 0))
    assert settling.due(1)


def test_due_after_a_quarter_second_or_too_many_bytes():
    settling = held()
    assert not settling.due(10**9)
    settling.hold(packet(0, 1000))
    assert not settling.due(1000 + SETTLE - 1)
    assert settling.due(1000 + SETTLE)
    assert held(packet(0, 1000, size=MAX_BYTES)).due(1000)
