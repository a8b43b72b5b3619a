"""Associations with peers that send what no browser does; aiortc's own is the other end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpTransport
from aiortc.rtcsctptransport import (
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    HeartbeatChunk,
    RTCSctpCapabilities,
    SackChunk,
    serialize_packet,
)

from webrtc.sctp import CHUNKS_BURST, MAX_HELD_BYTES, BoundedSctp

pytestmark = pytest.mark.component
PORT = 5000
WHOLE, FIRST, MIDDLE = 3, 2, 0


class Wire:
    """What an association asks of DTLS; keeps what is sent."""

    state = "connected"

    def __init__(self, role: str) -> None:
        self._role = role
        self.sent: deque[bytes] = deque()

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)

    def _register_data_receiver(self, receiver: object) -> None: ...

    def _unregister_data_receiver(self, receiver: object) -> None: ...


class Line:
    """Our association, connected with aiortc's."""

    def __init__(self) -> None:
        self.wires = Wire("server"), Wire("client")
        self.now_s = 0.0
        self.ours = BoundedSctp(self.wires[0], PORT, clock=lambda: self.now_s)
        self.theirs = RTCSctpTransport(self.wires[1], PORT)
        self.overruns: list[bool] = []
        self.ours.on_overrun = lambda: self.overruns.append(True)

    async def carry(self) -> None:
        while any(wire.sent for wire in self.wires):
            for wire, end in zip(self.wires, (self.theirs, self.ours), strict=True):
                while wire.sent:
                    await end._handle_data(wire.sent.popleft())
            await asyncio.sleep(0)

    async def attack(self, chunk: Chunk) -> None:
        tag = self.ours._local_verification_tag
        await self.ours._handle_data(serialize_packet(PORT, PORT, tag, chunk))

    async def data(self, ahead: int, size: int, *, flags: int, stream: int = 2) -> None:
        chunk = DataChunk(flags=flags)
        chunk.tsn = (self.theirs._local_tsn + ahead) % 2**32
        chunk.stream_id, chunk.protocol, chunk.user_data = stream, 51, b"x" * size
        await self.attack(chunk)


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Line]:
    line = Line()
    for end in (line.ours, line.theirs):
        await end.start(RTCSctpCapabilities(maxMessageSize=65536), PORT)
    await line.carry()
    assert line.ours.state == "connected"
    try:
        yield line
    finally:
        await line.ours.stop()
        await line.theirs.stop()


async def test_both_sides_send() -> None:
    async with connected() as line:
        heard: list[object] = []
        line.theirs.on("datachannel", lambda channel: channel.on("message", heard.append))
        channel = RTCDataChannel(line.ours, RTCDataChannelParameters(label="notes"))
        await asyncio.sleep(0)
        await line.carry()
        for _ in range(40):
            channel.send("x" * 20_000)
            await asyncio.sleep(0)
            await line.carry()
        assert heard == ["x" * 20_000] * 40
        offered: list[RTCDataChannel] = []
        line.ours.on("datachannel", offered.append)
        theirs = RTCDataChannel(line.theirs, RTCDataChannelParameters(label="more"))
        await asyncio.sleep(0)
        await line.carry()
        theirs.send("x" * 60_000)
        await asyncio.sleep(0)
        await line.carry()
        assert [each.label for each in offered] == ["more"]
        assert line.overruns == []


async def test_a_lost_message_is_sent_again_after_gap_reports() -> None:
    async with connected() as line:
        heard: list[object] = []
        line.theirs.on("datachannel", lambda channel: channel.on("message", heard.append))
        channel = RTCDataChannel(line.ours, RTCDataChannelParameters(label="notes"))
        await asyncio.sleep(0)
        await line.carry()
        channel.send("lost")
        await asyncio.sleep(0)
        line.wires[0].sent.clear()
        for number in range(4):
            channel.send(str(number))
            await asyncio.sleep(0)
            await line.carry()
        assert heard == ["lost", "0", "1", "2", "3"]


async def test_a_report_about_all_numbers_costs_nothing() -> None:
    async with connected() as line:
        RTCDataChannel(line.ours, RTCDataChannelParameters(label="notes"))
        await asyncio.sleep(0)
        line.wires[0].sent.clear()
        assert line.ours._sent_queue
        chunk = SackChunk()
        chunk.cumulative_tsn = line.ours._last_sacked_tsn
        chunk.gaps = [(0, 65535)] * 300
        began_s = time.perf_counter()
        await line.attack(chunk)
        assert time.perf_counter() - began_s < 0.5  # two seconds without a bound
        assert line.overruns == []


@pytest.mark.parametrize("flags", [FIRST, MIDDLE])
async def test_messages_without_an_end_are_not_kept(flags: int) -> None:
    async with connected() as line:
        for number in range(400):
            await line.data(number, 1100, flags=flags if number == 0 else MIDDLE)
        held = sum(len(each.reassembly) for each in line.ours._inbound_streams.values())
        assert held * 1100 <= MAX_HELD_BYTES + 20_000
        assert line.overruns == [True]
        await line.ours.stop()


async def test_holes_streams_and_small_chunks_are_bounded() -> None:
    async with connected() as line:
        for number in range(400):
            await line.data(2 * number + 1, 1, flags=WHOLE)
        assert line.overruns == [True]
        assert len(line.ours._sack_misordered) < 200
    async with connected() as line:
        chunk = ForwardTsnChunk()
        chunk.cumulative_tsn = line.theirs._local_tsn
        chunk.streams = [(stream, 0) for stream in range(300)]
        await line.attack(chunk)
        assert line.overruns == [True]
        assert not line.ours._inbound_streams
    async with connected() as line:
        for _ in range(CHUNKS_BURST // 2):
            await line.attack(HeartbeatChunk())
        line.now_s += 60
        for _ in range(CHUNKS_BURST - 1):
            await line.attack(HeartbeatChunk())
        assert line.overruns == []
        await line.attack(HeartbeatChunk())
        await line.attack(HeartbeatChunk())
        assert line.overruns == [True]


async def test_what_aiortc_stumbles_over_ends_it_quietly() -> None:
    async with connected() as line:
        chunk = DataChunk(flags=WHOLE)
        chunk.tsn, chunk.stream_id, chunk.protocol = line.theirs._local_tsn, 2, 50
        chunk.user_data = b"\x02"  # an acknowledgement of a channel that there is not
        await line.attack(chunk)
        assert line.overruns == [True]
        await line.attack(chunk)
        assert line.overruns == [True]
