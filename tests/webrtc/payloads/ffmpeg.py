"""Streams that FFmpeg encodes and sends, and how to read them."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg

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
