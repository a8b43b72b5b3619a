"""Slate loops made by PyAV, for tests of the show without its worker."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
import numpy as np

from media.bitstream import describe
from media.bitstream.h264 import annexb_to_avcc, annexb_to_length_prefixed
from media.model import Codec
from media.slate.loop import SlateLoop, SlateOrder, SlateUnit
from media.slate.silence import silent_units

PICTURE_TICKS = 7500
PICTURES = 24


@cache
def pictures(width: int, height: int) -> tuple[bytes, tuple[bytes, ...]]:
    """avcC and two seconds of grey at 12 pictures a second, one IDR."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(12)
    encoder.time_base = Fraction(1, 90_000)
    encoder.max_b_frames = 0
    encoder.gop_size = PICTURES
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    encoder.open()
    units = []
    for number in range(PICTURES):
        frame = av.VideoFrame.from_ndarray(
            np.full((height, width, 3), 40, np.uint8), format="rgb24"
        )
        frame.pts = number * PICTURE_TICKS
        units += [annexb_to_length_prefixed(bytes(p)) for p in encoder.encode(frame)]
    return annexb_to_avcc(bytes(encoder.extradata)), tuple(units)


def loop_for(order: SlateOrder) -> SlateLoop:
    """Answer an order as a worker does."""
    avcc, units = pictures(order.width - order.width % 2, order.height - order.height % 2)
    sound = None
    if order.audio is not None:
        sound = describe(Codec.AAC, _config(*order.audio))
    return SlateLoop(
        video=describe(Codec.H264, avcc),
        audio=sound,
        pictures=tuple(
            SlateUnit(
                dts=number * PICTURE_TICKS,
                pts=number * PICTURE_TICKS,
                duration=PICTURE_TICKS,
                key=number == 0,
                payload=payload,
            )
            for number, payload in enumerate(units)
        ),
        sounds=silent_units(sound) if sound is not None else (),
        duration=PICTURES * PICTURE_TICKS,
    )


RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def _config(rate: int, channels: int) -> bytes:
    """AudioSpecificConfig of AAC-LC (ISO 14496-3 1.6.2.1)."""
    return (2 << 11 | RATES.index(rate) << 7 | channels << 3).to_bytes(2, "big")
