"""FFmpeg as the oracle: its packets into our depacketizers, ours into its decoders."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import pytest

from media.bitstream import av1, describe, h264, hevc
from media.bitstream.opus import packet_samples
from media.model import Codec
from tests.webrtc.payloads.network import packets
from webrtc.payloads import DEPACKETIZERS, AccessUnit, configuration
from webrtc.payloads.av1 import Av1Packetizer
from webrtc.payloads.h264 import H264Packetizer
from webrtc.payloads.hevc import HevcPacketizer
from webrtc.payloads.vp8 import Vp8Packetizer
from webrtc.payloads.vp9 import Vp9Packetizer

pytestmark = pytest.mark.component

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin"]
PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15", "-t", "1", "-pix_fmt", "yuv420p"]
SOUND = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "1", "-ac", "2"]
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "5", "-b:v", "1M", "-threads", "1"]
VPX = ["-deadline", "realtime", "-cpu-used", "8", "-g", "5", "-b:v", "1M", "-threads", "1"]

ENCODERS = {
    "H264": [*PICTURE, *X264, "-x264-params", "repeat-headers=1", "-f", "h264"],
    "H264-slices": [
        *PICTURE, *X264, "-x264-params", "slices=4:repeat-headers=1:aud=1", "-f", "h264",
    ],
    "H265": [
        *PICTURE, "-c:v", "libx265", "-preset", "ultrafast", "-b:v", "1M", "-x265-params",
        "log-level=none:keyint=5:repeat-headers=1:pools=1:bframes=0", "-f", "hevc",
    ],
    "VP8": [*PICTURE, "-c:v", "libvpx", *VPX, "-f", "ivf"],
    "VP9": [*PICTURE, "-c:v", "libvpx-vp9", *VPX, "-f", "ivf"],
    "AV1": [
        *PICTURE, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "5",
        "-b:v", "500k", "-threads", "1", "-f", "ivf",
    ],
    "OPUS": [*SOUND, "-c:a", "libopus", "-b:a", "96k", "-f", "ogg"],
}  # fmt: skip
PACKETIZERS = {
    "H264": H264Packetizer,
    "H265": HevcPacketizer,
    "VP8": Vp8Packetizer,
    "VP9": Vp9Packetizer,
    "AV1": Av1Packetizer,
}


def nice(command: list[str]) -> list[str]:
    return [shutil.which("nice") or "nice", "-n", "19", *command]


def encode(name: str, folder: Path) -> Path:
    path = folder / name
    subprocess.run(nice([*FFMPEG, *ENCODERS[name], str(path)]), check=True, timeout=60)
    return path


def ivf_frames(data: bytes) -> Iterator[bytes]:
    pos = 32
    while pos < len(data):
        size = int.from_bytes(data[pos : pos + 4], "little")
        yield data[pos + 12 : pos + 12 + size]
        pos += 12 + size


def ogg_packets(data: bytes) -> Iterator[bytes]:
    pos, whole = 0, b""
    while pos < len(data):
        lacing = data[pos + 27 : pos + 27 + data[pos + 26]]
        pos += 27 + len(lacing)
        for size in lacing:
            whole += data[pos : pos + size]
            pos += size
            if size < 255:
                yield whole
                whole = b""


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


def captured(path: Path) -> list[tuple[bytes, bool, int, int]]:
    """Let ffmpeg send a file; return (payload, marker, timestamp, sequence) of its packets."""
    packets = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.2)
        url = f"rtp://127.0.0.1:{receiver.getsockname()[1]}?pkt_size=1200"
        # The sender is paced: the socket's buffer is small where the system says so.
        command = [*FFMPEG, "-readrate", "4", "-i", str(path), "-c", "copy"]
        command += ["-strict", "experimental", "-payload_type", "96", "-f", "rtp", url]
        with subprocess.Popen(nice(command), stdout=subprocess.DEVNULL) as sender:
            while True:
                try:
                    packet = receiver.recv(65536)
                except TimeoutError:
                    if sender.poll() is not None:
                        break
                    continue
                if packet[1] & 0x7F != 96:
                    continue  # RTCP, where it shares the port
                timestamp = int.from_bytes(packet[4:8], "big")
                sequence = int.from_bytes(packet[2:4], "big")
                packets.append((packet[12:], packet[1] >= 0x80, timestamp, sequence))
        assert sender.returncode == 0
    # Unwrapped as far as a second of media may wrap.
    first_time, first = packets[0][2:]
    return [
        (payload, marker, (timestamp - first_time) % 2**32, (sequence - first) % 2**16)
        for payload, marker, timestamp, sequence in packets
    ]


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
