"""Colour metadata of Enhanced RTMP v2 ("Metadata Frame", `colorInfo`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ingest.rtmp import amf0
from ingest.rtmp.amf0 import AmfObject, AmfValue
from media.colour import UNSPECIFIED, Colour, ContentLight, MasteringDisplay
from media.model import TrackFormat

_NAME = "colorInfo"
_CHROMATICITY_STEPS = 50_000
_LUMINANCE_STEPS = 10_000
_MAX_U16, _MAX_U32 = 0xFFFF, 0xFFFF_FFFF
_MAX_LUMINANCE = _MAX_U32 // _LUMINANCE_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourInfo:
    """What an encoder says of a video track's colour; all None takes it back."""

    colour: Colour | None = None
    mastering: MasteringDisplay | None = None
    content_light: ContentLight | None = None

    def complete(self, track_format: TrackFormat) -> TrackFormat:
        """Add what the bitstream does not say: decoders believe the bitstream first."""
        colour = track_format.colour
        if self.colour is not None and (colour is None or not colour.known):
            colour = replace(self.colour, full_range=bool(colour and colour.full_range))
        return replace(
            track_format,
            colour=colour,
            mastering=self.mastering,
            content_light=self.content_light,
        )


def parse_colour_info(payload: bytes) -> ColourInfo | None:
    """Read the name and value pairs of a metadata packet; None where `colorInfo` is not there.

    What is missing, or no number in its range, counts as not said. Raises `AmfError`.
    """
    values = amf0.decode(payload)
    for name, value in zip(values[::2], values[1::2], strict=False):
        if name == _NAME:
            return _colour_info(value) if isinstance(value, Mapping) else ColourInfo()
    return None


def _colour_info(info: AmfObject) -> ColourInfo:
    return ColourInfo(
        colour=_colour(_object(info, "colorConfig")),
        mastering=_mastering(_object(info, "hdrMdcv")),
        content_light=_content_light(_object(info, "hdrCll")),
    )


def _object(info: AmfObject, name: str) -> AmfObject:
    value = info.get(name)
    return value if isinstance(value, Mapping) else {}


def _colour(config: AmfObject) -> Colour | None:
    def point(name: str) -> int:
        value = _number(config.get(name), 255)
        return UNSPECIFIED if value is None else int(value)

    colour = Colour(
        primaries=point("colorPrimaries"),
        transfer=point("transferCharacteristics"),
        matrix=point("matrixCoefficients"),
    )
    return colour if colour.known else None


def _mastering(display: AmfObject) -> MasteringDisplay | None:
    """Read hdrMdcv: chromaticities from 0 to 1, luminances in cd/m2."""

    def chromaticity(name: str) -> tuple[int, int] | None:
        x, y = _number(display.get(f"{name}X"), 1), _number(display.get(f"{name}Y"), 1)
        if x is None or y is None:
            return None
        return round(x * _CHROMATICITY_STEPS), round(y * _CHROMATICITY_STEPS)

    red, green, blue = chromaticity("red"), chromaticity("green"), chromaticity("blue")
    white = chromaticity("whitePoint")
    brightest = _number(display.get("maxLuminance"), _MAX_LUMINANCE)
    darkest = _number(display.get("minLuminance"), _MAX_LUMINANCE)
    if red is None or green is None or blue is None or white is None:
        return None
    if brightest is None or darkest is None or darkest > brightest:
        return None
    return MasteringDisplay(
        red=red,
        green=green,
        blue=blue,
        white=white,
        max_luminance=round(brightest * _LUMINANCE_STEPS),
        min_luminance=round(darkest * _LUMINANCE_STEPS),
    )


def _content_light(levels: AmfObject) -> ContentLight | None:
    # Spelled maxCLL in the specification and by FFmpeg; others follow maxFall's case.
    brightest = _number(levels.get("maxCLL", levels.get("maxCll")), _MAX_U16)
    average = _number(levels.get("maxFall"), _MAX_U16)
    if not brightest and not average:
        return None
    return ContentLight(max_cll=round(brightest or 0), max_fall=round(average or 0))


def _number(value: AmfValue, largest: float) -> float | None:
    """Return a number from 0 to `largest`, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value if 0 <= value <= largest else None
