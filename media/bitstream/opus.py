"""Opus: OpusHead (RFC 7845 5.1) and the length of a packet (RFC 6716 3.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from media.bitstream.errors import BitstreamError

SAMPLE_RATE = 48_000
MAX_PACKET_SAMPLES = 5760
"""120 ms (RFC 6716 3.2.5)."""

DEFAULT_HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, 312, SAMPLE_RATE, 0, 0)
"""Stereo, with the 6.5 ms look-ahead that libopus has: what an empty OpusHead stands for."""

_MAX_FAMILY_1 = 8
# Streams, coupled streams and channel mapping in Vorbis order (RFC 7845 5.1.1.2), from 3 channels.
_SURROUND = (
    (2, 1, b"\0\2\1"),
    (2, 2, b"\0\1\2\3"),
    (3, 2, b"\0\4\1\2\3"),
    (4, 2, b"\0\4\1\2\3\5"),
    (4, 3, b"\0\4\1\2\3\5\6"),
    (5, 3, b"\0\6\1\2\3\4\5\7"),
)

_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusHead:
    """A parsed identification header."""

    channels: int
    pre_skip: int
    input_rate: int
    gain: int
    family: int
    mapping: bytes
    """Stream count, coupled count and channel mapping; empty for family 0."""


def default_head(channels: int) -> bytes:
    """Return what an empty OpusHead of 1 to 8 channels stands for; stereo for any other count."""
    if not 1 <= channels <= _MAX_FAMILY_1:
        return DEFAULT_HEAD
    head = DEFAULT_HEAD[:9] + bytes((channels,)) + DEFAULT_HEAD[10:]
    if channels <= 2:
        return head
    streams, coupled, mapping = _SURROUND[channels - 3]
    return head[:-1] + bytes((1, streams, coupled)) + mapping


def parse_head(config: bytes) -> OpusHead:
    """Parse an OpusHead; an empty one is stereo."""
    config = config or DEFAULT_HEAD
    if not config.startswith(b"OpusHead"):
        raise BitstreamError("The Opus configuration does not begin with OpusHead.")
    if len(config) < 19:
        raise BitstreamError("The OpusHead ends before its last field.")
    version, channels, pre_skip, rate, gain, family = struct.unpack_from("<BBHIhB", config, 8)
    if version & 0xF0:
        raise BitstreamError(f"The OpusHead has version {version}; only 0 to 15 are compatible.")
    if not channels or (family == 0 and channels > 2):
        raise BitstreamError(f"The OpusHead says {channels} channels in mapping family {family}.")
    mapping = b""
    if family:
        mapping = config[19 : 21 + channels]
        if len(mapping) < 2 + channels:
            raise BitstreamError("The OpusHead ends before its last field.")
        streams, coupled = mapping[0], mapping[1]
        if not streams or coupled > streams:
            raise BitstreamError(
                f"The OpusHead says {streams} streams of which {coupled} are coupled."
            )
    return OpusHead(
        channels=channels,
        pre_skip=pre_skip,
        input_rate=rate,
        gain=gain,
        family=family,
        mapping=mapping,
    )


def packet_samples(packet: bytes) -> int:
    """Return the duration of a packet in samples at 48 kHz."""
    if not packet:
        raise BitstreamError("The Opus packet is empty.")
    toc = packet[0]
    config = toc >> 3
    if config < 12:
        frame = _SILK[config & 3]
    elif config < 16:
        frame = _HYBRID[config & 1]
    else:
        frame = _CELT[config & 3]
    count = (1, 2, 2, 0)[toc & 3]
    if not count:
        if len(packet) < 2:
            raise BitstreamError("The Opus packet ends before its frame count.")
        count = packet[1] & 0x3F
    if not 0 < frame * count <= MAX_PACKET_SAMPLES:
        raise BitstreamError(f"The Opus packet says {frame * count} samples; 1 to 5760 are legal.")
    return frame * count
