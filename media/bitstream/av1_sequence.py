"""The AV1 sequence header OBU (AV1 specification 5.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError
from media.bitstream.picture import PictureFormat, sane_frame_rate
from media.colour import Colour

if TYPE_CHECKING:
    from fractions import Fraction

_WHAT = "AV1 sequence header"
_BT709, _SRGB, _IDENTITY = 1, 13, 0
_CHROMA = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHeader:
    """The fields that av1C, the codec string and an init segment need."""

    profile: int
    level: int
    """seq_level_idx[0]."""
    tier: int
    width: int
    height: int
    frame_rate: Fraction | None
    bit_depth: int
    monochrome: bool
    subsampling_x: int
    subsampling_y: int
    chroma_position: int
    colour: Colour

    @property
    def codec_string(self) -> str:
        """RFC 6381 form; the long one only where its defaults do not hold (AV1-ISOBMFF 5)."""
        tier = "H" if self.tier else "M"
        short = f"av01.{self.profile}.{self.level:02d}{tier}.{self.bit_depth:02d}"
        colour = self.colour
        points = (colour.primaries, colour.transfer, colour.matrix)
        subsampling = (self.subsampling_x, self.subsampling_y)
        usual = points in ((1, 1, 1), (2, 2, 2)) and not colour.full_range
        if usual and not self.monochrome and subsampling == (1, 1):
            return short
        position = self.chroma_position if subsampling == (1, 1) else 0
        tail = ".".join(f"{point:02d}" for point in points)
        return (
            f"{short}.{self.monochrome:d}.{subsampling[0]}{subsampling[1]}{position}"
            f".{tail}.{colour.full_range:d}"
        )

    @property
    def picture(self) -> PictureFormat:
        """The same in the terms that all video codecs share."""
        chroma = "4:0:0" if self.monochrome else _CHROMA[self.subsampling_x, self.subsampling_y]
        return PictureFormat(
            codec_string=self.codec_string,
            width=self.width,
            height=self.height,
            frame_rate=self.frame_rate,
            bit_depth=self.bit_depth,
            bit_depth_chroma=self.bit_depth,
            chroma=chroma,
            colour=self.colour,
        )


def parse_sequence_header(payload: bytes) -> SequenceHeader:
    """Parse the payload of a sequence header OBU (AV1 5.5.1)."""
    reader = BitReader(payload, _WHAT)
    profile = reader.bits(3)
    if profile > 2:
        raise BitstreamError(f"The AV1 sequence header says profile {profile}; at most 2 exists.")
    reader.skip(1)
    reduced = reader.flag()
    tier, rate = 0, None
    if reduced:
        level = reader.bits(5)
    else:
        level, tier, rate = _operating_points(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    width, height = reader.bits(width_bits) + 1, reader.bits(height_bits) + 1
    if width > 0xFFFF or height > 0xFFFF:
        raise BitstreamError(
            f"The AV1 sequence header asks for {width}x{height} pixels; "
            "at most 65535 in one dimension can be described."
        )
    _skip_tools(reader, reduced=reduced)
    high = reader.flag()
    bit_depth = 10 if high else 8
    if profile == 2 and high and reader.flag():
        bit_depth = 12
    monochrome = profile != 1 and reader.flag()
    colour, sub_x, sub_y, position = _color_config(
        reader, profile=profile, bit_depth=bit_depth, monochrome=monochrome
    )
    return SequenceHeader(
        profile=profile,
        level=level,
        tier=tier,
        width=width,
        height=height,
        frame_rate=rate,
        bit_depth=bit_depth,
        monochrome=monochrome,
        subsampling_x=sub_x,
        subsampling_y=sub_y,
        chroma_position=position,
        colour=colour,
    )


def _operating_points(reader: BitReader) -> tuple[int, int, Fraction | None]:
    """Read timing and operating points; return level, tier and frame rate of the first."""
    rate: Fraction | None = None
    decoder_model = False
    delay_bits = 0
    if reader.flag():
        tick, scale = reader.bits(32), reader.bits(32)
        if reader.flag():
            # uvlc() (AV1 4.10.3) is ue(v) except for codes beyond any frame rate.
            rate = sane_frame_rate(scale, tick * (reader.ue("num_ticks_per_picture_minus_1") + 1))
        decoder_model = reader.flag()
        if decoder_model:
            delay_bits = reader.bits(5) + 1
            reader.skip(32 + 5 + 5)
    display_delay = reader.flag()
    level = tier = 0
    for index in range(reader.bits(5) + 1):
        reader.skip(12)
        point_level = reader.bits(5)
        point_tier = reader.bits(1) if point_level > 7 else 0
        if decoder_model and reader.flag():
            reader.skip(2 * delay_bits + 1)
        if display_delay and reader.flag():
            reader.skip(4)
        if index == 0:
            level, tier = point_level, point_tier
    return level, tier, rate


def _skip_tools(reader: BitReader, *, reduced: bool) -> None:
    """Pass over frame ids and coding tools between the size and color_config() (AV1 5.5.1)."""
    if not reduced and reader.flag():
        reader.skip(7)
    reader.skip(3)
    if not reduced:
        reader.skip(4)
        order_hint = reader.flag()
        if order_hint:
            reader.skip(2)
        # seq_choose_screen_content_tools, else the forced value.
        screen_content = 2 if reader.flag() else reader.bits(1)
        if screen_content and not reader.flag():
            reader.skip(1)
        if order_hint:
            reader.skip(3)
    reader.skip(3)


def _color_config(
    reader: BitReader, *, profile: int, bit_depth: int, monochrome: bool
) -> tuple[Colour, int, int, int]:
    """Read color_config() behind mono_chrome (AV1 5.5.2)."""
    points = (2, 2, 2)
    if reader.flag():
        points = (reader.bits(8), reader.bits(8), reader.bits(8))
    primaries, transfer, matrix = points
    if not monochrome and points == (_BT709, _SRGB, _IDENTITY):
        colour = Colour(primaries=primaries, transfer=transfer, matrix=matrix, full_range=True)
        return colour, 0, 0, 0
    full_range = reader.flag()
    colour = Colour(primaries=primaries, transfer=transfer, matrix=matrix, full_range=full_range)
    if monochrome:
        return colour, 1, 1, 0
    if profile == 0:
        sub_x = sub_y = 1
    elif profile == 1:
        sub_x = sub_y = 0
    elif bit_depth == 12:
        sub_x = reader.bits(1)
        sub_y = reader.bits(1) if sub_x else 0
    else:
        sub_x, sub_y = 1, 0
    position = reader.bits(2) if sub_x and sub_y else 0
    return colour, sub_x, sub_y, position
