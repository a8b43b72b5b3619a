"""PyAV's audio side: whatever is not AAC to AAC-LC, any sound to Opus. Used by one thread each."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.codec.context import Flags

from media.bitstream import BitstreamError, opus
from media.model import TICKS_PER_SECOND, Codec
from media.transcode.concealing import lost_packets, silence
from media.transcode.libav import TIME_BASE, DecodeFailed, EncoderFailed

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

    from media.transcode.messages import Source, SourceTrack
    from media.transcode.plan import AudioPlan

FRAME_SAMPLES = 1024
"""Samples of one AAC-LC access unit (ISO 14496-3 4.5.2.1.1)."""
OPUS_SAMPLES = 960
"""Samples of the 20 ms that an Opus packet has."""
DECODERS = {
    Codec.OPUS: "libopus",
    Codec.MP3: "mp3float",
    Codec.AAC: "aac",
    Codec.FLAC: "flac",
    Codec.AC3: "ac3",
    Codec.EAC3: "eac3",
}
STRETCH_SAMPLES = 1000
"""aresample may add or take this many samples a second to follow the timestamps."""
JUMP_SECONDS = 0.1
"""Below this a deviation is stretched away, above it is filled or cut (swresample's default)."""
HOLE = TICKS_PER_SECOND // 200
"""Opus comes over networks that lose packets, and its times are exact: from here on missing sound
is a lost or silent packet. Stretched over it, all that follows would be early for seconds."""
LONG_HOLE = 2 * TICKS_PER_SECOND
"""Sound that stopped for longer goes on where it comes back: to fill an hour takes a gigabyte."""

AudioUnit = tuple[int, int, bytes]
"""pts and duration in ticks, raw AAC access unit."""


class AudioTranscoder:
    """Decodes one audio track and encodes it again.

    Frames start at multiples of their length on the show clock: a restarted worker continues on
    the grid of the one before. Holes are concealed, and move nothing.
    """

    def __init__(self, track: SourceTrack, plan: AudioPlan) -> None:
        """Raise `DecodeFailed` or `EncoderFailed`."""
        self._rate = plan.sample_rate
        self._layout = "mono" if plan.channels == 1 else "stereo"
        self._decoder = _open_decoder(track)
        self._encoder = _open_encoder(plan, self._layout)
        self._resampler: AudioResampler | None = None
        self._resampled: tuple[str, str, int] | None = None
        self._frame = OPUS_SAMPLES if plan.codec is Codec.OPUS else FRAME_SAMPLES
        self._format = "flt" if plan.codec is Codec.OPUS else "fltp"
        self._exact = track.codec is Codec.OPUS
        self._conceals = self._exact and opus.parse_head(track.config).family == 0
        self._time_base = Fraction(1, plan.sample_rate)
        self._heard: int | None = None
        """Where the decoded sound ends, in ticks."""
        self._end: int | None = None
        """Where the sound that the encoder was given ends, in its samples."""

    @property
    def config(self) -> bytes:
        """AudioSpecificConfig or OpusHead of what comes out."""
        return self._encoder.extradata or b""

    def convert(self, source: Source) -> list[AudioUnit]:
        """Return the access units that `source` completes. Raises `DecodeFailed`."""
        units: list[AudioUnit] = []
        for frame in self._decode(source):
            for part in self._filled(frame):
                units += self._encode(self._resample(part))
        return units

    def _decode(self, source: Source) -> list[AudioFrame]:
        packets = [(source.pts, source.payload)]
        if self._conceals and self._is_hole(source.pts) and self._heard is not None:
            packets[:0] = lost_packets(self._heard, source.pts, source.payload)
        frames: list[AudioFrame] = []
        for pts, payload in packets:
            packet = av.Packet(payload)
            packet.pts = packet.dts = pts
            packet.time_base = TIME_BASE
            try:
                decoded = self._decoder.decode(packet)
            except (av.FFmpegError, ValueError) as err:
                raise DecodeFailed(str(err)) from err
            for frame in decoded:
                if frame.pts is None:
                    frame.pts = pts
                if self._exact and self._heard is None and not frames:
                    frame.pts += _skipped(payload, frame.samples)
                frame.time_base = TIME_BASE
                frames.append(frame)
        return frames

    def _is_hole(self, pts: int) -> bool:
        return self._exact and self._heard is not None and HOLE <= pts - self._heard <= LONG_HOLE

    def _filled(self, frame: AudioFrame) -> list[AudioFrame]:
        """Return the frame, with silence before it where sound is missing still."""
        assert frame.pts is not None
        hole = self._is_hole(frame.pts)
        before, self._heard = self._heard, frame.pts + _ticks(frame.samples, frame.sample_rate)
        if before is not None and frame.pts - before > LONG_HOLE:
            self._resampler = None
        if hole and before is not None:
            return [silence(frame, before, frame.pts), frame]
        return [frame]

    def flush(self) -> list[AudioUnit]:
        """Return what decoder, resampler and encoder still hold."""
        try:
            frames = self._resampler.resample(None) if self._resampler is not None else []
            return self._encode([*frames, None])
        except (av.FFmpegError, ValueError, EncoderFailed):
            return []

    def _resample(self, frame: AudioFrame) -> list[AudioFrame]:
        """Bring a frame to the encoder's format, its samples placed by their timestamps."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        flushed: list[AudioFrame] = []
        if self._resampler is None or shape != self._resampled:
            if self._resampler is not None:
                flushed = self._resampler.resample(None)
            self._resampled = shape
            self._resampler = self._open_resampler(frame)
        try:
            frames = self._resampler.resample(frame)
        except (av.FFmpegError, ValueError) as err:
            self._resampler = None
            raise DecodeFailed(str(err)) from err
        return [*flushed, *frames]

    def _open_resampler(self, frame: AudioFrame) -> AudioResampler:
        start = (frame.pts or 0) * self._rate // TICKS_PER_SECOND
        first = max(start, self._end or 0)
        grid = -(-first // self._frame) * self._frame
        return AudioResampler(
            format=self._format,
            layout=self._layout,
            rate=self._rate,
            frame_size=self._frame,
            options={
                "async": str(STRETCH_SAMPLES),
                "min_hard_comp": str(JUMP_SECONDS),
                # In samples of what comes in (swr_init multiplies by the rate that goes out).
                "first_pts": str(grid * frame.sample_rate // self._rate),
                # Mixed down to stereo, five loud channels must not clip.
                "rematrix_maxval": "1.0",
            },
        )

    def _encode(self, frames: list[AudioFrame] | list[AudioFrame | None]) -> list[AudioUnit]:
        units: list[AudioUnit] = []
        for frame in frames:
            if frame is not None and frame.pts is not None and frame.time_base:
                pts = int(frame.pts * frame.time_base * self._rate)
                frame.pts, frame.time_base = pts, self._time_base
                self._end = pts + frame.samples
            try:
                packets = self._encoder.encode(frame)
            except (av.FFmpegError, ValueError) as err:
                raise EncoderFailed(f"the sound's encoder broke: {err}") from err
            units += [
                self._unit(packet.pts, bytes(packet))
                for packet in packets
                if packet.pts is not None
            ]
        return units

    def _unit(self, samples: int, payload: bytes) -> AudioUnit:
        pts = _ticks(samples, self._rate)
        return pts, _ticks(samples + self._frame, self._rate) - pts, payload


def _skipped(packet: bytes, samples: int) -> int:
    """Return the ticks of an Opus packet of which nothing is heard: the encoder's look-ahead."""
    try:
        return _ticks(max(opus.packet_samples(packet) - samples, 0), opus.SAMPLE_RATE)
    except BitstreamError as err:
        raise DecodeFailed(str(err)) from err


def _ticks(samples: int, rate: int) -> int:
    return samples * TICKS_PER_SECOND // rate


def _open_decoder(track: SourceTrack) -> AudioCodecContext:
    decoder = cast("AudioCodecContext", av.CodecContext.create(DECODERS[track.codec], "r"))
    if track.config:
        decoder.extradata = track.config
    if track.codec is Codec.OPUS:
        decoder.sample_rate = 48_000
        decoder.layout = "mono" if track.channels == 1 else "stereo"
        decoder.options = {"request_sample_fmt": "flt"}
    if track.codec in (Codec.AC3, Codec.EAC3):
        # The decoder's own way to stereo follows the mix levels of the stream (TS 102 366 7.8).
        decoder.options = {"downmix": "mono" if track.channels == 1 else "stereo"}
    decoder.thread_count = 1
    try:
        decoder.open()
    except (av.FFmpegError, ValueError) as err:
        raise DecodeFailed(f"the {track.codec} decoder refused its configuration") from err
    return decoder


def _open_encoder(plan: AudioPlan, layout: str) -> AudioCodecContext:
    to_opus = plan.codec is Codec.OPUS
    encoder = av.CodecContext.create("libopus" if to_opus else "aac", "w")
    encoder.sample_rate = plan.sample_rate
    encoder.layout = layout
    encoder.format = "flt" if to_opus else "fltp"
    encoder.bit_rate = plan.bitrate
    encoder.time_base = Fraction(1, plan.sample_rate)
    encoder.thread_count = 1
    encoder.flags |= Flags.global_header
    if to_opus:
        # Without SILK the look-ahead is 2.5 ms in place of 6.5; at this rate it has no part.
        encoder.options = {"application": "lowdelay", "frame_duration": "20"}
    try:
        encoder.open()
    except (av.FFmpegError, ValueError) as err:
        raise EncoderFailed(f"the {plan.codec} encoder does not open: {err}") from err
    return encoder
