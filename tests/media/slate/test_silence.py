"""Silence is AAC that every decoder takes and hears nothing in."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest

from media.bitstream import describe
from media.model import TICKS_PER_SECOND, Codec
from media.slate.silence import silent_units

pytestmark = pytest.mark.component

RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def config(rate: int, channels: int) -> bytes:
    return (2 << 11 | RATES.index(rate) << 7 | channels << 3).to_bytes(2, "big")


@pytest.mark.parametrize("channels", range(1, 7))
@pytest.mark.parametrize("rate", [48000, 44100, 16000])
def test_it_decodes_to_nothing(rate: int, channels: int):
    track_format = describe(Codec.AAC, config(rate, channels))
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = track_format.config
    decoder.options = {"err_detect": "explode"}
    samples = 0
    for unit in silent_units(track_format)[:8]:
        for frame in decoder.decode(av.Packet(unit.payload)):
            assert frame.sample_rate == rate
            assert frame.layout.nb_channels == channels
            assert not np.any(frame.to_ndarray())
            samples += frame.samples
    assert samples >= 7 * 1024


@pytest.mark.parametrize("rate", RATES)
def test_it_never_drifts(rate: int):
    units = silent_units(describe(Codec.AAC, config(rate, 2)))
    length = units[-1].pts + units[-1].duration
    assert length * rate == len(units) * 1024 * TICKS_PER_SECOND
    for one, other in pairwise(units):
        assert one.dts + one.duration == other.dts


def test_there_is_none_for_other_codecs():
    opus = describe(Codec.OPUS, b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00")
    assert silent_units(opus) == ()
