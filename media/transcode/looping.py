"""Codes the pictures and the sound of a slate, as loops that begin anew at any time."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.codec.context import Flags
from av.video.frame import PictureType

from media.bitstream import BitstreamError, h264, nal
from media.bitstream.h264_skip import skipped_pictures
from media.model import TICKS_PER_SECOND
from media.slate.loop import SlateUnit
from media.transcode.libav import PIXEL_FORMAT, TIME_BASE, EncoderFailed
from media.transcode.sound import FRAME_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av.audio.codeccontext import AudioCodecContext
    from av.video.frame import VideoFrame

    from media.slate.loop import SlateOrder
    from media.transcode.libav import Colour

STILL_SECONDS = 2
STILL_RATE = 12
"""Four pictures in a part of a third of a second."""
STILL_QUALITY = 22
"""x264 CRF of the only picture that costs anything."""
SILENCE_BPS = 32_000
PRIMING_UNITS = 1
"""The AAC encoder puts one unit before the first sample."""
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
PRESET = "veryfast"

Pictures = tuple[bytes, tuple[SlateUnit, ...]]
"""avcC and access units."""
Sounds = tuple[bytes, tuple[SlateUnit, ...]]
"""AudioSpecificConfig and access units."""


class PictureEncoder:
    """x264 without B-frames and CABAC, for one loop. Raises `EncoderFailed`."""

    def __init__(
        self, order: SlateOrder, *, colour: Colour, rate: Fraction, bitrate: int | None = None
    ) -> None:
        """`bitrate` in bits a second bounds a film; a still has constant quality."""
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height = order.size
        context.pix_fmt = PIXEL_FORMAT
        context.sample_aspect_ratio = Fraction(*order.sar) if min(order.sar) > 0 else Fraction(1)
        context.framerate, context.time_base = rate, TIME_BASE
        interval = max(1, round(rate * STILL_SECONDS))
        context.gop_size, context.max_b_frames, context.thread_count = interval, 0, 1
        context.flags |= Flags.global_header
        context.color_primaries, context.color_trc = colour[:2]
        context.colorspace, context.color_range = colour[2:]
        options = {
            "preset": PRESET,
            "tune": "zerolatency",
            "profile": "high",
            "forced-idr": "1",
            "x264-params": (
                f"sliced-threads=0:scenecut=0:keyint={interval}:min-keyint={interval}"
                ":repeat-headers=0:weightp=0:cabac=0:ref=1"
            ),
        }
        if bitrate is None:
            options["crf"] = str(STILL_QUALITY)
        else:
            context.bit_rate = bitrate
            options |= {"maxrate": str(bitrate), "bufsize": str(2 * bitrate)}
        context.options = options
        try:
            context.open()
        except (av.FFmpegError, ValueError) as err:
            raise EncoderFailed(f"encoder libx264 does not open for a slate: {err}") from err
        self._context = context

    @property
    def avcc(self) -> bytes:
        """The avcC record."""
        return h264.annexb_to_avcc(self._context.extradata or b"")

    @property
    def parameter_sets(self) -> tuple[bytes, bytes]:
        """SPS and PPS. Raises `ValueError` where there are more than one each."""
        units = nal.split_annexb(self._context.extradata or b"")
        (sps,) = [unit for unit in units if unit[0] & 0x1F == h264.NAL_SPS]
        (pps,) = [unit for unit in units if unit[0] & 0x1F == h264.NAL_PPS]
        return sps, pps

    def encode(self, frame: VideoFrame | None, *, pts: int, idr: bool) -> list[bytes]:
        """Return the access units that are ready, length-prefixed; None flushes."""
        if frame is not None:
            frame.pts, frame.time_base = pts, TIME_BASE
            frame.pict_type = PictureType.I if idr else PictureType.NONE
        try:
            packets = self._context.encode(frame)
        except (av.FFmpegError, ValueError) as err:
            raise EncoderFailed(f"encoder libx264 broke at a slate: {err}") from err
        return [h264.annexb_to_length_prefixed(bytes(packet)) for packet in packets]


def picture_times(rate: Fraction, count: int) -> list[int]:
    """Ticks at which `count` pictures of a loop begin, and its end."""
    return [int(number * TICKS_PER_SECOND / rate) for number in range(count + 1)]


def still_pictures(frame: VideoFrame, order: SlateOrder, *, colour: Colour) -> Pictures:
    """Code one picture, shown for two seconds. Raises `EncoderFailed`."""
    rate, count = Fraction(STILL_RATE), STILL_SECONDS * STILL_RATE
    encoder = PictureEncoder(order, colour=colour, rate=rate)
    first = [*encoder.encode(frame, pts=0, idr=True), *encoder.encode(None, pts=0, idr=False)]
    try:
        sps, pps = encoder.parameter_sets
        repeated = [nal.join_length_prefixed([u]) for u in skipped_pictures(sps, pps, count - 1)]
    except (BitstreamError, ValueError) as err:
        raise EncoderFailed(f"x264 wrote what a slate cannot repeat: {err}") from err
    times = picture_times(rate, count)
    return encoder.avcc, tuple(video_units([*first, *repeated], times, keys={0}))


def video_units(payloads: list[bytes], times: list[int], keys: set[int]) -> Iterator[SlateUnit]:
    """Name access units by their times: one more time than payloads."""
    for number, payload in enumerate(payloads):
        yield SlateUnit(
            dts=times[number],
            pts=times[number],
            duration=times[number + 1] - times[number],
            key=number in keys,
            payload=payload,
        )


def sound_count(duration: int, rate: int) -> int:
    """Whole access units that fill `duration` ticks as closely as they can; at least 1."""
    return max(1, round(duration * rate / TICKS_PER_SECOND / FRAME_SAMPLES))


def silence(order: SlateOrder, duration: int) -> Sounds:
    """Code silence for a loop of `duration` ticks; empty where no sound is ordered.

    Every unit is the same: decoding can start, end and go on anywhere. Raises `EncoderFailed`.
    """
    if order.audio is None:
        return b"", ()
    rate, layout = sound_shape(order.audio)
    encoder = open_aac(rate, layout, SILENCE_BPS)
    planes = len(av.AudioLayout(layout).channels)
    quiet = AudioFrame.from_ndarray(np.zeros((planes, FRAME_SAMPLES), np.float32), "fltp", layout)
    units = list(encoded_sound(encoder, [quiet, quiet, quiet, quiet]))
    payloads = [units[-1]] * sound_count(duration, rate)
    return encoder.extradata or b"", tuple(sound_units(payloads, rate))


def sound_shape(audio: tuple[int, int]) -> tuple[int, str]:
    """Sample rate and FFmpeg's name of the layout; stereo where it knows none."""
    rate, channels = audio
    return rate, LAYOUTS.get(channels, "stereo")


