"""The values that cross every media boundary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from media.colour import Colour, ContentLight, MasteringDisplay

TICKS_PER_SECOND = 90_000
"""Time base of every `dts`, `pts` and `duration` in Vitrina (ISO 13818-1 system clock / 300)."""


class Kind(StrEnum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"


class Role(StrEnum):
    """Which of a stream's two encoders something comes from."""

    PRIMARY = "primary"
    BACKUP = "backup"


class Codec(StrEnum):
    """Codecs that an encoder may send."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"
    AAC = "aac"
    OPUS = "opus"
    MP3 = "mp3"
    FLAC = "flac"
    AC3 = "ac3"
    EAC3 = "eac3"
    VP8 = "vp8"
    """Over WebRTC alone; HLS has no place for it, so it is always re-encoded."""

    @property
    def kind(self) -> Kind:
        """Whether the codec codes pictures or sound."""
        return Kind.AUDIO if self in _AUDIO else Kind.VIDEO


_AUDIO = frozenset({Codec.AAC, Codec.OPUS, Codec.MP3, Codec.FLAC, Codec.AC3, Codec.EAC3})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFormat:
    """What a decoder and an init segment must know of a track.

    `config` is the codec's ISO BMFF configuration payload without a box header: avcC
    (ISO 14496-15 5.3.3), hvcC, av1C, vpcC (FullBox version and flags included),
    AudioSpecificConfig for AAC, OpusHead (RFC 7845 5.1) for Opus, the 34 bytes of STREAMINFO
    (RFC 9639 8.2) for FLAC, empty for VP8, MP3, AC-3 and E-AC-3.
    Video payloads are length-prefixed NAL units (H.264, HEVC), low-overhead OBUs (AV1) or
    frames (VP8, VP9); audio payloads are raw access units without ADTS, of AC-3 and E-AC-3
    syncframes.
    """

    codec: Codec
    config: bytes
    codec_string: str
    """RFC 6381, as it stands in CODECS, e.g. `avc1.64001f`."""
    width: int = 0
    """Coded picture after cropping, in pixels; 0 for audio."""
    height: int = 0
    sar: tuple[int, int] = (1, 1)
    """Sample aspect ratio: a pixel's width to its height."""
    frame_rate: Fraction | None = None
    """Nominal pictures a second where the bitstream says it, else None."""
    bit_depth: int = 8
    chroma: str = "4:2:0"
    colour: Colour | None = None
    """None where neither the bitstream nor the encoder says it."""
    mastering: MasteringDisplay | None = None
    content_light: ContentLight | None = None
    """What the encoder says of an HDR picture beside the bitstream."""
    sample_rate: int = 0
    """Hz; 0 for video."""
    channels: int = 0
    samples_per_frame: int = 0
    """Audio samples in one access unit at `sample_rate` (AAC 1024); 0 where it varies."""

    @property
    def kind(self) -> Kind:
        """Video or audio, from the codec."""
        return self.codec.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One coded access unit.

    From an ingest the times are the encoder's own (90 kHz, possibly wrapping); behind
    `media.timeline` they are on the stream's show clock, monotonic in `dts` per track.
    """

    track: int
    """The encoder's track number within its kind; 0 is the main one."""
    codec: Codec
    dts: int
    pts: int
    key: bool
    """True where decoding can start: IDR, CRA with config, AV1 key frame; always for audio."""
    payload: bytes
    arrived_ns: int
    """`time.monotonic_ns()` when the last byte of this access unit was received."""
    duration: int = 0
    """Ticks; 0 where only the next packet will tell."""

    @property
    def kind(self) -> Kind:
        """Video or audio, from the codec."""
        return self.codec.kind


class FormatRefused(Exception):
    """A track's parameters are outside what this server accepts; the text is for the producer."""
