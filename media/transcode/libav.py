"""PyAV's video side: decoder, scaler, encoder. Errors of FFmpeg are translated here, once.

Objects are used by one thread each. PyAV drops the GIL in decode, scale and encode.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
from av.codec.context import Flags, ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from media.bitstream.h264 import annexb_to_length_prefixed
from media.model import TICKS_PER_SECOND, Codec
from media.transcode.encoders import keyframe_interval, options_for, pixel_format
from media.transcode.filters import PictureChain, shape_of
from media.transcode.tonemap import ToneMapFailed, ToneMapper, is_hdr

if TYPE_CHECKING:
    from media.transcode.filters import Shape
    from media.transcode.messages import Source, SourceTrack
    from media.transcode.plan import Rung

TIME_BASE = Fraction(1, TICKS_PER_SECOND)
PIXEL_FORMAT = "yuv420p"
WIDE_PIXELS = 1920 * 1088
"""Above this a second decoder thread is worth its picture of delay."""
# By name: "av1" alone is FFmpeg's hardware-only decoder.
DECODERS = {
    Codec.H264: "h264",
    Codec.HEVC: "hevc",
    Codec.AV1: "libdav1d",
    Codec.VP9: "vp9",
    Codec.VP8: "vp8",
}

Colour = tuple[int, int, int, int]
"""Primaries, transfer, matrix (ISO/IEC 23091-2 code points) and range of a picture."""


class DecodeFailed(Exception):
    """An access unit could not be decoded."""


class EncoderFailed(Exception):
    """An encoder could not be opened or broke; the text names it."""


class VideoDecoder:
    """Decodes one video track; pictures come in presentation order."""

    def __init__(self, track: SourceTrack, *, max_pixels: int) -> None:
        """Raise `DecodeFailed` where FFmpeg does not take the configuration."""
        context = cast("VideoCodecContext", av.CodecContext.create(DECODERS[track.codec], "r"))
        if track.config and track.codec is not Codec.VP9:
            context.extradata = track.config
        if track.colour is not None:
            # What the pictures say themselves takes the place of this.
            context.color_primaries, context.color_trc, context.colorspace = track.colour
        # Frame threads cost a picture of delay each; x264 next door fills the cores anyway.
        wide = track.pixels > WIDE_PIXELS
        context.thread_type = ThreadType.FRAME if wide else ThreadType.SLICE
        context.thread_count = 2 if wide else 1
        options = {"max_pixels": str(max_pixels)}
        if track.codec is Codec.AV1:
            options["max_frame_delay"] = "1"
        context.options = options
        try:
            context.open()
        except (av.FFmpegError, ValueError) as err:
            raise DecodeFailed(f"the {track.codec} decoder refused its configuration") from err
        self._context = context

    def decode(self, source: Source) -> list[VideoFrame]:
        """Decode one access unit. Raises `DecodeFailed`; go on with the next key frame."""
        packet = av.Packet(source.payload)
        packet.pts, packet.dts, packet.time_base = source.pts, source.dts, TIME_BASE
        packet.is_keyframe = source.key
        try:
            return self._context.decode(packet)
        except (av.FFmpegError, ValueError) as err:
            raise DecodeFailed(str(err)) from err

    def flush(self) -> list[VideoFrame]:
        """Return the pictures still held for reordering."""
        try:
            frames = self._context.decode(None)
        except (av.FFmpegError, ValueError):
            return []
        for frame in frames:
            # PyAV takes it from the packet, and there is none.
            frame.time_base = TIME_BASE
        return frames

    def reset(self) -> None:
        """Forget all references, before a key frame."""
        self._context.flush_buffers()


class Scaler:
    """Brings pictures of any size, pixel format and range to one size in 8-bit 4:2:0, SDR."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        filters = ("scale", f"{width}:{height}:flags=bicubic"), ("format", PIXEL_FORMAT)
        self._chain = PictureChain(*filters)
        self._untagged = PictureChain(*filters, untagged=True)
        self._refused: Shape | None = None
        self._tones = ToneMapper(width, height)
        self._unmapped: Shape | None = None

    def scale(self, frame: VideoFrame) -> VideoFrame:
        """Return a picture of the wanted size with the times, and of SDR the tags, of `frame`."""
        shape = shape_of(frame)
        if is_hdr(frame) and shape != self._unmapped:
            try:
                return self._tones.convert(frame)
            except ToneMapFailed:
                # Eight bits of PQ, and its tags say so, are better than no rung.
                self._unmapped = shape
        if (frame.width, frame.height, frame.format.name) == (
            self._width,
            self._height,
            PIXEL_FORMAT,
        ):
            return frame
        if shape != self._refused:
            try:
                return self._chain.convert(frame)
            except (av.FFmpegError, ValueError):
                # Bitstreams name colours that swscale does not know, or that are reserved.
                self._refused = shape
        return self._untagged.convert(frame)


