"""Real clips of every kind through a real worker process; FFmpeg reads what comes out."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from config.settings import LimitsSettings
from media.colour import HLG, PQ, Colour
from media.model import Codec
from media.transcode.messages import Relief
from media.transcode.plan import Plan
from tests.media.transcode.clips import Clip, Recorder, audio_clip, decode, read_number, video_clip
from tests.media.transcode.rig import LADDER, feed, feed_in_step, plan, running

pytestmark = pytest.mark.component


async def transcode(clip: Clip, boundaries: list[int] | None = None) -> Recorder:
    ladder = plan(clip.format)
    async with running() as (transcoder, recorder, _meter):
        transcoder.configure(ladder, video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys if boundaries is None else boundaries)
        await recorder.until(lambda: len(recorder.packets) > 0)
    assert recorder.lost == []
    assert set(recorder.packets) == {rung.name for rung in ladder.rungs}
    return recorder


@pytest.mark.parametrize(
    ("codec", "kwargs"),
    [
        (Codec.H264, {}),
        (Codec.H264, {"b_frames": 3}),
        (Codec.H264, {"pix_fmt": "yuv422p10le"}),
        (Codec.H264, {"pix_fmt": "yuv444p"}),
        (Codec.HEVC, {}),
        (Codec.HEVC, {"pix_fmt": "yuv420p10le", "b_frames": 2}),
        (Codec.AV1, {"pix_fmt": "yuv420p10le"}),
        (Codec.VP9, {}),
        (Codec.VP8, {}),
        (Codec.VP8, {"size": (322, 182)}),
        (Codec.H264, {"size": (180, 320)}),
        (Codec.H264, {"size": (322, 182)}),
        (Codec.H264, {"rate": 60, "gop": 60, "frames": 120}),
    ],
    ids=str,
)
async def test_every_source_decodes_on_every_rung(codec: Codec, kwargs: dict[str, object]) -> None:
    clip = video_clip(codec, **kwargs)  # type: ignore[arg-type]
    recorder = await transcode(clip)
    rungs = plan(clip.format).rungs
    assert set(recorder.packets) == {rung.name for rung in rungs}
    shown = sorted(packet.pts for packet in clip.packets)
    for rung in rungs:
        packets = recorder.packets[rung.name]
        assert [p.pts for p in packets] == shown
        assert [p.pts for p in packets if p.key] == clip.keys
        assert all(p.duration > 0 for p in packets)
        assert [p.arrived_ns for p in packets] == [pts * 1000 for pts in shown]
        (fmt,) = recorder.formats[rung.name]
        assert (fmt.width, fmt.height, fmt.sar) == (rung.width, rung.height, (1, 1))
        assert (fmt.bit_depth, fmt.chroma) == (8, "4:2:0")
        frames = decode(fmt, packets)
        assert [(f.width, f.height, f.format.name) for f in frames] == [
            (rung.width, rung.height, "yuv420p")
        ] * len(shown)
        assert [f.pts for f in frames] == shown
        assert [read_number(f) for f in frames] == list(range(len(shown)))


async def test_variable_frame_rate_keeps_every_time() -> None:
    steps = [1500, 3000, 4500, 9000, 3003, 2997] * 10
    times = [90_000]
    for step in steps:
        times.append(times[-1] + step)
    clip = video_clip(pts=times, gop=20)
    recorder = await transcode(clip)
    for packets in recorder.packets.values():
        assert [p.pts for p in packets] == times
        assert [p.dts for p in packets] == times


async def test_an_unannounced_frame_rate_is_measured() -> None:
    clip = video_clip(Codec.VP9, frames=30, rate=50, gop=15)
    assert clip.format.frame_rate is None
    recorder = await transcode(clip)
    for rung, packets in recorder.packets.items():
        assert [p.pts for p in packets] == [p.pts for p in clip.packets]
        assert recorder.formats[rung][0].frame_rate == 50


async def test_relief_is_taken_and_given_back_at_boundaries() -> None:
    clip = video_clip(frames=120, gop=20)
    relief = [Relief(faster=True, paused=("180p",), halved=("144p",)), Relief()]
    settings = LADDER.model_copy(update={"preset": "veryfast"})
    parts = [replace(clip, packets=clip.packets[n : n + 40]) for n in (0, 40, 80)]
    async with running(settings) as (transcoder, recorder, _meter):
        ladder = plan(clip.format, settings=settings)
        assert [rung.name for rung in ladder.rungs] == ["180p", "144p"]
        transcoder.configure(ladder, video=clip.format, audio=None)
        await feed_in_step(transcoder, recorder, parts[0], clip.keys[:2], {"180p", "144p"})
        assert transcoder._link is not None
        transcoder._link.send(relief[0])
        await recorder.until(lambda: transcoder._link is not None)
        for packet in parts[1].packets:
            if packet.key:
                transcoder.boundary(packet.pts)
            transcoder.push(packet)
            if (packet.pts - 90_000) // 3000 % 2 == 0:
                await recorder.until(
                    lambda: recorder.packets["144p"][-1].pts >= packet.pts  # noqa: B023
                )
        transcoder._link.send(relief[1])
        await feed_in_step(transcoder, recorder, parts[2], clip.keys[4:], {"180p", "144p"})
    top, low = recorder.packets["180p"], recorder.packets["144p"]
    index = [(p.pts - 90_000) // 3000 for p in top]
    assert index == [*range(40), *range(80, 120)]
    # Picture 79 may meet the relief that was just taken back: that needs no boundary.
    halved = [n for p in low if (n := (p.pts - 90_000) // 3000) != 79]
    assert halved == [*range(40), *range(40, 80, 2), *range(80, 120)]
    for packets in (top, low):
        assert all(p.key == ((p.pts - 90_000) % 60_000 == 0) for p in packets)
        assert decode(recorder.formats["144p" if packets is low else "180p"][0], packets)


async def test_120_pictures_a_second_become_60() -> None:
    clip = video_clip(frames=120, rate=120, gop=60)
    recorder = await transcode(clip)
    for packets in recorder.packets.values():
        assert len(packets) == 60
        assert {b.pts - a.pts for a, b in itertools.pairwise(packets)} == {1500}


async def test_boundaries_need_no_key_frame_of_the_source() -> None:
    clip = video_clip(frames=90, gop=300, b_frames=2)
    boundaries = [90_000, 90_000 + 30 * 3000 + 100, 90_000 + 60 * 3000]
    recorder = await transcode(clip, boundaries)
    expected = [90_000, 90_000 + 31 * 3000, 90_000 + 60 * 3000]
    for packets in recorder.packets.values():
        assert [p.pts for p in packets if p.key] == expected


async def test_source_key_frames_off_the_grid_start_nothing() -> None:
    clip = video_clip(frames=60, gop=10)
    recorder = await transcode(clip, [90_000, 90_000 + 35 * 3000])
    for packets in recorder.packets.values():
        assert [p.pts for p in packets if p.key] == [90_000, 90_000 + 35 * 3000]


async def test_nothing_before_the_first_boundary() -> None:
    clip = video_clip(frames=60)
    recorder = await transcode(clip, [90_000 + 20 * 3000])
    for packets in recorder.packets.values():
        assert packets[0].pts == 90_000 + 20 * 3000
        assert packets[0].key


async def test_anamorphic_source_is_shown_with_square_pixels() -> None:
    clip = video_clip(size=(240, 192), sar=Fraction(64, 45))
    recorder = await transcode(clip)
    (fmt,) = recorder.formats["192p"]
    assert (fmt.width, fmt.height, fmt.sar) == (340, 192, (1, 1))
    assert read_number(decode(fmt, recorder.packets["192p"])[5]) == 5


@pytest.mark.parametrize("colour", [(1, 1, 1, 1), (9, 14, 9, 1), (5, 6, 5, 2)])
async def test_colour_tags_are_carried_over(colour: tuple[int, int, int, int]) -> None:
    clip = video_clip(frames=30, colour=colour)
    recorder = await transcode(clip)
    for rung, packets in recorder.packets.items():
        frame = decode(recorder.formats[rung][0], packets)[0]
        tags = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
        assert tags == colour


@pytest.mark.parametrize("transfer", [PQ, HLG])
async def test_hdr_becomes_sdr(transfer: int) -> None:
    clip = video_clip(Codec.HEVC, frames=30, colour=(9, transfer, 9, 1), pix_fmt="yuv420p10le")
    assert clip.format.bit_depth == 10
    recorder = await transcode(clip)
    for rung, packets in recorder.packets.items():
        assert recorder.formats[rung][0].colour == Colour(primaries=1, transfer=1, matrix=1)
        frames = decode(recorder.formats[rung][0], packets)
        tags = (frames[0].color_primaries, frames[0].color_trc, frames[0].colorspace)
        assert tags == (1, 1, 1)
        assert [read_number(frame) for frame in frames] == list(range(30))
        assert [p.pts for p in packets] == [p.pts for p in clip.packets]


async def test_colour_that_only_the_encoder_said_counts() -> None:
    clip = video_clip(frames=30)
    assert clip.format.colour is None
    told = replace(clip.format, colour=Colour(primaries=9, transfer=HLG, matrix=9))
    recorder = await transcode(replace(clip, format=told))
    assert recorder.formats["144p"][0].colour == Colour(primaries=1, transfer=1, matrix=1)


async def test_corrupt_packets_are_skipped_to_the_next_key_frame() -> None:
    clip = video_clip(frames=90, gop=30)
    broken = [
        replace(p, payload=p.payload[:4] + b"\x00" * 40) if n in (10, 40) else p
        for n, p in enumerate(clip.packets)
    ]
    recorder = await transcode(replace(clip, packets=tuple(broken)))
    for rung, packets in recorder.packets.items():
        assert next(p.pts for p in packets if p.key) == clip.keys[0]
        assert [p.pts for p in packets if p.key][-1] == clip.keys[-1]
        assert packets[-1].pts == clip.packets[-1].pts
        assert decode(recorder.formats[rung][0], packets)


async def test_pictures_larger_than_allowed_are_not_decoded() -> None:
    large = video_clip(size=(640, 360), frames=30)
    small = video_clip(frames=30, start=180_000)
    rungs = plan(small.format)
    async with running(limits=LimitsSettings(max_pixels=76_800)) as (transcoder, recorder, meter):
        # As if announced small: only the configuration and the bitstream say otherwise.
        lie = replace(small.format, config=large.format.config)
        transcoder.configure(rungs, video=lie, audio=None)
        await recorder.until(lambda: transcoder.worker_pid is not None)
        feed(transcoder, large, large.keys)
        transcoder.configure(rungs, video=small.format, audio=None)
        await feed_in_step(transcoder, recorder, small, small.keys, {"180p", "144p"})
    assert [p.pts for p in recorder.packets["180p"]] == [p.pts for p in small.packets]
    assert meter.restarts == []


async def test_format_change_keeps_encoders_of_unchanged_rungs() -> None:
    first = video_clip(size=(640, 360), frames=30)
    second = video_clip(Codec.HEVC, size=(480, 270), frames=30, start=180_000, first=30)
    async with running() as (transcoder, recorder, _meter):
        transcoder.configure(plan(first.format), video=first.format, audio=None)
        await feed_in_step(transcoder, recorder, first, first.keys, {"360p", "216p", "144p"})
        transcoder.configure(plan(second.format), video=second.format, audio=None)
        await feed_in_step(transcoder, recorder, second, second.keys, {"270p", "216p", "144p"})
    assert len(recorder.packets["360p"]) == 30
    assert len(recorder.packets["270p"]) == 30
    for rung in ("216p", "144p"):
        assert len(recorder.formats[rung]) == 1
        packets = recorder.packets[rung]
        assert [p.pts for p in packets if p.key] == [90_000, 180_000]
        numbers = [read_number(f) for f in decode(recorder.formats[rung][0], packets)]
        assert numbers == list(range(60))


@pytest.mark.parametrize(
    ("codec", "rate", "layout", "channels"),
    [
        (Codec.OPUS, 48_000, "stereo", 2),
        (Codec.OPUS, 48_000, "mono", 1),
        (Codec.OPUS, 48_000, "5.1", 2),
        (Codec.MP3, 44_100, "stereo", 2),
        (Codec.MP3, 32_000, "mono", 1),
        (Codec.FLAC, 48_000, "stereo", 2),
        (Codec.FLAC, 44_100, "5.1", 2),
        (Codec.AC3, 48_000, "5.1", 2),
        (Codec.AC3, 44_100, "mono", 1),
        (Codec.EAC3, 48_000, "stereo", 2),
        (Codec.EAC3, 48_000, "5.1", 2),
    ],
)
async def test_sound_becomes_aac_in_time(
    codec: Codec, rate: int, layout: str, channels: int
) -> None:
    clip = audio_clip(codec, rate=rate, layout=layout, seconds=3)
    async with running() as (transcoder, recorder, _meter):
        transcoder.configure(plan(None, clip.format), video=None, audio=clip.format)
        feed(transcoder, clip, [])
        await recorder.until(lambda: len(recorder.packets["audio"]) > 60)
    (fmt,) = recorder.formats["audio"]
    assert (fmt.codec, fmt.sample_rate, fmt.channels) == (Codec.AAC, rate, channels)
    packets = recorder.packets["audio"]
    for a, b in itertools.pairwise(packets):
        assert a.pts + a.duration == b.pts
    context = av.CodecContext.create("aac", "r")
    context.extradata = fmt.config
    samples: list[tuple[float, float]] = []
    for packet in packets:
        for frame in context.decode(av.Packet(packet.payload)):
            energy = np.abs(frame.to_ndarray()[0]).reshape(-1, 64).max(axis=1)
            begin = packet.pts / 90_000
            samples += [(begin + n * 64 / rate, float(e)) for n, e in enumerate(energy)]
    onsets = [
        t
        for (_, before), (t, now) in itertools.pairwise(samples)
        if before < 0.1 <= now and t > 1.1
    ]
    # The tone starts again at 1.5, 2.0, ... on the show clock; 40 ms: codec delays of the source.
    for wanted in (1.5, 2.0, 2.5, 3.0, 3.5):
        assert min(abs(t - wanted) for t in onsets) < 0.04


async def test_a_wanted_key_frame_is_the_next_picture_of_its_rung_alone() -> None:
    clip = video_clip(frames=60, gop=30)
    first, rest = (replace(clip, packets=clip.packets[n:m]) for n, m in ((0, 40), (40, 60)))
    async with running() as (transcoder, recorder, _meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        await feed_in_step(transcoder, recorder, first, clip.keys, {"180p", "144p"})
        transcoder.want_key("144p")
        transcoder.want_key("720p")
        await feed_in_step(transcoder, recorder, rest, [], {"180p", "144p"})
    assert [p.pts for p in recorder.packets["180p"] if p.key] == clip.keys
    assert [p.pts for p in recorder.packets["144p"] if p.key] == [*clip.keys, rest.packets[0].pts]
    (fmt,) = recorder.formats["144p"]
    shown = decode(fmt, [p for p in recorder.packets["144p"] if p.pts >= rest.packets[0].pts])
    assert [read_number(frame) for frame in shown] == list(range(40, 60))


async def test_sound_is_encoded_to_opus_while_somebody_listens() -> None:
    clip = audio_clip(Codec.AAC, seconds=3)
    parts = [clip.packets[:60], clip.packets[60:100], clip.packets[100:]]
    async with running() as (transcoder, recorder, _meter):
        # Nothing is to be transcoded: a worker runs for the listeners alone.
        transcoder.configure(Plan(), video=None, audio=clip.format)
        transcoder.hear(clip.packets[0])
        assert transcoder.worker_pid is None
        transcoder.listen(clip.format)
        await recorder.until(lambda: transcoder.worker_pid is not None)
        for packet in parts[0]:
            transcoder.hear(packet)
        await recorder.until(lambda: len(recorder.packets["opus"]) >= 60)
        (fmt,) = recorder.formats["opus"]
        assert (fmt.codec, fmt.sample_rate, fmt.channels) == (Codec.OPUS, 48_000, 2)
        transcoder.listen(None)
        for packet in parts[1]:
            transcoder.hear(packet)
        transcoder.listen(clip.format)
        for packet in parts[2]:
            transcoder.hear(packet)
        await recorder.until(lambda: recorder.packets["opus"][-1].pts > clip.packets[-1].pts - 4000)
    packets = recorder.packets["opus"]
    assert all(p.codec is Codec.OPUS and p.duration == 1800 for p in packets)
    times = [p.pts for p in packets]
    assert times == sorted(set(times))
    silent = [b - a for a, b in itertools.pairwise(times) if b - a > 1800]
    assert silent == [pytest.approx(40 * 1920, abs=3600)]
    for packet in packets:
        # Its last sample came with the source unit that arrived then.
        assert abs(packet.arrived_ns - packet.pts * 1000) < 45 * 90 * 1000
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "stereo"
    for packet in packets:
        for frame in decoder.decode(av.Packet(packet.payload)):
            seconds = (packet.pts - 90_000) / 90_000
            # The tone sounds in the first half of every half second; decoders fade in.
            if 0.1 < seconds % 0.5 < 0.2 and {packet.pts - 1800, packet.pts - 3600} <= set(times):
                assert np.abs(frame.to_ndarray()).max() > 0.3
    assert recorder.lost == []


async def test_a_restarted_worker_goes_on_with_opus() -> None:
    clip = audio_clip(Codec.AAC, seconds=4)
    async with running() as (transcoder, recorder, _meter):
        transcoder.configure(Plan(), video=None, audio=clip.format)
        transcoder.listen(clip.format)
        await recorder.until(lambda: transcoder.worker_pid is not None)
        for packet in clip.packets[:60]:
            transcoder.hear(packet)
        await recorder.until(lambda: len(recorder.packets["opus"]) >= 55)
        before, pid = recorder.packets["opus"][-1].pts, transcoder.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await recorder.until(lambda: transcoder.worker_pid not in (pid, None))
        for packet in clip.packets[60:]:
            transcoder.hear(packet)
        await recorder.until(lambda: recorder.packets["opus"][-1].pts > before + 80_000)
    assert len(recorder.lost) == 1
    times = [p.pts for p in recorder.packets["opus"]]
    assert times == sorted(set(times))
