"""RTP packets and their strategies for the tests of WebRTC."""

from __future__ import annotations

from hypothesis import strategies as st

from webrtc.rtp import RtpPacket

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)


def media(sequence: int, payload: bytes = b"media", **fields: int) -> RtpPacket:
    values = {"timestamp": 90_000, "ssrc": 0x1234, "payload_type": 96} | fields
    return RtpPacket(marker=False, sequence=sequence & 0xFFFF, payload=payload, **values)


@st.composite
def rtp_packets(draw: st.DrawFn) -> RtpPacket:
    profile = draw(st.none() | st.sampled_from([0xBEDE, 0x1000, 0x100F]) | u16)
    return RtpPacket(
        payload_type=draw(st.integers(0, 127)),
        marker=draw(st.booleans()),
        sequence=draw(u16),
        timestamp=draw(u32),
        ssrc=draw(u32),
        payload=draw(st.binary(max_size=64)),
        csrc=tuple(draw(st.lists(u32, max_size=15))),
        profile=profile,
        extension=b"" if profile is None else draw(st.binary(max_size=10)) * 4,
        padding=draw(u8),
    )
