"""VP9: vpcC and the uncompressed frame header (VP9 specification 6.2, VP-ISOBMFF 1.0)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError
from media.colour import Colour
from media.model import Codec, TrackFormat

_FULL_BOX = b"\x01\x00\x00\x00"
_SYNC_CODE = 0x498342
_SRGB = 7
_CHROMA = ("4:2:0", "4:2:0", "4:2:2", "4:4:4")
# By subsampling_x, subsampling_y: 4:4:4, 4:4:0 (told as 4:2:0, vpcC has no word), 4:2:2, 4:2:0.
_CHROMA_BY_SUBSAMPLING = (3, 1, 2, 1)
# color_space (VP9 7.2.2) to H.273 matrix coefficients.
_MATRIX_BY_SPACE = (2, 5, 1, 6, 7, 9, 2, 0)
# Annex A: (largest luma picture, level) from level 1.
_LEVELS = (
    (36_864, 10), (73_728, 11), (122_880, 20), (245_760, 21), (552_960, 30), (983_040, 31),
    (2_228_224, 40), (8_912_896, 50), (35_651_584, 60),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VpConfig:
    """A parsed vpcC; `record` has the FullBox version and flags in front."""

    record: bytes
    profile: int
    level: int
    """Ten times the level, 0 where the encoder does not know."""
    bit_depth: int
    chroma: str
    colour: Colour

    def codec_string(self, luma_samples: int = 0) -> str:
        """RFC 6381 form; an unknown level is taken from the picture size."""
        level = self.level or _level_for(luma_samples)
        return f"vp09.{self.profile:02d}.{level:02d}.{self.bit_depth:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFrame:
    """What a VP9 key frame says of the picture."""

    profile: int
    bit_depth: int
    chroma: int
    """As vpcC counts it: 1 is 4:2:0 with co-located samples, 2 is 4:2:2, 3 is 4:4:4."""
    matrix: int
    full_range: bool
    width: int
    height: int


def _level_for(luma_samples: int) -> int:
    return next((level for most, level in _LEVELS if luma_samples <= most), 62)


def parse_vpcc(config: bytes) -> VpConfig:
    """Parse a vpcC, with or without its FullBox header."""
    record = config if config.startswith(_FULL_BOX) else _FULL_BOX + config
    if len(record) < 12:
        raise BitstreamError("The vpcC record ends before its last field.")
    profile, level, packed, primaries, transfer, matrix = record[4:10]
    depth, chroma = packed >> 4, packed >> 1 & 7
    if profile > 3 or depth not in (8, 10, 12) or chroma > 3:
        raise BitstreamError(
            f"The vpcC record says profile {profile}, {depth} bits and chroma {chroma}, "
            "which VP9 does not define."
        )
    colour = Colour(
        primaries=primaries, transfer=transfer, matrix=matrix, full_range=bool(packed & 1)
    )
    return VpConfig(
        record=record,
        profile=profile,
        level=level,
        bit_depth=depth,
        chroma=_CHROMA[chroma],
        colour=colour,
    )


def is_key(frame: bytes) -> bool:
    """Whether a frame (or the first of a superframe) is a key frame."""
    reader = BitReader(frame, "VP9 frame header")
    _profile(reader)
    return not reader.flag() and not reader.flag()


def parse_key_frame(frame: bytes) -> KeyFrame:
    """Read the size from the uncompressed header of a key frame (VP9 6.2)."""
    reader = BitReader(frame, "VP9 frame header")
    profile = _profile(reader)
    if reader.flag() or reader.flag():
        raise BitstreamError("The VP9 frame is not a key frame.")
    reader.skip(2)
    if reader.bits(24) != _SYNC_CODE:
        raise BitstreamError("The VP9 key frame lacks its sync code.")
    depth = 8
    if profile >= 2:
        depth = 12 if reader.flag() else 10
    space = reader.bits(3)
    chroma, full_range = 1, True
    if space != _SRGB:
        full_range = reader.flag()
        if profile & 1:
            chroma = _CHROMA_BY_SUBSAMPLING[reader.bits(2)]
            reader.skip(1)
    elif profile & 1:
        chroma = 3
        reader.skip(1)
    else:
        raise BitstreamError("The VP9 key frame says RGB in a profile without 4:4:4.")
    width, height = reader.bits(16) + 1, reader.bits(16) + 1
    if width > 0xFFFF or height > 0xFFFF:
        raise BitstreamError("The VP9 key frame asks for 65536 pixels; at most 65535 are allowed.")
    return KeyFrame(
        profile=profile,
        bit_depth=depth,
        chroma=chroma,
        matrix=_MATRIX_BY_SPACE[space],
        full_range=full_range,
        width=width,
        height=height,
    )


def build_vpcc(key_frame: bytes) -> bytes:
    """Build a vpcC from a key frame: FFmpeg pushes VP9 over RTMP without a sequence header."""
    frame = parse_key_frame(key_frame)
    level = _level_for(frame.width * frame.height)
    packed = frame.bit_depth << 4 | frame.chroma << 1 | frame.full_range
    return _FULL_BOX + bytes((frame.profile, level, packed, 2, 2, frame.matrix, 0, 0))


def _profile(reader: BitReader) -> int:
    if reader.bits(2) != 2:
        raise BitstreamError("The VP9 frame does not begin with its frame marker.")
    profile = reader.bits(1) | reader.bits(1) << 1
    if profile == 3:
        reader.skip(1)
    return profile


def with_dimensions(fmt: TrackFormat, key_frame: bytes) -> TrackFormat:
    """Complete a VP9 format, whose vpcC has no size, from its first key frame."""
    if fmt.codec is not Codec.VP9:
        raise ValueError(f"with_dimensions() takes a VP9 format, not {fmt.codec}.")
    frame = parse_key_frame(key_frame)
    config = parse_vpcc(fmt.config)
    return replace(
        fmt,
        width=frame.width,
        height=frame.height,
        codec_string=config.codec_string(frame.width * frame.height),
    )
