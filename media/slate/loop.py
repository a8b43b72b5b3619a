"""The slate: what a show plays while no encoder is there, as coded access units. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from media.model import TrackFormat

DEFAULT_SIZE = (1280, 720)
"""Before an encoder has told its own."""
DEFAULT_SOUND = (48_000, 2)
SOUND_RATES = frozenset(
    (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
)
"""Hz that AAC has a number for (ISO/IEC 14496-3 table 1.18)."""
MAX_CHANNELS = 2
"""What a worker codes; silence of more channels is at hand without it."""
MAX_LOOP_SECONDS = 60
MAX_LOOP_UNITS = 16_384
"""60 s of 30 pictures a second and of AAC at up to 192 kHz."""
MAX_LOOP_BYTES = 24 * 2**20
"""Coded pictures and sound together: 60 s of 3.3 Mb/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateUnit:
    """One access unit of a loop. Times are ticks from the start of the loop."""

    dts: int
    pts: int
    duration: int
    """Ticks; never 0."""
    key: bool
    payload: bytes
    """Length-prefixed NAL units or a raw AAC access unit, as in `media.model.Packet`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateLoop:
    """What is shown while no encoder is there: coded access units, played again and again.

    Any first unit of `pictures` follows any last one: the first is an IDR, and there are no
    B-frames, so `dts == pts` throughout.
    """

    video: TrackFormat
    """H.264 High, 8-bit 4:2:0, in the size and pixel shape that was ordered."""
    audio: TrackFormat | None
    """AAC-LC; None where no sound was ordered."""
    pictures: tuple[SlateUnit, ...]
    """At least one; they fill `duration` without a hole."""
    sounds: tuple[SlateUnit, ...]
    """AAC access units that fill the loop as closely as whole units can, without a hole; they
    end less than half a unit before or after it. Durations are whole units (1024 samples)
    rounded to ticks. Playing several loops in a row: the sound has its own length,
    `sounds[-1].pts + sounds[-1].duration`; repeat it by that, not by `duration`."""
    duration: int
    """Ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateOrder:
    """What a slate must fit."""

    width: int
    """Coded pixels, as in the `TrackFormat` it stands in for; odd ones are rounded down."""
    height: int
    sar: tuple[int, int]
    """Sample aspect ratio."""
    audio: tuple[int, int] | None
    """Sample rate in Hz and channels of the sound; None: no sound."""
    text: str
    """Drawn over the dimmed picture, centred and wrapped; may be empty. Newlines are kept."""
    image: Path | None
    """A configured image or video in place of the last picture, shown as it is, without text.
    Until it is ready, and where it cannot be, the last picture is the answer."""
    serial: int
    """Echoed in the answers, so that late ones are told apart."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the slate: 4:2:0 halves both, so they are even."""
        return max(2, self.width - self.width % 2), max(2, self.height - self.height % 2)


def order_for(
    video: TrackFormat | None,
    audio: TrackFormat | None,
    *,
    text: str,
    image: Path | None,
    serial: int,
) -> SlateOrder:
    """Return the order that fits a source; of one that nobody knows yet, usual formats."""
    width, height = (video.width, video.height) if video is not None else DEFAULT_SIZE
    sound = (audio.sample_rate, audio.channels) if audio is not None else DEFAULT_SOUND
    return SlateOrder(
        width=width,
        height=height,
        sar=video.sar if video is not None else (1, 1),
        audio=sound if sound[0] in SOUND_RATES and 0 < sound[1] <= MAX_CHANNELS else None,
        text=text,
        image=image,
        serial=serial,
    )
