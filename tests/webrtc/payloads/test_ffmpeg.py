"""FFmpeg as the oracle: its packets into our depacketizers, ours into its decoders."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from media.bitstream import av1, describe, h264, hevc
from media.bitstream.opus import packet_samples
from media.model import Codec
from tests.webrtc.payloads.ffmpeg import (
    ENCODERS,
    FFMPEG,
    captured,
    encode,
    ivf_frames,
    nice,
    ogg_packets,
)
from tests.webrtc.payloads.network import packets
from webrtc.payloads import DEPACKETIZERS, AccessUnit, configuration
from webrtc.payloads.av1 import Av1Packetizer
from webrtc.payloads.h264 import H264Packetizer
from webrtc.payloads.hevc import HevcPacketizer
from webrtc.payloads.vp8 import Vp8Packetizer
from webrtc.payloads.vp9 import Vp9Packetizer

pytestmark = pytest.mark.component


PACKETIZERS = {
    "H264": H264Packetizer,
    "H265": HevcPacketizer,
    "VP8": Vp8Packetizer,
    "VP9": Vp9Packetizer,
    "AV1": Av1Packetizer,
}


def stream_of(name: str, data: bytes) -> bytes | list[bytes]:
    """Return what was encoded in the house form; of Annex B all units in a row."""
    if name.startswith("H264"):
        return h264.annexb_to_length_prefixed(data)
    if name == "H265":
        return hevc.annexb_to_length_prefixed(data)
    if name == "AV1":
        return [av1.strip_temporal_delimiters(frame) for frame in ivf_frames(data)]
    if name == "OPUS":
        return list(ogg_packets(data))[2:]
    return list(ivf_frames(data))


def received(name: str, path: Path) -> list[AccessUnit]:
    """Put together what ffmpeg sends of a file."""
    depacketizer = DEPACKETIZERS[name.partition("-")[0]]()
    units: list[AccessUnit] = []
    for packet in captured(path):
        units += depacketizer.feed(*packet)
    units += depacketizer.flush()
    assert depacketizer.dropped == 0
    return units


@pytest.mark.parametrize("name", ENCODERS)
def test_what_ffmpeg_sends_is_what_it_encoded(name: str, tmp_path: Path) -> None:
    path = encode(name, tmp_path)
    expected = stream_of(name, path.read_bytes())
    units = received(name, path)
    payloads = [unit.payload for unit in units]
    if isinstance(expected, bytes):
        assert b"".join(payloads) == expected
        assert len(payloads) == 15
    else:
        assert payloads == expected
    if name == "OPUS":
        assert all(packet_samples(payload) == 960 for payload in payloads)
        assert describe(Codec.OPUS, configuration(Codec.OPUS, units[0])).channels == 2
        return
    keys = [index for index, unit in enumerate(units) if unit.key]
    assert keys == [0, 5, 10]
    steps = {second.timestamp - first.timestamp for first, second in pairwise(units)}
    assert steps == {6000}
    if name == "VP8":
        fmt = describe(Codec.VP8, configuration(Codec.VP8, units[0]))
        assert (fmt.width, fmt.height, fmt.config) == (320, 240, b"")
        return
    codec = {"H265": Codec.HEVC, "AV1": Codec.AV1, "VP9": Codec.VP9}.get(name, Codec.H264)
    config = configuration(codec, units[0])
    if codec is not Codec.VP9:
        fmt = describe(codec, config)
        assert (fmt.width, fmt.height) == (320, 240)


@pytest.mark.parametrize("name", PACKETIZERS)
def test_what_we_send_is_decoded_by_ffmpeg(name: str, tmp_path: Path) -> None:
    path = encode(name, tmp_path)
    units = [unit.payload for unit in received(name, path)]
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    described = tmp_path / "session.sdp"
    described.write_text(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=video {port} RTP/AVP 96\r\na=rtpmap:96 {name}/90000\r\n"
    )
    command = [*FFMPEG, "-protocol_whitelist", "file,udp,rtp", "-strict", "experimental"]
    command += ["-probesize", "200000", "-i", str(described), "-frames:v", "20"]
    command += ["-f", "framemd5", "pipe:1"]
    out = packets(PACKETIZERS[name](max_payload=900), units * 40, ticks=6000)
    reader = subprocess.Popen(nice(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            for sequence, (payload, marker, timestamp) in enumerate(out):
                if reader.poll() is not None:
                    break
                head = bytes((0x80, marker << 7 | 96)) + (sequence & 0xFFFF).to_bytes(2, "big")
                head += timestamp.to_bytes(4, "big") + b"\x01\x02\x03\x04"
                try:
                    sender.sendto(head + payload, ("127.0.0.1", port))
                except ConnectionRefusedError:
                    continue  # it does not listen yet
                if marker:
                    # Paces the sender by the reader's life, not by a clock of its own.
                    try:
                        reader.wait(0.01)
                    except subprocess.TimeoutExpired:
                        continue
        stdout, stderr = reader.communicate(timeout=20)
    finally:
        reader.kill()
        reader.wait()
    assert reader.returncode == 0, stderr
    frames = [line for line in stdout.decode().splitlines() if not line.startswith("#")]
    assert len(frames) == 20
    assert {line.split(",")[4].strip() for line in frames} == {"115200"}
    # Every picture is one that ffmpeg decodes from the file itself.
    decoded = subprocess.run(
        nice([*FFMPEG, "-i", str(path), "-f", "framemd5", "pipe:1"]),
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    known = {line.split(",")[-1] for line in decoded.stdout.decode().splitlines()}
    assert {line.split(",")[-1] for line in frames} <= known
