"""What H.264, HEVC, AV1 and VP9 headers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from media.bitstream.errors import BitstreamError
from media.colour import Colour

CHROMA_NAMES = ("4:0:0", "4:2:0", "4:2:2", "4:4:4")
"""Indexed by chroma_format_idc (H.264 table 6-1)."""

MAX_DIMENSION = 0xFFFF
"""The widest picture that an ISO BMFF VisualSampleEntry can name."""

# H.264 table E-1 and H.265 table E.1, from aspect_ratio_idc 1.
_SAMPLE_ASPECT_RATIOS = (
    (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
EXTENDED_SAR = 255

_SLOWEST = Fraction(1)
_FASTEST = Fraction(480)
_WIDEST_SAR = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFormat:
    """A sequence header reduced to what the server needs."""

    codec_string: str
    width: int
    """Pixels after cropping."""
    height: int
    sar: tuple[int, int] = (1, 1)
    frame_rate: Fraction | None = None
    bit_depth: int = 8
    """Of luma."""
    bit_depth_chroma: int = 8
    chroma: str = "4:2:0"
    colour: Colour | None = None
    reorder_frames: int | None = None
    """Pictures that may be decoded before and shown after another; None where it is not told,
    and for codecs other than H.264."""


def sample_aspect_ratio(idc: int) -> tuple[int, int]:
    """Look up aspect_ratio_idc; unspecified and reserved values are square."""
    if 1 <= idc <= len(_SAMPLE_ASPECT_RATIOS):
        return _SAMPLE_ASPECT_RATIOS[idc - 1]
    return (1, 1)


def extended_sar(width: int, height: int) -> tuple[int, int]:
    """Reduce an explicit ratio; zero is unspecified, and beyond 16:1 no display follows it."""
    if not width or not height or max(width, height) > _WIDEST_SAR * min(width, height):
        return (1, 1)
    divisor = gcd(width, height)
    return (width // divisor, height // divisor)


def sane_frame_rate(pictures: int, ticks: int) -> Fraction | None:
    """Return pictures/ticks where it lies in 1 to 480 pictures a second.

    Encoders with variable frame rate write placeholders (1000 or 90000 pictures a second).
    """
    if not pictures or not ticks:
        return None
    rate = Fraction(pictures, ticks)
    return rate if _SLOWEST <= rate <= _FASTEST else None


def cropped(what: str, coded: int, cut: int) -> int:
    """Return the dimension left after cropping, refusing what is not a picture."""
    size = coded - cut
    if size <= 0:
        raise BitstreamError(f"The {what} crops away the whole picture.")
    if size > MAX_DIMENSION:
        raise BitstreamError(
            f"The {what} asks for {size} pixels in one dimension; at most 65535 can be described."
        )
    return size
