"""H.264 profiles as SDP names them: `profile-level-id` (RFC 6184 section 8.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_PROFILE_LEVEL_ID = "42000a"
"""Baseline at level 1, which stands where the parameter is missing."""
_FORM = re.compile(r"[0-9a-fA-F]{6}")


class Profile(StrEnum):
    """Profiles of table 5 in RFC 6184."""

    CONSTRAINED_BASELINE = "constrained baseline"
    BASELINE = "baseline"
    EXTENDED = "extended"
    MAIN = "main"
    CONSTRAINED_HIGH = "constrained high"
    HIGH = "high"
    HIGH_10 = "high 10"
    HIGH_422 = "high 4:2:2"
    HIGH_444 = "high 4:4:4 predictive"
    CAVLC_444 = "cavlc 4:4:4 intra"


_DECODED: dict[Profile, tuple[Profile, ...]] = {
    Profile.CONSTRAINED_BASELINE: (
        Profile.CONSTRAINED_BASELINE,
        Profile.BASELINE,
        Profile.MAIN,
        Profile.CONSTRAINED_HIGH,
        Profile.HIGH,
        Profile.EXTENDED,
        Profile.HIGH_10,
        Profile.HIGH_422,
        Profile.HIGH_444,
    ),
    Profile.BASELINE: (Profile.BASELINE, Profile.EXTENDED),
    Profile.EXTENDED: (Profile.EXTENDED,),
    Profile.MAIN: (
        Profile.MAIN,
        Profile.CONSTRAINED_HIGH,
        Profile.HIGH,
        Profile.HIGH_10,
        Profile.HIGH_422,
        Profile.HIGH_444,
    ),
    Profile.CONSTRAINED_HIGH: (
        Profile.CONSTRAINED_HIGH,
        Profile.HIGH,
        Profile.HIGH_10,
        Profile.HIGH_422,
        Profile.HIGH_444,
    ),
    Profile.HIGH: (
        Profile.HIGH,
        Profile.CONSTRAINED_HIGH,
        Profile.HIGH_10,
        Profile.HIGH_422,
        Profile.HIGH_444,
    ),
    Profile.HIGH_10: (Profile.HIGH_10, Profile.HIGH_422, Profile.HIGH_444),
    Profile.HIGH_422: (Profile.HIGH_422, Profile.HIGH_444),
    Profile.HIGH_444: (Profile.HIGH_444,),
    Profile.CAVLC_444: (Profile.CAVLC_444, Profile.HIGH_444),
}
"""Which decoders play a stream, the nearest first (ISO 14496-10 annex A.2).

A decoder of Constrained High counts for Main and High, because what is sent here is progressive
and has no B pictures, which is all that it leaves out; Safari offers no other High.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileLevel:
    """A `profile-level-id` taken apart; `level_idc` is ten times the level."""

    profile: Profile
    level_idc: int


def parse_profile_level_id(text: str) -> ProfileLevel | None:
    """Read six hexadecimal digits; None for another form or a profile that is not known."""
    if not _FORM.fullmatch(text):
        return None
    idc, flags, level = bytes.fromhex(text)
    profile = _profile(idc, flags)
    return None if profile is None else ProfileLevel(profile=profile, level_idc=level)


def _profile(idc: int, flags: int) -> Profile | None:
    """Tell the profile by `profile_idc` and the constraint flags (RFC 6184 table 5)."""
    set0, set1 = bool(flags & 0x80), bool(flags & 0x40)
    match idc:
        case 66:
            return Profile.CONSTRAINED_BASELINE if set1 else Profile.BASELINE
        case 77:
            return Profile.CONSTRAINED_BASELINE if set0 else Profile.MAIN
        case 88 if set0 or set1:
            return Profile.CONSTRAINED_BASELINE if set0 and set1 else Profile.BASELINE
        case 88:
            return Profile.EXTENDED
        case 100:
            return Profile.CONSTRAINED_HIGH if flags & 0x0C == 0x0C else Profile.HIGH
        case 110:
            return Profile.HIGH_10
        case 122:
            return Profile.HIGH_422
        case 44:
            return Profile.CAVLC_444
        case 244:
            return Profile.HIGH_444
    return None


def fit(offered_fmtp: Mapping[str, str], source_profile_level_id: str) -> int | None:
    """Return how far an offered format is from a stream, 0 the nearest; None: does not play.

    Playing is by profile, and by packetization mode 1 (RFC 6184 section 6.3), because access
    units are cut into fragments. The level is not held against the viewer: browsers write 3.1
    whatever they decode.
    """
    if offered_fmtp.get("packetization-mode", "0") != "1":
        return None
    offered = parse_profile_level_id(offered_fmtp.get("profile-level-id", DEFAULT_PROFILE_LEVEL_ID))
    source = parse_profile_level_id(source_profile_level_id)
    if offered is None or source is None or offered.profile not in _DECODED[source.profile]:
        return None
    return _DECODED[source.profile].index(offered.profile)


def plays(offered_fmtp: Mapping[str, str], source_profile_level_id: str) -> bool:
    """Tell whether a viewer who offers these `fmtp` parameters plays a stream; see `fit`.

    The stream's `profile-level-id` is bytes 1 to 3 of its SPS NAL unit in hexadecimal.
    """
    return fit(offered_fmtp, source_profile_level_id) is not None
