"""Which offered payload types are taken, and the `fmtp` that answers each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from webrtc.sdp.errors import shown
from webrtc.sdp.h264 import parse_profile_level_id
from webrtc.sdp.model import Media, PayloadType

VIDEO = ("H264", "H265", "AV1", "VP9", "VP8")
"""Encoding names that a publisher may use, in our order of preference."""
AUDIO = ("opus",)
_HELPERS = frozenset({"rtx", "red", "ulpfec", "flexfec-03", "cn", "telephone-event"})
_ECHOED = {
    "h264": ("level-asymmetry-allowed", "packetization-mode", "profile-level-id"),
    "h265": (
        "profile-space",
        "profile-id",
        "tier-flag",
        "level-id",
        "interop-constraints",
        "profile-compatibility-indicator",
        "tx-mode",
    ),
    "av1": ("profile", "level-idx", "tier"),
    "vp9": ("profile-id",),
    "opus": ("minptime", "useinbandfec"),
}
"""Parameters that must be the same on both sides, or that say what is understood.

RFC 6184 section 8.2.2, RFC 7798 section 7.2.2, the AV1 payload format section 7.3,
RFC 9628 section 7.1.1, RFC 7587 section 7.1.
"""
_PLAIN = re.compile(r"[A-Za-z0-9.+-]{1,32}")
"""Values that are worth an echo."""
_MAX_NAMED = 12


def takes(offered: PayloadType) -> bool:
    """Tell whether packets of an offered payload type can be read."""
    name = offered.encoding.lower()
    if name == "opus":
        return offered.clock_rate == 48_000 and offered.channels == 2
    if offered.clock_rate != 90_000:
        return False
    if name == "h264":
        profile = offered.parameter("profile-level-id")
        mode = offered.parameter("packetization-mode")
        known = profile is None or parse_profile_level_id(profile) is not None
        return known and mode in (None, "0", "1")
    if name == "h265":
        # With a DON difference units carry order numbers; other modes need several sources.
        alone = offered.parameter("tx-mode") in (None, "SRST")
        return alone and offered.parameter("sprop-max-don-diff") in (None, "0")
    return name in ("av1", "vp9", "vp8")


def choose(offered: Sequence[PayloadType], preferred: Sequence[str]) -> PayloadType | None:
    """Return the payload type to use: ours is the order of codecs, the peer's that within one.

    H.264 in packetization mode 1 goes before mode 0, whose slices must fit into packets.
    """
    for wanted in preferred:
        found = [each for each in offered if each.encoding.lower() == wanted.lower()]
        usable = [each for each in found if takes(each)]
        if usable:
            return min(usable, key=_single_nal_mode)
    return None


def _single_nal_mode(offered: PayloadType) -> bool:
    h264 = offered.encoding.lower() == "h264"
    return h264 and offered.parameter("packetization-mode") != "1"


def retransmission(offered: Media, chosen: PayloadType) -> PayloadType | None:
    """Return the offered RTX payload type of another (RFC 4588 section 8.6)."""
    for each in offered.payload_types:
        same = each.encoding.lower() == "rtx" and each.clock_rate == chosen.clock_rate
        if same and each.parameter("apt") == str(chosen.number):
            return each
    return None


def redundancy(offered: Media, chosen: PayloadType) -> PayloadType | None:
    """Return the offered payload type for packets of `chosen` with the one before each (RFC 2198).

    Its parameters name the block types of a packet: `chosen` and nothing else (section 5).
    """
    for each in offered.payload_types:
        same = each.encoding.lower() == "red" and each.clock_rate == chosen.clock_rate
        if same and each.channels == chosen.channels and len(each.parameters) == 1:
            blocks, value = each.parameters[0]
            if value is None and set(blocks.split("/")) == {str(chosen.number)}:
                return each
    return None


def answered_parameters(chosen: PayloadType) -> tuple[tuple[str, str | None], ...]:
    """Return the `fmtp` that answers an offered payload type.

    The offered profile is echoed, never replaced: it must be the same in both directions.
    """
    name = chosen.encoding.lower()
    echoed = tuple(
        (key, value)
        for key in _ECHOED.get(name, ())
        if (value := chosen.parameter(key)) is not None and _PLAIN.fullmatch(value)
    )
    # Without it Chromium and libwebrtc's other users encode one channel (RFC 7587 section 6.1).
    return (*echoed, ("stereo", "1")) if name == "opus" else echoed


def named(offered: Sequence[PayloadType]) -> str:
    """Return the codecs of an offer for a sentence."""
    names = dict.fromkeys(_name(each) for each in offered if each.encoding.lower() not in _HELPERS)
    listed = list(names)[:_MAX_NAMED]
    more = ", ..." if len(names) > _MAX_NAMED else ""
    return ", ".join(listed) + more if listed else "no codec that has an a=rtpmap"


def _name(offered: PayloadType) -> str:
    text = shown(offered.encoding)
    if offered.encoding.lower() == "h264":
        mode = offered.parameter("packetization-mode")
        if mode not in (None, "0", "1"):
            return f"{text} in packetization mode {shown(mode)}"
        profile = offered.parameter("profile-level-id")
        if profile is not None and parse_profile_level_id(profile) is None:
            return f"{text} with profile-level-id {shown(profile)}"
    elif offered.encoding.lower() == "opus" and not takes(offered):
        return f"{text}/{offered.clock_rate}/{offered.channels}"
    return text
