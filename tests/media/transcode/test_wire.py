"""Framing between server and worker, in any cut and with any bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.model import Codec, Kind
from media.slate.loop import MAX_LOOP_UNITS, SlateOrder, SlateUnit
from media.transcode import wire
from media.transcode.messages import (
    Boundary,
    Coded,
    Configure,
    Fault,
    Finish,
    FromWorker,
    KeyWanted,
    Listen,
    MakeSlate,
    Opened,
    Relief,
    Report,
    RungReport,
    SlateFailed,
    SlateMade,
    Source,
    SourceTrack,
    ToWorker,
)
from media.transcode.plan import AudioPlan, Plan, Rung

pytestmark = pytest.mark.unit

RUNG = Rung(
    name="720p",
    width=1280,
    height=720,
    max_frame_rate=60,
    bitrate=1,
    maxrate=2,
    bufsize=3,
    encoder="libx264",
    preset="veryfast",
)
RARE: list[ToWorker | FromWorker] = [
    Configure(
        plan=Plan(rungs=(RUNG,), audio=AudioPlan(sample_rate=48_000, channels=2, bitrate=9)),
        video=SourceTrack(codec=Codec.H264, config=b"\x01\xff", frame_rate=(30, 1), pixels=6),
        audio=SourceTrack(codec=Codec.OPUS, config=b"", frame_rate=(0, 1), channels=2, colour=None),
        max_pixels=100,
    ),
    Configure(plan=Plan(), video=None, audio=None, max_pixels=1),
    Relief(faster=True, paused=("1080p",), halved=("360p",)),
    Listen(track=None),
    Listen(track=SourceTrack(codec=Codec.AAC, config=b"\x11\x90", frame_rate=(0, 1), channels=2)),
    KeyWanted(rung="720p"),
    Finish(),
    Opened(rung="720p", extradata=b"\x00\x00\x01\x67"),
    Report(
        consumed=1,
        decode_errors=2,
        skipped=3,
        decode_age_ms=4,
        catching_up=True,
        rungs=(
            RungReport(rung="720p", frames=1, dropped=2, busy_ns=3, media_ticks=4, queue_age_ms=5),
        ),
    ),
    Fault(text="encoder h264_nosuch does not open"),
    MakeSlate(
        order=SlateOrder(
            width=1280,
            height=720,
            sar=(4, 3),
            audio=(44_100, 1),
            text="Gleich geht es weiter\n中",
            image=Path("/a/ö.png"),
            serial=7,
        ),
        font=None,
        video=SourceTrack(codec=Codec.HEVC, config=b"\x01", frame_rate=(25, 1), pixels=6),
        max_pixels=9,
    ),
    MakeSlate(
        order=SlateOrder(width=2, height=2, sar=(1, 1), audio=None, text="", image=None, serial=-1),
        font=Path("a.ttf"),
        video=None,
        max_pixels=9,
    ),
    SlateFailed(serial=3, text="slate.image cannot be read: no such file"),
]
NAMES = ["plan", "rungs", "audio", "video", "rung", "extradata", "consumed", "paused", "frames"]
TICKS = st.integers(-(2**63), 2**63 - 1)
U32 = st.integers(0, 2**32 - 1)
UNITS = st.lists(
    st.builds(SlateUnit, dts=U32, pts=U32, duration=U32, key=st.booleans(), payload=st.binary()),
    max_size=4,
).map(tuple)
COMMON = st.one_of(
    st.builds(
        SlateMade,
        serial=TICKS,
        avcc=st.binary(),
        asc=st.binary(),
        duration=U32,
        pictures=UNITS,
        sounds=UNITS,
    ),
    st.builds(
        Source,
        kind=st.sampled_from(Kind),
        dts=TICKS,
        pts=TICKS,
        duration=st.integers(0, 2**32 - 1),
        key=st.booleans(),
        sent_ns=st.integers(0, 2**64 - 1),
        replay=st.booleans(),
        payload=st.binary(),
        realtime=st.booleans(),
    ),
    st.builds(
        Coded,
        rung=st.text(max_size=20),
        dts=TICKS,
        pts=TICKS,
        duration=st.integers(0, 2**32 - 1),
        key=st.booleans(),
        payload=st.binary(),
    ),
    st.builds(Boundary, ticks=TICKS),
    st.sampled_from(RARE),
)


@given(messages=st.lists(COMMON, max_size=6), cuts=st.integers(1, 50))
def test_round_trip_in_any_cut(messages: list[ToWorker | FromWorker], cuts: int) -> None:
    stream = b"".join(b"".join(wire.encode(message)) for message in messages)
    decoder = wire.Decoder()
    got: list[ToWorker | FromWorker] = []
    for start in range(0, len(stream), cuts):
        got += decoder.feed(stream[start : start + cuts])
    assert got == messages
    assert decoder.pending == 0


@given(chunks=st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_fail_typed_or_wait(chunks: list[bytes]) -> None:
    decoder = wire.Decoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    except wire.WireError:
        return
    assert decoder.pending <= sum(len(chunk) for chunk in chunks)


@given(
    kind=st.integers(0, 255), body=st.one_of(st.binary(), st.from_regex(rb"[\[\]{}\",:0-9a-z]*"))
)
def test_any_body_of_any_type_fails_typed(kind: int, body: bytes) -> None:
    frame = (1 + len(body)).to_bytes(4, "big") + bytes([kind]) + body
    decoder = wire.Decoder()
    try:
        (message,) = decoder.feed(frame)
    except wire.WireError:
        return
    assert message is not None


@pytest.mark.parametrize("length", [0, wire.MAX_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_a_length_out_of_bounds_is_refused_before_its_body(length: int) -> None:
    with pytest.raises(wire.WireError, match=f"a frame of {length} bytes is outside"):
        wire.Decoder().feed(length.to_bytes(4, "big") + b"\x02")


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(wire.WireError, match="is outside"):
        wire.encode(Opened(rung="720p", extradata=b"\x00" * wire.MAX_FRAME_BYTES))


def test_a_slate_with_too_many_units_is_refused_both_ways() -> None:
    unit = SlateUnit(dts=0, pts=0, duration=1, key=True, payload=b"")
    many = SlateMade(
        serial=1, avcc=b"", asc=b"", duration=1, pictures=(unit,) * (MAX_LOOP_UNITS + 1), sounds=()
    )
    with pytest.raises(wire.WireError, match="is too large"):
        wire.encode(many)
    body = (bytes(8) + bytes(4) + bytes(4)) + b"\xff\xff\xff\xff" * 2
    frame = (1 + len(body)).to_bytes(4, "big") + bytes([wire.T_SLATE_MADE]) + body
    with pytest.raises(wire.WireError, match="access units is too large"):
        wire.Decoder().feed(frame)