def open_aac(rate: int, layout: str, bitrate: int) -> AudioCodecContext:
    """Open an AAC-LC encoder. Raises `EncoderFailed`."""
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
    encoder.bit_rate, encoder.thread_count = bitrate, 1
    encoder.time_base = Fraction(1, rate)
    encoder.flags |= Flags.global_header
    try:
        encoder.open()
    except (av.FFmpegError, ValueError) as err:
        raise EncoderFailed(f"the AAC encoder does not open for a slate: {err}") from err
    return encoder


def encoded_sound(encoder: AudioCodecContext, frames: Iterable[AudioFrame]) -> Iterator[bytes]:
    """Code frames of 1024 samples, priming units left out. Raises `EncoderFailed`."""
    rate, number = encoder.sample_rate, 0
    try:
        packets = []
        for count, frame in enumerate(frames):
            frame.sample_rate, frame.pts = rate, count * FRAME_SAMPLES
            frame.time_base = Fraction(1, rate)
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
    except (av.FFmpegError, ValueError) as err:
        raise EncoderFailed(f"the AAC encoder broke at a slate: {err}") from err
    for number, packet in enumerate(packets):
        if number >= PRIMING_UNITS:
            yield bytes(packet)


def sound_units(payloads: Iterable[bytes], rate: int) -> Iterator[SlateUnit]:
    """Name AAC access units by their times."""
    for number, payload in enumerate(payloads):
        start = number * FRAME_SAMPLES * TICKS_PER_SECOND // rate
        end = (number + 1) * FRAME_SAMPLES * TICKS_PER_SECOND // rate
        yield SlateUnit(dts=start, pts=start, duration=end - start, key=True, payload=payload)
