"""What encoders say of their tracks in `onMetaData`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.metadata import bit_rates, languages
from media.model import Kind

pytestmark = pytest.mark.unit


def test_languages_by_track():
    assert languages(
        {
            "language": "en",
            "audioTrackIdInfoMap": {
                "1": {"language": "de-AT", "audiodatarate": 128.0},
                "2": {"lang": "fra"},
                "3": {"channels": 2.0},
                "4": {"language": "und"},
                "x": {"language": "it"},
                "256": {"language": "it"},
                "5": "es",
            },
        }
    ) == {0: "en", 1: "de-AT", 2: "fra"}


@pytest.mark.parametrize("tag", ['de"', "de\n", "deutsch", "", "d" * 99, "../x"])
def test_what_is_no_language_is_left_out(tag: str):
    assert languages({"audioTrackIdInfoMap": {"1": {"language": tag}}}) == {}


def test_bit_rates_by_track():
    assert bit_rates(
        {
            "videodatarate": 2500.0,
            "audiodatarate": 128.0,
            "videoTrackIdInfoMap": {"1": {"videodatarate": 1199.5}, "2": {"width": 640.0}},
            "audioTrackIdInfoMap": {"2": {"audiodatarate": 96.0, "videodatarate": 5.0}},
        }
    ) == {
        (Kind.VIDEO, 0): 2_500_000,
        (Kind.VIDEO, 1): 1_199_500,
        (Kind.AUDIO, 0): 128_000,
        (Kind.AUDIO, 2): 96_000,
    }


@pytest.mark.parametrize(
    "rate", [0.0, -1.0, 2_500_000.0, float("nan"), float("inf"), "2500", True, None, {}]
)
def test_what_is_no_bit_rate_is_left_out(rate: object):
    assert bit_rates({"videodatarate": rate}) == {}


def test_sound_declared_in_bits_is_left_out():
    """It was taken for 64 Mb/s, which every variant's BANDWIDTH then had on top."""
    told = {"videodatarate": 2500.0, "audiodatarate": 64_000.0}
    assert bit_rates(told) == {(Kind.VIDEO, 0): 2_500_000}


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.dictionaries(
        st.sampled_from(
            ["language", "lang", "audiodatarate", "audioTrackIdInfoMap", "0", "1", "²", "9999999"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["language", "audiodatarate", "audioTrackIdInfoMap"]), values, max_size=2
    )
)
def test_anything_may_come(metadata: dict):
    for track, language in languages(metadata).items():
        assert 0 <= track <= 255
        assert language.replace("-", "").isalnum()
    for (kind, track), rate in bit_rates(metadata).items():
        assert kind is Kind.AUDIO
        assert 0 <= track <= 255
        assert 1000 <= rate <= 1_000_000_000
