"""What a worker's pictures cost in memory: with the allocator as the worker is started with."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from errno import ENOSPC
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame

from media.colour import HLG, PQ
from media.transcode import link, tonemap
from media.transcode.filters import LIFE
from media.transcode.libav import Scaler

GLIBC = pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")

ENCODERS = """
import ctypes, json
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
class Info(ctypes.Structure):
    _fields_ = [(f"field{n}", ctypes.c_size_t) for n in range(10)]
libc.mallinfo2.restype = Info
libc.free(libc.malloc(8 << 20))
before = libc.mallinfo2().field4
held = libc.malloc(1 << 20)
print(json.dumps(libc.mallinfo2().field4 - before))
"""
"""An encoder's largest table comes and goes, then another's: bytes that are mapped on their own."""

PICTURES = """
import json, resource
from fractions import Fraction
import numpy as np
from av.video.frame import VideoFrame
from media.transcode.libav import Scaler
frame = VideoFrame.from_ndarray(np.zeros((1080, 1280), np.uint8), format="yuv420p")
frame.pts, frame.time_base = 0, Fraction(1, 90000)
scaler = Scaler(854, 480)
faults = []
for _ in range(60):
    picture = scaler.scale(frame)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(json.dumps(faults[-1] - faults[9]))
"""


CROWD = """
import ctypes, json, sys
from fractions import Fraction
import numpy as np
from av.video.frame import VideoFrame
from media.transcode.filters import LIFE
from media.transcode.libav import Scaler
libc = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(f"field{n}", ctypes.c_size_t) for n in range(10)]
libc.mallinfo2.restype = Info
frame = VideoFrame.from_ndarray(np.zeros((540, 640), np.uint8), format="yuv420p")
frame.pts, frame.time_base = 0, Fraction(1, 90000)
frame.color_trc = int(sys.argv[1])
scaler = Scaler(480, 270)
scaler.scale(frame)
before = libc.mallinfo2().field4
held = [scaler.scale(frame) for _ in range(20)]
most = libc.mallinfo2().field4 - before
del held
for _ in range(LIFE):
    scaler.scale(frame)
print(json.dumps([most, libc.mallinfo2().field4 - before]))
"""
"""Twenty pictures wait for an encoder that cannot keep up; then it can again."""


def run(program: str, *arguments: object) -> Any:
    reply = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=link._environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=30,
    )
    return json.loads(reply.stdout)


@GLIBC
@pytest.mark.component
def test_what_an_encoder_frees_goes_back_whatever_came_before():
    assert run(ENCODERS) >= 1 << 20


@GLIBC
@pytest.mark.component
def test_pictures_take_the_place_of_those_before():
    # A picture has 150 pages.
    assert run(PICTURES) < 50 * 15


@GLIBC
@pytest.mark.component
@pytest.mark.parametrize("transfer", [1, PQ])
def test_a_crowd_of_pictures_is_not_kept_for_ever(transfer: int):
    most, after = run(CROWD, transfer)
    assert most > 3_000_000
    assert after < 1_000_000


def picture(width: int, height: int, *, form: str = "yuv420p", level: int = 90) -> VideoFrame:
    planar = np.full((height * 3 // 2, width), level, np.uint8)
    planar[height:] = 128
    frame = VideoFrame.from_ndarray(planar, format="yuv420p").reformat(format=form)
    frame.pts, frame.time_base = 4711, Fraction(1, 90_000)
    frame.color_primaries, frame.color_trc, frame.colorspace = 1, 1, 5
    return frame


@pytest.mark.unit
def test_pictures_of_any_size_and_form_become_one():
    scaler = Scaler(640, 360)
    for frame in (
        picture(1280, 720),
        picture(960, 540, level=150),
        picture(960, 540, form="yuv422p10le", level=150),
        picture(1280, 720),
    ):
        made = scaler.scale(frame)
        assert (made.width, made.height, made.format.name) == (640, 360, "yuv420p")
        assert (made.pts, made.time_base) == (4711, Fraction(1, 90_000))
        assert (int(made.color_primaries), int(made.color_trc), int(made.colorspace)) == (1, 1, 5)
        wanted = 90 if frame.width == 1280 else 150
        assert abs(int(made.to_ndarray()[:360].mean()) - wanted) <= 1


@pytest.mark.unit
@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv444p", "gray", "yuv420p10le", "gbrp"])
def test_no_matrix_that_a_bitstream_names_breaks_a_rung(form: str):
    scaler = Scaler(64, 36)
    for colour_range in (0, 1, 2):
        for matrix in (*range(20), 255):
            frame = picture(160, 90, form=form)
            frame.colorspace, frame.color_range = matrix, colour_range
            # HDR, which is tone-mapped, has a test of its own.
            frame.color_primaries = frame.color_trc = matrix if matrix not in (PQ, HLG) else 3
            made = scaler.scale(frame)
            assert (made.width, made.height, made.format.name, made.pts) == (
                64,
                36,
                "yuv420p",
                4711,
            )
            if form == "yuv420p":
                assert (int(made.colorspace), int(made.color_range)) == (matrix, colour_range)
                assert int(made.color_primaries) == int(frame.color_primaries)
                assert int(made.color_trc) == int(frame.color_trc)


@pytest.mark.unit
def test_a_picture_stays_as_it_is_while_later_ones_are_made():
    scaler = Scaler(640, 360)
    first = scaler.scale(picture(1280, 720, level=50))
    held = [scaler.scale(picture(1280, 720, level=200)) for _ in range(12)]
    assert int(first.to_ndarray()[:360].max()) == 50
    assert all(int(frame.to_ndarray()[:360].min()) == 200 for frame in held)


@pytest.mark.unit
def test_a_full_disk_changes_nothing_for_hdr_that_is_on_air(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def full(_transfer: int) -> str:
        raise OSError(ENOSPC, "no space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scaler = Scaler(16, 16)
    frame = picture(32, 32, form="yuv420p10le")
    frame.color_primaries, frame.color_trc, frame.colorspace = 9, PQ, 9
    assert int(scaler.scale(frame).color_trc) == 1
    monkeypatch.setattr(tonemap, "cube", full)
    assert {int(scaler.scale(frame).color_trc) for _ in range(LIFE + 2)} == {1}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.unit
def test_hdr_is_mapped_whatever_matrix_it_names_and_whatever_came_before():
    """One encoder with BT.2020 of constant luminance left all that came later unmapped."""
    scaler = Scaler(64, 36)

    def scaled(matrix: int) -> tuple[int, int, int]:
        frame = picture(160, 90, form="yuv420p10le")
        frame.color_primaries, frame.color_trc, frame.colorspace = 9, 16, matrix
        made = scaler.scale(frame)
        return int(made.color_trc), int(made.colorspace), int(made.to_ndarray()[:36].mean())

    usual = scaled(9)
    assert usual[:2] == (1, 1)
    assert [scaled(matrix) for matrix in (10, 14, 3, 9)] == [usual] * 4
