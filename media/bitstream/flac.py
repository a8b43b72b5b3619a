"""FLAC: the STREAMINFO block (RFC 9639 section 8.2)."""

from __future__ import annotations

from dataclasses import dataclass

from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError

CODEC_STRING = "fLaC"
STREAMINFO_BYTES = 34

_MARKER = b"fLaC"
_BLOCK_HEADER_BYTES = 4
_STREAMINFO = 0
_WHAT = "FLAC STREAMINFO"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What decoders need of a STREAMINFO."""

    block: bytes
    """The 34 bytes without what only a finished file knows: frame sizes, length, checksum."""
    sample_rate: int
    channels: int
    bit_depth: int
    samples_per_frame: int
    """0 where the block size varies."""


def parse_streaminfo(config: bytes) -> StreamInfo:
    """Parse a STREAMINFO: behind the stream marker (Enhanced RTMP), as a block, or bare.

    FFmpeg sends the bare 34 bytes over RTMP. Encoders announce them again with the checksum at
    the end of a stream: that is left out, so that the format stays the same.
    """
    block = config.removeprefix(_MARKER)
    if len(block) > STREAMINFO_BYTES:
        if block[0] & 0x7F != _STREAMINFO:
            raise BitstreamError("The FLAC configuration does not begin with STREAMINFO.")
        block = block[_BLOCK_HEADER_BYTES:]
    block = block[:STREAMINFO_BYTES]
    if len(block) < STREAMINFO_BYTES:
        raise BitstreamError(f"The {_WHAT} ends before its last field.")
    reader = BitReader(block, _WHAT)
    smallest, largest = reader.bits(16), reader.bits(16)
    reader.skip(48)
    sample_rate, channels, bit_depth = reader.bits(20), reader.bits(3) + 1, reader.bits(5) + 1
    if not 16 <= smallest <= largest:
        raise BitstreamError(f"The {_WHAT} says blocks of {smallest} to {largest} samples.")
    if not sample_rate:
        raise BitstreamError(f"The {_WHAT} says a sample rate of 0 Hz.")
    if bit_depth < 4:
        raise BitstreamError(f"The {_WHAT} says {bit_depth} bits a sample; 4 to 32 are legal.")
    # The lowest 36 bits of bytes 10 to 17 count the samples of the whole stream.
    kept = block[10:13] + bytes((block[13] & 0xF0,))
    return StreamInfo(
        block=block[:4] + bytes(6) + kept + bytes(20),
        sample_rate=sample_rate,
        channels=channels,
        bit_depth=bit_depth,
        samples_per_frame=largest if smallest == largest else 0,
    )
