"""Slates of the last picture, decoded again by FFmpeg with every error fatal."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from PIL import features

from config.settings import SlateSettings
from media.model import Codec
from media.slate.loop import SlateLoop, SlateOrder, order_for
from media.transcode import lettering
from media.transcode.lettering import text_mask
from media.transcode.making import still_slate
from media.transcode.messages import MakeSlate, SlateMade
from media.transcode.plan import Plan
from media.transcode.slates import loop_of
from media.transcode.wire import WireError
from tests.media.transcode.clips import Clip, video_clip
from tests.media.transcode.loops import check, last_number, luma, order, played, shown
from tests.media.transcode.rig import feed, plan, running

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.component


def made(wanted: SlateOrder, last: av.VideoFrame | None) -> SlateLoop:
    make = MakeSlate(order=wanted, font=None, video=None, max_pixels=10**7)
    answer = still_slate(make, last)
    assert isinstance(answer, SlateMade), answer
    return loop_of(answer, wanted)


def picture(size: tuple[int, int], fmt: str = "yuv420p", level: int = 180) -> av.VideoFrame:
    """Left half bright and blue, right half black."""
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    rgb[:, : size[0] // 2] = (level // 2, level // 2, level)
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=fmt)
    frame.pts, frame.time_base = 0, Fraction(1, 90_000)
    return frame


@pytest.mark.parametrize(
    ("size", "sar", "audio"),
    [
        ((320, 180), (1, 1), (48_000, 2)),
        ((322, 182), (1, 1), (44_100, 1)),
        ((181, 321), (1, 1), None),
        ((720, 576), (16, 11), (32_000, 6)),
        ((1920, 1080), (1, 1), (22_050, 2)),
    ],
)
def test_a_still_fits_its_order_and_plays_in_a_circle(
    size: tuple[int, int], sar: tuple[int, int], audio: tuple[int, int] | None
) -> None:
    wanted = order(size, sar=sar, audio=audio)
    frames = check(made(wanted, picture(size)), wanted)
    first = luma(frames[0])
    assert all(np.abs(luma(f).astype(int) - first).max() == 0 for f in frames[1:])
    width = wanted.size[0]
    source = luma(picture(wanted.size))
    bright, dark = first[:, : width // 3].mean(), first[:, -width // 3 :].mean()
    assert dark + 10 < bright < 0.6 * source[:, : width // 3].mean(), "the last picture, dimmed"


def test_silence_is_silent() -> None:
    loop = made(order(), None)
    assert loop.audio is not None
    end = loop.sounds[-1].pts + loop.sounds[-1].duration
    for frame in played("aac", loop.audio.config, loop.sounds, end):
        assert np.abs(frame.to_ndarray()).max() < 1e-4  # type: ignore[attr-defined]


@pytest.mark.parametrize("fmt", ["yuv420p10le", "yuv422p", "yuvj420p", "yuv444p", "gray"])
def test_any_pixel_format_is_taken(fmt: str) -> None:
    wanted = order()
    check(made(wanted, picture((320, 180), fmt)), wanted)


def test_without_a_picture_the_slate_is_dark() -> None:
    wanted = order()
    frames = check(made(wanted, None), wanted)
    assert 16 < luma(frames[0]).mean() < 60


def test_a_picture_of_another_shape_gets_bars() -> None:
    wanted = order((320, 180))
    frame = check(made(wanted, picture((180, 320))), wanted)[0]
    array = luma(frame)
    assert array[:, :80].max() <= 20
    assert array[:, -80:].max() <= 20
    assert array[:, 120:150].mean() > 30


@pytest.mark.parametrize(
    "text",
    [
        "We will be right back",
        "Gleich geht es weiter: Größe, Maß, Übergrößen",
        "Скоро вернёмся",
        "سنعود قريبا",
        "Zaraz wracamy ąęłńóśźż",
    ],
)
@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
def test_text_is_drawn_in_the_middle(text: str, size: tuple[int, int]) -> None:
    plain, lettered = (
        luma(shown(made(order(size, text=words), picture(size)))[0]).astype(int)
        for words in ("", text)
    )
    changed = np.abs(lettered - plain) > 40
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert lettered.max() > 200, "white"
    assert rows[-1] - rows[0] >= 14, "letters are tall enough to read"
    assert abs((rows[0] + rows[-1]) / 2 - size[1] / 2) < size[1] / 10
    assert abs((columns[0] + columns[-1]) / 2 - size[0] / 2) < size[0] / 20
    assert columns[0] > size[0] / 30


def test_long_text_is_wrapped_and_stays_inside() -> None:
    for text in ("word " * 60, "x" * 400, "a\nb\n\nc", "\u202e\x00\x07 ok"):
        mask = text_mask(text, 640, 360)
        assert mask is not None
        assert mask.shape == (360, 640)
        assert mask.max() == 255
        edges = np.concatenate([mask[:8].ravel(), mask[-8:].ravel(), mask[:, :8].ravel()])
        assert edges.max() == 0
    assert text_mask(" \n ", 640, 360) is None


def test_joiners_that_nobody_sees_are_kept() -> None:
    """Persian is not written without the zero-width non-joiner."""
    parted, joined = text_mask("می\u200cشود", 640, 360), text_mask("میشود", 640, 360)
    assert parted is not None
    assert joined is not None
    if features.check_feature("raqm"):
        assert (parted != joined).any()


def test_text_from_right_to_left_without_its_library_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(features, "check_feature", lambda _name: False)
    assert text_mask("כבר חוזרים", 640, 360) is not None
    assert "install libfribidi0" in capsys.readouterr().err
    assert text_mask("left to right", 640, 360) is not None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("sar", [(65_535, 1), (1, 65_535)])
def test_a_pixel_shape_that_makes_no_sense_is_lettered_within_bounds(sar: tuple[int, int]) -> None:
    wanted = order((640, 360), sar=sar, text="We will be right back")
    frame = shown(made(wanted, None))[0]
    assert (frame.width, frame.height) == wanted.size


@pytest.mark.parametrize("sound", [(50_000, 2), (192_000, 2), (0, 2), (48_000, 8)])
def test_sound_that_aac_has_no_name_for_costs_no_slate(sound: tuple[int, int]) -> None:
    fmt = replace(video_clip(frames=2).format, codec=Codec.AAC)
    audio = replace(fmt, sample_rate=sound[0], channels=sound[1])
    wanted = order_for(None, audio, text="", image=None, serial=1)
    assert wanted.audio is None
    check(made(wanted, None), wanted)


def test_a_script_that_no_font_has_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert text_mask("\U0001f9ff\U00012345", 640, 360) is not None
    assert capsys.readouterr().err == (
        "No font has all characters of the slate's text: set slate.font\n"
    )


def test_a_configured_font_goes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "font.ttf"
    shutil.copy(lettering.BUILT_IN, other)
    assert lettering.text_mask("abc", 640, 360, font=other) is not None
    assert capsys.readouterr().err == ""
    other.write_bytes(b"nothing")
    assert lettering.text_mask("abcd", 640, 360, font=other) is not None
    assert "slate.font cannot be read" in capsys.readouterr().err


def test_text_keeps_its_shape_on_wide_pixels() -> None:
    square, wide = (
        luma(shown(made(order(size, sar=sar, text="HOHOHO"), None))[0]) > 120
        for size, sar in (((640, 360), (1, 1)), ((320, 360), (2, 1)))
    )
    widths = [np.ptp(np.flatnonzero(mask.any(axis=0))) for mask in (square, wide)]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.1)


def test_an_answer_that_was_not_ordered_is_refused() -> None:
    answer = still_slate(MakeSlate(order=order(), font=None, video=None, max_pixels=10**7), None)
    assert isinstance(answer, SlateMade)
    with pytest.raises(WireError, match="a slate of 320x180 was not ordered"):
        loop_of(answer, order((640, 360)))
    with pytest.raises(WireError, match="sound exactly where it was ordered"):
        loop_of(answer, order(audio=None))


async def pushed_slate(clip: Clip, ladder: Plan, slate: SlateSettings | None) -> SlateLoop | str:
    async with running(slate=slate) as (transcoder, recorder, _meter):
        transcoder.configure(ladder, video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        if not ladder.empty:
            await recorder.until(lambda: len(recorder.packets) > 0)
        transcoder.order_slate(order(serial=5))
        await recorder.until(lambda: 5 in recorder.slates)
        return recorder.slates[5]


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("codec", [Codec.H264, Codec.HEVC])
@pytest.mark.parametrize("ladder", [True, False])
async def test_the_last_picture_of_a_stream_is_shown(
    codec: Codec, ladder: bool, b_frames: int
) -> None:
    clip = video_clip(codec, frames=25, gop=20, b_frames=b_frames)
    loop = await pushed_slate(clip, plan(clip.format) if ladder else Plan(), SlateSettings())
    assert isinstance(loop, SlateLoop)
    check(loop, order())
    # The worker goes on decoding: what its decoder holds back for reordering stays there.
    held = b_frames if ladder else 0
    assert 24 - held <= last_number(loop) <= 24


async def test_without_a_slate_no_pictures_are_kept() -> None:
    clip = video_clip(frames=5)
    loop = await pushed_slate(clip, Plan(), SlateSettings(enabled=False))
    assert isinstance(loop, SlateLoop)
    assert luma(shown(loop)[0]).max() < 60


async def test_a_slate_owed_by_a_killed_worker_is_made_elsewhere() -> None:
    clip = video_clip(frames=25, gop=20)
    async with running(slate=SlateSettings()) as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        await recorder.until(lambda: len(recorder.packets) > 0)
        assert transcoder.worker_pid is not None
        os.kill(transcoder.worker_pid, signal.SIGSTOP)
        transcoder.order_slate(order(serial=2))
        os.kill(transcoder.worker_pid, signal.SIGKILL)
        await recorder.until(lambda: 2 in recorder.slates)
    assert meter.restarts == ["signal"]
    loop = recorder.slates[2]
    assert isinstance(loop, SlateLoop)
    assert last_number(loop) == 24


def number_on(loop: SlateLoop | str) -> int | None:
    assert isinstance(loop, SlateLoop)
    return last_number(loop)


@pytest.mark.parametrize("ladder", [True, False])
async def test_no_slate_is_made_of_a_slate(ladder: bool) -> None:
    """An encoder that returns with pictures which nothing can show leaves the ones before."""
    clip = video_clip(frames=25, gop=20)
    rungs = plan(clip.format) if ladder else Plan()
    async with running(slate=SlateSettings()) as (transcoder, recorder, _meter):
        transcoder.configure(rungs, video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        transcoder.order_slate(order(serial=1))
        await recorder.until(lambda: 1 in recorder.slates)
        slate = recorder.slates[1]
        assert isinstance(slate, SlateLoop)
        packets = tuple(
            replace(clip.packets[0], dts=at, pts=at, key=unit.key, payload=unit.payload)
            for unit in slate.pictures
            for at in (unit.dts + 900_000,)
        )
        transcoder.configure(rungs, video=slate.video, audio=None)
        feed(transcoder, Clip(format=slate.video, packets=packets), [900_000])
        transcoder.order_slate(order(serial=2))
        await recorder.until(lambda: 2 in recorder.slates)
    assert number_on(recorder.slates[2]) == number_on(slate) == 24


async def test_a_slate_that_breaks_leaves_the_ladder_alone() -> None:
    clip = video_clip(frames=25, gop=20)
    async with running(slate=SlateSettings()) as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        await recorder.until(lambda: len(recorder.packets) > 0)
        transcoder.order_slate(order(serial=1, audio=(0, 2)))
        await recorder.until(lambda: 1 in recorder.slates)
        transcoder.order_slate(order(serial=2))
        await recorder.until(lambda: {1, 2} <= set(recorder.slates))
        assert meter.restarts == []
    assert recorder.slates[1] == "The slate cannot be made: ZeroDivisionError."


async def test_pictures_of_many_units_are_not_too_many_for_a_slate() -> None:
    """Ten seconds of 240 pictures a second: the process takes what it can."""
    clip = video_clip(frames=25, gop=30)
    first = clip.packets[0]
    more = [replace(first, dts=375 * n, pts=375 * n, key=n == 0) for n in range(2300)]
    many = Clip(format=clip.format, packets=tuple(more))
    loop = await pushed_slate(many, Plan(), SlateSettings())
    assert isinstance(loop, SlateLoop)
    assert last_number(loop) == 0


async def test_a_worker_that_stands_still_keeps_no_slate_back() -> None:
    """Nothing is pushed any more, so nothing tells that it hangs."""
    clip = video_clip(frames=25, gop=20)
    async with running(slate=SlateSettings()) as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        await recorder.until(lambda: len(recorder.packets) > 0)
        pid = transcoder.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        transcoder.order_slate(order(serial=2))
        await recorder.until(lambda: 2 in recorder.slates)
        assert transcoder.worker_pid == pid
        os.kill(pid, signal.SIGCONT)
    assert number_on(recorder.slates[2]) == 24
    assert meter.restarts == []


async def test_orders_that_wait_give_way_to_newer_ones() -> None:
    async with running(slate=SlateSettings()) as (transcoder, recorder, _meter):
        for serial in (1, 2, 3):
            transcoder.order_slate(order(serial=serial))
        await recorder.until(lambda: len(recorder.slates) == 3)
    assert recorder.slates[1] == recorder.slates[2] == "A newer slate was ordered."
    assert isinstance(recorder.slates[3], SlateLoop)


async def test_pictures_that_cannot_be_decoded_leave_a_dark_slate() -> None:
    clip = video_clip(frames=5)
    garbage = Clip(
        format=clip.format,
        packets=tuple(
            type(p)(
                track=0,
                codec=p.codec,
                dts=p.dts,
                pts=p.pts,
                key=p.key,
                payload=b"\0\0\0\x04\x65\xff\xff\xff",
                arrived_ns=0,
            )
            for p in clip.packets
        ),
    )
    loop = await pushed_slate(garbage, Plan(), SlateSettings())
    assert isinstance(loop, SlateLoop)
    assert luma(shown(loop)[0]).max() < 60
