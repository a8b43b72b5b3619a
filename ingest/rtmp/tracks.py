"""The tracks of one publication: from FLV values to formats and packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ingest.rtmp import flv
from ingest.rtmp.amf0 import AmfError
from ingest.rtmp.colour import ColourInfo, parse_colour_info
from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.events import Event, FormatChanged, TrackEnded, TrackIgnored
from ingest.rtmp.inband import lacks_parameter_sets, record_in_band, starts_decoding
from ingest.rtmp.payload import (
    length_size,
    widen_lengths,
    with_four_byte_lengths,
    without_temporal_delimiter,
)
from media.bitstream import BitstreamError, ac3, opus, vp9
from media.bitstream.formats import IN_BAND
from media.model import Codec, Kind, Packet, TrackFormat

Describe = Callable[[Codec, bytes], TrackFormat]

TICKS_PER_MS = 90
_MP3_HEADER = 4
# Version, layer, sampling rate and channel mode (ISO 11172-3 2.4.1.3); the bit rate may vary.
_MP3_FIXED = (0xFF, 0xFE, 0x0C, 0xC0)


class _Track:
    __slots__ = (
        "codec",
        "described",
        "in_band",
        "length_size",
        "record",
        "started",
        "track_format",
    )

    def __init__(self, codec: Codec, record: bytes) -> None:
        self.codec = codec
        self.record = record
        self.length_size = length_size(codec, record)
        self.in_band = b""
        """The newest record that a key frame brought along."""
        self.described: TrackFormat | None = None
        """By its configuration alone."""
        self.track_format: TrackFormat | None = None
        """As announced, colour metadata included."""
        self.started = codec.kind is Kind.AUDIO


class Tracks:
    """Keeps what was announced per kind and track number; at most 512 of them.

    Frames ahead of a configuration, and pictures ahead of the first key frame, are dropped and
    counted in `dropped`: nothing can decode them.
    """

    def __init__(self, describe: Describe) -> None:
        self.dropped = 0
        self._describe = describe
        self._tracks: dict[tuple[Kind, int], _Track] = {}
        self._ignored: set[tuple[Kind, int]] = set()
        self._colours: dict[int, ColourInfo] = {}

    def receive(self, values: Iterator[flv.FlvValue], timestamp: int, now_ns: int) -> list[Event]:
        """Return the events of one message at `timestamp` (u32 ms), received at `now_ns`.

        Raises `RtmpError` (codec, media) for what track 0 cannot be served with.
        """
        events: list[Event] = []
        for value in values:
            try:
                if isinstance(value, flv.Frame):
                    self._frame(events, value, timestamp, now_ns)
                elif isinstance(value, flv.Config):
                    self._config(events, value)
                elif isinstance(value, flv.End):
                    self._end(events, value)
                elif isinstance(value, flv.Metadata):
                    self._metadata(events, value)
                elif isinstance(value, flv.Channels):
                    self._channels(events, value)
                else:
                    raise _refusal(value)
            except RtmpError as error:
                # Only track 0 is worth a connection: an additional one is ignored.
                if value.track == 0:
                    raise
                self._ignore(events, value, str(error))
        return events

    def _ignore(self, events: list[Event], value: flv.FlvValue, text: str) -> None:
        kind = value.kind if isinstance(value, flv.Unsupported) else value.codec.kind
        self.dropped += 1
        if (kind, value.track) not in self._ignored:
            self._ignored.add((kind, value.track))
            events.append(TrackIgnored(value.track, kind, text))

    def _end(self, events: list[Event], value: flv.End) -> None:
        kind = value.codec.kind
        if self._tracks.pop((kind, value.track), None) is not None:
            events.append(TrackEnded(value.track, kind))

    def _config(self, events: list[Event], value: flv.Config) -> None:
        if not value.record and value.codec.kind is Kind.VIDEO:
            return  # FFmpeg before libaom has told it; the record follows with the first picture
        if value.codec in IN_BAND:
            return  # FFmpeg announces AC-3 with nothing: its frames tell
        place = (value.codec.kind, value.track)
        known = self._tracks.get(place)
        if known is not None and known.codec is value.codec and known.record == value.record:
            return
        track = _Track(value.codec, value.record)
        if known is not None and known.codec is value.codec:
            # The frames up to the next key frame still belong to the old configuration's group.
            track.started = known.started
            # FFmpeg ends FLAC with another header: what only it says makes no other format.
            track.track_format = known.track_format
        if lacks_parameter_sets(value.codec, value.record):
            self._tracks[place] = track
            return
        record = with_four_byte_lengths(value.codec, value.record)
        track_format = self._described(value.codec, record)
        self._tracks[place] = track
        self._announce(events, value.track, track, track_format)

    def _channels(self, events: list[Event], value: flv.Channels) -> None:
        """Complete an empty OpusHead, the one configuration that leaves the channels open."""
        track = self._tracks.get((Kind.AUDIO, value.track))
        if track is None or track.record or not value.count:
            return
        if value.codec is Codec.OPUS and track.codec is Codec.OPUS:
            head = self._described(Codec.OPUS, opus.default_head(value.count))
            self._announce(events, value.track, track, head)

    def _metadata(self, events: list[Event], value: flv.Metadata) -> None:
        """Keep what a metadata packet says of colour: OBS sends it ahead of the configuration."""
        try:
            info = parse_colour_info(value.payload)
        except AmfError:
            # Nothing that pictures cannot do without.
            self.dropped += 1
            return
        if info is None or info == self._colours.get(value.track, ColourInfo()):
            return
        self._colours[value.track] = info
        track = self._tracks.get((Kind.VIDEO, value.track))
        if track is not None and track.described is not None:
            self._announce(events, value.track, track, track.described)

    def _announce(
        self, events: list[Event], number: int, track: _Track, track_format: TrackFormat
    ) -> None:
        track.described = track_format
        if (info := self._colours.get(number)) and track_format.kind is Kind.VIDEO:
            track_format = info.complete(track_format)
        if track_format == track.track_format:
            return
        track.track_format = track_format
        # A VP9 configuration has no picture size: its first key frame completes it.
        if track_format.codec is not Codec.VP9 or track_format.width:
            events.append(FormatChanged(number, track_format))

    def _described(self, codec: Codec, record: bytes) -> TrackFormat:
        try:
            return self._describe(codec, record)
        except BitstreamError as error:
            raise RtmpError(Fault.MEDIA, str(error)) from error

    def _frame(self, events: list[Event], frame: flv.Frame, timestamp: int, now_ns: int) -> None:
        codec = frame.codec
        if codec is Codec.MP3:
            self._mp3(events, frame)
        elif codec in IN_BAND:
            self._ac3(events, frame)
        track = self._tracks.get((codec.kind, frame.track))
        if track is not None and track.codec is not codec:
            track = None
        payload, key = frame.payload, frame.key
        if codec.kind is Kind.VIDEO:
            if codec is Codec.AV1:
                payload = without_temporal_delimiter(payload)
            elif track is not None and track.length_size != 4:
                payload = widen_lengths(payload, track.length_size)
            key = starts_decoding(codec, payload, flagged=key)
            if key:
                track = self._parameters(events, frame, track, payload)
        known = track is not None and track.described is not None
        if track is None or not known or not (track.started or key) or not payload:
            self.dropped += 1
            return
        track.started = True
        # Nearest: thirds of a millisecond come as 333333 ns, and are 30 ticks.
        fine = (frame.offset_ns * 9 + 50_000) // 100_000
        pts = timestamp * TICKS_PER_MS + frame.offset_ms * TICKS_PER_MS + fine
        # Without reordering a picture, and any sound, is decoded when it is presented.
        dts = timestamp * TICKS_PER_MS if frame.offset_ms else pts
        events.append(
            Packet(
                track=frame.track,
                codec=codec,
                dts=dts,
                pts=pts,
                key=key,
                payload=payload,
                arrived_ns=now_ns,
            )
        )

    def _parameters(
        self, events: list[Event], frame: flv.Frame, track: _Track | None, payload: bytes
    ) -> _Track | None:
        """Take parameters that a key frame brings along, where the sequence header lacks them.

        Also where they ask for another picture than the sequence header does.
        """
        codec = frame.codec
        known = track.described if track is not None else None
        if known is not None and codec in (Codec.VP9, Codec.AV1):
            if codec is Codec.VP9 and track is not None:
                self._vp9_size(events, frame, track)
            return track
        try:
            record = record_in_band(codec, payload)
        except BitstreamError as error:
            if known is not None:
                return track
            raise RtmpError(Fault.MEDIA, str(error)) from error
        if record is None or (track is not None and record == track.in_band):
            return track
        track_format = self._described(codec, record)
        if track is None:
            track = self._tracks[Kind.VIDEO, frame.track] = _Track(codec, record)
        track.in_band = record
        if known is None or _asks_otherwise(track_format, known):
            self._announce(events, frame.track, track, track_format)
        if codec is Codec.VP9:
            self._vp9_size(events, frame, track)
        return track

    def _vp9_size(self, events: list[Event], frame: flv.Frame, track: _Track) -> None:
        assert track.described is not None
        try:
            track_format = vp9.with_dimensions(track.described, frame.payload)
        except BitstreamError as error:
            raise RtmpError(Fault.MEDIA, str(error)) from error
        self._announce(events, frame.track, track, track_format)

    def _mp3(self, events: list[Event], value: flv.Frame) -> None:
        """Announce MP3 by its first frame, and again when the sampling rate or mode changes."""
        head = value.payload[:_MP3_HEADER]
        fixed = bytes(byte & mask for byte, mask in zip(head, _MP3_FIXED, strict=False))
        known = self._tracks.get((Kind.AUDIO, value.track))
        if known is not None and known.codec is Codec.MP3 and known.record == fixed:
            return
        track_format = self._described(Codec.MP3, head)
        track = self._tracks[Kind.AUDIO, value.track] = _Track(Codec.MP3, fixed)
        if known is not None and known.codec is Codec.MP3:
            track.track_format = known.track_format
        self._announce(events, value.track, track, track_format)

    def _ac3(self, events: list[Event], value: flv.Frame) -> None:
        """Announce AC-3 and E-AC-3 by their frames, each of which says everything."""
        if value.codec is Codec.EAC3 and ac3.adds_channels(value.payload):
            return
        track_format = self._described(value.codec, value.payload[: ac3.HEADER_BYTES])
        track = self._tracks.get((Kind.AUDIO, value.track))
        if track is None or track.codec is not value.codec:
            track = self._tracks[Kind.AUDIO, value.track] = _Track(value.codec, b"")
        self._announce(events, value.track, track, track_format)


def _asks_otherwise(one: TrackFormat, other: TrackFormat) -> bool:
    """Whether decoders would have to be set up anew: timing hints alone are no reason."""
    pictures = [
        (f.codec_string, f.width, f.height, f.bit_depth, f.chroma, f.sar) for f in (one, other)
    ]
    return pictures[0] != pictures[1]


def _refusal(value: flv.Unsupported) -> RtmpError:
    return RtmpError(
        Fault.CODEC,
        f"The encoder sends {value.name}, which is not accepted: "
        "set H.264, HEVC, AV1 or VP9 video and AAC, Opus, MP3, FLAC, AC-3 or E-AC-3 audio.",
    )
