"""H.264 pictures that repeat the one before: every macroblock skipped, some ten bytes each.

An encoder spends 5 ms on such a picture at 1080 lines; writing one down takes microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from media.bitstream import nal
from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError

NAL_SLICE_REFERENCE = 0x41
"""nal_ref_idc 2, coded slice of a non-IDR picture."""
_SLICE_P = 5
_HIGH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    macroblocks: int
    frame_num_bits: int
    pps_id: int
    deblocking_control: bool


class _BitWriter:
    """Exp-Golomb and fixed-length fields, most significant bit first (H.264 7.2, 9.1)."""

    def __init__(self) -> None:
        self._value = 0
        self._bits = 0

    def bits(self, value: int, count: int) -> None:
        self._value = self._value << count | value
        self._bits += count

    def ue(self, value: int) -> None:
        self.bits(value + 1, 2 * (value + 1).bit_length() - 1)

    def trailed(self) -> bytes:
        """Return everything with rbsp_trailing_bits()."""
        self.bits(1, 1)
        self.bits(0, -self._bits % 8)
        return self._value.to_bytes(self._bits // 8, "big")


def skipped_pictures(sps: bytes, pps: bytes, count: int) -> list[bytes]:
    """Return `count` NAL units, each a reference picture equal to the one before it.

    They follow an IDR picture (frame_num 0) of these parameter sets, NAL headers included.
    Raises `BitstreamError` where the sets ask for more than progressive CAVLC coding with
    pic_order_cnt_type 2 in one slice, which is what x264 writes without CABAC and B-frames.
    """
    shape = _shape(sps, pps)
    return [
        _escaped(bytes((NAL_SLICE_REFERENCE,)) + _slice(shape, number + 1))
        for number in range(count)
    ]


def _slice(shape: _Shape, frame_num: int) -> bytes:
    """Write slice_layer_without_partitioning_rbsp() (H.264 7.3.2.8, 7.3.3, 7.3.4)."""
    out = _BitWriter()
    out.ue(0)  # first_mb_in_slice
    out.ue(_SLICE_P)
    out.ue(shape.pps_id)
    out.bits(frame_num % (1 << shape.frame_num_bits), shape.frame_num_bits)
    out.bits(1, 1)  # num_ref_idx_active_override_flag
    out.ue(0)  # num_ref_idx_l0_active_minus1
    out.bits(0, 1)  # ref_pic_list_modification_flag_l0
    out.bits(0, 1)  # adaptive_ref_pic_marking_mode_flag
    out.ue(0)  # slice_qp_delta
    if shape.deblocking_control:
        out.ue(1)  # disable_deblocking_filter_idc
    out.ue(shape.macroblocks)  # mb_skip_run
    return out.trailed()


def _escaped(unit: bytes) -> bytes:
    """Insert emulation prevention bytes (H.264 7.4.1)."""
    out = bytearray()
    zeros = 0
    for byte in unit:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _shape(sps: bytes, pps: bytes) -> _Shape:
    macroblocks, frame_num_bits = _read_sps(sps)
    reader = BitReader(nal.rbsp(pps, 1, "H.264 PPS"), "H.264 PPS")
    pps_id = reader.ue("pic_parameter_set_id", 255)
    reader.ue("seq_parameter_set_id", 31)
    _need(not reader.flag(), "entropy_coding_mode_flag")
    reader.skip(1)
    _need(reader.ue("num_slice_groups_minus1", 7) == 0, "num_slice_groups_minus1")
    reader.ue("num_ref_idx_l0_default_active_minus1", 31)
    reader.ue("num_ref_idx_l1_default_active_minus1", 31)
    _need(not reader.flag(), "weighted_pred_flag")
    reader.skip(2)
    for field in ("pic_init_qp_minus26", "pic_init_qs_minus26", "chroma_qp_index_offset"):
        reader.se(field)
    deblocking = reader.flag()
    reader.skip(1)
    _need(not reader.flag(), "redundant_pic_cnt_present_flag")
    return _Shape(
        macroblocks=macroblocks,
        frame_num_bits=frame_num_bits,
        pps_id=pps_id,
        deblocking_control=deblocking,
    )


def _read_sps(sps: bytes) -> tuple[int, int]:
    """Return macroblocks of a picture and bits of frame_num."""
    reader = BitReader(nal.rbsp(sps, 1, "H.264 SPS"), "H.264 SPS")
    profile = reader.bits(8)
    reader.skip(16)
    reader.ue("seq_parameter_set_id", 31)
    if profile == _HIGH:
        _need(reader.ue("chroma_format_idc", 3) == 1, "chroma_format_idc")
        reader.ue("bit_depth_luma_minus8", 6)
        reader.ue("bit_depth_chroma_minus8", 6)
        reader.skip(1)
        _need(not reader.flag(), "seq_scaling_matrix_present_flag")
    else:
        _need(profile in (66, 77), "profile_idc")
    frame_num_bits = 4 + reader.ue("log2_max_frame_num_minus4", 12)
    _need(reader.ue("pic_order_cnt_type", 2) == 2, "pic_order_cnt_type")
    reader.ue("max_num_ref_frames", 16)
    reader.skip(1)
    width = reader.ue("pic_width_in_mbs_minus1", 4096) + 1
    height = reader.ue("pic_height_in_map_units_minus1", 4096) + 1
    _need(reader.flag(), "frame_mbs_only_flag")
    return width * height, frame_num_bits


def _need(condition: bool, field: str) -> None:
    if not condition:
        raise BitstreamError(f"Skipped pictures cannot be written for this {field}.")
