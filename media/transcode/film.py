"""A configured file as a slate: an image, or up to a minute of video with its sound."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from media.model import TICKS_PER_SECOND
from media.slate.loop import MAX_LOOP_BYTES, MAX_LOOP_SECONDS
from media.transcode.libav import PIXEL_FORMAT, EncoderFailed
from media.transcode.looping import (
    STILL_SECONDS,
    PictureEncoder,
    encoded_sound,
    open_aac,
    picture_times,
    silence,
    sound_count,
    sound_shape,
    sound_units,
    still_pictures,
    video_units,
)
from media.transcode.messages import SlateMade
from media.transcode.sound import FRAME_SAMPLES
from media.transcode.still import Placer, as_frame, planes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    from av.container import InputContainer
    from av.video.frame import VideoFrame

    from media.slate.loop import SlateOrder
    from media.transcode.looping import Pictures, Sounds

MAX_RATE = 30
USUAL_RATE = Fraction(25)
SOUND_BPS = 128_000
SOUND_BYTES = 2 * 2**20
"""Kept free of `MAX_LOOP_BYTES` for a minute of sound and for what the encoder exceeds."""
MAX_BPS = 6_000_000
FORMATS = (
    "mov,mp4,matroska,webm,mpegts,flv,avi,gif,apng,image2,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,"
    "avif"
)
"""Nothing that is a list of other files, as concat, hls or sdp are."""


class FilmRefused(Exception):
    """The file cannot be shown; the text says why."""


def film(order: SlateOrder, path: Path, *, max_pixels: int) -> SlateMade:
    """Code the file as a loop of the order's form, at most 60 s, 30 pictures a second, 24 MiB.

    Raises `FilmRefused`, `StillFailed` or `EncoderFailed`.
    """
    if not path.is_file():
        raise FilmRefused("there is no such file")
    try:
        with _opened(path) as container:
            avcc, pictures = _pictures(container, order, max_pixels)
        duration = pictures[-1].pts + pictures[-1].duration
    except (av.FFmpegError, ValueError, MemoryError) as err:
        raise FilmRefused(f"it is not an image or a video that can be read: {_said(err)}") from err
    try:
        with _opened(path) as container:
            asc, sounds = _sounds(container, order, duration)
    except (av.FFmpegError, ValueError, MemoryError, EncoderFailed) as err:
        # Pictures without sound are more than no pictures.
        sys.stderr.write(f"the sound of the slate cannot be decoded: {_said(err)}\n")
        asc, sounds = silence(order, duration)
    return SlateMade(
        serial=order.serial,
        avcc=avcc,
        asc=asc,
        duration=duration,
        pictures=pictures,
        sounds=sounds,
    )


def _said(err: Exception) -> str:
    """What FFmpeg says, without the path."""
    return str(getattr(err, "strerror", None) or type(err).__name__)


def _opened(path: Path) -> InputContainer:
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": FORMATS,
        "pattern_type": "none",
    }
    # The protocol by name: no part of the path can be taken for one.
    return av.open(f"file:{path.absolute()}", options=options)


def _pictures(container: InputContainer, order: SlateOrder, max_pixels: int) -> Pictures:
    if not container.streams.video:
        raise FilmRefused("it holds no picture")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None:  # of a codec that FFmpeg does not know
        raise FilmRefused("it holds no picture that can be decoded")
    if context.width * context.height > max_pixels:
        raise FilmRefused(f"its pictures have more than {max_pixels} pixels (limits.max_pixels)")
    context.options = {"max_pixels": str(max_pixels)}  # also in the middle of a file
    context.thread_count = 1
    sar = context.sample_aspect_ratio
    shape = (sar.numerator, sar.denominator) if sar else (1, 1)
    frames = _timed(container.decode(stream))
    first = next(frames, None)
    if first is None:
        raise FilmRefused("it holds no picture that can be decoded")
    second = next(frames, None)
    turned = (first[1].width >= first[1].height) != (context.width >= context.height)
    placer = Placer(order, sar=shape[::-1] if turned else shape)
    picture, colour = placer.place(first[1])
    if second is None:
        return still_pictures(as_frame(picture), order, colour=colour)
    rate = min(Fraction(stream.average_rate or USUAL_RATE), Fraction(MAX_RATE))
    rate = max(rate, Fraction(1)).limit_denominator(1001)
    seconds = float((container.duration or 0) / av.time_base) or MAX_LOOP_SECONDS
    encoder = PictureEncoder(
        order, colour=colour, rate=rate, bitrate=_bitrate(order, min(seconds, MAX_LOOP_SECONDS))
    )
    return _coded(encoder, placer, _on_grid(first, second, frames, rate), rate)


def _timed(frames: Iterator[VideoFrame]) -> Iterator[tuple[float, VideoFrame]]:
    """Yield pictures of the first minute with their seconds from the first one, ascending."""
    start: float | None = None
    newest = -1.0
    for frame in frames:
        if frame.time is None and start is not None:
            continue
        now = frame.time or 0.0
        start = now if start is None else start
        if now - start >= MAX_LOOP_SECONDS:
            return
        if now - start > newest:
            newest = now - start
            yield newest, upright(frame)


def upright(frame: VideoFrame) -> VideoFrame:
    """Turn a picture as its display matrix says: telephones film lying down."""
    turns = round(frame.rotation / 90) % 4
    if not turns:
        return frame
    even = frame.reformat(
        width=frame.width // 2 * 2, height=frame.height // 2 * 2, format=PIXEL_FORMAT, threads=1
    )
    size = (even.width, even.height)
    array = cast("npt.NDArray[np.uint8]", even.to_ndarray(format=PIXEL_FORMAT))
    flat = [np.rot90(plane, turns).reshape(-1) for plane in planes(array, *size)]
    width = size[1] if turns % 2 else size[0]
    turned = as_frame(np.concatenate(flat).reshape(-1, width))
    turned.pts, turned.time_base = frame.pts, frame.time_base
    turned.duration = frame.duration
    turned.color_primaries, turned.color_trc = frame.color_primaries, frame.color_trc
    turned.colorspace, turned.color_range = frame.colorspace, even.color_range
    return turned


def _on_grid(
    first: tuple[float, VideoFrame],
    second: tuple[float, VideoFrame],
    rest: Iterator[tuple[float, VideoFrame]],
    rate: Fraction,
) -> Iterator[VideoFrame]:
    """Yield the picture of each slot of an even frame rate; some twice, others never."""
    slot = 0
    shown = first
    step = float(1 / rate)
    limit = int(MAX_LOOP_SECONDS * rate)
    for following in chain((second,), rest):
        while slot < limit and (slot + 0.5) * step < following[0]:
            yield shown[1]
            slot += 1
        shown = following
    # The last one has its own duration: a slide show's counts in seconds.
    last = shown[1]
    end = shown[0] + float(last.duration * (last.time_base or 0))
    before = slot
    while slot < limit and (slot == before or (slot + 0.5) * step < end):
        yield last
        slot += 1


def _coded(
    encoder: PictureEncoder, placer: Placer, frames: Iterator[VideoFrame], rate: Fraction
) -> Pictures:
    interval = max(1, round(rate * STILL_SECONDS))
    payloads: list[bytes] = []
    size = 0
    last: tuple[VideoFrame, npt.NDArray[np.uint8]] | None = None
    for number, frame in enumerate(frames):
        if last is None or last[0] is not frame:
            last = frame, placer.place(frame)[0]
        pts = int(number * TICKS_PER_SECOND / rate)
        coded = encoder.encode(as_frame(last[1]), pts=pts, idr=number % interval == 0)
        size += sum(map(len, coded))
        if size > MAX_LOOP_BYTES - SOUND_BYTES:
            break
        payloads += coded
    payloads += encoder.encode(None, pts=0, idr=False)
    keys = set(range(0, len(payloads), interval))
    return encoder.avcc, tuple(video_units(payloads, picture_times(rate, len(payloads)), keys))


def _bitrate(order: SlateOrder, seconds: float) -> int:
    """Bits a second that the picture deserves and the loop's bytes allow."""
    wanted = 2_800_000 * (order.width * order.height / (1280 * 720)) ** 0.75
    allowed = (MAX_LOOP_BYTES - 2 * SOUND_BYTES) * 8 / max(1.0, seconds)
    return int(max(100_000, min(wanted, allowed, MAX_BPS)))


