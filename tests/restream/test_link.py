"""When a connection counts as stuck."""

from __future__ import annotations

import pytest

from ingest.rtmp.client import RtmpPublishClient
from restream.link import HIGH_WATER, LEAST_TAKEN, Link

pytestmark = pytest.mark.unit


class Transport:
    """Holds what it is given; the test takes from it."""

    waiting = 0

    def set_write_buffer_limits(self, **_limits: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@pytest.mark.parametrize(
    ("taken_per_s", "stuck"),
    [(0, True), (1, True), (LEAST_TAKEN // 12, True), (LEAST_TAKEN, False)],
)
def test_a_target_that_takes_a_byte_now_and_then_is_as_good_as_dead(taken_per_s, stuck) -> None:
    client = RtmpPublishClient("live", "rtmp://t.example/live", "k")
    link = Link(client, wake=lambda: None, sent=lambda _size: None)
    transport = Transport()
    link.connection_made(transport)
    transport.waiting = HIGH_WATER + 1
    link.pause_writing()
    for second in range(100, 111):
        stuck_s = link.stuck_s(second)
        transport.waiting -= taken_per_s
    assert (stuck_s >= 10) is stuck
    link.resume_writing()
    assert link.stuck_s(112) == 0
