"""Slates of files: real images and videos, and files that are none."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import pytest

from config.settings import LimitsSettings, SlateSettings
from media.model import Codec
from media.slate.loop import MAX_LOOP_BYTES, SlateLoop, SlateOrder
from media.transcode.film import film
from media.transcode.making import film_slate
from media.transcode.messages import MakeSlate, SlateFailed, SlateMade
from media.transcode.slates import CACHE_BYTES, FilmCache, FilmKey, loop_of
from tests.media.transcode.clips import audio_clip, video_clip
from tests.media.transcode.loops import check, last_number, luma, order, played, shown
from tests.media.transcode.rig import feed, plan, running

if TYPE_CHECKING:
    from tests.media.transcode.clips import Recorder

pytestmark = pytest.mark.component

PICTURE = "testsrc2=s=400x300:r=50"
TONE = "sine=frequency=440:sample_rate=44100"


def ffmpeg(folder: Path, name: str, *arguments: str) -> Path:
    file = folder / name
    binary = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([binary, "-v", "error", *arguments, str(file)], check=True, cwd=folder)
    return file


def answer(file: Path, **changes: object) -> SlateMade | SlateFailed:
    wanted = order(**({"image": file} | changes))  # type: ignore[arg-type]
    return film_slate(MakeSlate(order=wanted, font=None, video=None, max_pixels=10**6))


def loop(file: Path, **changes: object) -> tuple[SlateLoop, SlateOrder]:
    made = answer(file, **changes)
    assert isinstance(made, SlateMade), made
    wanted = order(**({"image": file} | changes))  # type: ignore[arg-type]
    return loop_of(made, wanted), wanted


def refusal(file: Path) -> str:
    failed = answer(file)
    assert isinstance(failed, SlateFailed)
    return failed.text


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "gif"])
def test_an_image_is_letterboxed(tmp_path: Path, kind: str) -> None:
    file = ffmpeg(tmp_path, f"a.{kind}", "-f", "lavfi", "-i", PICTURE, "-frames:v", "1")
    frame = check(*loop(file))[0]
    array = luma(frame)
    assert array[:, :38].max() <= 20, "4:3 in 16:9 has bars at the sides"
    assert array[:, 50:-50].std() > 20, "and is not dimmed"


def test_a_video_is_brought_to_30_pictures_a_second_with_its_sound(tmp_path: Path) -> None:
    file = ffmpeg(
        tmp_path,
        "a.mp4",
        *("-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", TONE, "-t", "5"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"),
    )
    made, wanted = loop(file, audio=(48_000, 2))
    check(made, wanted)
    assert made.duration == pytest.approx(5 * 90_000, abs=9000)
    assert len(made.pictures) == 150
    assert [n for n, unit in enumerate(made.pictures) if unit.key] == [0, 60, 120]
    assert made.audio is not None
    end = made.sounds[-1].pts + made.sounds[-1].duration
    samples = np.concatenate(
        [f.to_ndarray()[0] for f in played("aac", made.audio.config, made.sounds, end)]  # type: ignore[attr-defined]
    )
    second = samples[48_000:96_000]
    pitch = int(np.argmax(np.abs(np.fft.rfft(second))))
    assert abs(pitch - 440) <= 2
    assert np.sqrt(np.mean(second**2)) > 0.05


def test_a_video_without_sound_is_silent_and_keeps_its_rate(tmp_path: Path) -> None:
    file = ffmpeg(
        tmp_path,
        "a.webm",
        *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=12", "-t", "3"),
        *("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    )
    made, wanted = loop(file)
    check(made, wanted)
    assert len(made.pictures) == 36
    assert made.sounds


@pytest.mark.parametrize(("angle", "bright"), [(90, "left"), (-90, "right"), (180, "bottom")])
def test_a_video_that_was_filmed_lying_down_stands_up(
    tmp_path: Path, angle: int, bright: str
) -> None:
    """The upper half is white; FFmpeg's angles are counterclockwise."""
    source = "color=black:s=320x180:r=10,drawbox=0:0:320:90:white:fill"
    flat = ffmpeg(
        tmp_path,
        "flat.mp4",
        *("-f", "lavfi", "-i", source, "-t", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    )
    file = ffmpeg(tmp_path, "a.mp4", "-display_rotation", str(angle), "-i", str(flat), "-c", "copy")
    size = (180, 320) if angle % 180 else (320, 180)
    array = luma(check(*loop(file, width=size[0], height=size[1]))[0])
    half = size[0] // 2, size[1] // 2
    halves = {
        "left": array[:, : half[0] - 8],
        "right": array[:, half[0] + 8 :],
        "top": array[: half[1] - 8],
        "bottom": array[half[1] + 8 :],
    }
    assert {name for name, part in halves.items() if part.min() > 200} == {bright}


def test_the_last_picture_of_a_slide_show_stays_as_long_as_the_others(tmp_path: Path) -> None:
    source = "testsrc2=s=64x48:r=0.2"
    file = ffmpeg(tmp_path, "a.gif", "-f", "lavfi", "-i", source, "-frames:v", "2")
    made, wanted = loop(file)
    check(made, wanted)
    assert made.duration == 10 * 90_000


def test_a_long_video_is_cut_at_a_minute_and_within_its_bytes(tmp_path: Path) -> None:
    file = ffmpeg(
        tmp_path,
        "a.mkv",
        *("-f", "lavfi", "-i", "testsrc2=s=160x90:r=5", "-t", "70"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    )
    made, _ = loop(file, width=160, height=90)
    assert 59 * 90_000 <= made.duration <= 60 * 90_000
    assert sum(len(unit.payload) for unit in made.pictures) < MAX_LOOP_BYTES


def test_what_is_no_picture_is_refused_with_a_sentence(tmp_path: Path) -> None:
    image = ffmpeg(tmp_path, "a.png", "-f", "lavfi", "-i", PICTURE, "-frames:v", "1")
    cut = tmp_path / "cut.png"
    cut.write_bytes(image.read_bytes()[:200])
    text = tmp_path / "a.mp4"
    text.write_text("not a video")
    listed = tmp_path / "list.txt"
    listed.write_text(f"ffconcat version 1.0\nfile {image.name}\n")
    hls = tmp_path / "a.m3u8"
    hls.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{image}\n#EXT-X-ENDLIST\n")
    sound = ffmpeg(tmp_path, "a.m4a", "-f", "lavfi", "-i", TONE, "-t", "1", "-c:a", "aac")
    for file in (cut, text, listed, hls):
        assert refusal(file).startswith(
            f"The slate {file.name} cannot be shown: "
            "it is not an image or a video that can be read: "
        )
    assert refusal(sound) == "The slate a.m4a cannot be shown: it holds no picture."
    for name in ("nothing.png", "http://127.0.0.1:9/a.png", "concat:a.png|a.png"):
        assert refusal(tmp_path / name).endswith("cannot be shown: there is no such file.")
    assert refusal(tmp_path).endswith("there is no such file.")
    assert str(tmp_path) not in refusal(cut)


def test_a_picture_with_too_many_pixels_is_refused(tmp_path: Path) -> None:
    file = ffmpeg(tmp_path, "a.png", "-f", "lavfi", "-i", "color=s=2000x1000", "-frames:v", "1")
    assert refusal(file) == (
        "The slate a.png cannot be shown: "
        "its pictures have more than 1000000 pixels (limits.max_pixels)."
    )
    assert film(order(image=file), file, max_pixels=2_100_000).pictures


def given(recorder: Recorder, serial: int) -> list[SlateLoop | str]:
    return [answer for number, answer in recorder.answers if number == serial]


def of_file(answer: SlateLoop | str) -> bool:
    """Whether this is the file and not an even, dark still."""
    return isinstance(answer, SlateLoop) and luma(shown(answer)[0]).std() > 20


async def test_a_film_is_made_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    file = ffmpeg(tmp_path, "a.png", "-f", "lavfi", "-i", PICTURE, "-frames:v", "1")
    async with running(slate=SlateSettings()) as (transcoder, recorder, _meter):

        async def ordered(serial: int, size: tuple[int, int] = (320, 180)) -> SlateLoop:
            transcoder.order_slate(order(size, image=file, serial=serial))
            await recorder.until(lambda: any(map(of_file, given(recorder, serial))))
            answer = given(recorder, serial)[-1]
            assert isinstance(answer, SlateLoop)
            return answer

        first = await ordered(1)
        assert await ordered(2) is first
        assert given(recorder, 2) == [first], "no still where the film is at hand"
        assert (await ordered(3, (160, 90))).video.width == 160
        ffmpeg(tmp_path, "a.png", "-y", "-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1")
        assert (await ordered(4)).pictures != first.pictures


async def test_while_another_file_is_coded_a_still_is_there_at_once(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30", "-t", "60", "-c:v", "mjpeg")
    long = ffmpeg(tmp_path, "long.avi", *source)
    short = ffmpeg(tmp_path, "a.png", "-f", "lavfi", "-i", PICTURE, "-frames:v", "1")
    async with running(slate=SlateSettings()) as (transcoder, recorder, _meter):
        transcoder.order_slate(order((1280, 720), image=long, serial=1))
        await recorder.until(lambda: bool(given(recorder, 1)))
        transcoder.order_slate(order(image=short, serial=2))
        await recorder.until(lambda: bool(given(recorder, 2)))
        assert len(given(recorder, 1)) == 1, "the long one is not ready"
        assert not of_file(given(recorder, 2)[0])


def test_a_film_that_two_streams_made_counts_once(tmp_path: Path) -> None:
    file = ffmpeg(tmp_path, "a.png", "-f", "lavfi", "-i", PICTURE, "-frames:v", "1")
    made, wanted = loop(file)
    large = replace(made, pictures=(replace(made.pictures[0], payload=bytes(CACHE_BYTES // 4)),))
    cache = FilmCache()
    form = (*wanted.size, wanted.sar, wanted.audio)
    keys = [FilmKey(path=file, modified_ns=n, bytes=1, form=form) for n in range(3)]
    for key in (keys[0], keys[0], keys[0], keys[1], keys[2]):
        cache.put(key, large)
    assert [cache.get(key) for key in keys] == [large] * 3


def test_a_film_whose_sound_nobody_can_decode_is_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Path(__file__).parents[2] / "fuzz" / "corpus" / "slate_file"
    file = tmp_path / "a.mp4"
    file.write_bytes((corpus / "seed-sound-of-an-unknown-codec").read_bytes())
    made, wanted = loop(file)
    check(made, wanted)
    assert "sound of the slate cannot be decoded" in capsys.readouterr().err


async def test_a_photograph_of_more_pixels_than_encoders_may_send_is_shown(tmp_path: Path) -> None:
    source = "testsrc2=s=4000x3000"
    file = ffmpeg(tmp_path, "a.jpg", "-f", "lavfi", "-i", source, "-frames:v", "1")
    async with running(slate=SlateSettings()) as (transcoder, recorder, _meter):
        transcoder.order_slate(order(image=file, serial=1))
        await recorder.until(lambda: any(map(of_file, given(recorder, 1))))


async def test_a_missing_film_is_told_and_a_still_stands_in(tmp_path: Path) -> None:
    clip = video_clip(frames=25, gop=20)
    async with running(slate=SlateSettings()) as (transcoder, recorder, _meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        transcoder.order_slate(order(image=tmp_path / "a.png", serial=5))
        await recorder.until(lambda: len(given(recorder, 5)) == 2)
    said, still = sorted(given(recorder, 5), key=lambda answer: isinstance(answer, SlateLoop))
    assert said == "The slate a.png cannot be shown: there is no such file."
    assert isinstance(still, SlateLoop)
    assert last_number(still) == 24


async def test_a_configured_film_is_ready_before_it_is_ordered(tmp_path: Path) -> None:
    file = ffmpeg(tmp_path, "a.png", "-f", "lavfi", "-i", PICTURE, "-frames:v", "1")
    clip = video_clip(frames=25, gop=20)
    sound = audio_clip(Codec.OPUS, seconds=0.1)
    wanted = order(image=file, serial=9)
    async with running(slate=SlateSettings(), slate_image=file) as (transcoder, recorder, _meter):
        ladder = plan(clip.format, sound.format)
        transcoder.configure(ladder, video=clip.format, audio=sound.format)
        feed(transcoder, clip, clip.keys)
        key = await transcoder.films.key(wanted, file)
        await recorder.until(lambda: transcoder.films.get(key) is not None)
        transcoder.order_slate(wanted)
        await recorder.until(lambda: bool(given(recorder, 9)))
        kept = transcoder.films.get(key)
    assert given(recorder, 9) == [kept]
    assert [serial for serial, _ in recorder.answers] == [9], "preparing answers nobody"


async def test_a_process_without_memory_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = ffmpeg(tmp_path, "a.png", "-f", "lavfi", "-i", "color=s=4096x2304", "-frames:v", "1")
    limits = LimitsSettings(worker_memory_mb=256)
    starved = limits.model_copy(update={"worker_memory_mb": 24})
    async with running(limits=starved) as (transcoder, recorder, _meter):
        transcoder.order_slate(order((1920, 1080), image=file, serial=1))
        await recorder.until(lambda: any(isinstance(a, str) for a in given(recorder, 1)))
    (said,) = [answer for answer in given(recorder, 1) if isinstance(answer, str)]
    assert isinstance(said, str)
    assert said.startswith("The slate ")
    assert said.endswith(".")
