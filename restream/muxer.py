"""Turns a stream's packets into one RTMP publication: times from zero, formats, metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.rtmp.flv import AUDIO_FOURCC, VIDEO_FOURCC
from media.bitstream.formats import IN_BAND
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from ingest.rtmp.amf0 import AmfObject, AmfValue
    from ingest.rtmp.client import RtmpPublishClient
    from restream.queue import Formats

LEGACY = frozenset({Codec.H264, Codec.AAC})
"""What every RTMP server takes."""
_TICKS_PER_MS = TICKS_PER_SECOND // 1000
_MAX_OFFSET_MS = 2**23 - 1
"""A composition offset has 24 bits, signed."""
_NAMES = {
    Codec.H264: "H.264",
    Codec.HEVC: "HEVC",
    Codec.AV1: "AV1",
    Codec.VP9: "VP9",
    Codec.VP8: "VP8",
    Codec.AAC: "AAC",
    Codec.OPUS: "Opus",
    Codec.MP3: "MP3",
    Codec.FLAC: "FLAC",
    Codec.AC3: "AC-3",
    Codec.EAC3: "E-AC-3",
}
_CODEC_IDS = {Codec.H264: 7.0, Codec.AAC: 10.0, Codec.MP3: 2.0}
_FOURCC_IDS = {
    codec: float(int.from_bytes(name, "big"))
    for name, codec in (VIDEO_FOURCC | AUDIO_FOURCC).items()
}


class Unsendable(Exception):
    """The target does not take what the stream is coded with; the text says what to change."""


class RestartNeeded(Exception):
    """Another codec, or a track more: servers take that on a new connection only."""


class Muxer:
    """Writes to a client that publishes. Call `take` with everything a `PacketQueue` gives.

    Times start at 0 with the first picture (the first sound where there is no picture), are
    milliseconds of decoding time and never go back within a kind.
    """

    def __init__(self, client: RtmpPublishClient, codecs: frozenset[Codec]) -> None:
        """`codecs`: what the target takes beside H.264 and AAC."""
        self._client = client
        self._codecs = codecs | LEGACY
        self._formats: dict[Kind, TrackFormat] = {}
        self._sent: dict[Kind, TrackFormat] = {}
        """Formats whose sequence headers were sent."""
        self._base: int | None = None
        self._last_ms: dict[Kind, int] = {}

    def take(self, item: Packet | Formats) -> None:
        """Write one item. Raises `Unsendable` and `RestartNeeded`; then nothing was written."""
        if isinstance(item, Packet):
            self._packet(item)
        else:
            self._set_formats(item)

    def _set_formats(self, formats: Formats) -> None:
        for track_format in formats:
            if track_format.codec not in self._codecs:
                raise Unsendable(_unsendable(track_format.codec))
        wanted = {f.kind: f for f in formats}
        if self._base is not None and any(
            kind not in self._sent or self._sent[kind].codec is not f.codec
            for kind, f in wanted.items()
        ):
            raise RestartNeeded
        self._formats = wanted

    def _packet(self, packet: Packet) -> None:
        track_format = self._formats.get(packet.kind)
        if track_format is None or track_format.codec is not packet.codec:
            return
        if self._base is None:
            self._begin(packet.dts)
        assert self._base is not None
        if packet.dts < self._base:
            return  # sound that came with the first picture but belongs before it
        time_ms = max(_ms(packet.dts - self._base), self._last_ms.get(packet.kind, 0))
        self._last_ms[packet.kind] = time_ms
        if self._sent.get(packet.kind) != track_format:
            self._announce(track_format, time_ms)
        if packet.kind is Kind.AUDIO:
            self._client.audio(packet.codec, packet.payload, time_ms=time_ms)
            return
        offset_ms = 0
        if packet.codec in (Codec.H264, Codec.HEVC):
            offset_ms = _ms(packet.pts - self._base) - time_ms
            offset_ms = max(-_MAX_OFFSET_MS, min(offset_ms, _MAX_OFFSET_MS))
        self._client.video(
            packet.codec, packet.payload, key=packet.key, time_ms=time_ms, offset_ms=offset_ms
        )

    def _begin(self, dts: int) -> None:
        """Send the metadata and every sequence header ahead of the first packet."""
        self._base = dts
        for track_format in self._formats.values():
            self._announce(track_format, 0)

    def _announce(self, track_format: TrackFormat, time_ms: int) -> None:
        client, codec = self._client, track_format.codec
        if self._sent.get(track_format.kind) is not None or not self._sent:
            client.metadata(metadata(self._formats))
        self._sent[track_format.kind] = track_format
        if track_format.kind is Kind.VIDEO:
            client.video_config(codec, track_format.config, time_ms)
        elif codec not in IN_BAND:
            client.audio_config(codec, track_format.config, time_ms)


def metadata(formats: dict[Kind, TrackFormat]) -> AmfObject:
    """Return `onMetaData` for the formats; codec ids as FLV numbers, else as FourCC numbers."""
    values: dict[str, AmfValue] = {"encoder": "Vitrina"}
    video, audio = formats.get(Kind.VIDEO), formats.get(Kind.AUDIO)
    if video is not None:
        values["width"], values["height"] = float(video.width), float(video.height)
        values["videocodecid"] = _CODEC_IDS.get(video.codec, _FOURCC_IDS[video.codec])
        if video.frame_rate:
            values["framerate"] = float(video.frame_rate)
    if audio is not None:
        values["audiocodecid"] = _CODEC_IDS.get(audio.codec, _FOURCC_IDS[audio.codec])
        values["audiosamplerate"] = float(audio.sample_rate)
        values["audiochannels"] = float(audio.channels)
        values["stereo"] = audio.channels == 2
    return values


def _ms(ticks: int) -> int:
    return (ticks + _TICKS_PER_MS // 2) // _TICKS_PER_MS


def _unsendable(codec: Codec) -> str:
    name = _NAMES[codec]
    instead = "AAC" if codec.kind is Kind.AUDIO else "H.264"
    return (
        f"The stream is {name}, and the target does not say that it takes {name}: push {instead} "
        f"from the encoder, or add {codec.value} to the codecs of the target if it does take it."
    )
