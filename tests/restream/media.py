"""Packets and formats to push on."""

from __future__ import annotations

from media.model import Codec, Packet, TrackFormat

AVC = TrackFormat(
    codec=Codec.H264, config=b"avcC1", codec_string="avc1.64001f", width=640, height=360
)
AVC_LARGER = TrackFormat(
    codec=Codec.H264, config=b"avcC2", codec_string="avc1.64001f", width=1280, height=720
)
HEVC = TrackFormat(codec=Codec.HEVC, config=b"hvcC", codec_string="hvc1", width=640, height=360)
AAC = TrackFormat(
    codec=Codec.AAC, config=b"\x11\x90", codec_string="mp4a.40.2", sample_rate=48000, channels=2
)


def picture(
    dts: int,
    *,
    key: bool = False,
    size: int = 10,
    at_s: float = 0.0,
    codec: Codec = Codec.H264,
    late: int = 0,
) -> Packet:
    """`at_s`: when it arrived."""
    return Packet(
        track=0,
        codec=codec,
        dts=dts,
        pts=dts + late,
        key=key,
        payload=b"v" * size,
        arrived_ns=int(at_s * 1e9),
    )


def sound(dts: int, *, size: int = 5, at_s: float = 0.0, codec: Codec = Codec.AAC) -> Packet:
    return Packet(
        track=0,
        codec=codec,
        dts=dts,
        pts=dts,
        key=True,
        payload=b"a" * size,
        arrived_ns=int(at_s * 1e9),
    )
