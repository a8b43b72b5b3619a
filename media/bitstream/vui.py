"""Video usability information, which H.264 (E.1.1) and HEVC (E.2.1) begin alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.bitstream.errors import BitstreamError
from media.bitstream.picture import (
    EXTENDED_SAR,
    extended_sar,
    sample_aspect_ratio,
    sane_frame_rate,
)
from media.colour import Colour

if TYPE_CHECKING:
    from fractions import Fraction

    from media.bitstream.bits import BitReader


@dataclass(slots=True)
class Vui:
    """What was read; the defaults stand for what was not."""

    sar: tuple[int, int] = (1, 1)
    colour: Colour | None = None
    frame_rate: Fraction | None = None
    reorder_frames: int | None = None
    """max_num_reorder_frames of H.264 (E.2.1); not read for HEVC, whose SPS has its own."""


def read_vui(reader: BitReader, *, hevc: bool) -> Vui:
    """Read vui_parameters() as far as the timing, of H.264 to its end.

    One that ends early keeps what came before: decoders play such streams, and the picture
    itself is known by then.
    """
    vui = Vui()
    try:
        _read_signal(reader, vui)
        _read_timing(reader, vui, hevc=hevc)
        if not hevc:
            _read_restriction(reader, vui)
    except BitstreamError:
        pass
    return vui


def _read_signal(reader: BitReader, vui: Vui) -> None:
    if reader.flag():
        idc = reader.bits(8)
        if idc == EXTENDED_SAR:
            vui.sar = extended_sar(reader.bits(16), reader.bits(16))
        else:
            vui.sar = sample_aspect_ratio(idc)
    if reader.flag():
        reader.skip(1)
    if reader.flag():
        reader.skip(3)
        full_range = reader.flag()
        points = (2, 2, 2)
        if reader.flag():
            points = (reader.bits(8), reader.bits(8), reader.bits(8))
        vui.colour = Colour(
            primaries=points[0], transfer=points[1], matrix=points[2], full_range=full_range
        )
    if reader.flag():
        reader.ue("chroma_sample_loc_type_top_field", 5)
        reader.ue("chroma_sample_loc_type_bottom_field", 5)


def _read_timing(reader: BitReader, vui: Vui, *, hevc: bool) -> None:
    if hevc:
        reader.skip(3)
        if reader.flag():
            for side in ("left", "right", "top", "bottom"):
                reader.ue(f"def_disp_win_{side}_offset")
    if reader.flag():
        ticks, scale = reader.bits(32), reader.bits(32)
        # An H.264 tick is a field: two of them are a picture (H.264 E.2.1).
        vui.frame_rate = sane_frame_rate(scale, ticks if hevc else 2 * ticks)
        if not hevc:
            reader.skip(1)


def _read_restriction(reader: BitReader, vui: Vui) -> None:
    """Read what follows the timing in H.264 (E.1.1), for max_num_reorder_frames."""
    nal, vcl = _skip_hrd(reader), _skip_hrd(reader)
    if nal or vcl:
        reader.skip(1)
    reader.skip(1)
    if reader.flag():
        reader.skip(1)
        for name in ("max_bytes_per_pic_denom", "max_bits_per_mb_denom"):
            reader.ue(name, 16)
        for side in ("horizontal", "vertical"):
            reader.ue(f"log2_max_mv_length_{side}", 32)
        vui.reorder_frames = reader.ue("max_num_reorder_frames", 16)


def _skip_hrd(reader: BitReader) -> bool:
    """Pass over an hrd_parameters() with the flag before it (H.264 E.1.2)."""
    if not reader.flag():
        return False
    count = reader.ue("cpb_cnt_minus1", 31) + 1
    reader.skip(8)
    for _ in range(count):
        reader.ue("bit_rate_value_minus1")
        reader.ue("cpb_size_value_minus1")
        reader.skip(1)
    reader.skip(20)
    return True
