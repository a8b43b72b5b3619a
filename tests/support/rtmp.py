"""Encoders that misbehave on purpose: real H.264 and AAC in real time, with a clock of the test's.

What ffmpeg can do wrong is done with ffmpeg (`tests.support.push`); its muxer mends the rest.
"""

from __future__ import annotations

import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg

from ingest.rtmp.client import (
    PublishRefused,
    PublishStarted,
    ReconnectRequested,
    RtmpPublishClient,
)
from ingest.rtmp.errors import RtmpError
from media.model import Codec, Kind
from tests.support.server import Server

Stamp = Callable[[int, Kind], int]
"""Wire timestamp (u32 milliseconds) of what is due at a millisecond of the run."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit of a clip."""

    kind: Kind
    ms: int
    key: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Clip:
    """Coded pictures and sound, ready to be sent in order."""

    video_config: bytes
    audio_config: bytes
    units: tuple[Unit, ...]


def make_clip(directory: Path, *, seconds: int, size: str = "480x270", rate: int = 30) -> Clip:
    """Let ffmpeg encode a picture with a key frame every 2 s and a tone."""
    path = directory / "clip.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    command += ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    command += ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-tune", "zerolatency", "-g", str(2 * rate), "-keyint_min", str(2 * rate)]
    command += ["-sc_threshold", "0", "-b:v", "500k", "-c:a", "aac", "-ac", "2"]
    subprocess.run([*command, "-t", str(seconds), str(path)], check=True, timeout=60)
    units: list[Unit] = []
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        configs = [bytes(s.codec_context.extradata or b"") for s in (video, audio)]
        for packet in container.demux(video, audio):
            if packet.dts is None or packet.dts < 0:
                continue
            kind = Kind.VIDEO if packet.stream is video else Kind.AUDIO
            ms = round(packet.dts * packet.time_base * 1000)
            units.append(Unit(kind, ms, packet.is_keyframe, bytes(packet)))
    units.sort(key=lambda unit: unit.ms)
    return Clip(configs[0], configs[1], tuple(units))


class Pusher:
    """Sends a clip in real time from a thread until `stop`; see `refused` and `error` afterwards.

    `video_from_ms`: pictures, and what announces them, come only from then on.
    `cut_at_ms`: the first key frame from then on is sent by half, then the cable is pulled.
    """

    def __init__(
        self,
        server: Server,
        key: str,
        clip: Clip,
        *,
        stamp: Stamp = lambda ms, _kind: ms,
        video_from_ms: int = 0,
        cut_at_ms: int | None = None,
        reconnects: bool = False,
    ) -> None:
        self._port = server.rtmp_port
        self._clip = clip
        self._stamp = stamp
        self._video_from_ms = video_from_ms
        self._cut_at_ms = cut_at_ms
        self._client = RtmpPublishClient("live", server.rtmp, key, reconnects=reconnects)
        self._stopped = threading.Event()
        self._started = False
        self.refused: PublishRefused | None = None
        self.asked = False
        """Whether the server asked to reconnect; the push ends at the next key frame then."""
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"push-{key}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the run."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the push did not end"

    def _run(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=10) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(self._client.start())
                while not self._started and self.refused is None:
                    self._read(sock)
                if self.refused is None:
                    self._send_clip(sock)
        except (OSError, RtmpError, EOFError) as error:
            self.error = error

    def _read(self, sock: socket.socket) -> None:
        data = sock.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        for event in self._client.receive_data(data):
            match event:
                case PublishStarted():
                    self._started = True
                case PublishRefused():
                    self.refused = event
                case ReconnectRequested():
                    self.asked = True
        sock.sendall(self._client.data_to_send())

    def _send_clip(self, sock: socket.socket) -> None:
        began = time.monotonic()
        announced: set[Kind] = set()
        if not self._video_from_ms:
            for kind in Kind:
                self._announce(kind, 0)
                announced.add(kind)
        for unit in self._clip.units:
            if unit.kind is Kind.VIDEO and unit.ms < self._video_from_ms:
                continue
            while (wait := began + unit.ms / 1000 - time.monotonic()) > 0:
                if self._stopped.wait(wait):
                    break
            if self._stopped.is_set():
                break
            while select.select([sock], [], [], 0)[0]:
                self._read(sock)
            if self.refused is not None:
                return
            if self.asked and unit.key and unit.kind is Kind.VIDEO:
                break
            if unit.kind not in announced:
                announced.add(unit.kind)
                self._announce(unit.kind, unit.ms)
            self._send(unit)
            data = self._client.data_to_send()
            if unit.key and unit.kind is Kind.VIDEO and unit.ms >= (self._cut_at_ms or 2**63):
                sock.sendall(data[: len(data) // 2])
                return
            sock.sendall(data)
        self._client.stop()
        sock.sendall(self._client.data_to_send())

    def _announce(self, kind: Kind, ms: int) -> None:
        time_ms = self._stamp(ms, kind)
        if kind is Kind.VIDEO:
            self._client.video_config(Codec.H264, self._clip.video_config, time_ms)
        else:
            self._client.audio_config(Codec.AAC, self._clip.audio_config, time_ms)

    def _send(self, unit: Unit) -> None:
        time_ms = self._stamp(unit.ms, unit.kind)
        if unit.kind is Kind.VIDEO:
            self._client.video(Codec.H264, unit.payload, key=unit.key, time_ms=time_ms)
        else:
            self._client.audio(Codec.AAC, unit.payload, time_ms=time_ms)


def avcc_of_size(width: int, height: int) -> bytes:
    """Return a well-formed avcC whose baseline SPS asks for `width` x `height`, multiples of 16."""
    bits = "".join(
        [
            _ue(0),  # seq_parameter_set_id
            _ue(0),  # log2_max_frame_num_minus4
            _ue(2),  # pic_order_cnt_type
            _ue(1),  # max_num_ref_frames
            "0",  # gaps_in_frame_num_value_allowed_flag
            _ue(width // 16 - 1),
            _ue(height // 16 - 1),
            "1",  # frame_mbs_only_flag
            "1",  # direct_8x8_inference_flag
            "0",  # frame_cropping_flag
            "0",  # vui_parameters_present_flag
            "1",  # stop bit
        ]
    )
    bits += "0" * (-len(bits) % 8)
    profile = bytes((66, 0xC0, 62))
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    for zeros in (b"\0\0\1", b"\0\0\2", b"\0\0\3", b"\0\0\0"):
        assert zeros not in body, "this size would need emulation prevention"
    sps = b"\x67" + profile + body
    pps = b"\x68\xce\x3c\x80"
    head = b"\x01" + profile + b"\xff\xe1"
    return head + len(sps).to_bytes(2, "big") + sps + b"\x01" + len(pps).to_bytes(2, "big") + pps


def _ue(value: int) -> str:
    """Exp-Golomb code (ITU-T H.264 9.1)."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits
