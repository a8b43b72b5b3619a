"""Silence as coded AAC, for a show whose encoder sends no sound: players stall without it.

A raw_data_block that codes nothing (ISO 14496-3 4.4.2.1) is the same at every sample rate; only
the channel layout decides which elements it has.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND, Codec
from media.slate.loop import SlateUnit

if TYPE_CHECKING:
    from media.model import TrackFormat
    from media.slate.loop import SlateLoop

_BLOCKS = {
    1: bytes.fromhex("00c800802380"),
    2: bytes.fromhex("210049900219002380"),
    3: bytes.fromhex("00c8008020840126400864008e"),
    4: bytes.fromhex("00c800802084012640086400802c80080238"),
    5: bytes.fromhex("00c800802084012640086400823004990021900238"),
    6: bytes.fromhex("00c800802084012640086400823004990021900200b2002008e0"),
}
"""By number of channels, in the default layouts (ISO 14496-3 table 1.19)."""
_UNITS = 49
"""As many access units last a whole number of ticks at every sample rate there is."""


def silent_units(track_format: TrackFormat) -> tuple[SlateUnit, ...]:
    """Return silence in an AAC format, to be played again and again; empty where none is known."""
    block = _BLOCKS.get(track_format.channels)
    samples, rate = track_format.samples_per_frame, track_format.sample_rate
    if track_format.codec is not Codec.AAC or block is None or not samples or not rate:
        return ()
    starts = [n * samples * TICKS_PER_SECOND // rate for n in range(_UNITS + 1)]
    return tuple(
        SlateUnit(dts=start, pts=start, duration=end - start, key=True, payload=block)
        for start, end in pairwise(starts)
    )


def sound_of(loop: SlateLoop | None, wanted: TrackFormat) -> tuple[SlateUnit, ...]:
    """Return the sound of a slate where it is of the wanted format, else silence in that format.

    AAC-LC of one rate and layout is decoded alike, whatever else its configuration says.
    """
    own = loop.audio if loop is not None else None
    if loop is not None and own is not None and loop.sounds and layout(own) == layout(wanted):
        return loop.sounds
    return silent_units(wanted)


def layout(sound: TrackFormat) -> tuple[int, int, int]:
    """Return what decoders of AAC-LC have to agree on."""
    return sound.sample_rate, sound.channels, sound.samples_per_frame
