"""Cues as ID3 in event message boxes (AOM, Carriage of ID3 Timed Metadata in CMAF 1.0)."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

from overlay.carriers.id3 import txxx_tag

if TYPE_CHECKING:
    from overlay.entry import Entry

SCHEME = b"https://aomedia.org/emsg/ID3"
DESCRIPTION = "org.vitrina.cue"
OPEN_END_MS = 43_200_000
"""`event_duration` of a cue without an end: twelve hours, which 32 bits hold at 90 kHz.

hls.js ends an event of unknown duration (0xFFFFFFFF) where the next event of any kind begins;
twelve hours outlast a show, and the revision that ends the cue says when it really does.
"""
INSTANT_MS = 500
"""`event_duration` of a final revision: shorter cues are missed by text track events."""
_U32_MAX = 0xFFFFFFFE


def emsg_v1(
    *, timescale: int, presentation_time: int, duration: int, event_id: int, message: bytes
) -> bytes:
    """Return a version 1 box (ISO 23009-1 5.10.3.3). Times in `timescale`.

    Version 0 is not offered: a widespread player misplaces it on a clock that is not zero-based.
    """
    body = (
        pack(">IIQII", 0x01000000, timescale, presentation_time, min(duration, _U32_MAX), event_id)
        + SCHEME
        + b"\0\0"
        + message
    )
    return pack(">I4s", len(body) + 8, b"emsg") + body


def cue_event(entry: Entry, *, timescale: int, presentation_time: int, late_ms: int) -> bytes:
    """Return the box of one revision, the same in every rendition but for its timescale.

    `late_ms`: how long after its effective time the event is presented. The event's id is the
    entry's number in the log: one (id, rev) has one number, and no two share it.
    """
    if entry.final:
        remaining = INSTANT_MS
    elif entry.end_ms is None:
        remaining = OPEN_END_MS
    else:
        remaining = max(INSTANT_MS, entry.end_ms - entry.effective_ms - late_ms)
    return emsg_v1(
        timescale=timescale,
        presentation_time=presentation_time,
        duration=remaining * timescale // 1000,
        event_id=entry.seq & 0xFFFFFFFF,
        message=txxx_tag(DESCRIPTION, entry.in_band()),
    )
