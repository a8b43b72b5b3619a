"""H.264: avcC, SPS and access units (ITU-T H.264 7.3, ISO 14496-15 5.3.3)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.bitstream import nal
from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError
from media.bitstream.picture import CHROMA_NAMES, PictureFormat, cropped
from media.bitstream.vui import Vui, read_vui

if TYPE_CHECKING:
    from collections.abc import Sequence

NAL_IDR = 5
NAL_SPS = 7
NAL_PPS = 8
NAL_AUD = 9

_WHAT = "H.264 SPS"
_LAST_VCL = 5
_BASELINE = 66
"""It has no B slices (A.2.1)."""
_CONSTRAINED = 0x40
"""constraint_set1_flag."""
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
# Profiles for which avcC carries chroma format and bit depths (ISO 14496-15 5.3.3.1.2).
_AVCC_EXTENDED = frozenset({100, 110, 122, 144})


@dataclass(frozen=True, slots=True, kw_only=True)
class AvcConfig:
    """A parsed avcC."""

    length_size: int
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]


def parse_avcc(config: bytes) -> AvcConfig:
    """Take an AVCDecoderConfigurationRecord apart; it must hold at least one SPS."""
    if len(config) < 7:
        raise BitstreamError("The avcC record ends before its last field.")
    if config[0] != 1:
        raise BitstreamError(f"The avcC record has version {config[0]}; only 1 is defined.")
    length_size = nal.check_length_size((config[4] & 3) + 1, "avcC record")
    pos = 5
    sps, pos = _parameter_sets(config, pos, 0x1F)
    pps, pos = _parameter_sets(config, pos, 0xFF)
    if not sps:
        raise BitstreamError("The avcC record holds no SPS.")
    return AvcConfig(length_size=length_size, sps=sps, pps=pps)


def _parameter_sets(config: bytes, pos: int, mask: int) -> tuple[tuple[bytes, ...], int]:
    units: list[bytes] = []
    if pos >= len(config):
        raise BitstreamError("The avcC record ends before its last field.")
    count = config[pos] & mask
    pos += 1
    for _ in range(count):
        start = pos + 2
        pos = start + int.from_bytes(config[pos:start], "big")
        if start > len(config) or pos > len(config):
            raise BitstreamError("A parameter set is longer than its avcC record.")
        units.append(config[start:pos])
    return tuple(units), pos


def build_avcc(sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """Build an avcC with four-byte NAL lengths from raw parameter sets."""
    if not sps or not pps:
        raise BitstreamError("An avcC record needs at least one SPS and one PPS.")
    if len(sps) > 31 or len(pps) > 255:
        raise BitstreamError("An avcC record holds at most 31 SPS and 255 PPS.")
    first = sps[0]
    picture = parse_sps(first)
    parts = [bytes((1, first[1], first[2], first[3], 0xFF, 0xE0 | len(sps)))]
    for unit in sps:
        parts += _sized(unit, "SPS")
    parts.append(bytes((len(pps),)))
    for unit in pps:
        parts += _sized(unit, "PPS")
    if first[1] in _AVCC_EXTENDED:
        chroma = CHROMA_NAMES.index(picture.chroma)
        luma_depth, chroma_depth = picture.bit_depth - 8, picture.bit_depth_chroma - 8
        parts.append(bytes((0xFC | chroma, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0)))
    return b"".join(parts)


def _sized(unit: bytes, what: str) -> tuple[bytes, bytes]:
    if len(unit) > nal.MAX_PARAMETER_SET:
        raise BitstreamError(f"The H.264 {what} has {len(unit)} bytes; at most 8192 are accepted.")
    return len(unit).to_bytes(2, "big"), unit


def annexb_to_avcc(extradata: bytes) -> bytes:
    """Build an avcC from Annex B bytes that hold SPS and PPS; other units are ignored."""
    units = nal.split_annexb(extradata)
    sps = [unit for unit in units if unit[0] & 0x1F == NAL_SPS]
    pps = [unit for unit in units if unit[0] & 0x1F == NAL_PPS]
    return build_avcc(_unique(sps), _unique(pps))


def _unique(units: list[bytes]) -> list[bytes]:
    return list(dict.fromkeys(units))


def annexb_to_length_prefixed(au: bytes, *, drop_parameter_sets: bool = False) -> bytes:
    """Reframe an Annex B access unit with four-byte lengths, without access unit delimiters."""
    dropped = {NAL_AUD, NAL_SPS, NAL_PPS} if drop_parameter_sets else {NAL_AUD}
    return nal.join_length_prefixed(
        unit for unit in nal.split_annexb(au) if unit[0] & 0x1F not in dropped
    )


def is_idr(payload: bytes, length_size: int = 4) -> bool:
    """Whether the first coded slice of a length-prefixed access unit is of an IDR picture."""
    for start, _ in nal.length_prefixed_spans(payload, length_size):
        kind = payload[start] & 0x1F
        if 1 <= kind <= _LAST_VCL:
            return kind == NAL_IDR
    return False


def reorder_frames(avcc: bytes) -> int | None:
    """Return how many pictures may be decoded before and shown after another; None: not told.

    Encoders with B-frames tell it nearly always, those for realtime often do not.
    """
    told = [parse_sps(sps).reorder_frames for sps in parse_avcc(avcc).sps]
    known = [frames for frames in told if frames is not None]
    return max(known) if len(known) == len(told) else None


def profile_level_id(config: AvcConfig) -> str:
    """Return what SDP says of a stream (RFC 6184 8.1): bytes 1 to 3 of its SPS in hexadecimal.

    Baseline without slice groups and redundant pictures is Constrained Baseline (A.2.1.1), which
    every browser plays, also where its encoder leaves the flag out. Raises `BitstreamError`.
    """
    sps = config.sps[0]
    if len(sps) < 4:
        raise BitstreamError("The H.264 SPS ends before its last field.")
    idc, flags, level = sps[1:4]
    if idc == _BASELINE and config.pps:
        with contextlib.suppress(BitstreamError):
            flags |= _CONSTRAINED * all(map(_plain, config.pps))
    return bytes((idc, flags, level)).hex()


def _plain(pps: bytes) -> bool:
    """Whether a PPS has neither slice groups nor redundant pictures (H.264 7.3.2.2)."""
    reader = BitReader(nal.rbsp(pps, 1, "H.264 PPS"), "H.264 PPS")
    reader.ue("pic_parameter_set_id", 255)
    reader.ue("seq_parameter_set_id", 31)
    reader.skip(2)
    if reader.ue("num_slice_groups_minus1", 7):
        return False
    reader.ue("num_ref_idx_l0_default_active_minus1", 31)
    reader.ue("num_ref_idx_l1_default_active_minus1", 31)
    reader.skip(3)
    for name in ("pic_init_qp_minus26", "pic_init_qs_minus26", "chroma_qp_index_offset"):
        reader.se(name)
    reader.skip(2)
    return not reader.flag()


def parse_sps(sps: bytes) -> PictureFormat:
    """Parse an SPS NAL unit, its one-byte header included (H.264 7.3.2.1.1 and E.1.1)."""
    if len(sps) < 5 or sps[0] & 0x1F != NAL_SPS:
        raise BitstreamError("The H.264 configuration holds a unit that is not an SPS.")
    data = nal.rbsp(sps, 1, _WHAT)
    reader = BitReader(data, _WHAT)
    profile = reader.bits(8)
    reader.skip(16)
    reader.ue("seq_parameter_set_id", 31)
    chroma_idc, luma_depth, chroma_depth, separate_planes = 1, 8, 8, False
    if profile in _HIGH_PROFILES:
        chroma_idc = reader.ue("chroma_format_idc", 3)
        separate_planes = chroma_idc == 3 and reader.flag()
        luma_depth += reader.ue("bit_depth_luma_minus8", 6)
        chroma_depth += reader.ue("bit_depth_chroma_minus8", 6)
        reader.skip(1)
        if reader.flag():
            _skip_scaling_lists(reader, 12 if chroma_idc == 3 else 8)
    in_order = _skip_order_count(reader) or profile == _BASELINE
    reader.ue("max_num_ref_frames", 16)
    reader.skip(1)
    width_mbs = reader.ue("pic_width_in_mbs_minus1") + 1
    height_units = reader.ue("pic_height_in_map_units_minus1") + 1
    frame_mbs_only = reader.flag()
    if not frame_mbs_only:
        reader.skip(1)
    reader.skip(1)
    width = width_mbs * 16
    height = height_units * 16 * (1 if frame_mbs_only else 2)
    cut_width = cut_height = 0
    if reader.flag():
        planes = 0 if separate_planes else chroma_idc
        unit_x = 2 if planes in (1, 2) else 1
        unit_y = (2 if planes == 1 else 1) * (1 if frame_mbs_only else 2)
        cut_width = unit_x * (reader.ue("frame_crop_left") + reader.ue("frame_crop_right"))
        cut_height = unit_y * (reader.ue("frame_crop_top") + reader.ue("frame_crop_bottom"))
    vui = read_vui(reader, hevc=False) if reader.flag() else Vui()
    return PictureFormat(
        codec_string=f"avc1.{data[:3].hex()}",
        width=cropped(_WHAT, width, cut_width),
        height=cropped(_WHAT, height, cut_height),
        sar=vui.sar,
        frame_rate=vui.frame_rate,
        bit_depth=luma_depth,
        bit_depth_chroma=chroma_depth,
        chroma=CHROMA_NAMES[chroma_idc],
        colour=vui.colour,
        reorder_frames=0 if in_order else vui.reorder_frames,
    )


def _skip_scaling_lists(reader: BitReader, count: int) -> None:
    """Pass over scaling_list() (H.264 7.3.2.1.1.1)."""
    for index in range(count):
        if not reader.flag():
            continue
        last = 8
        for _ in range(16 if index < 6 else 64):
            following = (last + reader.se("delta_scale")) & 0xFF
            if following == 0:
                break
            last = following


def _skip_order_count(reader: BitReader) -> bool:
    """Pass over frame numbering and picture order count (H.264 7.3.2.1.1).

    True where pictures are shown in the order of their decoding (8.2.1.3).
    """
    reader.ue("log2_max_frame_num_minus4", 12)
    kind = reader.ue("pic_order_cnt_type", 2)
    if kind == 0:
        reader.ue("log2_max_pic_order_cnt_lsb_minus4", 12)
    elif kind == 1:
        reader.skip(1)
        reader.se("offset_for_non_ref_pic")
        reader.se("offset_for_top_to_bottom_field")
        for _ in range(reader.ue("num_ref_frames_in_pic_order_cnt_cycle", 255)):
            reader.se("offset_for_ref_frame")
    return kind == 2
