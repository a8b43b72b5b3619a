"""What a picture itself says: whether decoding can start there, and its parameter sets.

Encoders get both wrong around it: frame types of FLV that name every intra picture, or none, a
key frame, and sequence headers without parameter sets.
"""

from __future__ import annotations

from media.bitstream import BitstreamError, av1, h264, hevc, hevc_sps, nal, vp9
from media.bitstream.bits import BitReader
from media.model import Codec

_SEI = {Codec.H264: 6, Codec.HEVC: 39}
_PARAMETER_SETS = {
    Codec.H264: (h264.NAL_SPS, h264.NAL_PPS),
    Codec.HEVC: (hevc.NAL_VPS, hevc_sps.NAL_SPS, hevc.NAL_PPS),
}
_HEADER_BYTES = {Codec.H264: 1, Codec.HEVC: 2}
_RECOVERY_POINT = 6
"""SEI payload type (H.264 D.1, H.265 D.2.1)."""
_INTRA_SLICES = (2, 4)
"""slice_type modulo 5: I and SI (H.264 table 7-6)."""
_MAX_SEI = 256
"""Messages of one NAL unit that are looked at; two bytes each, they could be millions."""
_SLICE_HEAD = 12
"""Bytes that hold first_mb_in_slice and slice_type, at most 33 and 7 bits."""


def lacks_parameter_sets(codec: Codec, record: bytes) -> bool:
    """Whether a sequence header leaves its parameter sets to the pictures."""
    if codec is Codec.H264:
        return len(record) > 5 and not record[5] & 0x1F
    return codec is Codec.HEVC and len(record) > 22 and not record[22]


def starts_decoding(codec: Codec, payload: bytes, *, flagged: bool) -> bool:
    """Whether a decoder can start with this access unit (NAL lengths have 4 bytes).

    `flagged` is what the FLV frame type says; it decides where the bytes cannot be read.
    """
    try:
        if codec in _SEI:
            return _nal_start(codec, payload, flagged=flagged)
        if flagged and codec is Codec.AV1:
            return av1.is_key_temporal_unit(payload, in_band=False)
        if flagged and codec is Codec.VP9:
            return vp9.is_key(payload)
    except BitstreamError:
        pass
    return flagged


def _nal_start(codec: Codec, payload: bytes, *, flagged: bool) -> bool:
    seen = h264.is_idr(payload) if codec is Codec.H264 else hevc.is_random_access(payload)
    if seen or not flagged:
        return seen
    # A gradual refresh has no IDR, its recovery points are flagged; so are the intra pictures
    # of an open GOP.
    for start, stop in nal.length_prefixed_spans(payload):
        kind = nal_kind(codec, payload[start])
        if kind == _SEI[codec] and _has_recovery_point(
            payload[start + _HEADER_BYTES[codec] : stop]
        ):
            return True
        if codec is Codec.H264 and 1 <= kind < h264.NAL_IDR:
            reader = BitReader(payload[start + 1 : start + 1 + _SLICE_HEAD], "H.264 slice header")
            reader.ue("first_mb_in_slice")
            return reader.ue("slice_type") % 5 in _INTRA_SLICES
    return False


def nal_kind(codec: Codec, first: int) -> int:
    """Return nal_unit_type from the first byte of a NAL unit."""
    return first & 0x1F if codec is Codec.H264 else hevc.nal_type(first)


def _has_recovery_point(messages: bytes) -> bool:
    """Walk the SEI messages of a NAL unit (H.264 7.3.2.3.1)."""
    pos, end = 0, len(messages)
    for _ in range(_MAX_SEI):
        if pos >= end:
            break
        header = [0, 0]
        for field in range(2):
            while pos < end and messages[pos] == 0xFF:
                header[field] += 255
                pos += 1
            if pos == end:
                return False
            header[field] += messages[pos]
            pos += 1
        kind, size = header
        if kind == _RECOVERY_POINT:
            return True
        pos += size
    return False


def record_in_band(codec: Codec, payload: bytes) -> bytes | None:
    """Build the configuration record that a key frame brings along; None where it lacks one.

    NAL lengths of `payload` have 4 bytes. Raises `BitstreamError`.
    """
    if codec is Codec.AV1:
        return av1.build_av1c(payload) if av1.sequence_header(payload) is not None else None
    if codec is Codec.VP9:
        return vp9.build_vpcc(payload)
    wanted = _PARAMETER_SETS[codec]
    found: dict[int, dict[bytes, None]] = {kind: {} for kind in wanted}
    for start, stop in nal.length_prefixed_spans(payload):
        kind = nal_kind(codec, payload[start])
        if kind in found:
            found[kind][payload[start:stop]] = None
    sets = [tuple(found[kind]) for kind in wanted]
    if not all(sets):
        return None
    return h264.build_avcc(*sets) if codec is Codec.H264 else hevc.build_hvcc(*sets)
