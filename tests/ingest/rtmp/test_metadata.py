"""What encoders say of their tracks in `onMetaData`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.metadata import languages

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


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.dictionaries(
        st.sampled_from(["language", "lang", "audioTrackIdInfoMap", "0", "1", "²", "9999999"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["language", "audioTrackIdInfoMap"]), values, max_size=2))
def test_anything_may_come(metadata: dict):
    for track, language in languages(metadata).items():
        assert 0 <= track <= 255
        assert language.replace("-", "").isalnum()
