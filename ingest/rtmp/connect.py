"""The `connect` call: what a client says in it, and what it is answered (RTMP 1.0 7.2.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.rtmp import flv
from ingest.rtmp.amf0 import AmfObject, AmfValue
from media.model import Codec

CAPS_RECONNECT, _CAPS_MULTITRACK, _CAPS_MODEX, _CAPS_NANO_OFFSET = 1, 2, 4, 8
_CAN_DECODE, _CAN_FORWARD = 1, 4
_FORWARDED = (*flv.VIDEO_FOURCC.values(), Codec.AAC)
"""What viewers get untouched; everything else is decoded and encoded again."""

SERVER: AmfObject = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31, "mode": 1}
"""Properties of the server, as encoders look for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectInfo:
    """What the client said; app and tcUrl may hold secrets."""

    app: str = field(default="", repr=False)
    tc_url: str = field(default="", repr=False)
    flash_version: str = ""
    """What the encoder calls itself, at most 64 printable characters."""
    caps: int = 0
    """`capsEx` of Enhanced RTMP v2."""


def read_connect(info: AmfObject) -> ConnectInfo:
    """Read the command object; names in any case, what is missing or no text is empty."""
    info = {name.lower(): value for name, value in info.items()}
    caps = info.get("capsex")
    return ConnectInfo(
        app=_text(info.get("app")),
        tc_url=_text(info.get("tcurl")),
        flash_version="".join(c for c in _text(info.get("flashver")) if c.isprintable())[:64],
        caps=int(caps) if isinstance(caps, float) and 0 <= caps < 2**31 else 0,
    )


def success() -> AmfObject:
    """Return the information object of an accepted `connect`."""
    return {
        "level": "status",
        "code": "NetConnection.Connect.Success",
        "description": "Connection succeeded.",
        "objectEncoding": 0,
        **_enhanced_capabilities(),
    }


def rejected(description: str) -> AmfObject:
    """Return that of a refused one."""
    return {
        "level": "error",
        "code": "NetConnection.Connect.Rejected",
        "description": description,
    }


def _text(value: AmfValue) -> str:
    return value.strip("'") if isinstance(value, str) else ""


def _enhanced_capabilities() -> dict[str, AmfValue]:
    """What of Enhanced RTMP v2 is understood, and how ("Enhancing NetConnection connect")."""
    return {
        "fourCcList": [name.decode() for name in (*flv.VIDEO_FOURCC, *flv.AUDIO_FOURCC)],
        "videoFourCcInfoMap": _abilities(flv.VIDEO_FOURCC),
        "audioFourCcInfoMap": _abilities(flv.AUDIO_FOURCC),
        "capsEx": CAPS_RECONNECT | _CAPS_MULTITRACK | _CAPS_MODEX | _CAPS_NANO_OFFSET,
    }


def _abilities(names: Mapping[bytes, Codec]) -> dict[str, AmfValue]:
    return {
        name.decode(): _CAN_DECODE | (_CAN_FORWARD if codec in _FORWARDED else 0)
        for name, codec in names.items()
    }
