"""Key frames and parameter sets by what real encoders coded, whatever FLV says of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.chunks import ChunkLimits
from ingest.rtmp.events import Event, FormatChanged
from ingest.rtmp.inband import (
    lacks_parameter_sets,
    record_in_band,
    starts_decoding,
)
from ingest.rtmp.session import ServerSession
from media.bitstream import BitstreamError, describe, h264, hevc, nal
from media.model import Codec, Packet
from tests.ingest.rtmp.support import AVCC, CONNECT, CREATE, HANDSHAKE, publish, whole
from tests.media.bitstream import clips

pytestmark = pytest.mark.component

KINDS = {"h264": Codec.H264, "hevc": Codec.HEVC, "av1": Codec.AV1, "vp9": Codec.VP9}
LIMITS = ChunkLimits(max_message_bytes=2**20, max_partial_bytes=2**21, max_chunk_streams=64)
FOURCC = {Codec.H264: b"avc1", Codec.HEVC: b"hvc1", Codec.AV1: b"av01", Codec.VP9: b"vp09"}


def live() -> ServerSession:
    session = ServerSession(limits=LIMITS, describe=describe)
    session.receive_data(HANDSHAKE + CONNECT + CREATE + publish("key"), 1)
    assert session.next_event() is not None
    session.accept_publish()
    return session


def send(session: ServerSession, *bodies: bytes) -> list[Event]:
    events: list[Event] = []
    for body in bodies:
        session.receive_data(whole(6, 9, body, stream=1), 1)
        while (event := session.next_event()) is not None:
            events.append(event)
    return events


def enhanced(codec: Codec, payload: bytes, *, key: bool) -> bytes:
    packet_type = 3 if codec in (Codec.H264, Codec.HEVC) else 1
    return bytes((0x80 | (1 if key else 2) << 4 | packet_type,)) + FOURCC[codec] + payload


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_encoder_are_told_apart(kind: str) -> None:
    clip = clips.video(kind)
    assert [unit.key for unit in clip.units].count(True) < len(clip.units)
    for unit in clip.units:
        assert starts_decoding(KINDS[kind], unit.payload, flagged=True) is unit.key


@pytest.mark.parametrize("kind", ["h264", "hevc"])
def test_a_random_access_picture_counts_though_flv_does_not_say_so(kind: str) -> None:
    clip = clips.video(kind)
    for unit in clip.units:
        assert starts_decoding(KINDS[kind], unit.payload, flagged=False) is unit.key


def test_recovery_points_and_intra_pictures_count_where_flv_says_so() -> None:
    predicted = b"\0\0\0\x03\x41\x9a\x02"  # first_mb 0, slice_type 5: P
    intra = b"\0\0\0\x03\x41\x88\x80"  # slice_type 7: I
    recovery = b"\0\0\0\x08\x06\x05\x01\xaa\x06\x01\x84\x80"
    assert not starts_decoding(Codec.H264, predicted, flagged=True)
    assert starts_decoding(Codec.H264, intra, flagged=True)
    assert not starts_decoding(Codec.H264, intra, flagged=False)
    assert starts_decoding(Codec.H264, recovery + predicted, flagged=True)
    other = b"\0\0\0\x04\x06\x05\x01\x06"
    assert not starts_decoding(Codec.H264, other + predicted, flagged=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_without_sequence_header_brings_its_own(kind: str) -> None:
    """Parameter sets in band only: gohlslib issue 355 answered such a stream with nothing."""
    codec, clip = KINDS[kind], clips.video(kind)
    payload = clip.units[0].payload
    if kind in ("h264", "hevc"):
        record = clip.fmt.config
        found = h264.parse_avcc(record) if kind == "h264" else hevc.parse_hvcc(record)
        sets = [*getattr(found, "vps", ()), *found.sps, *found.pps]
        payload = nal.join_length_prefixed(sets) + payload
    session = live()
    later = enhanced(codec, clip.units[1].payload, key=False)
    events = send(session, later, enhanced(codec, payload, key=True), later)
    assert [type(e) for e in events] == [FormatChanged, Packet, Packet]
    assert session.dropped == 1
    changed = events[0]
    assert isinstance(changed, FormatChanged)
    assert (changed.track_format.width, changed.track_format.height) == (
        clip.fmt.width,
        clip.fmt.height,
    )
    assert changed.track_format.codec_string == clip.fmt.codec_string
    assert [type(e) for e in send(session, enhanced(codec, payload, key=True))] == [Packet]


def test_an_empty_avcc_waits_for_the_picture() -> None:
    empty = b"\x01\x64\x00\x1f\xfd\xe0\x00"  # two-byte lengths, no SPS
    assert lacks_parameter_sets(Codec.H264, empty)
    assert not lacks_parameter_sets(Codec.H264, AVCC)
    known = h264.parse_avcc(AVCC)
    units = [*known.sps, *known.pps, b"\x65abcd"]
    payload = b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
    events = send(live(), b"\x17\0\0\0\0" + empty, b"\x17\x01\0\0\0" + payload)
    assert [type(e) for e in events] == [FormatChanged, Packet]
    assert isinstance(events[1], Packet)
    assert events[1].payload == nal.join_length_prefixed(units)


def test_another_picture_size_in_band_is_announced_once() -> None:
    small, large = clips.video("h264"), clips.video("h264", size=(640, 360))

    def key(clip: clips.Clip) -> bytes:
        found = h264.parse_avcc(clip.fmt.config)
        sets = nal.join_length_prefixed([*found.sps, *found.pps])
        return b"\x17\x01\0\0\0" + sets + clip.units[0].payload

    session = live()
    config = b"\x17\0\0\0\0" + small.fmt.config
    assert [type(e) for e in send(session, config, key(small))] == [FormatChanged, Packet]
    changed, _, *rest = send(session, key(large), key(large))
    assert isinstance(changed, FormatChanged)
    assert (changed.track_format.width, changed.track_format.height) == (640, 360)
    assert [type(e) for e in rest] == [Packet]


@given(st.sampled_from(list(KINDS.values())), st.binary(max_size=80), st.booleans())
def test_garbage_is_no_crash(codec: Codec, payload: bytes, flagged: bool) -> None:
    framed = len(payload).to_bytes(4, "big") + payload
    for data in (payload, framed):
        assert starts_decoding(codec, data, flagged=flagged) in (True, False)
        try:
            record = record_in_band(codec, data)
        except BitstreamError:
            continue
        assert record is None or describe(codec, record).codec is codec
    assert lacks_parameter_sets(codec, payload) in (True, False)
