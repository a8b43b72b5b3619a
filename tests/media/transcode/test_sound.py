"""Where sound lies after it was decoded and encoded again; FFmpeg's decoders are the judge."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from av.codec.context import Flags

from media.bitstream import describe, opus
from media.model import TICKS_PER_SECOND, Codec, Packet, TrackFormat
from media.transcode.handing import source_of, track_of
from media.transcode.plan import REALTIME_SOUND, AudioPlan
from media.transcode.sound import AudioTranscoder
from tests.media.transcode.clips import Clip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from media.transcode.sound import AudioUnit

pytestmark = pytest.mark.component

START = 90_000
BURST_S = 0.5
"""A tone of 20 ms begins every half second, from the start on."""
MS = TICKS_PER_SECOND // 1000
AAC_SOUND = AudioPlan(sample_rate=48_000, channels=2, bitrate=128_000)
ENCODERS = {Codec.AAC: "aac", Codec.OPUS: "libopus", Codec.FLAC: "flac"}


@cache
def bursts(codec: Codec, *, seconds: int = 6, rate: int = 48_000, layout: str = "stereo") -> Clip:
    context = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout, context.bit_rate = rate, layout, 128_000
    context.format = {Codec.OPUS: "flt", Codec.FLAC: "s16"}.get(codec, "fltp")
    context.time_base = Fraction(1, rate)
    context.flags |= Flags.global_header
    context.open()
    at = np.arange(seconds * rate)
    tone = 0.6 * np.sin(2 * np.pi * 1000 * at / rate) * (at % int(BURST_S * rate) < rate // 50)
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    planes = np.ascontiguousarray(np.tile(tone.astype(np.float32), (channels, 1)))
    frame = av.AudioFrame.from_ndarray(planes, "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    found = [*context.encode(frame), *context.encode(None)]
    packets = [
        Packet(
            track=0,
            codec=codec,
            dts=(pts := START + int(each.pts * TICKS_PER_SECOND / rate)),
            pts=pts,
            key=True,
            payload=bytes(each),
            arrived_ns=0,
        )
        for each in found
        if each.pts is not None and each.pts >= 0
    ]
    return Clip(format=describe(codec, context.extradata or b""), packets=tuple(packets))


def transcoded(
    track_format: TrackFormat, packets: Iterable[Packet], plan: AudioPlan
) -> tuple[bytes, list[AudioUnit]]:
    transcoder = AudioTranscoder(track_of(track_format), plan)  # type: ignore[arg-type]
    units = [u for p in packets for u in transcoder.convert(source_of(p, sent_ns=0))]
    return transcoder.config, units + transcoder.flush()


def onsets(config: bytes, units: Iterable[AudioUnit], plan: AudioPlan) -> list[float]:
    """Return when tones begin, in seconds of the show clock."""
    decoder = av.CodecContext.create("libopus" if plan.codec is Codec.OPUS else "aac", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.extradata = config
    decoder.sample_rate, decoder.layout = plan.sample_rate, "stereo"
    found: list[float] = []
    quiet_since = -1.0
    for pts, _, payload in units:
        for frame in decoder.decode(av.Packet(payload)):
            array = frame.to_ndarray().astype(np.float32)
            left = array[0] if array.shape[0] > 1 else array.reshape(-1, 2)[:, 0]
            loud = np.abs(left) > (0.2 if frame.format.name.startswith("flt") else 0.2 * 32767)
            for index in np.flatnonzero(loud):
                at = pts / TICKS_PER_SECOND + int(index) / plan.sample_rate
                if at - quiet_since > 0.1:
                    found.append(at)
                quiet_since = at
    return found


def errors_ms(found: list[float], *, period_s: float = BURST_S) -> list[float]:
    """Return how far each tone lies from where it belongs; the first one lacks its beginning."""
    start = START / TICKS_PER_SECOND
    later = (at - start for at in found if at - start > period_s / 2)
    return [1000 * ((at + period_s / 2) % period_s - period_s / 2) for at in later]


@pytest.mark.parametrize(
    ("codec", "rate", "layout"),
    [
        (Codec.AAC, 48_000, "stereo"),
        (Codec.AAC, 44_100, "stereo"),
        (Codec.AAC, 22_050, "mono"),
        (Codec.FLAC, 96_000, "stereo"),
        (Codec.OPUS, 48_000, "5.1"),
    ],
    ids=str,
)
def test_sound_becomes_opus_of_20_ms_in_its_place(codec: Codec, rate: int, layout: str) -> None:
    clip = bursts(codec, rate=rate, layout=layout)
    config, units = transcoded(clip.format, clip.packets, REALTIME_SOUND)
    assert opus.parse_head(config).channels == 2
    assert all(opus.packet_samples(payload) == 960 for _, _, payload in units)
    assert all(duration == 20 * MS for _, duration, _ in units)
    assert {after[0] - before[0] for before, after in pairwise(units)} == {20 * MS}
    errors = errors_ms(onsets(config, units, REALTIME_SOUND))
    assert len(errors) == 11
    assert max(map(abs, errors)) < 0.5


@pytest.mark.parametrize("plan", [AAC_SOUND, REALTIME_SOUND], ids=["aac", "opus"])
def test_a_rate_that_changes_lies_where_it_belongs_hours_into_a_show(plan: AudioPlan) -> None:
    clip = bursts(Codec.FLAC, rate=96_000, seconds=2)
    late = 3 * 3600 * TICKS_PER_SECOND
    packets = [replace(p, dts=p.dts + late, pts=p.pts + late) for p in clip.packets]
    config, units = transcoded(clip.format, packets, plan)
    assert abs(units[0][0] - START - late) < 50 * MS
    assert len(units) < 110
    assert max(map(abs, errors_ms(onsets(config, units, plan))[1:])) < 0.5


@pytest.mark.parametrize("lost_ms", [20, 40, 60, 100, 400])
@pytest.mark.parametrize("plan", [AAC_SOUND, REALTIME_SOUND], ids=["aac", "opus"])
def test_lost_packets_move_nothing(plan: AudioPlan, lost_ms: int) -> None:
    clip = bursts(Codec.OPUS)
    whole = onsets(*transcoded(clip.format, clip.packets, plan), plan)
    hole = START + 2060 * MS, START + (2060 + lost_ms) * MS
    kept = [p for p in clip.packets if not hole[0] <= p.pts < hole[1]]
    assert len(clip.packets) - len(kept) == lost_ms // 20
    config, units = transcoded(clip.format, kept, plan)
    found = onsets(config, units, plan)
    assert len(found) == len(whole)
    assert found == pytest.approx(whole, abs=0.0005)
    for (pts, duration, _), (following, _, _) in pairwise(units):
        assert pts + duration == following, "no hole is left in what comes out"


def test_sound_that_was_away_for_an_hour_comes_back_at_once() -> None:
    clip = bursts(Codec.OPUS, seconds=4)
    away = 3600 * TICKS_PER_SECOND
    later = [replace(p, dts=p.dts + away, pts=p.pts + away) for p in clip.packets]
    began = time.process_time()
    config, units = transcoded(clip.format, [*clip.packets, *later], AAC_SOUND)
    assert time.process_time() - began < 3
    assert len(units) < 2 * 4 * 48
    before = [unit for unit in units if unit[0] < away]
    assert 3.9 < (before[-1][0] - START) / TICKS_PER_SECOND < 4.1
    found = onsets(config, units, AAC_SOUND)
    assert max(map(abs, errors_ms(found))) < 0.5
    assert sum(at > away / TICKS_PER_SECOND for at in found) >= 7


def test_pauses_that_opus_does_not_send_are_silent() -> None:
    clip = bursts(Codec.OPUS)
    quiet = {p.pts for p in clip.packets if 100 * MS < (p.pts - START) % (500 * MS) < 470 * MS}
    assert len(quiet) > len(clip.packets) * 0.7
    # Nothing is sent in a pause, or what stands for one (a frame of no bytes, RFC 6716 3.2.1).
    left_out = [p for p in clip.packets if p.pts not in quiet]
    marked = [replace(p, payload=p.payload[:1]) if p.pts in quiet else p for p in clip.packets]
    for packets in (left_out, marked):
        config, units = transcoded(clip.format, packets, AAC_SOUND)
        errors = errors_ms(onsets(config, units, AAC_SOUND))
        assert len(errors) == 11
        assert max(map(abs, errors)) < 0.5


@pytest.mark.parametrize("ppm", [-1000, 1000])
@pytest.mark.parametrize("plan", [AAC_SOUND, REALTIME_SOUND], ids=["aac", "opus"])
def test_a_clock_that_drifts_is_followed(plan: AudioPlan, ppm: int) -> None:
    """As far in 36 s as a clock of 50 ppm drifts in 12 minutes: what comes out stays put."""
    clip = bursts(Codec.OPUS)
    seconds, pace = 6, 1 + ppm / 1e6
    packets = []
    for number in range(6):
        for each in clip.packets:
            source = each.pts - START + number * seconds * TICKS_PER_SECOND
            packets.append(replace(each, dts=(pts := START + round(source * pace)), pts=pts))
    config, units = transcoded(clip.format, packets, plan)
    errors = errors_ms(onsets(config, units, plan), period_s=BURST_S * pace)
    assert len(errors) == 6 * 11
    assert max(map(abs, errors)) < 2


@pytest.mark.parametrize("lost", [1, 3, 5])
def test_a_lost_packet_is_heard_as_no_click(lost: int) -> None:
    """In a tone, silence would be a step of up to its whole height, twice."""
    context = av.CodecContext.create("libopus", "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout, context.format = 48_000, "stereo", "flt"
    context.bit_rate, context.time_base = 128_000, Fraction(1, 48_000)
    context.open()
    at = np.arange(96_000)
    tone = (0.5 * np.cos(2 * np.pi * 200 * at / 48_000)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.tile(tone, (2, 1)), "fltp", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    track = track_of(bursts(Codec.OPUS).format)
    assert track is not None
    transcoder = AudioTranscoder(track, AAC_SOUND)
    units = []
    for number, each in enumerate([*context.encode(frame), *context.encode(None)]):
        if 40 <= number < 40 + lost:
            continue
        pts = START + number * 20 * MS
        packet = replace(bursts(Codec.OPUS).packets[0], dts=pts, pts=pts, payload=bytes(each))
        units += transcoder.convert(source_of(packet, sent_ns=0))
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = transcoder.config
    rows = [f.to_ndarray()[0] for u in units for f in decoder.decode(av.Packet(u[2]))]
    heard = np.concatenate(rows)[4800:84_000]
    steps = np.abs(np.diff(heard))
    usual = 0.5 * 2 * np.pi * 200 / 48_000
    assert steps.max() < 4 * usual
    # Nor does it fall silent: the decoder goes on with the tone, fading.
    assert np.abs(heard).reshape(-1, 240).max(axis=1).min() > 0.1
