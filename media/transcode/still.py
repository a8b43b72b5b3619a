"""The picture of a slate: the last one dimmed and blurred under a text, or a file's own."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from media.transcode.libav import PIXEL_FORMAT, Scaler, colour_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from media.slate.loop import SlateOrder
    from media.transcode.libav import Colour

DIM = 0.35
BLUR_STEPS = 5
"""The picture is scaled down by this and up again."""
HD_COLOUR: Colour = (1, 1, 1, 1)
"""BT.709, limited range: of a slate without a picture."""
FULL_RANGE = 2
MAX_STRETCH = 16


class StillFailed(Exception):
    """A picture cannot be brought into the wanted form."""


class Placer:
    """Letterboxes pictures into an order's size, in SDR. Used by one thread.

    `sar`: shape of the pixels of what comes in.
    """

    def __init__(self, order: SlateOrder, *, sar: tuple[int, int], blur: bool = False) -> None:
        self._order = order
        self._sar = sar
        self._blur = blur
        self._scaler: Scaler | None = None
        self._source = (0, 0)
        self._inner = (0, 0)

    def place(self, frame: VideoFrame) -> tuple[npt.NDArray[np.uint8], Colour]:
        """Return planar 4:2:0, shape (height * 3 / 2, width), and its colours.

        Raises `StillFailed`.
        """
        width, height = self._order.size
        try:
            scaled = self._scaled(frame)
            colour = colour_of(scaled)
            if self._blur:
                scaled = VideoReformatter().reformat(
                    scaled, *self._inner, PIXEL_FORMAT, interpolation="BICUBIC", threads=1
                )
            inner = cast("npt.NDArray[np.uint8]", scaled.to_ndarray(format=PIXEL_FORMAT))
        except (av.FFmpegError, ValueError) as err:
            raise StillFailed(f"the picture cannot be scaled: {err}") from err
        if self._inner == (width, height):
            return inner, colour
        canvas = blank(self._order, colour, level=0.0)
        for outer, part in zip(
            planes(canvas, width, height), planes(inner, *self._inner), strict=True
        ):
            top = (outer.shape[0] - part.shape[0]) // 2
            left = (outer.shape[1] - part.shape[1]) // 2
            outer[top : top + part.shape[0], left : left + part.shape[1]] = part
        return canvas, colour

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        size = (frame.width, frame.height)
        if self._scaler is None or size != self._source:
            order = self._order
            self._source = size
            aspect = size[0] * _shape(self._sar) / size[1] / _shape(order.sar)
            self._inner = _inner_size(aspect, *order.size)
            small = [max(16, side // BLUR_STEPS // 2 * 2) for side in self._inner]
            self._scaler = Scaler(*(small if self._blur else self._inner))
        return self._scaler.scale(frame)


def blank(order: SlateOrder, colour: Colour, *, level: float = 0.08) -> npt.NDArray[np.uint8]:
    """Return an even grey picture; `level` is 0 for black and 1 for white."""
    width, height = order.size
    canvas = np.full((height * 3 // 2, width), 128, np.uint8)
    black, white = _levels(colour)
    canvas[:height] = round(black + (white - black) * level)
    return canvas


def dim(picture: npt.NDArray[np.uint8], order: SlateOrder, colour: Colour) -> None:
    """Take away light and colour, in place."""
    _, height = order.size
    black, _ = _levels(colour)
    values = np.arange(256)
    luma = np.clip(black + (values - black) * DIM, 0, 255).astype(np.uint8)
    chroma = (128 + (values - 128) * DIM).round().astype(np.uint8)
    picture[:height] = luma[picture[:height]]
    picture[height:] = chroma[picture[height:]]


def draw(
    picture: npt.NDArray[np.uint8], order: SlateOrder, colour: Colour, *, font: Path | None
) -> None:
    """Write the order's text on a picture, in place; letters keep their shape on any pixels."""
    if not order.text.strip():
        return
    # Only here: the rasteriser is of no use to any other slate.
    from media.transcode.lettering import squeezed, text_mask

    width, height = order.size
    # Pixels sixteen times as wide as high are a broken header, not a picture to letter.
    across = max(2, min(round(width * _shape(order.sar)), MAX_STRETCH * width))
    mask = text_mask(order.text, across, height, font=font)
    if mask is None:
        return
    mask = squeezed(mask, width)
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return
    top, end = int(rows[0]) // 2 * 2, -(-(int(rows[-1]) + 1) // 2) * 2
    part = mask[top:end].astype(np.int32)
    luma, blue, red = planes(picture, width, height)
    _, ink = _levels(colour)
    luma[top:end] += ((ink - luma[top:end].astype(np.int32)) * part // 255).astype(np.uint8)
    coarse = part.reshape(part.shape[0] // 2, 2, width // 2, 2).mean(axis=(1, 3)).astype(np.int32)
    for plane in (blue, red):
        tinted = plane[top // 2 : end // 2]
        tinted += ((128 - tinted.astype(np.int32)) * coarse // 255).astype(np.uint8)


def as_frame(picture: npt.NDArray[np.uint8]) -> VideoFrame:
    """Return a planar 4:2:0 array as a frame for an encoder."""
    return VideoFrame.from_ndarray(picture, format=PIXEL_FORMAT)


def _inner_size(aspect: Fraction, width: int, height: int) -> tuple[int, int]:
    """Largest even size within (width, height) of this width to height."""
    inner_width = min(width, max(2, 2 * round(height * aspect / 2)))
    inner_height = min(height, max(2, 2 * round(width / aspect / 2)))
    # One or two lines of black at an edge are a blemish, not a letterbox.
    if width - inner_width <= 4 and height - inner_height <= 4:
        return width, height
    return inner_width, inner_height


def _shape(sar: tuple[int, int]) -> Fraction:
    across, down = sar
    return Fraction(across, down) if across > 0 and down > 0 else Fraction(1)


def _levels(colour: Colour) -> tuple[int, int]:
    return (0, 255) if colour[3] == FULL_RANGE else (16, 235)


def planes(
    picture: npt.NDArray[np.uint8], width: int, height: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Views of Y, U and V in what `to_ndarray` makes of yuv420p."""
    quarter = width * height // 4
    flat = picture.reshape(-1)
    chroma = flat[width * height :]
    half = (height // 2, width // 2)
    return (
        flat[: width * height].reshape(height, width),
        chroma[:quarter].reshape(half),
        chroma[quarter : 2 * quarter].reshape(half),
    )
