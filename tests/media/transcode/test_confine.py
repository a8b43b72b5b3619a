"""What a worker process may not do, asked of the kernel about real ones."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import media
from config.settings import LimitsSettings
from media.transcode.confine import ARCHITECTURES, DENIED, filter_program
from tests.media.transcode.clips import Clip, video_clip
from tests.media.transcode.rig import feed, plan, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(sys.platform != "linux", reason="asks Linux"),
]


def proc(pid: int, name: str) -> str:
    return (Path("/proc") / str(pid) / name).read_text()


def field(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line.removeprefix(name).split()


@pytest.fixture
def leaked() -> Iterator[int]:
    """A descriptor that the server forgot to close on exec."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    yield reading
    os.close(reading)
    os.close(writing)


def descriptors(pid: int) -> dict[int, str]:
    """What each open descriptor of a process leads to."""
    kinds = {}
    for link in (Path("/proc") / str(pid) / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kinds[int(link.name)] = str(link.readlink())
    return kinds


async def test_a_worker_is_confined(leaked: int) -> None:
    clip = video_clip(frames=30)
    limits = LimitsSettings(worker_memory_mb=700)
    async with running(limits=limits) as (transcoder, recorder, _meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        await recorder.until(lambda: len(recorder.packets) > 0)
        pid = transcoder.worker_pid
        assert pid is not None
        kinds = descriptors(pid)
        while any(".py" in one for one in kinds.values()):
            # A module that is imported late is open for a moment.
            await asyncio.sleep(0)
            kinds = descriptors(pid)
        limited, status = proc(pid, "limits"), proc(pid, "status")
        threads = [
            (task / "status").read_text() for task in (Path("/proc") / str(pid) / "task").iterdir()
        ]
    assert field(limited, "Max data size")[:2] == [str(700 * 2**20)] * 2
    assert field(limited, "Max core file size")[:2] == ["0", "0"]
    assert field(limited, "Max realtime priority")[:2] == ["0", "0"]
    assert field(limited, "Max open files")[:2] == ["64", "64"]
    assert field(status, "NoNewPrivs:") == ["1"]
    if platform.machine() in ARCHITECTURES:
        assert field(status, "Seccomp:") == ["2"]
        assert {field(thread, "Seccomp:")[0] for thread in threads} == {"2"}
    assert {field(thread, "NoNewPrivs:")[0] for thread in threads} == {"1"}
    sockets = [number for number, kind in kinds.items() if kind.startswith("socket:")]
    assert len(sockets) == 1
    assert set(kinds) == {0, 1, 2, *sockets}, kinds
    assert kinds[0] == kinds[1] == "/dev/null"


async def test_a_resolution_bomb_is_refused_within_bounds() -> None:
    """A small picture is announced, a large one comes: in band, as hostile encoders do it."""
    clip = video_clip(frames=10, gop=5)
    large = video_clip(size=(2048, 2048), frames=10, gop=5)
    limits = LimitsSettings(max_pixels=1280 * 720)
    async with running(limits=limits) as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        await recorder.until(lambda: len(recorder.packets) > 0)
        bomb = with_in_band_parameters(large)
        feed(transcoder, bomb, bomb.keys)
        await recorder.until(lambda: meter.lost_pictures > 0)
        assert transcoder.worker_pid is not None
        peak = int(field(proc(transcoder.worker_pid, "status"), "VmHWM:")[0])
    assert meter.restarts == []
    assert peak < 250 * 1024


async def test_a_worker_that_needs_more_memory_ends_and_is_counted() -> None:
    clip = video_clip(size=(1920, 1080), frames=10, gop=5)
    limits = LimitsSettings(worker_memory_mb=256).model_copy(update={"worker_memory_mb": 130})
    async with running(limits=limits) as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        feed(transcoder, clip, clip.keys)
        await recorder.until(lambda: len(meter.restarts) > 0)
    assert set(meter.restarts) <= {"fault", "signal", "exit", "spawn"}


def with_in_band_parameters(clip: Clip) -> Clip:
    """Put the parameter sets in front of each key frame."""
    context = clip.format.config
    count = int.from_bytes(context[6:8], "big")
    sps = context[8 : 8 + count]
    start = 8 + count + 1
    size = int.from_bytes(context[start : start + 2], "big")
    pps = context[start + 2 : start + 2 + size]
    head = b"".join(len(unit).to_bytes(4, "big") + unit for unit in (sps, pps))
    packets = tuple(replace(p, payload=head + p.payload) if p.key else p for p in clip.packets)
    later = tuple(replace(p, dts=p.dts + 900_000, pts=p.pts + 900_000) for p in packets)
    return Clip(format=clip.format, packets=later)


def confined(
    code: str, memory_mb: int = 512, *, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run code in a process that `confine` has been called in."""
    head = f"""
        import ctypes, os, socket, subprocess, sys
        import numpy as np
        from media.transcode.confine import confine
        ours, theirs = socket.socketpair()
        confine(theirs.fileno(), nice=0, memory_bytes={memory_mb} * 2**20)
        ours.detach()
    """
    root = Path(media.__file__).parents[1]
    whole = "".join(map(textwrap.dedent, (before, head, code)))
    return subprocess.run(
        [sys.executable, "-c", whole],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(root)},
    )


@pytest.mark.parametrize(
    "code",
    [
        "socket.socket(socket.AF_INET)",
        "socket.socket(socket.AF_UNIX)",
        "os.execv('/bin/true', ['true'])",
        "os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))",
    ],
)
@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="no filter for this machine")
def test_what_a_decoder_never_needs_is_refused(code: str) -> None:
    done = confined(code)
    assert done.returncode == 1
    assert "PermissionError: [Errno 1]" in done.stderr


@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="no filter for this machine")
def test_a_thread_that_a_library_started_is_confined_too() -> None:
    done = confined(
        """
        for task in os.listdir("/proc/self/task"):
            status = open(f"/proc/self/task/{task}/status").read()
            sys.stdout.write(status.split("Seccomp:")[1].split()[0])
        """,
        before="""
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        """,
    )
    assert set(done.stdout) == {"2"}, done.stderr
    assert len(done.stdout) >= 2


LANDLOCK = 0 if sys.platform != "linux" else ctypes.CDLL(None).syscall(444, None, 0, 1)


@pytest.mark.skipif(LANDLOCK < 1, reason="a kernel without Landlock")
@pytest.mark.parametrize(
    "code",
    [
        "open(f'/proc/{os.getppid()}/mem', 'r+b')",
        "open(OWNED, 'w')",
        "open(KEPT, 'a')",
        "os.unlink(KEPT)",
        "os.mkdir(OWNED)",
        pytest.param(
            "os.kill(os.getppid(), 0)",
            marks=pytest.mark.skipif(
                LANDLOCK < 6 and platform.machine() not in ARCHITECTURES,
                reason="neither filter nor scope for signals",
            ),
        ),
    ],
)
def test_neither_files_nor_the_server_are_reached(
    code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "temporary"
    own.mkdir()
    kept = tmp_path / "kept"
    kept.write_text("x")
    monkeypatch.setenv("TMPDIR", str(own))
    done = confined(code, before=f"OWNED, KEPT = {str(tmp_path / 'owned')!r}, {str(kept)!r}\n")
    assert done.returncode == 1
    assert "PermissionError: [Errno 1" in done.stderr
    assert sorted(tmp_path.iterdir()) == [kept, own]


def test_temporary_files_work() -> None:
    """FFmpeg takes the table of tone curves from a file only."""
    done = confined(
        """
        import tempfile
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("x")
        sys.stdout.write("gone" if not os.path.exists(file.name) else "left")
        """
    )
    assert done.stdout == "gone", done.stderr


@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="no filter for this machine")
def test_no_program_is_started() -> None:
    done = confined("print(subprocess.run(['/bin/true'], close_fds=False).returncode)")
    assert done.returncode == 1
    assert "PermissionError" in done.stderr


def test_memory_is_bounded_and_what_a_decoder_needs_works() -> None:
    done = confined(
        """
        import threading
        threads = [threading.Thread(target=lambda: sum(range(1000))) for _ in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        os.fstat(theirs.fileno())
        assert os.nice(1) >= 0
        small = np.ones(100 * 2**20, np.uint8)
        try:
            large = np.ones(2**30, np.uint8)
        except MemoryError:
            sys.stdout.write("bounded")
        """,
    )
    assert done.stdout == "bounded", done.stderr


def test_the_filter_names_each_call_once_for_each_machine() -> None:
    for column in (0, 1):
        numbers = [row[column] for row in DENIED.values()]
        assert len(set(numbers)) == len(numbers)
    for machine in ARCHITECTURES:
        program = filter_program(machine)
        assert program is not None
        assert len(program) == 8 * (5 + len(DENIED) + 2)
    assert filter_program("riscv64") is None
