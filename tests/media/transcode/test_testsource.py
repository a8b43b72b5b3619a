from __future__ import annotations

import io
import time
from itertools import pairwise

import av
import numpy as np
import pytest

from media.blockcode import decode
from media.hls.fmp4 import Sample, init_segment, media_fragment
from media.model import Codec, Packet
from media.transcode.testpicture import HEIGHT, PERIOD_S, WIDTH, Picture, bag_box
from media.transcode.testsource import FRAME_RATE, FRAME_TICKS, TestSource

pytestmark = pytest.mark.component

START = 1_795_364_426_500


def run(seconds: float) -> tuple[TestSource, list[Packet]]:
    source = TestSource(start_utc_ms=START)
    packets: list[Packet] = []
    for frame in range(int(seconds * FRAME_RATE)):
        packets += source.packets(frame, START + frame * 1000 // FRAME_RATE)
    return source, packets


def test_video_decodes_and_every_picture_says_when_it_was_drawn() -> None:
    source, packets = run(4.2)
    video = [packet for packet in packets if packet.codec is Codec.H264]
    assert [p.pts // FRAME_TICKS for p in video if p.key] == [0, 60, 120]
    samples = [
        Sample(dts=p.dts, pts=p.pts, duration=p.duration, key=p.key, payload=p.payload)
        for p in video
    ]
    body = init_segment(source.video_format, timescale=90_000) + media_fragment(
        samples, sequence_number=1, base_decode_time=0
    )
    with av.open(io.BytesIO(body), "r") as container:
        frames = list(container.decode(video=0))
    assert len(frames) == len(video) == 126
    assert (frames[0].width, frames[0].height) == (WIDTH, HEIGHT)
    for number, frame in enumerate(frames):
        for size in ((WIDTH, HEIGHT), (640, 360)):
            luma = (
                frame.reformat(*size, format="gray", interpolation="BILINEAR")
                .to_ndarray()
                .astype(np.uint8)
            )
            stamp = decode(luma)
            assert stamp is not None, f"frame {number} at {size}"
            assert stamp.frame == number
            assert stamp.utc_ms == START + number * 1000 // FRAME_RATE


def test_sound_is_continuous_and_blips_on_the_second() -> None:
    source, packets = run(3)
    audio = [packet for packet in packets if packet.codec is Codec.AAC]
    assert audio[0].pts == 0
    assert {b.dts - a.dts for a, b in pairwise(audio)} == {1920}
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = source.audio_format.config
    loud = []
    for packet in audio:
        for frame in decoder.decode(av.Packet(packet.payload)):
            loud += [float(np.abs(frame.to_ndarray()).max())]
    times = [
        START / 1000 + number * 1024 / 48000 for number, level in enumerate(loud) if level > 0.1
    ]
    assert len({int(t + 0.05) for t in times}) == 3
    assert all(min(t % 1, 1 - t % 1) < 0.15 for t in times)


def test_dts_never_goes_back() -> None:
    _, packets = run(1)
    assert [p.dts for p in packets if p.codec is Codec.H264] == [n * 3000 for n in range(30)]
    assert all(p.dts == p.pts for p in packets)


def test_skipped_frames_keep_the_grid() -> None:
    source = TestSource(start_utc_ms=START)
    kept = [0, 1, 58, 63, 64, 121]
    video = [
        packet
        for frame in kept
        for packet in source.packets(frame, START)
        if packet.codec is Codec.H264
    ]
    assert [p.pts // FRAME_TICKS for p in video] == kept
    assert [p.key for p in video] == [True, False, False, True, False, True]


def test_the_bag_is_where_the_path_says() -> None:
    picture = Picture()
    empty = np.median([picture.draw(START + n * 3000, 0)[:HEIGHT] for n in range(8)], axis=0)
    for n in range(8):
        moment = START + 700 + n * 2500
        luma = picture.draw(moment, 0)[40:590].astype(float)
        changed = np.abs(luma - empty[40:590]) > 12
        rows, columns = np.nonzero(changed)
        box = bag_box(moment)
        assert columns.min() >= box.x * WIDTH - 2
        assert columns.max() <= (box.x + box.width) * WIDTH + 2
        assert abs(np.median(columns) / WIDTH - (box.x + box.width / 2)) < 0.02
        assert rows.min() + 40 >= box.y * HEIGHT - 2
        assert rows.max() + 40 <= (box.y + box.height) * HEIGHT + 2


def test_the_path_stays_in_the_picture_and_closes() -> None:
    for n in range(480):
        box = bag_box(START + n * PERIOD_S * 1000 / 480)
        assert box.x >= 0
        assert box.y >= 0.0445  # below the block code
        assert box.x + box.width <= 1
        assert box.y + box.height <= 0.82  # above the text
    later = bag_box(START + PERIOD_S * 1000)
    assert (later.x, later.y) == pytest.approx((bag_box(START).x, bag_box(START).y))


def test_cost_of_a_second() -> None:
    source = TestSource(start_utc_ms=START)
    source.packets(0, START)
    began = time.process_time()
    for frame in range(1, 61):
        source.packets(frame, START + frame * 33)
    assert (time.process_time() - began) / 2 < 0.5  # measured 0.15; leaves room for a slow machine
