"""Codec configurations, access units, boxes, the worker's wire and playlists of others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from media.bitstream import (
    BitstreamError,
    ac3,
    av1,
    colour_of,
    describe,
    h264,
    hevc,
    hevc_sps,
    mp3,
    nal,
    opus,
    vp8,
    vp9,
)
from media.bitstream.av1_sequence import parse_sequence_header
from media.hls.fmp4 import Sample, init_segment, media_fragment, media_timescale
from media.hls.lint import PlaylistLinter
from media.model import Codec, Kind, TrackFormat
from media.transcode import wire
from tests.fuzz.harness import Choices, Target, pieces, target
from tests.support import boxes

DECODED_ONLY = (Codec.MP3, Codec.FLAC, Codec.AC3, Codec.EAC3, Codec.VP8)
"""What viewers get encoded again only: it has no sample entry."""


def _described(codec: Codec, config: bytes) -> TrackFormat | None:
    """Describe a configuration and hold the format to what the rest relies on."""
    try:
        fmt = describe(codec, config)
    except BitstreamError as error:
        _sentence(error)
        return None
    assert fmt.codec is codec
    assert fmt.codec_string.isascii()
    assert len(fmt.codec_string) < 64
    if fmt.kind is Kind.VIDEO:
        assert 0 <= fmt.width <= 0xFFFF
        assert 0 <= fmt.height <= 0xFFFF
        assert min(fmt.sar) > 0
        assert fmt.frame_rate is None or fmt.frame_rate > 0
        assert 8 <= fmt.bit_depth <= 16
        colour_of(codec, fmt.config)
    else:
        assert 0 < fmt.sample_rate <= (2**20 if codec is Codec.FLAC else 192_000)
        assert 0 < fmt.channels <= 255
    if codec not in DECODED_ONLY and (fmt.kind is Kind.AUDIO or fmt.width):
        assert boxes.timescale(init_segment(fmt, timescale=media_timescale(fmt))) > 0
    return fmt


def _sentence(error: BitstreamError) -> None:
    text = str(error)
    assert text.endswith((".", ")")), text
    assert len(text) < 400


def _each(parsers: list[Callable[[bytes], object]], data: bytes) -> None:
    for parser in parsers:
        try:
            parser(data)
        except BitstreamError as error:
            _sentence(error)


def _same_units(data: bytes, reframe: Callable[[bytes], bytes]) -> None:
    """Annex B to lengths keeps units whole and in order; delimiters may go."""
    with contextlib.suppress(BitstreamError):
        units = nal.split_annexb(data)
        joined = reframe(data)
        spans = [joined[start:end] for start, end in nal.length_prefixed_spans(joined)]
        assert joined == nal.join_length_prefixed(spans)
        assert [unit for unit in units if unit in spans] == spans


@target("codec_h264")
def avc(data: bytes) -> None:
    """Configurations, access units and parameter sets of H.264."""
    _described(Codec.H264, data)
    parsers: list[Callable[[bytes], object]] = [
        h264.is_idr,
        h264.parse_sps,
        h264.annexb_to_avcc,
    ]
    _each(parsers, data)
    _same_units(data, h264.annexb_to_length_prefixed)
    with contextlib.suppress(BitstreamError):
        record = h264.parse_avcc(data)
        h264.profile_level_id(record)
        if record.pps:
            again = h264.parse_avcc(h264.build_avcc(record.sps, record.pps))
            assert set(again.sps) == set(record.sps)
            assert set(again.pps) == set(record.pps)


@target("codec_hevc")
def hevc_bytes(data: bytes) -> None:
    """Configurations, access units and parameter sets of HEVC."""
    _described(Codec.HEVC, data)
    parsers: list[Callable[[bytes], object]] = [
        hevc.is_random_access,
        hevc_sps.parse_sps,
        hevc.annexb_to_hvcc,
    ]
    _each(parsers, data)
    _same_units(data, hevc.annexb_to_length_prefixed)


@target("codec_av1")
def av1_bytes(data: bytes) -> None:
    """Configurations and temporal units of AV1."""
    _described(Codec.AV1, data)
    _each([parse_sequence_header, av1.is_key_temporal_unit], data)
    with contextlib.suppress(BitstreamError):
        assert len(av1.strip_temporal_delimiters(data)) <= len(data)
    with contextlib.suppress(BitstreamError):
        record = av1.build_av1c(data)
        assert _described(Codec.AV1, record) is not None


@target("codec_vp9")
def vp9_bytes(data: bytes) -> None:
    """Configurations and key frames of VP9."""
    _described(Codec.VP9, data)
    with contextlib.suppress(BitstreamError):
        vp9.is_key(data)
    with contextlib.suppress(BitstreamError):
        fmt = _described(Codec.VP9, vp9.build_vpcc(data))
        assert fmt is not None
        whole = vp9.with_dimensions(fmt, data)
        assert 0 < whole.width <= 0xFFFF
        assert 0 < whole.height <= 0xFFFF


@target("codec_vp8", max_bytes=64)
def vp8_bytes(data: bytes) -> None:
    """Key frames of VP8."""
    fmt = _described(Codec.VP8, data)
    if fmt is not None:
        assert vp8.is_key(data)
        assert 0 < fmt.width < 2**14
        assert 0 < fmt.height < 2**14


@target("codec_audio", max_bytes=1024)
def sound(data: bytes) -> None:
    """Configurations and packets of every codec of sound."""
    for codec in Codec:
        if codec.kind is Kind.AUDIO:
            _described(codec, data)
    ac3.adds_channels(data)
    _each([mp3.parse_header], data)
    with contextlib.suppress(BitstreamError):
        assert 0 < opus.packet_samples(data) <= 5760


@target("fmp4")
def fragments(data: bytes) -> None:
    """Whatever format was parsed and whatever samples come, the boxes are sound or refused."""
    choices = Choices(data)
    codec = list(Codec)[choices.number() % len(Codec)]
    fmt = _described(codec, choices.piece())
    samples = []
    dts = choices.number(8)
    for _ in range(choices.number() % 32 + 1):
        step, offset, size = choices.number(2), choices.number(2), choices.number()
        samples.append(
            Sample(
                dts=dts,
                pts=dts + offset - 64,
                duration=step,
                key=bool(size & 1),
                payload=choices.take(size),
            )
        )
        dts += step
    try:
        part = media_fragment(
            samples, sequence_number=choices.number(4), base_decode_time=samples[0].dts
        )
    except ValueError as error:
        assert str(error).endswith(".")
        return
    assert boxes.decode_time(part) == samples[0].dts
    assert boxes.find(part, b"mdat") == b"".join(sample.payload for sample in samples)
    assert fmt is None or fmt.codec is codec


def _decoded(cut: list[bytes]) -> tuple[list[object], bool]:
    decoder = wire.Decoder()
    found: list[object] = []
    try:
        for piece in cut:
            found += decoder.feed(piece)
            assert decoder.pending <= len(b"".join(cut))
    except wire.WireError as error:
        assert len(str(error)) <= 200
        return found, False
    return found, True


@target("worker_wire")
def worker_wire(data: bytes) -> None:
    """What a broken worker could send: messages or a typed error, however it is cut."""
    sizes, body = data[:3], data[3:]
    whole, sound_to_end = _decoded([body])
    cut, also = _decoded(pieces(body, sizes))
    assert sound_to_end == also
    if sound_to_end:
        assert repr(cut) == repr(whole)
    for message in whole:
        with contextlib.suppress(wire.WireError):
            (again,) = wire.Decoder().feed(b"".join(wire.encode(message)))  # type: ignore[arg-type]
            assert repr(again)[:2000] == repr(message)[:2000]


_URL = "http://127.0.0.1/live/show/source/index.m3u8"


@target("playlist_lint", memory_bytes=8 * 2**20)
def playlists(data: bytes) -> None:
    """Playlists of any server, one reload behind the other: findings, never an error."""
    linter = PlaylistLinter()
    for number, text in enumerate(data.decode("utf-8", "replace").split("\f")[:4]):
        linter.playlists(_URL, text)
        linter.observe_playlist(
            _URL, fetched_at=float(number), status=200, headers={"cache-control": text}, text=text
        )
        linter.observe_resource(_URL + text[:40], status=200, headers={}, size=number)
    linter.finish()
    assert len(linter.findings) <= 1000


TARGETS: list[Target] = [
    avc,
    hevc_bytes,
    av1_bytes,
    vp8_bytes,
    vp9_bytes,
    sound,
    fragments,
    worker_wire,
    playlists,
]