def colour_of(frame: VideoFrame) -> Colour:
    """Return the colour tags of a picture; 2 (and range 0) stand for unknown."""
    full = frame.format.name.startswith("yuvj")
    return (
        int(frame.color_primaries),
        int(frame.color_trc),
        int(frame.colorspace),
        2 if full else int(frame.color_range),
    )


class VideoEncoder:
    """One rung's encoder, without B-frames: every picture comes back at once."""

    def __init__(self, rung: Rung, *, preset: str, frame_rate: Fraction, colour: Colour) -> None:
        """Raise `EncoderFailed` where this FFmpeg lacks the encoder or it refuses its settings."""
        self._rung = rung
        self.colour = colour
        self.preset = preset
        try:
            context = cast("VideoCodecContext", av.CodecContext.create(rung.encoder, "w"))
            self._open(context, preset, frame_rate)
        except (av.FFmpegError, ValueError, TypeError) as err:
            raise EncoderFailed(
                f"encoder {rung.encoder} does not open for {rung.name}: {err}"
            ) from err
        if context.options:
            raise EncoderFailed(
                f"encoder {rung.encoder} does not know {', '.join(sorted(context.options))}"
            )
        if not context.extradata:
            raise EncoderFailed(f"encoder {rung.encoder} sends its parameter sets in band only")
        self._context = context

    def _open(self, context: VideoCodecContext, preset: str, frame_rate: Fraction) -> None:
        rung = self._rung
        context.width, context.height = rung.width, rung.height
        context.pix_fmt = pixel_format(rung.encoder)
        context.sample_aspect_ratio = Fraction(1)
        context.framerate = frame_rate
        context.time_base = TIME_BASE
        context.bit_rate = rung.bitrate
        context.gop_size = keyframe_interval(frame_rate)
        context.max_b_frames = 0
        # The rungs are the parallelism: x264's own threads cost 15 % more for the same work.
        context.thread_count = 1
        context.flags |= Flags.global_header
        primaries, transfer, matrix, colour_range = self.colour
        context.color_primaries, context.color_trc = primaries, transfer
        context.colorspace, context.color_range = matrix, colour_range
        context.options = options_for(rung, preset=preset, frame_rate=frame_rate)
        context.open()

    @property
    def extradata(self) -> bytes:
        """SPS and PPS in Annex B."""
        return self._context.extradata or b""

    def encode(self, frame: VideoFrame, *, idr: bool) -> list[tuple[int, int, bool, bytes]]:
        """Return (dts, pts, key, length-prefixed payload) of each access unit that is ready."""
        # Decoders leave the source's own type here, and x264 would obey it.
        frame.pict_type = PictureType.I if idr else PictureType.NONE
        try:
            return [self._unit(packet) for packet in self._context.encode(frame)]
        except (av.FFmpegError, ValueError) as err:
            raise EncoderFailed(f"encoder {self._rung.encoder} broke: {err}") from err

    def flush(self) -> list[tuple[int, int, bool, bytes]]:
        """Return what the encoder still holds; it is of no use after that."""
        try:
            return [self._unit(packet) for packet in self._context.encode(None)]
        except (av.FFmpegError, ValueError):
            return []

    def _unit(self, packet: av.Packet[Any]) -> tuple[int, int, bool, bytes]:
        pts = packet.pts if packet.pts is not None else 0
        dts = packet.dts if packet.dts is not None else pts
        payload = annexb_to_length_prefixed(bytes(packet))
        return dts, pts, packet.is_keyframe, payload
