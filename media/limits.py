"""What an encoder's tracks may ask for, checked before any decoder is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.model import FormatRefused, Kind, TrackFormat

if TYPE_CHECKING:
    from config.settings import LimitsSettings

MAX_SAMPLE_RATE = 192_000
MAX_CHANNELS = 8


def check_format(track_format: TrackFormat, limits: LimitsSettings) -> None:
    """Raise `FormatRefused` where a track is larger than the server's limits allow."""
    if track_format.kind is Kind.VIDEO:
        _check_picture(track_format, limits)
    elif track_format.sample_rate > MAX_SAMPLE_RATE or track_format.channels > MAX_CHANNELS:
        raise FormatRefused(
            f"The audio has {track_format.channels} channels at {track_format.sample_rate} Hz; at "
            f"most {MAX_CHANNELS} channels at {MAX_SAMPLE_RATE} Hz are accepted."
        )


def _check_picture(track_format: TrackFormat, limits: LimitsSettings) -> None:
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
