"""Fuzz targets: what a WebRTC peer puts into the payloads of its packets."""

from __future__ import annotations

from tests.fuzz.harness import Choices, Target, target
from webrtc.payloads import DEPACKETIZERS, PayloadError
from webrtc.payloads.assembly import AccessUnit
from webrtc.payloads.av1 import Av1Packetizer
from webrtc.payloads.h264 import H264Packetizer
from webrtc.payloads.hevc import HevcPacketizer
from webrtc.payloads.opus import OpusPacketizer
from webrtc.payloads.vp8 import Vp8Packetizer
from webrtc.payloads.vp9 import Vp9Packetizer

MARKER, NEXT_TIME, GAP, TOLD = 1, 2, 4, 8
MAX_UNIT = 65_536
SUPERFRAME_INDEX = 34


def _depacketize(name: str, data: bytes) -> list[AccessUnit]:
    """Feed packets of a flag byte and a piece; return the units."""
    choices = Choices(data)
    depacketizer = DEPACKETIZERS[name](max_unit_bytes=MAX_UNIT)
    found: list[AccessUnit] = []
    timestamp = sequence = 0
    while choices.left:
        flags = choices.number()
        timestamp += 3000 * (flags & NEXT_TIME > 0)
        sequence += 1
        if flags & GAP:
            sequence += 1
            if flags & TOLD:
                depacketizer.lost()
        try:
            units = depacketizer.feed(choices.piece(), flags & MARKER > 0, timestamp, sequence)
        except PayloadError as error:
            assert str(error).endswith(".")
            assert name == "OPUS" or depacketizer.needs_key
            continue
        assert len(units) <= 2
        found += units
    found += depacketizer.flush()
    assert depacketizer.flush() == []
    for unit in found:
        assert 0 < len(unit.payload) <= MAX_UNIT + SUPERFRAME_INDEX
    times = [unit.timestamp for unit in found]
    assert times == sorted(times)
    return found


@target("rtp_h264")
def h264(data: bytes) -> None:
    """Whatever comes out can be sent again and comes out the same."""
    for unit in _depacketize("H264", data):
        _again("H264", unit, H264Packetizer(max_payload=100).packetize(unit.payload))


@target("rtp_hevc")
def hevc(data: bytes) -> None:
    """Whatever comes out can be sent again and comes out the same."""
    for unit in _depacketize("H265", data):
        _again("H265", unit, HevcPacketizer(max_payload=100).packetize(unit.payload))


@target("rtp_av1")
def av1(data: bytes) -> None:
    """Whatever comes out can be sent again and comes out the same."""
    for unit in _depacketize("AV1", data):
        _again("AV1", unit, Av1Packetizer(max_payload=100).packetize(unit.payload))


@target("rtp_vp8")
def vp8(data: bytes) -> None:
    """Whatever comes out can be sent again and comes out the same."""
    for unit in _depacketize("VP8", data):
        _again("VP8", unit, Vp8Packetizer(max_payload=100).packetize(unit.payload))


@target("rtp_vp9")
def vp9(data: bytes) -> None:
    """Whatever comes out can be sent again and comes out the same."""
    for unit in _depacketize("VP9", data):
        _again("VP9", unit, Vp9Packetizer(max_payload=100).packetize(unit.payload))


@target("rtp_opus")
def opus(data: bytes) -> None:
    """Packets come out as they went in."""
    for unit in _depacketize("OPUS", data):
        assert unit.key
        assert OpusPacketizer(max_payload=MAX_UNIT).packetize(unit.payload)[0][0] == unit.payload


def _again(name: str, unit: AccessUnit, packets: list[tuple[bytes, bool]]) -> None:
    assert all(len(payload) <= 100 for payload, _ in packets)
    depacketizer = DEPACKETIZERS[name]()
    # The beginning of a unit behind another one's marker is beyond doubt.
    depacketizer._gap = 0
    found = []
    for sequence, (payload, marker) in enumerate(packets):
        found += depacketizer.feed(payload, marker, unit.timestamp, sequence)
    assert [each.payload for each in found] == [unit.payload]


TARGETS: list[Target] = [h264, hevc, av1, vp8, vp9, opus]
