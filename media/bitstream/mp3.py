"""MPEG-1/2/2.5 layer III frame headers (ISO 11172-3 2.4.1.3, ISO 13818-3 2.4.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

from media.bitstream.errors import BitstreamError

CODEC_STRING = "mp4a.40.34"

_RATES = (44100, 48000, 32000)
_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mp3Header:
    """One frame's header."""

    sample_rate: int
    channels: int
    samples_per_frame: int
    frame_bytes: int
    """Header included; 0 for free format."""


def parse_header(frame: bytes) -> Mp3Header:
    """Parse the four-byte header of a layer III frame."""
    if len(frame) < 4:
        raise BitstreamError("The MP3 frame ends before its header does.")
    word = int.from_bytes(frame[:4], "big")
    if word >> 21 != 0x7FF:
        raise BitstreamError("The MP3 frame does not begin with its sync word.")
    version, layer = word >> 19 & 3, word >> 17 & 3
    if version == 1 or layer != 1:
        raise BitstreamError("The MPEG audio frame is not of layer III.")
    bitrate, rate = word >> 12 & 15, word >> 10 & 3
    if bitrate == 15 or rate == 3:
        raise BitstreamError("The MP3 header says a bit rate or sample rate that does not exist.")
    is_mpeg1 = version == 3
    sample_rate = _RATES[rate] >> (0 if is_mpeg1 else 1 if version == 2 else 2)
    samples = 1152 if is_mpeg1 else 576
    kbps = (_KBPS_MPEG1 if is_mpeg1 else _KBPS_MPEG2)[bitrate]
    size = samples // 8 * kbps * 1000 // sample_rate + (word >> 9 & 1) if kbps else 0
    return Mp3Header(
        sample_rate=sample_rate,
        channels=1 if word >> 6 & 3 == 3 else 2,
        samples_per_frame=samples,
        frame_bytes=size,
    )
