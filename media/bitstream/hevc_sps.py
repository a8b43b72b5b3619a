"""The HEVC sequence parameter set (ITU-T H.265 7.3.2.2, E.2.1)."""

from __future__ import annotations

from media.bitstream import nal
from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError
from media.bitstream.picture import CHROMA_NAMES, PictureFormat, cropped
from media.bitstream.vui import Vui, read_vui

NAL_SPS = 33

_WHAT = "HEVC SPS"
_MAX_DELTA_POCS = 32


def parse_sps(sps: bytes) -> PictureFormat:
    """Parse an SPS NAL unit of the base layer, its two-byte header included."""
    if len(sps) < 16 or sps[0] >> 1 & 0x3F != NAL_SPS:
        raise BitstreamError("The HEVC configuration holds a unit that is not an SPS.")
    data = nal.rbsp(sps, 2, _WHAT)
    reader = BitReader(data, _WHAT)
    reader.skip(4)
    sub_layers = reader.bits(3)
    reader.skip(1)
    codec_string = _profile_tier_level(reader, sub_layers)
    reader.ue("sps_seq_parameter_set_id", 15)
    chroma_idc = reader.ue("chroma_format_idc", 3)
    separate_planes = chroma_idc == 3 and reader.flag()
    width = reader.ue("pic_width_in_luma_samples")
    height = reader.ue("pic_height_in_luma_samples")
    cut_width = cut_height = 0
    if reader.flag():
        planes = 0 if separate_planes else chroma_idc
        unit_x, unit_y = (2 if planes in (1, 2) else 1), (2 if planes == 1 else 1)
        cut_width = unit_x * (reader.ue("conf_win_left") + reader.ue("conf_win_right"))
        cut_height = unit_y * (reader.ue("conf_win_top") + reader.ue("conf_win_bottom"))
    luma_depth = 8 + reader.ue("bit_depth_luma_minus8", 8)
    chroma_depth = 8 + reader.ue("bit_depth_chroma_minus8", 8)
    _skip_coding_tools(reader, sub_layers)
    vui = read_vui(reader, hevc=True) if reader.flag() else Vui()
    return PictureFormat(
        codec_string=codec_string,
        width=cropped(_WHAT, width, cut_width),
        height=cropped(_WHAT, height, cut_height),
        sar=vui.sar,
        frame_rate=vui.frame_rate,
        bit_depth=luma_depth,
        bit_depth_chroma=chroma_depth,
        chroma=CHROMA_NAMES[chroma_idc],
        colour=vui.colour,
    )


def _profile_tier_level(reader: BitReader, sub_layers: int) -> str:
    """Read profile_tier_level() into a codec string (H.265 7.3.3, ISO 14496-15 annex E)."""
    space = ("", "A", "B", "C")[reader.bits(2)]
    tier = "H" if reader.flag() else "L"
    profile = reader.bits(5)
    compatibility = int(f"{reader.bits(32):032b}"[::-1], 2)
    constraints = reader.bits(48).to_bytes(6, "big").rstrip(b"\x00")
    level = reader.bits(8)
    present = [(reader.flag(), reader.flag()) for _ in range(sub_layers)]
    if sub_layers:
        reader.skip(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        reader.skip(88 * has_profile + 8 * has_level)
    fields = [f"hvc1.{space}{profile}", f"{compatibility:x}", f"{tier}{level}"]
    fields += [f"{byte:X}" for byte in constraints]
    return ".".join(fields)


def _skip_coding_tools(reader: BitReader, sub_layers: int) -> None:
    """Pass over everything between the bit depths and the VUI (H.265 7.3.2.2.1)."""
    order_bits = 4 + reader.ue("log2_max_pic_order_cnt_lsb_minus4", 12)
    for _ in range(sub_layers + 1 if reader.flag() else 1):
        for field in ("max_dec_pic_buffering", "max_num_reorder", "max_latency_increase"):
            reader.ue(field)
    for field in ("min_coding_block", "diff_coding_block", "min_transform", "diff_transform"):
        reader.ue(field, 32)
    reader.ue("max_transform_hierarchy_depth_inter", 32)
    reader.ue("max_transform_hierarchy_depth_intra", 32)
    if reader.flag() and reader.flag():
        _skip_scaling_lists(reader)
    reader.skip(2)
    if reader.flag():
        reader.skip(8)
        reader.ue("log2_min_pcm_coding_block", 32)
        reader.ue("log2_diff_pcm_coding_block", 32)
        reader.skip(1)
    _skip_reference_sets(reader)
    if reader.flag():
        for _ in range(reader.ue("num_long_term_ref_pics_sps", 32)):
            reader.skip(order_bits + 1)
    reader.skip(2)


def _skip_scaling_lists(reader: BitReader) -> None:
    """Pass over scaling_list_data() (H.265 7.3.4)."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not reader.flag():
                reader.ue("scaling_list_pred_matrix_id_delta", 5)
                continue
            if size > 1:
                reader.se("scaling_list_dc_coef")
            for _ in range(min(64, 16 << 2 * size)):
                reader.se("scaling_list_delta_coef")


def _skip_reference_sets(reader: BitReader) -> None:
    """Pass over st_ref_pic_set() for every set of the SPS (H.265 7.3.7)."""
    previous = 0
    for index in range(reader.ue("num_short_term_ref_pic_sets", 64)):
        if index and reader.flag():
            reader.skip(1)
            reader.ue("abs_delta_rps_minus1", 32767)
            # used_by_curr_pic_flag, and where it is 0 use_delta_flag.
            previous = sum(reader.flag() or reader.flag() for _ in range(previous + 1))
            if previous > _MAX_DELTA_POCS:
                raise BitstreamError("The HEVC SPS has a reference set of over 32 pictures.")
        else:
            previous = reader.ue("num_negative_pics", 16) + reader.ue("num_positive_pics", 16)
            for _ in range(previous):
                reader.ue("delta_poc_minus1", 32767)
                reader.skip(1)
