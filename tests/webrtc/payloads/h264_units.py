"""Access units of H.264."""

from __future__ import annotations

from hypothesis import strategies as st

from media.bitstream.nal import join_length_prefixed

SPS = bytes.fromhex("6764001facd9405005bb016a02020280000003008000001e478c18cb")
PPS = bytes.fromhex("68ebe3cb22c0")
SEI = bytes.fromhex("06050401020304 80".replace(" ", ""))
AUD = b"\x09\xf0"


def slice_(kind: int, size: int, *, first: bool = True, fill: int = 0x41) -> bytes:
    return bytes((0x60 | kind, 0x88 if first else 0x40)) + bytes((fill,)) * size


IDR = slice_(5, 3000)
KEY = join_length_prefixed([SPS, PPS, IDR])
DELTA = join_length_prefixed([slice_(1, 2500)])
SMALL = join_length_prefixed([slice_(1, 40)])


@st.composite
def units(draw: st.DrawFn) -> bytes:
    nals = []
    if draw(st.booleans()):
        nals += [SPS, PPS]
    nals += [
        b"\x06" + body for body in draw(st.lists(st.binary(min_size=1, max_size=50), max_size=2))
    ]
    kind = draw(st.sampled_from([1, 5]))
    for index in range(draw(st.integers(1, 4))):
        size = draw(st.integers(0, 400))
        nals.append(slice_(kind, size, first=not index, fill=draw(st.integers(0, 255))))
    return join_length_prefixed(nals)
