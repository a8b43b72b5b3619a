"""RTP and RTCP as ffmpeg writes them, off a loopback socket."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import pytest

from webrtc.reception import ReceptionStatistics
from webrtc.reorder import Arrival, ReorderBuffer, ReorderLimits
from webrtc.rtcp import Goodbye, RtcpPacket, SenderReport, SourceDescription, parse_rtcp
from webrtc.rtp import RtpPacket, parse_rtp
from webrtc.sequence import Unwrapper

pytestmark = pytest.mark.component

SSRC = 0x1234567
FIRST = 65_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What ffmpeg sent, and the samples that it encoded."""

    rtp: list[bytes]
    rtcp: list[bytes]
    samples: bytes


def drain(receiver: socket.socket) -> Iterator[bytes]:
    receiver.setblocking(False)
    while True:
        try:
            yield receiver.recv(65_536)
        except BlockingIOError:
            return


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    samples: Path = tmp_path_factory.mktemp("rtp") / "samples"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control,
    ):
        for receiver in (media, control):
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
            receiver.bind(("127.0.0.1", 0))
        ports = media.getsockname()[1], control.getsockname()[1]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-bitexact"]
        command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000:duration=1.5"]
        command += ["-c:a", "pcm_mulaw", "-f", "mulaw", str(samples)]
        command += ["-c:a", "pcm_mulaw", "-f", "rtp", "-ssrc", str(SSRC), "-seq", str(FIRST)]
        command += ["-cname", "a-name", "-rtpflags", "+send_bye"]
        command += [f"rtp://127.0.0.1:{ports[0]}?rtcpport={ports[1]}&pkt_size=180"]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        # ffmpeg has ended, and loopback delivers as it sends: all is in the sockets' buffers.
        return Sent(rtp=list(drain(media)), rtcp=list(drain(control)), samples=samples.read_bytes())


@pytest.fixture(scope="module")
def packets(sent: Sent) -> list[RtpPacket]:
    return [parse_rtp(data) for data in sent.rtp]


def test_every_field_of_every_packet(sent: Sent, packets: list[RtpPacket]) -> None:
    assert len(packets) > 60
    assert {(each.ssrc, each.payload_type) for each in packets} == {(SSRC, 0)}
    assert [each.sequence for each in packets] == [
        (FIRST + index) & 0xFFFF for index in range(len(packets))
    ]
    times = Unwrapper(32)
    first = times.unwrap(packets[0].timestamp)
    position = 0
    for each in packets:
        assert times.unwrap(each.timestamp) - first == position  # a sample is a byte
        position += len(each.payload)
    assert b"".join(each.payload for each in packets) == sent.samples
    assert [each.serialise() for each in packets] == sent.rtp


def test_shuffled_and_doubled_it_comes_back_in_order(sent: Sent, packets: list[RtpPacket]) -> None:
    chance = random.Random(3)
    late = {each.sequence: index + chance.uniform(0, 8) for index, each in enumerate(packets)}
    late[packets[0].sequence] = -1
    shuffled = sorted([*packets, *packets[10:20]], key=lambda each: late[each.sequence])
    assert shuffled != packets
    unwrapper, buffer = Unwrapper(16), ReorderBuffer(ReorderLimits())
    found = []
    for index, each in enumerate(shuffled):
        found += buffer.push(unwrapper.unwrap(each.sequence), each, index * 1_000_000)
    assert all(isinstance(each, Arrival) for each in found)
    arrivals = [each for each in found if isinstance(each, Arrival)]
    assert b"".join(each.packet.payload for each in arrivals) == sent.samples
    assert buffer.counters.duplicates == 10
    assert buffer.counters.reordered > 10


def test_its_reports_and_its_goodbye(sent: Sent, packets: list[RtpPacket]) -> None:
    control: list[RtcpPacket] = [each for data in sent.rtcp for each in parse_rtcp(data)]
    reports = [each for each in control if isinstance(each, SenderReport)]
    assert reports[0].empty, "ffmpeg reports before its first packet"
    assert {each.ssrc for each in reports} == {SSRC}
    names = [each.names for each in control if isinstance(each, SourceDescription)]
    assert set(names) == {((SSRC, b"a-name"),)}
    assert control[-1] == Goodbye(ssrcs=(SSRC,))
    last = reports[-1]
    if not last.empty:
        assert last.packet_count == len(packets)
        assert last.octet_count == len(sent.samples)


def test_our_statistics_of_it(packets: list[RtpPacket]) -> None:
    statistics, unwrapper = ReceptionStatistics(SSRC, 8000), Unwrapper(16)
    missed = packets[5:8]
    first = packets[0].timestamp
    for each in packets:
        if each not in missed:
            arrived = (each.timestamp - first & 0xFFFFFFFF) * 125_000
            statistics.receive(unwrapper.unwrap(each.sequence), each.timestamp, arrived)
    block = statistics.report(0)
    assert block.cumulative_lost == 3
    assert block.fraction_lost == 3 * 256 // len(packets)
    assert block.highest_sequence == FIRST + len(packets) - 1
    assert block.jitter == 0
