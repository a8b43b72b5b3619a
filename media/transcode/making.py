"""Answers an order for a slate in a worker: from the last picture, or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.transcode.film import FilmRefused, film
from media.transcode.libav import EncoderFailed
from media.transcode.looping import silence, still_pictures
from media.transcode.messages import SlateFailed, SlateMade
from media.transcode.still import HD_COLOUR, Placer, StillFailed, as_frame, blank, dim, draw

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from media.transcode.messages import MakeSlate


def still_slate(make: MakeSlate, last: VideoFrame | None) -> SlateMade | SlateFailed:
    """Return a slate of the last picture, dimmed under the text; of a dark one without any.

    `order.image` is not looked at.
    """
    order = make.order
    try:
        if last is None:
            colour = HD_COLOUR
            picture = blank(order, colour)
        else:
            picture, colour = Placer(order, sar=order.sar, blur=True).place(last)
            dim(picture, order, colour)
        draw(picture, order, colour, font=make.font)
        avcc, pictures = still_pictures(as_frame(picture), order, colour=colour)
        duration = pictures[-1].pts + pictures[-1].duration
        asc, sounds = silence(order, duration)
    except (StillFailed, EncoderFailed, MemoryError, OSError) as err:
        text = f"The slate cannot be made: {str(err) or type(err).__name__}."
        return SlateFailed(serial=order.serial, text=text)
    return SlateMade(
        serial=order.serial,
        avcc=avcc,
        asc=asc,
        duration=duration,
        pictures=pictures,
        sounds=sounds,
    )


def film_slate(make: MakeSlate) -> SlateMade | SlateFailed:
    """Return a slate of the file that the order names."""
    order = make.order
    assert order.image is not None
    try:
        return film(order, order.image, max_pixels=make.max_pixels)
    except (FilmRefused, StillFailed, EncoderFailed, OSError) as err:
        text = f"The slate {order.image.name} cannot be shown: {err}."
        return SlateFailed(serial=order.serial, text=text)
