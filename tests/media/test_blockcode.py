from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.blockcode import Stamp, decode, draw, encode, strip_rows

pytestmark = pytest.mark.unit

stamps = st.builds(Stamp, utc_ms=st.integers(0, 2**48 - 1), frame=st.integers(0, 2**16 - 1))


def picture(width: int = 1280, height: int = 720) -> np.ndarray:
    return np.random.default_rng(1).integers(16, 236, (height, width), dtype=np.uint8)


@given(stamps)
def test_round_trip(stamp: Stamp) -> None:
    luma = picture(160, 90)
    draw(luma, stamp)
    assert decode(luma) == stamp


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_reads_scaled_pictures_with_noise(factor: int) -> None:
    stamp = Stamp(utc_ms=1_795_364_426_123, frame=54321)
    luma = picture()
    draw(luma, stamp)
    small = luma.reshape(720 // factor, factor, 1280 // factor, factor).mean(axis=(1, 3))
    noisy = small + np.random.default_rng(2).normal(0, 25, small.shape)
    assert decode(noisy.clip(0, 255).astype(np.uint8)) == stamp


def test_layout_is_the_documented_one() -> None:
    bits = encode(Stamp(utc_ms=0x800000000001, frame=0x8001))
    assert bits[0] == bits[47] == bits[48] == bits[63] == 1
    assert bits[1:47].sum() == 0
    # CRC-16/CCITT-FALSE of "12345678", from the algorithm's bitwise definition.
    crc = 0xFFFF
    for byte in b"12345678":
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    eight = Stamp(utc_ms=int.from_bytes(b"123456", "big"), frame=int.from_bytes(b"78", "big"))
    assert np.packbits(encode(eight)).tobytes() == b"12345678" + crc.to_bytes(2, "big")
    assert strip_rows(720) == 32


def test_a_picture_without_code_is_none() -> None:
    assert decode(picture()) is None
    assert decode(np.full((360, 640), 16, np.uint8)) is None


def test_a_flipped_block_is_noticed() -> None:
    luma = picture()
    draw(luma, Stamp(utc_ms=1, frame=1))
    luma[:32, :16] = 235
    assert decode(luma) is None


def test_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="80 equal blocks on a width of 854 pixels"):
        draw(picture(854, 480), Stamp(utc_ms=1, frame=1))


@given(st.integers(1, 300), st.integers(1, 200))
def test_any_size_is_read_or_none(width: int, height: int) -> None:
    decode(np.zeros((height, width), np.uint8))
