"""What `onMetaData` says of an encoder's tracks (E-RTMP v2, "Enhancing onMetaData")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.rtmp.amf0 import AmfValue

_NAMES = ("language", "lang")
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_MAX_TRACK = 255
_UNKNOWN = "und"


def languages(values: Mapping[str, AmfValue]) -> dict[int, str]:
    """Return the languages (BCP 47) of audio tracks by number; what makes no sense is left out.

    Track 0 is described by the top level, the others by `audioTrackIdInfoMap`.
    """
    described: dict[int, AmfValue] = {0: dict(values)}
    tracks = values.get("audioTrackIdInfoMap")
    if isinstance(tracks, dict):
        for number, info in tracks.items():
            if number.isascii() and number.isdecimal() and int(number[:4]) <= _MAX_TRACK:
                described[int(number[:4])] = info
    found = {}
    for track, info in described.items():
        language = _language(info)
        if language is not None:
            found[track] = language
    return found


def _language(info: AmfValue) -> str | None:
    if not isinstance(info, dict):
        return None
    for name in _NAMES:
        tag = info.get(name)
        if isinstance(tag, str) and _TAG.fullmatch(tag) and tag.lower() != _UNKNOWN:
            return tag
    return None
