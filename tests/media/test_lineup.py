"""Which pictures a rendition's viewers can go on with."""

from __future__ import annotations

from itertools import product

import pytest

from media.lineup import plays, plays_everywhere
from media.model import Codec, TrackFormat

pytestmark = pytest.mark.unit

AVC, AVC_422 = (
    TrackFormat(codec=Codec.H264, config=b"", codec_string="avc1", chroma=c)
    for c in ("4:2:0", "4:2:2")
)
HEVC, HEVC_10 = (
    TrackFormat(codec=Codec.HEVC, config=b"", codec_string="hvc1", bit_depth=d) for d in (8, 10)
)
AV1 = TrackFormat(codec=Codec.AV1, config=b"", codec_string="av01")


def test_who_chose_a_rendition_decodes_h264_and_what_asks_for_no_more():
    formats = {"avc": AVC, "avc422": AVC_422, "hevc": HEVC, "hevc10": HEVC_10, "av1": AV1}
    others = {
        (chosen, other)
        for (chosen, one), (other, two) in product(formats.items(), repeat=2)
        if chosen != other and other != "avc" and plays(one, two)
    }
    assert others == {("hevc10", "hevc")}
    assert all(plays(one, one) and plays(one, AVC) for one in formats.values())
    assert [name for name, one in formats.items() if plays_everywhere(one)] == ["avc"]