def _sounds(container: InputContainer, order: SlateOrder, duration: int) -> Sounds:
    if order.audio is None:
        return b"", ()
    if not container.streams.audio:
        return silence(order, duration)
    rate, layout = sound_shape(order.audio)
    count = sound_count(duration, rate)
    encoder = open_aac(rate, layout, SOUND_BPS)
    frames = _resampled(container, rate, layout)
    units = encoded_sound(encoder, _exactly(frames, count, layout))
    payloads = [payload for payload, _ in zip(units, range(count), strict=False)]
    return encoder.extradata or b"", tuple(sound_units(payloads, rate))


def _resampled(container: InputContainer, rate: int, layout: str) -> Iterator[AudioFrame]:
    """Yield the first minute of sound, from where the pictures begin."""
    video, audio = container.streams.video[0], container.streams.audio[0]
    start = (video.start_time or 0) * (video.time_base or 0)
    resampler = AudioResampler(
        format="fltp",
        layout=layout,
        rate=rate,
        frame_size=FRAME_SAMPLES,
        options={"async": "1000", "first_pts": "0"},
    )
    for frame in container.decode(audio):
        if frame.pts is not None and frame.time_base:
            frame.pts -= int(start / frame.time_base)
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _exactly(frames: Iterator[AudioFrame], count: int, layout: str) -> Iterator[AudioFrame]:
    """Yield `count` frames of 1024 samples: the rest is cut, what lacks is silence."""
    planes = len(av.AudioLayout(layout).channels)
    for _ in range(count):
        frame = next(frames, None)
        samples = np.zeros((planes, FRAME_SAMPLES), np.float32)
        if frame is not None:
            got = cast("npt.NDArray[np.float32]", frame.to_ndarray())
            samples[:, : got.shape[1]] = got[:, :FRAME_SAMPLES]
        yield AudioFrame.from_ndarray(samples, "fltp", layout)
