"""Writes the multivariant playlist (draft-pantos-hls-rfc8216bis 4.4.6); sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from media.colour import video_range
from media.model import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from media.model import TrackFormat

AUDIO_GROUP = "audio"
CHAPTERS_DATA_ID = "com.apple.hls.chapters"
SOURCE = "source"
_VERSION = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionInfo:
    """What the multivariant playlist says of a rendition; bit rates in bits per second."""

    name: str
    format: TrackFormat
    peak_bps: int
    average_bps: int
    frame_rate: float | None = None
    """Measured pictures a second, where `format.frame_rate` does not say it."""
    language: str | None = None
    """BCP 47, of sound."""


def render_multivariant(
    renditions: Sequence[RenditionInfo],
    *,
    chapters_uri: str | None = None,
    independent_segments: bool = False,
    audio_label: str = "Audio",
) -> bytes:
    """Write the playlist: the source rung first, then descending; URIs `NAME/index.m3u8`.

    `independent_segments`: promise that every segment of every rendition starts with a key
    frame, for all time to come. Raises `ValueError` without renditions.
    """
    video = [item for item in renditions if item.format.kind is Kind.VIDEO]
    audio = [item for item in renditions if item.format.kind is Kind.AUDIO]
    if not video and not audio:
        raise ValueError("A multivariant playlist needs at least one rendition.")
    out = ["#EXTM3U", f"#EXT-X-VERSION:{_VERSION}"]
    if independent_segments:
        out.append("#EXT-X-INDEPENDENT-SEGMENTS")
    if chapters_uri is not None:
        out.append(f'#EXT-X-SESSION-DATA:DATA-ID="{CHAPTERS_DATA_ID}",URI="{chapters_uri}"')
    if video or len(audio) > 1:
        languages = [item.language for item in audio]
        for index, item in enumerate(audio):
            label = item.name if index else audio_label
            if item.language is not None and languages.count(item.language) == 1:
                label = item.language
            out.append(_media(item, label=label, default=index == 0))
    ranges = any(video_range(item.format.colour) != "SDR" for item in video)
    for item in sorted(video, key=_order):
        out += [_variant(item, audio, ranges=ranges), _uri(item)]
    if not video:
        # One variant: of several, players would choose a language by its bit rate.
        out += [_variant(*_sound_alone(audio)), _uri(audio[0])]
    return ("\n".join(out) + "\n").encode()


def variant_bandwidth(item: RenditionInfo, audio: Sequence[RenditionInfo]) -> tuple[int, int]:
    """BANDWIDTH and AVERAGE-BANDWIDTH with the largest rendition of the group (4.4.6.2)."""
    peak = item.peak_bps + max((other.peak_bps for other in audio), default=0)
    average = item.average_bps + max((other.average_bps for other in audio), default=0)
    return max(peak, average, 1), max(average, 1)


def codecs(item: RenditionInfo, audio: Sequence[RenditionInfo]) -> str:
    """CODECS names every format of the variant and of its group (4.4.6.2)."""
    found = dict.fromkeys([item.format.codec_string, *(x.format.codec_string for x in audio)])
    return ",".join(found)


def frame_rate(item: RenditionInfo) -> str | None:
    """FRAME-RATE, rounded to three decimals (4.4.6.2)."""
    rate = item.format.frame_rate or item.frame_rate
    return f"{float(rate):.3f}" if rate else None


def resolution(item: RenditionInfo) -> str | None:
    """RESOLUTION: the size at which to display, so pixels are square (4.4.6.2)."""
    fmt = item.format
    if not (fmt.width and fmt.height):
        return None
    across, down = fmt.sar
    width = round(fmt.width * across / down) if across > 0 and down > 0 else fmt.width
    return f"{width}x{fmt.height}"


def _sound_alone(
    audio: Sequence[RenditionInfo],
) -> tuple[RenditionInfo, Sequence[RenditionInfo]]:
    """Return a variant without pictures and its group; what it is itself is counted once."""
    if len(audio) == 1:
        return audio[0], ()
    return replace(audio[0], peak_bps=0, average_bps=0), audio


def _order(item: RenditionInfo) -> tuple[bool, int, int]:
    return item.name != SOURCE, -item.format.width * item.format.height, -item.peak_bps


def _variant(item: RenditionInfo, audio: Sequence[RenditionInfo], *, ranges: bool = False) -> str:
    """Write EXT-X-STREAM-INF; `ranges`: say VIDEO-RANGE, since not every variant is SDR."""
    peak, average = variant_bandwidth(item, audio)
    attributes = [
        f"BANDWIDTH={peak}",
        f"AVERAGE-BANDWIDTH={average}",
        f'CODECS="{codecs(item, audio)}"',
    ]
    if (size := resolution(item)) is not None:
        attributes.append(f"RESOLUTION={size}")
    if (rate := frame_rate(item)) is not None:
        attributes.append(f"FRAME-RATE={rate}")
    if ranges:
        attributes.append(f"VIDEO-RANGE={video_range(item.format.colour)}")
    if audio:
        attributes.append(f'AUDIO="{AUDIO_GROUP}"')
    return "#EXT-X-STREAM-INF:" + ",".join(attributes)


def _media(item: RenditionInfo, *, label: str, default: bool) -> str:
    language = f',LANGUAGE="{item.language}"' if item.language is not None else ""
    # Players choose by language among those with AUTOSELECT: one without is not to be chosen so.
    chosen = default or item.language is not None
    return (
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{AUDIO_GROUP}",NAME="{label}"{language}'
        f",DEFAULT={'YES' if default else 'NO'},AUTOSELECT={'YES' if chosen else 'NO'}"
        f',CHANNELS="{item.format.channels or 2}",URI="{_uri(item)}"'
    )


def _uri(item: RenditionInfo) -> str:
    return f"{item.name}/index.m3u8"
