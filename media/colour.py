"""How a picture's numbers become light: colour code points and HDR display metadata."""

from __future__ import annotations

from dataclasses import dataclass

PQ = 16
HLG = 18
"""TransferCharacteristics (ITU-T H.273 table 3): SMPTE ST 2084 and ARIB STD-B67."""
UNSPECIFIED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """ITU-T H.273 code points; 2 means unspecified."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full_range: bool = False

    @property
    def known(self) -> bool:
        """Whether at least one code point says something."""
        return (self.primaries, self.transfer, self.matrix) != (UNSPECIFIED,) * 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MasteringDisplay:
    """The display that the show was graded on (SMPTE ST 2086), in the units of `mdcv`."""

    red: tuple[int, int]
    green: tuple[int, int]
    blue: tuple[int, int]
    white: tuple[int, int]
    """CIE 1931 chromaticities in steps of 0.00002."""
    max_luminance: int
    min_luminance: int
    """In steps of 0.0001 cd/m2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLight:
    """Content light level (CTA-861.3), in cd/m2; 0 is unknown."""

    max_cll: int
    max_fall: int


def video_range(colour: Colour | None) -> str:
    """Return VIDEO-RANGE of a picture: `SDR`, `HLG` or `PQ` (rfc8216bis 4.4.6.2)."""
    transfer = colour.transfer if colour is not None else UNSPECIFIED
    return {PQ: "PQ", HLG: "HLG"}.get(transfer, "SDR")
