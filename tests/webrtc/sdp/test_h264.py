"""Which profiles play which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc.sdp.h264 import Profile, ProfileLevel, fit, parse_profile_level_id, plays

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "profile", "level"),
    [
        ("42e01f", Profile.CONSTRAINED_BASELINE, 31),
        ("42C01F", Profile.CONSTRAINED_BASELINE, 31),
        ("42001f", Profile.BASELINE, 31),
        ("4d8028", Profile.CONSTRAINED_BASELINE, 40),
        ("4d001f", Profile.MAIN, 31),
        ("58c01f", Profile.CONSTRAINED_BASELINE, 31),
        ("58401f", Profile.BASELINE, 31),
        ("58001f", Profile.EXTENDED, 31),
        ("640c1f", Profile.CONSTRAINED_HIGH, 31),
        ("640032", Profile.HIGH, 50),
        ("6e0033", Profile.HIGH_10, 51),
        ("7a0033", Profile.HIGH_422, 51),
        ("f4001f", Profile.HIGH_444, 31),
        ("2c0028", Profile.CAVLC_444, 40),
    ],
)
def test_profiles(text: str, profile: Profile, level: int):
    assert parse_profile_level_id(text) == ProfileLevel(profile=profile, level_idc=level)


@pytest.mark.parametrize("text", ["", "42e01", "42e01f0", "zze01f", "99e01f", "42e01f\n"])
def test_what_is_no_profile(text: str):
    assert parse_profile_level_id(text) is None


@pytest.mark.parametrize(
    ("offered", "source", "expected"),
    [
        ("42e01f", "42c028", True),
        ("42001f", "42c028", True),
        ("640c1f", "640028", True),
        ("64001f", "4d0028", True),
        ("f4001f", "640028", True),
        ("2c001f", "640028", False),
        ("42e01f", "640028", False),
        ("42e01f", "42001f", False),
        ("4d001f", "640028", False),
        ("640032", "f4001f", False),
        ("640032", "6e0028", False),
        ("nothing", "42c028", False),
        ("42e01f", "nothing", False),
    ],
)
def test_plays(offered: str, source: str, expected: bool):
    mode = {"packetization-mode": "1", "profile-level-id": offered}
    assert plays(mode, source) is expected
    assert not plays({**mode, "packetization-mode": "0"}, source)


def test_without_a_profile_an_offer_is_baseline():
    assert plays({"packetization-mode": "1"}, "42c01f")
    assert not plays({"packetization-mode": "1"}, "4d001f")
    assert not plays({}, "42c01f")


@given(st.integers(0, 2**24 - 1).map(lambda each: f"{each:06x}"))
def test_every_known_stream_plays_nearest_on_its_own_profile(text: str):
    distance = fit({"packetization-mode": "1", "profile-level-id": text}, text)
    assert distance == (0 if parse_profile_level_id(text) else None)
