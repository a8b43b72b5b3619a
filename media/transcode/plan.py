"""What a stream is re-encoded to: pure arithmetic from the source's formats and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.model import Codec, TrackFormat

if TYPE_CHECKING:
    from collections.abc import Collection

    from config.settings import LadderSettings

AUDIO = "audio"
"""Name of the re-encoded audio rendition."""
OPUS = "opus"
"""Name of the sound that is encoded for viewers without a segment's delay."""
BUFFER_SECONDS = 2
"""VBV buffer in seconds of `maxrate`: one segment may hold one burst."""
PRESET_SOURCE_LINES = 720
"""Above this height a rung takes `ladder.preset_source`."""
BITRATE_EXPONENT = 0.75
"""Bits grow slower than pixels: 2.8 Mb/s at 720 lines becomes 5.1 Mb/s at 1080."""
AAC_RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000)
"""Rates of the source that are kept; any other becomes 48 kHz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One re-encoded picture size. Output pixels are square."""

    name: str
    """As in URLs: its lines (the short side), e.g. `720p`."""
    width: int
    height: int
    """Pixels, both even."""
    max_frame_rate: int
    """Pictures a second that are never exceeded."""
    bitrate: int
    maxrate: int
    """Bits a second."""
    bufsize: int
    """VBV buffer in bits."""
    encoder: str
    """FFmpeg encoder name."""
    preset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPlan:
    """What sound becomes: AAC-LC where it is not AAC, or Opus."""

    codec: Codec = Codec.AAC
    sample_rate: int
    """Hz."""
    channels: int
    """1 or 2."""
    bitrate: int
    """Bits a second."""


REALTIME_SOUND = AudioPlan(codec=Codec.OPUS, sample_rate=48_000, channels=2, bitrate=96_000)
"""Stereo without a flaw that is heard, for a hundredth of a picture's bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything one stream's worker produces; rungs from the largest to the smallest."""

    rungs: tuple[Rung, ...] = ()
    audio: AudioPlan | None = None

    @property
    def empty(self) -> bool:
        """Whether no worker is needed."""
        return not self.rungs and self.audio is None

    @property
    def work(self) -> int:
        """Pixels to encode of one source picture."""
        return sum(rung.width * rung.height for rung in self.rungs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Where the rungs differ from those of the settings, in lines."""

    without: Collection[int] = ()
    also: Collection[int] = ()


USUAL = Sizes()


def plan_ladder(
    video: TrackFormat | None,
    audio: TrackFormat | None,
    settings: LadderSettings,
    *,
    reencode_source: bool,
    sizes: Sizes = USUAL,
) -> Plan:
    """Return what to encode of a source.

    No rung exceeds the source; one of its own size is offered too, at the bit rate of the
    ladder. With `reencode_source` a rung of the source's own size stands on top in any case.
    """
    rungs: tuple[Rung, ...] = ()
    if video is not None and video.width > 0 and video.height > 0:
        rungs = _rungs(*square_pixels(video), settings, reencode_source, sizes)
    return Plan(rungs=rungs, audio=_audio(audio, settings))


def square_pixels(video: TrackFormat) -> tuple[int, int]:
    """Size of the source picture with square pixels; its lines stay, its width follows the SAR."""
    across, down = video.sar
    if across <= 0 or down <= 0:
        return video.width, video.height
    return max(2, round(video.width * across / down)), video.height


def fit(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Scale to `short_side` with the aspect kept; both sides even, neither above the source."""
    if width >= height:
        return _even(width * short_side / height, width), _even(short_side, height)
    return _even(short_side, width), _even(height * short_side / width, height)


def _even(wanted: float, limit: int) -> int:
    """Nearest even number (4:2:0 halves both sides) that is not above `limit`; at least 2."""
    even = 2 * round(wanted / 2)
    return max(2, min(even, limit - limit % 2))


def _rungs(
    width: int, height: int, settings: LadderSettings, reencode_source: bool, asked: Sizes
) -> tuple[Rung, ...]:
    short = min(width, height)
    wanted = {r.height: r.bitrate_kbps for r in settings.rungs if r.height <= short}
    if not settings.enabled:
        wanted = {}
    wanted = {lines: kbps for lines, kbps in wanted.items() if lines not in asked.without}
    for lines in asked.also:
        if 2 <= lines <= short and lines not in wanted:
            size = fit(width, height, lines)
            wanted[lines] = _usual_kbps(size, settings)
    sizes = {lines: fit(width, height, lines) for lines in wanted}
    if reencode_source:
        top = max(2, short - short % 2)
        sizes[top] = (_even(width, width), _even(height, height))
        wanted[top] = _usual_kbps(sizes[top], settings)
    return tuple(
        _rung(lines, sizes[lines], wanted[lines], settings) for lines in sorted(sizes, reverse=True)
    )


def _usual_kbps(size: tuple[int, int], settings: LadderSettings) -> int:
    """Bitrate of any size: as configured for its lines, else by its pixels."""
    lines = min(size)
    for rung in settings.rungs:
        if rung.height == lines:
            return rung.bitrate_kbps
    if not settings.rungs:
        reference_kbps, reference_pixels = 2800, 1280 * 720
    else:
        near = min(settings.rungs, key=lambda r: abs(r.height - lines))
        reference_kbps = near.bitrate_kbps
        reference_pixels = near.height * near.height * 16 // 9
    ratio = size[0] * size[1] / reference_pixels
    return int(max(100, reference_kbps * ratio**BITRATE_EXPONENT))


def _rung(lines: int, size: tuple[int, int], kbps: int, settings: LadderSettings) -> Rung:
    bits = kbps * 1000
    return Rung(
        name=f"{lines}p",
        width=size[0],
        height=size[1],
        max_frame_rate=settings.max_frame_rate,
        bitrate=bits,
        maxrate=bits,
        bufsize=BUFFER_SECONDS * bits,
        encoder=settings.encoder,
        preset=settings.preset if lines <= PRESET_SOURCE_LINES else settings.preset_source,
    )


def _audio(audio: TrackFormat | None, settings: LadderSettings) -> AudioPlan | None:
    """AAC passes through the server untouched; everything else is re-encoded."""
    if audio is None or audio.codec is Codec.AAC:
        return None
    return AudioPlan(
        sample_rate=audio.sample_rate if audio.sample_rate in AAC_RATES else AAC_RATES[0],
        channels=1 if audio.channels == 1 else 2,
        bitrate=settings.audio_kbps * 1000,
    )
