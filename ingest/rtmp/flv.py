"""FLV audio and video message bodies, legacy and Enhanced RTMP v2, as values.

Legacy: Video File Format Specification 10.1, annex E.4; enhanced: veovera enhanced-rtmp-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from ingest.rtmp.errors import Fault, RtmpError
from media.model import Codec, Kind


@dataclass(frozen=True, slots=True)
class Config:
    """A sequence header: the codec's configuration record as sent."""

    track: int
    codec: Codec
    record: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A coded access unit as sent. `offset_ms` is the composition time, signed."""

    track: int
    codec: Codec
    key: bool
    offset_ms: int
    offset_ns: int
    """TimestampOffsetNano, 0..999999, of the presentation time."""
    payload: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The encoder ends this track (SequenceEnd)."""

    track: int
    codec: Codec


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Media of a codec that is not accepted; `name` is for the producer."""

    track: int
    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """Colour metadata of a video track: AMF name and value pairs, as sent."""

    track: int
    codec: Codec
    payload: bytes


@dataclass(frozen=True, slots=True)
class Channels:
    """How many channels an audio track has (MultichannelConfig), and where they belong."""

    track: int
    codec: Codec
    count: int
    mask: int
    """AudioChannelMask of the native order; 0 for the others."""
    mapping: bytes
    """An AudioChannel for each channel of a custom order, else empty."""


FlvValue: TypeAlias = Config | Frame | End | Metadata | Channels | Unsupported

VIDEO_FOURCC = {
    b"avc1": Codec.H264,
    b"hvc1": Codec.HEVC,
    b"av01": Codec.AV1,
    b"vp09": Codec.VP9,
}
AUDIO_FOURCC = {
    b"mp4a": Codec.AAC,
    b"Opus": Codec.OPUS,
    b"fLaC": Codec.FLAC,
    b"ac-3": Codec.AC3,
    b"ec-3": Codec.EAC3,
    b".mp3": Codec.MP3,
}
_UNSUPPORTED_FOURCC = {
    b"vvc1": "H.266 (VVC)",
    b"vp08": "VP8",
}
_LEGACY_VIDEO = {7: Codec.H264, 12: Codec.HEVC}
_LEGACY_VIDEO_NAMES = {
    2: "Sorenson H.263",
    3: "Screen video",
    4: "VP6",
    5: "VP6 with alpha",
    6: "Screen video 2",
}
_LEGACY_AUDIO_NAMES = {
    0: "PCM",
    1: "ADPCM",
    3: "PCM",
    4: "Nellymoser",
    5: "Nellymoser",
    6: "Nellymoser",
    7: "G.711 A-law",
    8: "G.711 mu-law",
    11: "Speex",
}
_AAC, _MP3, _MP3_8K, _EX_AUDIO = 10, 2, 14, 9
_KEY_FRAMES = (1, 4)
_COMMAND_FRAME = 5
_TS_SYNC, _TS_PACKET = 0x47, 188


class PacketType(IntEnum):
    """Packet types of the enhanced headers; 4 and above differ between video and audio."""

    SEQUENCE_START = 0
    CODED_FRAMES = 1
    SEQUENCE_END = 2
    CODED_FRAMES_X = 3
    VIDEO_METADATA = 4
    AUDIO_MULTICHANNEL_CONFIG = 4
    VIDEO_MPEG2TS_SEQUENCE_START = 5
    AUDIO_MULTITRACK = 5
    VIDEO_MULTITRACK = 6
    MOD_EX = 7


_ONE_TRACK, _MANY_TRACKS, _MANY_CODECS = range(3)
_ORDER_UNSPECIFIED, _ORDER_NATIVE, _ORDER_CUSTOM = range(3)
_NANO_OFFSET = 0
_MAX_NANO = 999_999
_MAX_MOD_EX = 16
"""ModEx prefixes of one message; there is one kind. Three bytes each, they could be millions."""
_MAX_TRACKS = 256
"""Track numbers have a byte, and a message holds each once."""
_COMPOSED = (Codec.H264, Codec.HEVC)
"""Codecs whose CodedFrames carry a composition time."""


def parse_video(body: bytes) -> Iterator[FlvValue]:
    """Yield what a video message holds: nothing, one value, or one per track.

    Raises `RtmpError` (media) when it is cut short or breaks the layout.
    """
    if not body:
        return
    first = body[0]
    if first & 0x80:
        yield from _enhanced_video(body)
        return
    frame_type, codec_id = first >> 4, first & 15
    if frame_type == _COMMAND_FRAME:
        return
    if looks_like_mpeg_ts(body):
        yield Unsupported(0, Kind.VIDEO, "MPEG-TS over RTMP")
        return
    codec = _LEGACY_VIDEO.get(codec_id)
    if codec is None:
        name = _LEGACY_VIDEO_NAMES.get(codec_id, f"FLV video codec {codec_id}")
        yield Unsupported(0, Kind.VIDEO, name)
        return
    if len(body) < 5:
        # An end of sequence may come without its composition time.
        if len(body) >= 2 and body[1] == PacketType.SEQUENCE_END:
            yield End(0, codec)
            return
        raise RtmpError(Fault.MEDIA, "A video message is cut short.")
    match body[1]:
        case PacketType.CODED_FRAMES:
            if len(body) > 5:
                offset = _signed24(body, 2)
                yield Frame(0, codec, frame_type in _KEY_FRAMES, offset, 0, body[5:])
        case PacketType.SEQUENCE_START:
            yield Config(0, codec, body[5:])
        case PacketType.SEQUENCE_END:
            yield End(0, codec)
        case other:
            raise RtmpError(Fault.MEDIA, f"A video message has the unknown packet type {other}.")


def parse_audio(body: bytes) -> Iterator[FlvValue]:
    """Yield what an audio message holds; an empty one means silence and yields nothing.

    Raises `RtmpError` (media) when it is cut short or breaks the layout.
    """
    if not body:
        return
    sound_format = body[0] >> 4
    if sound_format == _AAC:
        if len(body) < 2:
            raise RtmpError(Fault.MEDIA, "An audio message is cut short.")
        if body[1] == 0:
            yield Config(0, Codec.AAC, body[2:])
        elif len(body) > 2:
            yield Frame(0, Codec.AAC, True, 0, 0, body[2:])
    elif sound_format in (_MP3, _MP3_8K):
        if len(body) > 1:
            yield Frame(0, Codec.MP3, True, 0, 0, body[1:])
    elif sound_format == _EX_AUDIO:
        yield from _enhanced_audio(body)
    else:
        name = _LEGACY_AUDIO_NAMES.get(sound_format, f"FLV sound format {sound_format}")
        yield Unsupported(0, Kind.AUDIO, name)


def looks_like_mpeg_ts(body: bytes) -> bool:
    """Whether the message is transport stream packets: some encoders push them over RTMP."""
    return (body[0] == _TS_SYNC and len(body) > _TS_PACKET and not len(body) % _TS_PACKET) and body[
        _TS_PACKET
    ] == _TS_SYNC


def _signed24(body: bytes, pos: int) -> int:
    return int.from_bytes(body[pos : pos + 3], "big", signed=True)


class _Cursor:
    """Reads an enhanced header; every read is checked against the end."""

    __slots__ = ("body", "pos")

    def __init__(self, body: bytes, pos: int) -> None:
        self.body = body
        self.pos = pos

    def take(self, size: int) -> bytes:
        end = self.pos + size
        if end > len(self.body):
            raise RtmpError(Fault.MEDIA, "An enhanced media header is cut short.")
        taken = self.body[self.pos : end]
        self.pos = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def mod_ex(self, packet_type: int) -> tuple[int, int]:
        """Read ModEx prefixes; return the packet type behind them and the nanosecond offset."""
        offset_ns = 0
        for _ in range(_MAX_MOD_EX):
            if packet_type != PacketType.MOD_EX:
                return packet_type, offset_ns
            size = self.number(1) + 1
            if size == 256:
                size = self.number(2) + 1
            data = self.take(size)
            after = self.number(1)
            if after >> 4 == _NANO_OFFSET:
                offset_ns = min(int.from_bytes(data[:3], "big"), _MAX_NANO)
            packet_type = after & 15
        raise RtmpError(Fault.MEDIA, f"A media message has {_MAX_MOD_EX} ModEx prefixes or more.")

    def tracks(self, multitrack: int | None) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (track, FourCC, payload) of the body; `multitrack` None where it is single."""
        if multitrack is None:
            yield 0, self.take(4), self.body[self.pos :]
            return
        if multitrack > _MANY_CODECS:
            raise RtmpError(Fault.MEDIA, f"Multitrack type {multitrack} is unknown.")
        fourcc = b"" if multitrack == _MANY_CODECS else self.take(4)
        if multitrack == _ONE_TRACK:
            yield self.number(1), fourcc, self.body[self.pos :]
            return
        for _ in range(_MAX_TRACKS):
            if self.pos == len(self.body):
                return
            if multitrack == _MANY_CODECS:
                fourcc = self.take(4)
            track = self.number(1)
            size = self.number(3)
            yield track, fourcc, self.take(size)
        if self.pos < len(self.body):
            raise RtmpError(Fault.MEDIA, f"A media message holds more than {_MAX_TRACKS} tracks.")


