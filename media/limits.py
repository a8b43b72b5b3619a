"""What an encoder's tracks may ask for, checked before any decoder is opened."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from media.model import FormatRefused, Kind, TrackFormat

if TYPE_CHECKING:
    from config.settings import LimitsSettings, StreamLimits

MAX_SAMPLE_RATE = 192_000
MAX_CHANNELS = 8


class LimitExceeded(Exception):
    """The encoder sends more than its stream may cost; the text says what to lower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that hold for one publisher."""

    max_width: int
    """Pixels."""
    max_height: int
    max_pixels: int
    """Width times height."""
    max_frame_rate: int
    """Pictures a second, declared or measured."""
    max_bitrate_kbps: int
    """Thousands of payload bits a second over all tracks."""
    max_tracks: int
    excess_s: float
    """Seconds' worth of the bit rate and the frame rate that may come on top of them."""
    on_excess: Literal["close", "finding"]


def narrow(base: LimitsSettings, *closer: StreamLimits | None) -> Limits:
    """Return the server's limits, each lowered to the least that one of `closer` asks for."""
    values = {f.name: getattr(base, f.name) for f in fields(Limits)}
    for limits in closer:
        if limits is None:
            continue
        for name, value in limits.model_dump(exclude_none=True).items():
            values[name] = min(values[name], value)
    return Limits(**values)


def check_format(track_format: TrackFormat, limits: Limits) -> None:
    """Raise `FormatRefused` where a track is larger than the limits allow."""
    if track_format.kind is Kind.VIDEO:
        _check_picture(track_format, limits)
    elif track_format.sample_rate > MAX_SAMPLE_RATE or track_format.channels > MAX_CHANNELS:
        raise FormatRefused(
            f"The audio has {track_format.channels} channels at {track_format.sample_rate} Hz; at "
            f"most {MAX_CHANNELS} channels at {MAX_SAMPLE_RATE} Hz are accepted."
        )


def check_tracks(count: int, limits: Limits) -> None:
    """Raise `FormatRefused` where an encoder announces too many tracks."""
    if count > limits.max_tracks:
        raise FormatRefused(
            f"The encoder sends more than {limits.max_tracks} tracks (limits.max_tracks): switch "
            "some of them off."
        )


def _check_picture(track_format: TrackFormat, limits: Limits) -> None:
    width, height = track_format.width, track_format.height
    if width > limits.max_width or height > limits.max_height or width * height > limits.max_pixels:
        raise FormatRefused(
            f"The picture is {width}x{height}; this server accepts at most {limits.max_width}x"
            f"{limits.max_height} and {limits.max_pixels} pixels (limits.max_width, "
            "limits.max_height, limits.max_pixels)."
        )
    if width < 2 or height < 2:
        raise FormatRefused(f"The picture is {width}x{height}; at least 2x2 is needed.")
    rate = track_format.frame_rate
    if rate is not None and rate > limits.max_frame_rate:
        raise FormatRefused(
            f"The video declares {float(rate):g} frames a second; this server accepts at most "
            f"{limits.max_frame_rate} (limits.max_frame_rate)."
        )
