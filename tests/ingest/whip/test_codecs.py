"""Every codec through the receiver, in any order and with losses; libav is the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path as FilePath

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.bitstream import av1, nal
from media.model import Codec, Kind
from tests.ingest.whip.publisher import MS, SECOND, VIDEO_SSRC, World, answer
from tests.media.bitstream import clips
from tests.support.examples import examples
from tests.webrtc.payloads.ffmpeg import encode, ivf_frames
from tests.webrtc.payloads.network import Packetizer
from webrtc.extensions import Extensions
from webrtc.payloads.av1 import Av1Packetizer
from webrtc.payloads.h264 import H264Packetizer
from webrtc.payloads.hevc import HevcPacketizer
from webrtc.payloads.vp8 import Vp8Packetizer
from webrtc.payloads.vp9 import Vp9Packetizer

pytestmark = pytest.mark.component

SEI = 6
DECODERS = {
    Codec.H264: "h264",
    Codec.HEVC: "hevc",
    Codec.AV1: "libdav1d",
    Codec.VP9: "libvpx-vp9",
    Codec.VP8: "libvpx",
}


@cache
def h264_units() -> tuple[bytes, ...]:
    options = (("x264-params", "bframes=0:keyint=10:scenecut=0:repeat-headers=1"),)
    clip = clips.video("h264", size=(160, 96), options=options)
    # With libav's global headers, x264's own SEI stands before the SPS, as nothing else does.
    found = []
    for unit in clip.units:
        spans = nal.length_prefixed_spans(unit.payload)
        nals = [unit.payload[start:stop] for start, stop in spans]
        found.append(nal.join_length_prefixed([x for x in nals if x[0] & 0x1F != SEI]))
    return tuple(found)


@cache
def hevc_units() -> tuple[bytes, ...]:
    options = (("x265-params", "log-level=none:bframes=0:keyint=10:repeat-headers=1:pools=1"),)
    return tuple(
        each.payload for each in clips.video("hevc", size=(160, 96), options=options).units
    )


@cache
def vpx_units(kind: str) -> tuple[bytes, ...]:
    return tuple(each.payload for each in clips.video(kind, size=(160, 96)).units)


PACKETIZERS: dict[Codec, Callable[..., Packetizer]] = {
    Codec.H264: H264Packetizer,
    Codec.HEVC: HevcPacketizer,
    Codec.AV1: Av1Packetizer,
    Codec.VP9: Vp9Packetizer,
    Codec.VP8: Vp8Packetizer,
}


def world_of(codec: Codec) -> World:
    name = "safari-publish" if codec is Codec.HEVC else "chromium-publish"
    encoding = "H265" if codec is Codec.HEVC else codec.name
    return World(answer(name, video=(encoding,)))


def datagrams(world: World, units: Sequence[bytes], codec: Codec) -> list[bytes]:
    """Return the RTP packets of pictures 33 ms apart."""
    stream = world._stream(VIDEO_SSRC, Kind.VIDEO, 90_000, Extensions(), 0.0)
    made = PACKETIZERS[codec](max_payload=400)
    found: list[bytes] = []
    world.deliver = lambda data, _after_ns=0: found.append(data)  # type: ignore[method-assign]
    for number, unit in enumerate(units):
        for payload, marker in made.packetize(unit):
            at = world.now + number * SECOND // 30
            world.send(stream, payload, marker=marker, captured_ns=at)
    return found


def decoded(world: World, codec: Codec) -> int:
    """Return how many pictures libav makes of what came out; any fault of them raises."""
    context = av.CodecContext.create(DECODERS[codec], "r")
    context.options = {"err_detect": "explode"}
    formats = [each for _, each in world.sink.formats]
    if codec in (Codec.H264, Codec.HEVC) and formats:
        context.extradata = formats[0].config
    pictures = 0
    for each in world.sink.of(Kind.VIDEO):
        pictures += len(context.decode(av.Packet(each.payload)))
    return pictures + len(context.decode(None))


@pytest.fixture(scope="module")
def units_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Codec], Sequence[bytes]]:
    folder: FilePath = tmp_path_factory.mktemp("codecs")

    def get(codec: Codec) -> Sequence[bytes]:
        if codec is Codec.AV1:
            frames = ivf_frames(encode("AV1", folder).read_bytes())
            return [av1.strip_temporal_delimiters(frame) for frame in frames]
        if codec is Codec.HEVC:
            return hevc_units()
        return h264_units() if codec is Codec.H264 else vpx_units(codec.value)

    return get


@pytest.mark.parametrize("codec", list(DECODERS))
def test_every_codec_comes_out_whole(
    codec: Codec, units_of: Callable[[Codec], Sequence[bytes]]
) -> None:
    world = world_of(codec)
    units = units_of(codec)
    for data in datagrams(world, units, codec):
        world.receiver.rtp(data, world.now)
        world.now += MS
    assert [each.codec for _, each in world.sink.formats] == [codec]
    (_, track_format), *_ = world.sink.formats
    assert (track_format.width, track_format.height) in ((160, 96), (320, 240))
    assert len(world.sink.packets) == len(units)
    assert decoded(world, codec) == len(units)


@pytest.mark.parametrize("codec", list(DECODERS))
def test_a_loss_costs_pictures_up_to_the_next_key(
    codec: Codec, units_of: Callable[[Codec], Sequence[bytes]]
) -> None:
    world = world_of(codec)
    units = units_of(codec)
    sent = datagrams(world, units, codec)
    for number, data in enumerate(sent):
        if number != len(sent) // 4:
            world.receiver.rtp(data, world.now)
        world.now += 5 * MS
        world.receiver.tick(world.now)
    world.now += SECOND
    world.receiver.tick(world.now)
    pictures = world.sink.of(Kind.VIDEO)
    assert len(units) // 4 < len(pictures) < len(units)
    assert decoded(world, codec) == len(pictures)


@settings(max_examples=examples(40, fuzz=2000), deadline=None)
@given(
    codec=st.sampled_from([Codec.H264, Codec.VP8, Codec.VP9]),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.02, 0.2]),
    spread=st.sampled_from([1, 5, 60, 400]),
    copies=st.sampled_from([0.0, 0.2]),
)
def test_whatever_the_path_does_what_comes_out_decodes(
    codec: Codec, seed: int, loss: float, spread: int, copies: float
) -> None:
    world = world_of(codec)
    units = h264_units() if codec is Codec.H264 else vpx_units(codec.value)
    chance = random.Random(seed)
    arrivals: list[tuple[int, bytes]] = []
    for number, data in enumerate(datagrams(world, units, codec)):
        arrivals += [
            (number * 3 + chance.randrange(spread), data)
            for _ in range(1 + (chance.random() < copies))
            if chance.random() >= loss
        ]
    arrivals.sort(key=lambda each: each[0])
    start = world.now
    for at, data in arrivals:
        while world.now < start + at * MS:
            world.now += 10 * MS
            world.receiver.tick(world.now)
        world.receiver.rtp(data, world.now)
    for _ in range(50):
        world.now += 20 * MS
        world.receiver.tick(world.now)
    pictures = world.sink.of(Kind.VIDEO)
    assert decoded(world, codec) == len(pictures)
    if not loss and spread == 1:
        assert len(pictures) == len(units)
