"""Real packets for the targets of payload formats: ffmpeg's own over RTP, and ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.targets_webrtc_payloads import GAP, MARKER, NEXT_TIME, TOLD
from tests.webrtc.payloads.ffmpeg import ENCODERS, captured, encode
from tests.webrtc.payloads.network import packets
from tests.webrtc.payloads.test_codecs import CASES

_TARGETS = {
    "H264": "rtp_h264", "H264-slices": "rtp_h264", "H265": "rtp_hevc", "AV1": "rtp_av1",
    "VP8": "rtp_vp8", "VP9": "rtp_vp9", "OPUS": "rtp_opus",
}  # fmt: skip
# Pieces are cut short: what the formats say stands at the front.
_PIECE = 120
_PACKETS = 24


def _input(sent: list[tuple[bytes, bool, int]], *, lost: int = -1, told: bool = False) -> bytes:
    parts = []
    before, gap = None, False
    for index, (payload, marker, timestamp) in enumerate(sent[:_PACKETS]):
        if index == lost:
            gap = True
            continue
        flags = MARKER * marker | NEXT_TIME * (timestamp != before)
        flags |= (GAP | TOLD * told) * gap
        before, gap = timestamp, False
        piece = payload[:_PIECE]
        parts += [bytes((flags,)), len(piece).to_bytes(2, "big"), piece]
    return b"".join(parts)


def write(put: Callable[[str, str, bytes], None]) -> None:
    """Write the inputs of every target."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ENCODERS:
            sent = captured(encode(name, Path(folder)))
            plain = [(payload, marker, timestamp) for payload, marker, timestamp, _ in sent]
            put(_TARGETS[name], f"ffmpeg-{name.lower()}", _input(plain))
            put(_TARGETS[name], f"loss-{name.lower()}", _input(plain, lost=2))
    for case in CASES:
        ours = packets(case.packetizer(_PIECE), [case.key] * 3)
        put(_TARGETS[case.name], "ours", _input(ours, lost=len(ours) // 2, told=True))
    put("rtp_opus", "frames", _input([(b"\xff\x43abc", True, 0), (b"\x0b\x81x", False, 960)]))
    stap = b"\x78\x00\x02\x09\xf0\x00\x03\x65\x88\x80\x00\x02\x41\x9a"
    put("rtp_h264", "stap-with-slices", _input([(stap, True, 0), (b"\x5c\x81\x9a", False, 3)]))
    layers = b"\xbe\x81\x23\x00\x38\x01\x40\x00\xf0\x02\x80\x01\xe0\x01\x04\x01"
    layered = [
        (layers + b"\x82\x49\x83\x42\x00\x13\xf0\x0e\xf0", False, 0),
        (b"\xfd\x81\x23\x03\x02\x86\x00\x00", True, 0),
    ]
    put("rtp_vp9", "layers", _input(layered))
