"""The demo's encoder: the test picture and a tone as H.264 and AAC packets in real time.

Time comes in as arguments, so tests run it as fast as the codecs go.
"""

from __future__ import annotations

import time
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from media.bitstream import describe
from media.bitstream.h264 import annexb_to_avcc, annexb_to_length_prefixed
from media.model import TICKS_PER_SECOND, Codec, Packet
from media.transcode.testpicture import HEIGHT, WIDTH, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from media.model import TrackFormat

FRAME_RATE = 30
FRAME_TICKS = TICKS_PER_SECOND // FRAME_RATE
GOP_FRAMES = 2 * FRAME_RATE
SAMPLE_RATE = 48_000
AAC_SAMPLES = 1024
_BLIP_S = 0.08
_VIDEO_BPS = 2_500_000
_AUDIO_BPS = 96_000


class TestSource:
    """Encodes frame by frame. Not thread-safe; one owner."""

    __test__ = False  # pytest takes the name for a test class

    def __init__(self, *, start_utc_ms: int = 0) -> None:
        self._picture = Picture()
        self._start_utc_ms = start_utc_ms
        self._video = _open_video()
        self._audio = _open_audio()
        self._last_gop = -1
        self._samples = 0
        self.video_format = _describe_video(self._video)
        self.audio_format = describe(Codec.AAC, bytes(self._audio.extradata or b""))

    def start(self, utc_ms: int) -> None:
        """Say when picture 0 is; the tone follows from it. Not after the first `packets`."""
        self._start_utc_ms = utc_ms

    def packets(self, frame: int, utc_ms: int) -> list[Packet]:
        """Return what picture number `frame` and the sound up to it give, by time.

        `frame` counts from 0 at the start and may skip; `utc_ms` is stamped into the picture.
        A key frame comes with the first picture of every 2 s.
        """
        packets = self._encode_video(frame, utc_ms)
        packets += self._encode_audio((frame + 1) * SAMPLE_RATE // FRAME_RATE)
        return sorted(packets, key=lambda packet: packet.dts)

    def _encode_video(self, number: int, utc_ms: int) -> list[Packet]:
        frame = av.VideoFrame.from_ndarray(self._picture.draw(utc_ms, number), format="yuv420p")
        frame.pts = number * FRAME_TICKS
        frame.time_base = Fraction(1, TICKS_PER_SECOND)
        gop = number // GOP_FRAMES
        frame.pict_type = PictureType.I if gop != self._last_gop else PictureType.NONE
        self._last_gop = gop
        return [
            Packet(
                track=0,
                codec=Codec.H264,
                dts=packet.dts or 0,
                pts=packet.pts or 0,
                key=packet.is_keyframe,
                payload=annexb_to_length_prefixed(bytes(packet)),
                arrived_ns=time.monotonic_ns(),
                duration=FRAME_TICKS,
            )
            for packet in self._video.encode(frame)
        ]

    def _encode_audio(self, until: int) -> list[Packet]:
        packets = []
        while self._samples + AAC_SAMPLES <= until:
            frame = av.AudioFrame.from_ndarray(self._tone(self._samples), "fltp", "mono")
            frame.sample_rate = SAMPLE_RATE
            frame.pts = self._samples
            frame.time_base = Fraction(1, SAMPLE_RATE)
            self._samples += AAC_SAMPLES
            for packet in self._audio.encode(frame):
                pts = packet.pts or 0
                if pts < 0:  # the encoder's priming
                    continue
                ticks = pts * TICKS_PER_SECOND // SAMPLE_RATE
                packets.append(
                    Packet(
                        track=0,
                        codec=Codec.AAC,
                        dts=ticks,
                        pts=ticks,
                        key=True,
                        payload=bytes(packet),
                        arrived_ns=time.monotonic_ns(),
                        duration=AAC_SAMPLES * TICKS_PER_SECOND // SAMPLE_RATE,
                    )
                )
        return packets

    def _tone(self, first: int) -> NDArray[np.float32]:
        """Return 1024 samples: a short 440 Hz note on every UTC second, 880 Hz every fifth."""
        seconds = self._start_utc_ms / 1000 + (first + np.arange(AAC_SAMPLES)) / SAMPLE_RATE
        whole = np.floor(seconds)
        since = seconds - whole
        pitch = np.where(whole % 5 == 0, 880.0, 440.0)
        envelope = np.where(since < _BLIP_S, np.sin(np.pi * since / _BLIP_S), 0.0)
        wave = 0.25 * envelope * np.sin(2 * np.pi * pitch * since)
        return wave.astype(np.float32).reshape(1, -1)


def _open_video() -> VideoCodecContext:
    video = VideoCodecContext.create("libx264", "w")
    assert isinstance(video, VideoCodecContext)
    video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    video.framerate = Fraction(FRAME_RATE)
    video.time_base = Fraction(1, TICKS_PER_SECOND)
    video.bit_rate = _VIDEO_BPS
    video.gop_size = GOP_FRAMES
    video.max_b_frames = 0
    video.thread_count = 1
    video.flags |= Flags.global_header
    video.options = {
        "preset": "superfast",
        "tune": "zerolatency",
        "forced-idr": "1",
        "maxrate": str(_VIDEO_BPS),
        "bufsize": str(_VIDEO_BPS),
        "x264-params": f"keyint={2 * GOP_FRAMES}:scenecut=0:sliced-threads=0:colormatrix=bt709",
    }
    video.open()
    return video


def _open_audio() -> AudioCodecContext:
    audio = AudioCodecContext.create("aac", "w")
    assert isinstance(audio, AudioCodecContext)
    audio.sample_rate = SAMPLE_RATE
    audio.layout = "mono"
    audio.format = "fltp"
    audio.bit_rate = _AUDIO_BPS
    audio.time_base = Fraction(1, SAMPLE_RATE)
    audio.flags |= Flags.global_header
    audio.open()
    return audio


def _describe_video(video: VideoCodecContext) -> TrackFormat:
    return describe(Codec.H264, annexb_to_avcc(bytes(video.extradata or b"")))