def _enhanced_video(body: bytes) -> Iterator[FlvValue]:
    cursor = _Cursor(body, 1)
    frame_type = body[0] >> 4 & 7
    packet_type, offset_ns = cursor.mod_ex(body[0] & 15)
    if frame_type == _COMMAND_FRAME and not _is_metadata(packet_type, len(body) - cursor.pos):
        return
    multitrack: int | None = None
    if packet_type == PacketType.VIDEO_MULTITRACK:
        both = cursor.number(1)
        multitrack, packet_type = both >> 4, both & 15
    key = frame_type in _KEY_FRAMES
    for track, fourcc, payload in cursor.tracks(multitrack):
        codec = VIDEO_FOURCC.get(fourcc)
        if codec is None:
            yield Unsupported(track, Kind.VIDEO, _fourcc_name(fourcc))
            continue
        value = _video_value(packet_type, track, codec, payload, key, offset_ns)
        if value is not None:
            yield value


def _is_metadata(packet_type: int, size: int) -> bool:
    """Tell metadata from a command of one byte: FFmpeg gives both the same frame type."""
    further = packet_type == PacketType.VIDEO_MULTITRACK and size > 1
    return packet_type == PacketType.VIDEO_METADATA or further


def _video_value(
    packet_type: int, track: int, codec: Codec, payload: bytes, key: bool, offset_ns: int
) -> FlvValue | None:
    match packet_type:
        case PacketType.SEQUENCE_START:
            return Config(track, codec, payload)
        case PacketType.CODED_FRAMES | PacketType.CODED_FRAMES_X:
            offset_ms = 0
            if packet_type == PacketType.CODED_FRAMES and codec in _COMPOSED:
                if len(payload) < 3:
                    raise RtmpError(Fault.MEDIA, "A video message is cut short.")
                offset_ms = _signed24(payload, 0)
                payload = payload[3:]
            return Frame(track, codec, key, offset_ms, offset_ns, payload) if payload else None
        case PacketType.SEQUENCE_END:
            return End(track, codec)
        case PacketType.VIDEO_METADATA:
            return Metadata(track, codec, payload)
        case PacketType.VIDEO_MPEG2TS_SEQUENCE_START:
            # The AV1 descriptor says nothing beyond av1C.
            return None
    raise RtmpError(Fault.MEDIA, f"Enhanced video packet type {packet_type} is unknown.")


