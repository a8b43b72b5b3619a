"""Colour metadata of Enhanced RTMP against bytes as encoders send them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.colour import ColourInfo, parse_colour_info
from ingest.rtmp.errors import Fault
from media.bitstream import describe
from media.colour import Colour, ContentLight, MasteringDisplay
from media.model import Codec
from tests.ingest.rtmp.support import AVCC, amf, only

pytestmark = pytest.mark.unit

PQ = {"colorPrimaries": 9, "transferCharacteristics": 16, "matrixCoefficients": 9}
P3_D65 = {
    "redX": 0.68, "redY": 0.32, "greenX": 0.265, "greenY": 0.69, "blueX": 0.15, "blueY": 0.06,
    "whitePointX": 0.3127, "whitePointY": 0.329, "maxLuminance": 1000, "minLuminance": 0.0001,
}  # fmt: skip
# What ffmpeg 9 sent of a PQ picture.
FFMPEG = bytes.fromhex(
    "020009636f6c6f72496e666f03000b636f6c6f72436f6e6669670300177472616e736665724368617261637465726973"
    "7469637300403000000000000000126d6174726978436f656666696369656e747300402200000000000000"
    "0e636f6c6f725072696d617269657300402200000000000000000900"
    "0009"
)


def parsed(info: object) -> ColourInfo | None:
    return parse_colour_info(amf("colorInfo", info))


def test_what_ffmpeg_sends() -> None:
    found = parse_colour_info(FFMPEG)
    assert found == ColourInfo(colour=Colour(primaries=9, transfer=16, matrix=9))


def test_hdr_metadata_comes_in_the_units_of_the_boxes() -> None:
    found = parsed(
        {"colorConfig": PQ, "hdrMdcv": P3_D65, "hdrCll": {"maxCLL": 1000, "maxFall": 400}}
    )
    assert found is not None
    assert found.mastering == MasteringDisplay(
        red=(34_000, 16_000),
        green=(13_250, 34_500),
        blue=(7_500, 3_000),
        white=(15_635, 16_450),
        max_luminance=10_000_000,
        min_luminance=1,
    )
    assert found.content_light == ContentLight(max_cll=1000, max_fall=400)


@pytest.mark.parametrize(
    "info",
    [
        None,
        {},
        "PQ",
        {"colorConfig": 16, "hdrMdcv": True, "hdrCll": None},
        {"colorConfig": {"colorPrimaries": -1, "transferCharacteristics": "16"}},
        {"colorConfig": {"transferCharacteristics": float("nan")}},
        {"hdrMdcv": P3_D65 | {"redX": 1.5}},
        {"hdrMdcv": P3_D65 | {"maxLuminance": 1e9}},
        {"hdrMdcv": P3_D65 | {"minLuminance": 2000}},
        {"hdrCll": {"maxCLL": 0, "maxFall": 70_000}},
    ],
)
def test_what_is_no_colour_takes_it_back(info: object) -> None:
    assert parsed(info) == ColourInfo()


def test_other_metadata_says_nothing_of_colour() -> None:
    assert parse_colour_info(amf("whatever", {"a": 1})) is None
    assert parse_colour_info(b"") is None
    assert parse_colour_info(amf("colorInfo")) is None
    found = parse_colour_info(amf("whatever", 1, "colorInfo", {"colorConfig": PQ}))
    assert found is not None
    assert found.colour is not None


def test_the_bitstream_is_believed_first() -> None:
    info = parsed({"colorConfig": PQ, "hdrCll": {"maxCLL": 1000}})
    assert info is not None
    silent = describe(Codec.H264, AVCC)
    assert silent.colour is None
    told = info.complete(silent)
    assert told.colour == Colour(primaries=9, transfer=16, matrix=9)
    assert told.content_light == ContentLight(max_cll=1000, max_fall=0)
    other = Colour(primaries=1, transfer=1, matrix=1)
    assert info.complete(replace(silent, colour=other)).colour == other
    full = info.complete(replace(silent, colour=Colour(full_range=True))).colour
    assert full == Colour(primaries=9, transfer=16, matrix=9, full_range=True)


_numbers = st.one_of(st.floats(), st.integers(-(2**40), 2**40).map(float), st.just("x"))


@given(
    st.dictionaries(
        st.sampled_from(["colorConfig", "hdrMdcv", "hdrCll"]),
        st.dictionaries(st.sampled_from([*PQ, *P3_D65, "maxCLL", "maxFall"]), _numbers),
    )
)
def test_any_numbers_fit_their_boxes(info: dict[str, dict[str, object]]) -> None:
    found = parsed(info)
    assert found is not None
    if found.mastering is not None:
        sides = (found.mastering.red, found.mastering.green, found.mastering.blue)
        assert all(0 <= value <= 50_000 for point in sides for value in point)
        assert 0 <= found.mastering.min_luminance <= found.mastering.max_luminance < 2**32
    if found.content_light is not None:
        assert max(found.content_light.max_cll, found.content_light.max_fall) < 2**16


@given(st.binary(max_size=100))
def test_garbage_raises_only_the_typed_error(data: bytes) -> None:
    for payload in (data, amf("colorInfo") + data, FFMPEG[: len(data)] + data):
        with only(Fault.AMF):
            parse_colour_info(payload)
