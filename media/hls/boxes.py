"""ISO BMFF boxes as bytes (ISO 14496-12 4.2) and the sample entries of our codecs."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

from media.bitstream import opus
from media.model import Codec

if TYPE_CHECKING:
    from media.model import TrackFormat

# ISO 14496-12 12.1.3: sample entry and configuration box by codec.
_VIDEO_ENTRIES = {
    Codec.H264: (b"avc1", b"avcC"),
    Codec.HEVC: (b"hvc1", b"hvcC"),
    Codec.AV1: (b"av01", b"av1C"),
    Codec.VP9: (b"vp09", b"vpcC"),
}
_SEVENTY_TWO_DPI = 0x0048_0000
_ES_DESCRIPTOR, _DECODER_CONFIG, _DECODER_SPECIFIC, _SL_CONFIG = 3, 4, 5, 6
_MPEG4_AUDIO, _AUDIO_STREAM = 0x40, 0x15
_SL_CONFIG_MP4 = b"\x02"


def box(kind: bytes, *parts: bytes) -> bytes:
    """Wrap bytes in a box header."""
    body = b"".join(parts)
    return pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Wrap bytes in a box header with version and flags."""
    return box(kind, pack(">I", version << 24 | flags), *parts)


def sample_entry(fmt: TrackFormat) -> bytes:
    """Return the SampleEntry of a track; `ValueError` where its codec or size has none."""
    if fmt.codec in _VIDEO_ENTRIES:
        return _video_entry(fmt)
    if fmt.codec is Codec.AAC:
        return _audio_entry(b"mp4a", fmt, _esds(fmt.config))
    if fmt.codec is Codec.OPUS:
        return _audio_entry(b"Opus", fmt, _opus_specific(fmt.config))
    raise ValueError(f"{fmt.codec} has no sample entry here; transcode it to AAC.")


def _video_entry(fmt: TrackFormat) -> bytes:
    if not (0 < fmt.width <= 0xFFFF and 0 < fmt.height <= 0xFFFF):
        raise ValueError(f"A picture of {fmt.width}x{fmt.height} has no visual sample entry.")
    entry, record = _VIDEO_ENTRIES[fmt.codec]
    extras = [box(record, fmt.config), *_colour_boxes(fmt)]
    if fmt.sar != (1, 1):
        extras.append(box(b"pasp", pack(">II", *fmt.sar)))
    return box(
        entry,
        pack(">6xH16xHHII4xH32xHh", 1, fmt.width, fmt.height, *2 * (_SEVENTY_TWO_DPI,), 1, 24, -1),
        *extras,
    )


def _colour_boxes(fmt: TrackFormat) -> list[bytes]:
    """Build colr, mdcv and clli (ISO 14496-12 12.1.5, 12.1.6.2 and 12.1.6.3) where known."""
    found: list[bytes] = []
    if (colour := fmt.colour) is not None:
        points = (colour.primaries, colour.transfer, colour.matrix)
        found.append(box(b"colr", b"nclx", pack(">HHHB", *points, colour.full_range << 7)))
    if (display := fmt.mastering) is not None:
        # The order of H.265 D.3.28: green, blue, red.
        chromaticities = (*display.green, *display.blue, *display.red, *display.white)
        luminance = (display.max_luminance, display.min_luminance)
        found.append(box(b"mdcv", pack(">8H2I", *chromaticities, *luminance)))
    if (light := fmt.content_light) is not None:
        found.append(box(b"clli", pack(">HH", light.max_cll, light.max_fall)))
    return found


def _audio_entry(entry: bytes, fmt: TrackFormat, specific: bytes) -> bytes:
    # A 16.16 rate cannot say 88.2 or 96 kHz: zero, and the codec's own configuration counts.
    rate = fmt.sample_rate if fmt.sample_rate <= 0xFFFF else 0
    return box(entry, pack(">6xH8xHH4xI", 1, fmt.channels, 16, rate << 16), specific)


def _descriptor(tag: int, body: bytes) -> bytes:
    """Wrap bytes in an MPEG-4 descriptor with a four-byte length (ISO 14496-1 8.3.3)."""
    size = len(body)
    length = bytes(size >> shift & 0x7F | (0x80 if shift else 0) for shift in (21, 14, 7, 0))
    return bytes((tag,)) + length + body


def _esds(config: bytes) -> bytes:
    """Build the elementary stream descriptor of AAC (ISO 14496-14 6.7.2), bit rates unknown."""
    decoder = _descriptor(
        _DECODER_CONFIG,
        pack(">BB3xII", _MPEG4_AUDIO, _AUDIO_STREAM, 0, 0) + _descriptor(_DECODER_SPECIFIC, config),
    )
    stream = pack(">HB", 0, 0) + decoder + _descriptor(_SL_CONFIG, _SL_CONFIG_MP4)
    return full_box(b"esds", 0, 0, _descriptor(_ES_DESCRIPTOR, stream))


def _opus_specific(config: bytes) -> bytes:
    """Build dOps from an OpusHead: version 0 and big-endian (Opus in ISO BMFF 4.3.2)."""
    head = opus.parse_head(config)
    fields = pack(
        ">BBHIhB", 0, head.channels, head.pre_skip, head.input_rate, head.gain, head.family
    )
    return box(b"dOps", fields, head.mapping)
