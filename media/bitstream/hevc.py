"""HEVC: hvcC, SPS and access units (ITU-T H.265 7.3, ISO 14496-15 8.3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.bitstream import nal
from media.bitstream.errors import BitstreamError
from media.bitstream.hevc_sps import NAL_SPS, parse_sps
from media.bitstream.picture import CHROMA_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

NAL_VPS = 32
NAL_PPS = 34
NAL_AUD = 35

_FIRST_IRAP, _LAST_IRAP = 16, 23
_LAST_VCL = 31
_HEADER_BYTES = 23


@dataclass(frozen=True, slots=True, kw_only=True)
class HevcConfig:
    """A parsed hvcC."""

    length_size: int
    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]


def nal_type(first_byte: int) -> int:
    """Return nal_unit_type from the first header byte (H.265 7.3.1.2)."""
    return first_byte >> 1 & 0x3F


def parse_hvcc(config: bytes) -> HevcConfig:
    """Take an HEVCDecoderConfigurationRecord apart; it must hold at least one SPS."""
    if len(config) < _HEADER_BYTES:
        raise BitstreamError("The hvcC record ends before its last field.")
    # Old muxers wrote version 0 while the record was a draft; the layout is the same.
    if config[0] > 1:
        raise BitstreamError(f"The hvcC record has version {config[0]}; only 1 is defined.")
    length_size = nal.check_length_size((config[21] & 3) + 1, "hvcC record")
    found: dict[int, list[bytes]] = {NAL_VPS: [], NAL_SPS: [], NAL_PPS: []}
    pos = _HEADER_BYTES
    for _ in range(config[22]):
        if pos + 3 > len(config):
            raise BitstreamError("The hvcC record ends before its last field.")
        kind = config[pos] & 0x3F
        count = int.from_bytes(config[pos + 1 : pos + 3], "big")
        pos += 3
        for _ in range(count):
            start = pos + 2
            pos = start + int.from_bytes(config[pos:start], "big")
            if start > len(config) or pos > len(config):
                raise BitstreamError("A parameter set is longer than its hvcC record.")
            if kind in found:
                found[kind].append(config[start:pos])
    if not found[NAL_SPS]:
        raise BitstreamError("The hvcC record holds no SPS.")
    return HevcConfig(
        length_size=length_size,
        vps=tuple(found[NAL_VPS]),
        sps=tuple(found[NAL_SPS]),
        pps=tuple(found[NAL_PPS]),
    )


def build_hvcc(vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """Build an hvcC with four-byte NAL lengths from raw parameter sets."""
    if not vps or not sps or not pps:
        raise BitstreamError("An hvcC record needs at least one VPS, one SPS and one PPS.")
    picture = parse_sps(sps[0])
    data = nal.rbsp(sps[0], 2, "HEVC SPS")
    layers, nested = (data[0] >> 1 & 7) + 1, data[0] & 1
    parts = [
        b"\x01",
        data[1:13],
        b"\xf0\x00\xfc",
        bytes(
            (
                0xFC | CHROMA_NAMES.index(picture.chroma),
                0xF8 | picture.bit_depth - 8,
                0xF8 | picture.bit_depth_chroma - 8,
            )
        ),
        b"\x00\x00",
        bytes((layers << 3 | nested << 2 | 3, 3)),
    ]
    for kind, units in ((NAL_VPS, vps), (NAL_SPS, sps), (NAL_PPS, pps)):
        parts.append(bytes((0x80 | kind,)) + len(units).to_bytes(2, "big"))
        for unit in units:
            if len(unit) > nal.MAX_PARAMETER_SET:
                raise BitstreamError(
                    f"An HEVC parameter set has {len(unit)} bytes; at most 8192 are accepted."
                )
            parts += (len(unit).to_bytes(2, "big"), unit)
    return b"".join(parts)


def annexb_to_hvcc(extradata: bytes) -> bytes:
    """Build an hvcC from Annex B bytes that hold VPS, SPS and PPS; other units are ignored."""
    units = dict.fromkeys(nal.split_annexb(extradata))
    sets = [[u for u in units if nal_type(u[0]) == kind] for kind in (NAL_VPS, NAL_SPS, NAL_PPS)]
    return build_hvcc(*sets)


def annexb_to_length_prefixed(au: bytes, *, drop_parameter_sets: bool = False) -> bytes:
    """Reframe an Annex B access unit with four-byte lengths, without access unit delimiters."""
    dropped = {NAL_AUD, NAL_VPS, NAL_SPS, NAL_PPS} if drop_parameter_sets else {NAL_AUD}
    return nal.join_length_prefixed(
        unit for unit in nal.split_annexb(au) if nal_type(unit[0]) not in dropped
    )


def is_random_access(payload: bytes, length_size: int = 4) -> bool:
    """Whether the first coded slice is of an IRAP picture: BLA, IDR or CRA (H.265 3.69)."""
    for start, _ in nal.length_prefixed_spans(payload, length_size):
        kind = nal_type(payload[start])
        if kind <= _LAST_VCL:
            return _FIRST_IRAP <= kind <= _LAST_IRAP
    return False
