"""What `onMetaData` says of an encoder's tracks (E-RTMP v2, "Enhancing onMetaData")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from media.model import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.rtmp.amf0 import AmfValue

_NAMES = ("language", "lang")
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_MAX_TRACK = 255
_UNKNOWN = "und"
_LEAST_KBPS = 1
_MOST_KBPS = {Kind.VIDEO: 1_000_000, Kind.AUDIO: 2_000}
"""Beyond that another unit is meant: encoders for phones tell their sound's in bits a second."""


def languages(values: Mapping[str, AmfValue]) -> dict[int, str]:
    """Return the languages (BCP 47) of audio tracks by number; what makes no sense is left out.

    Track 0 is described by the top level, the others by `audioTrackIdInfoMap`.
    """
    described = _described(values, Kind.AUDIO)
    found = {}
    for track, info in described.items():
        language = _language(info)
        if language is not None:
            found[track] = language
    return found


def bit_rates(values: Mapping[str, AmfValue]) -> dict[tuple[Kind, int], int]:
    """Return the bits a second that tracks are set to; what makes no sense is left out.

    FLV's `videodatarate` and `audiodatarate` are in kb/s; FFmpeg writes 0 where it has no target.
    """
    found = {}
    for kind in Kind:
        for track, info in _described(values, kind).items():
            rate = info.get(f"{kind.value}datarate") if isinstance(info, dict) else None
            if isinstance(rate, float) and _LEAST_KBPS <= rate <= _MOST_KBPS[kind]:
                found[kind, track] = round(rate * 1000)
    return found


def _described(values: Mapping[str, AmfValue], kind: Kind) -> dict[int, AmfValue]:
    """What is said of each track of a kind: 0 at the top level, the others in a map."""
    described: dict[int, AmfValue] = {0: dict(values)}
    tracks = values.get(f"{kind.value}TrackIdInfoMap")
    if isinstance(tracks, dict):
        for number, info in tracks.items():
            if number.isascii() and number.isdecimal() and int(number[:4]) <= _MAX_TRACK:
                described[int(number[:4])] = info
    return described


def _language(info: AmfValue) -> str | None:
    if not isinstance(info, dict):
        return None
    for name in _NAMES:
        tag = info.get(name)
        if isinstance(tag, str) and _TAG.fullmatch(tag) and tag.lower() != _UNKNOWN:
            return tag
    return None
