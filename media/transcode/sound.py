"""PyAV's audio side: whatever is not AAC to AAC-LC. Used by one thread."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.codec.context import Flags

from media.model import TICKS_PER_SECOND, Codec
from media.transcode.libav import TIME_BASE, DecodeFailed, EncoderFailed

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

    from media.transcode.messages import Source, SourceTrack
    from media.transcode.plan import AudioPlan

FRAME_SAMPLES = 1024
"""Samples of one AAC-LC access unit (ISO 14496-3 4.5.2.1.1)."""
DECODERS = {
    Codec.OPUS: "opus",
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

AudioUnit = tuple[int, int, bytes]
"""pts and duration in ticks, raw AAC access unit."""


class AudioTranscoder:
    """Decodes one audio track and encodes it again.

    Access units start at multiples of 1024 samples of the show clock: a restarted worker
    continues on the grid of the one before.
    """

    def __init__(self, track: SourceTrack, plan: AudioPlan) -> None:
        """Raise `DecodeFailed` or `EncoderFailed`."""
        self._rate = plan.sample_rate
        self._layout = "mono" if plan.channels == 1 else "stereo"
        self._decoder = _open_decoder(track)
        self._encoder = _open_encoder(plan, self._layout)
        self._resampler: AudioResampler | None = None
        self._resampled: tuple[str, str, int] | None = None
        self._time_base = Fraction(1, plan.sample_rate)
        self._shift = 0
        self._end: int | None = None

    @property
    def config(self) -> bytes:
        """AudioSpecificConfig of what comes out."""
        return self._encoder.extradata or b""

    def convert(self, source: Source) -> list[AudioUnit]:
        """Return the access units that `source` completes. Raises `DecodeFailed`."""
        packet = av.Packet(source.payload)
        packet.pts = packet.dts = source.pts
        packet.time_base = TIME_BASE
        try:
            frames = self._decoder.decode(packet)
        except (av.FFmpegError, ValueError) as err:
            raise DecodeFailed(str(err)) from err
        units: list[AudioUnit] = []
        for frame in frames:
            if frame.pts is None:
                frame.pts = source.pts
            frame.time_base = TIME_BASE
            units += self._encode(self._resample(frame))
        return units

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
        grid = -(-first // FRAME_SAMPLES) * FRAME_SAMPLES
        return AudioResampler(
            format="fltp",
            layout=self._layout,
            rate=self._rate,
            frame_size=FRAME_SAMPLES,
            options={
                "async": str(STRETCH_SAMPLES),
                "min_hard_comp": str(JUMP_SECONDS),
                "first_pts": str(grid),
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
                raise EncoderFailed(f"the AAC encoder broke: {err}") from err
            units += [
                _unit(packet.pts, bytes(packet), self._rate)
                for packet in packets
                if packet.pts is not None
            ]
        return units


def _unit(samples: int, payload: bytes, rate: int) -> AudioUnit:
    pts = samples * TICKS_PER_SECOND // rate
    end = (samples + FRAME_SAMPLES) * TICKS_PER_SECOND // rate
    return pts, end - pts, payload


def _open_decoder(track: SourceTrack) -> AudioCodecContext:
    decoder = cast("AudioCodecContext", av.CodecContext.create(DECODERS[track.codec], "r"))
    if track.config:
        decoder.extradata = track.config
    if track.codec is Codec.OPUS:
        decoder.sample_rate = 48_000
        decoder.layout = "mono" if track.channels == 1 else "stereo"
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
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate = plan.sample_rate
    encoder.layout = layout
    encoder.format = "fltp"
    encoder.bit_rate = plan.bitrate
    encoder.time_base = Fraction(1, plan.sample_rate)
    encoder.thread_count = 1
    encoder.flags |= Flags.global_header
    try:
        encoder.open()
    except (av.FFmpegError, ValueError) as err:
        raise EncoderFailed(f"the AAC encoder does not open: {err}") from err
    return encoder
