"""Redundant audio, read back by RFC 2198 section 3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD
from webrtc.payloads.red import MAX_BLOCK, MAX_OFFSET, with_redundancy

pytestmark = pytest.mark.unit


def read(payload: bytes) -> list[tuple[int, int, bytes]]:
    """Return (payload type, ticks back, bytes) of each block."""
    heads = []
    while payload[0] & 0x80:
        word = int.from_bytes(payload[:4], "big")
        heads.append((word >> 24 & 0x7F, word >> 10 & 0x3FFF, word & 0x3FF))
        payload = payload[4:]
    heads.append((payload[0], 0, len(payload) - 1 - sum(size for _, _, size in heads)))
    payload = payload[1:]
    found = []
    for kind, back, size in heads:
        found.append((kind, back, payload[:size]))
        payload = payload[size:]
    assert not payload
    return found


@given(
    st.binary(max_size=600),
    st.binary(min_size=1, max_size=500),
    st.integers(1, MAX_OFFSET),
    st.integers(0, 127),
)
def test_both_packets_are_read_back(primary: bytes, before: bytes, offset: int, kind: int) -> None:
    payload = with_redundancy(primary, before, offset=offset, payload_type=kind)
    assert payload is not None
    assert read(payload) == [(kind, offset, before), (kind, 0, primary)]


@pytest.mark.parametrize(
    ("size", "before", "offset"),
    [
        (1, 1, 0),
        (1, 1, MAX_OFFSET + 1),
        (1, 0, 960),
        (1, MAX_BLOCK + 1, 960),
        (DEFAULT_MAX_PAYLOAD - 104, 100, 960),
    ],
)
def test_what_the_format_cannot_say_is_not_said(size: int, before: int, offset: int) -> None:
    assert with_redundancy(bytes(size), bytes(before), offset=offset, payload_type=111) is None