def _enhanced_audio(body: bytes) -> Iterator[FlvValue]:
    cursor = _Cursor(body, 1)
    packet_type, offset_ns = cursor.mod_ex(body[0] & 15)
    multitrack: int | None = None
    if packet_type == PacketType.AUDIO_MULTITRACK:
        both = cursor.number(1)
        multitrack, packet_type = both >> 4, both & 15
    for track, fourcc, payload in cursor.tracks(multitrack):
        codec = AUDIO_FOURCC.get(fourcc)
        if codec is None:
            yield Unsupported(track, Kind.AUDIO, _fourcc_name(fourcc))
            continue
        match packet_type:
            case PacketType.SEQUENCE_START:
                yield Config(track, codec, payload)
            case PacketType.CODED_FRAMES:
                if payload:
                    yield Frame(track, codec, True, 0, offset_ns, payload)
            case PacketType.SEQUENCE_END:
                yield End(track, codec)
            case PacketType.AUDIO_MULTICHANNEL_CONFIG:
                channels = _channels(track, codec, payload)
                if channels is not None:
                    yield channels
            case _:
                raise RtmpError(
                    Fault.MEDIA, f"Enhanced audio packet type {packet_type} is unknown."
                )


def _channels(track: int, codec: Codec, payload: bytes) -> Channels | None:
    """Read a MultichannelConfig; None where it is cut short: codecs say the same themselves."""
    if len(payload) < 2:
        return None
    order, count, rest = payload[0], payload[1], payload[2:]
    if order == _ORDER_NATIVE and len(rest) >= 4:
        return Channels(track, codec, count, int.from_bytes(rest[:4], "big"), b"")
    if order == _ORDER_CUSTOM and len(rest) >= count:
        return Channels(track, codec, count, 0, rest[:count])
    return Channels(track, codec, count, 0, b"") if order == _ORDER_UNSPECIFIED else None


def _fourcc_name(fourcc: bytes) -> str:
    known = _UNSUPPORTED_FOURCC.get(fourcc)
    return known if known is not None else f"FourCC 0x{fourcc.hex()}"
