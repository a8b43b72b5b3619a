"""Workers that are killed, stopped, starved or misconfigured; real signals, real processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import media
from media.model import Codec, Packet
from media.transcode.plan import AUDIO
from tests.media.transcode.clips import Clip, Recorder, audio_clip, decode, read_number, video_clip
from tests.media.transcode.rig import LADDER, feed_in_step, plan, running

if TYPE_CHECKING:
    from media.transcode.process import Transcoder

pytestmark = pytest.mark.component

GRID = 60_000
STEP = 3000


class Encoder:
    """Pushes a clip over and over, at its own pace or faster, with a boundary each grid."""

    def __init__(self, transcoder: Transcoder, clip: Clip, sound: Clip | None = None) -> None:
        self.transcoder = transcoder
        self.clip = clip
        self.sound = sound
        self.pushed = 0
        self.boundaries: list[int] = []
        self._next = clip.packets[0].pts
        self._started = time.monotonic()

    async def run(self) -> None:
        first, length = self.clip.packets[0].dts, len(self.clip.packets) * STEP
        sound = list(self.sound.packets) if self.sound is not None else []
        for loop in range(1000):
            for packet in self.clip.packets:
                shift = loop * length
                moved = replace(packet, dts=packet.dts + shift, pts=packet.pts + shift)
                await asyncio.sleep(
                    max(0, self._started + (moved.dts - first) / 90_000 - time.monotonic())
                )
                while self._next <= moved.pts:
                    self.transcoder.boundary(self._next)
                    self.boundaries.append(self._next)
                    self._next += GRID
                while sound and sound[0].pts <= moved.dts:
                    self.transcoder.push(sound.pop(0))
                self.transcoder.push(moved)
                self.pushed = moved.pts


async def playing(recorder: Recorder, rungs: set[str], after: int = 0) -> None:
    await recorder.until(
        lambda: all(
            recorder.packets[rung] and recorder.packets[rung][-1].pts > after for rung in rungs
        )
    )


def only_after(packets: list[Packet], pts: int) -> list[Packet]:
    return [packet for packet in packets if packet.pts > pts]


@pytest.mark.parametrize("gop", [20, 100], ids=["keys on the grid", "one key in five segments"])
async def test_a_killed_worker_is_back_within_four_seconds(gop: int) -> None:
    clip = video_clip(frames=100, gop=gop)
    sound = audio_clip(Codec.OPUS, seconds=20)
    rungs = {"180p", "144p"}
    async with running() as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format, sound.format), video=clip.format, audio=sound.format)
        encoder = Encoder(transcoder, clip, sound)
        async with asyncio.TaskGroup() as tasks:
            pushing = tasks.create_task(encoder.run())
            await playing(recorder, rungs | {AUDIO}, after=clip.packets[35].pts)
            assert transcoder.worker_pid is not None
            edge = encoder.pushed
            killed = time.monotonic()
            os.kill(transcoder.worker_pid, signal.SIGKILL)
            await playing(recorder, rungs, after=edge)
            back = time.monotonic() - killed
            await playing(recorder, rungs | {AUDIO}, after=edge + 2 * GRID)
            pushing.cancel()
    assert [reason for reason, _ in recorder.lost] == ["signal"]
    assert meter.restarts == ["signal"]
    assert back < 4
    for rung in rungs:
        assert len(recorder.formats[rung]) == 2
        fmt, packets = recorder.runs[rung][1]
        assert packets[0].key
        assert packets[0].pts in encoder.boundaries
        assert packets[0].pts > edge - STEP
        assert [p.pts for p in packets if p.key] == [
            b for b in encoder.boundaries if packets[0].pts <= b <= packets[-1].pts
        ]
        assert [b.pts - a.pts for a, b in itertools.pairwise(packets)] == [STEP] * (
            len(packets) - 1
        )
        frames = decode(fmt, packets)
        origin = clip.packets[0].pts
        assert [read_number(f) for f in frames] == [
            (p.pts - origin) // STEP % len(clip.packets) for p in packets
        ]
    heard = recorder.packets[AUDIO]
    assert [b.pts - a.pts for a, b in itertools.pairwise(heard)] == [1920] * (len(heard) - 1), (
        "sound has no hole over a restart"
    )


async def test_a_stopped_worker_counts_as_hung() -> None:
    clip = video_clip(frames=100, gop=20)
    async with running() as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        encoder = Encoder(transcoder, clip)
        async with asyncio.TaskGroup() as tasks:
            pushing = tasks.create_task(encoder.run())
            await playing(recorder, {"180p"})
            assert transcoder.worker_pid is not None
            os.kill(transcoder.worker_pid, signal.SIGSTOP)
            stopped = time.monotonic()
            await recorder.until(lambda: bool(recorder.lost))
            noticed = recorder.lost[0][1] - stopped
            await playing(recorder, {"180p"}, after=encoder.pushed)
            pushing.cancel()
    assert meter.restarts == ["hang"]
    assert 2 < noticed < 5


async def test_a_quiet_stream_is_not_a_hang() -> None:
    clip = video_clip(frames=30)
    async with running() as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        await feed_in_step(transcoder, recorder, clip, clip.keys, {"144p"})
        pid = transcoder.worker_pid
        transcoder._hang.reported = lambda *_args: None  # type: ignore[method-assign]
        transcoder._now_ns = lambda: time.monotonic_ns() + 60_000_000_000
        later = video_clip(frames=30, start=clip.packets[-1].pts + STEP)
        await feed_in_step(transcoder, recorder, later, later.keys, {"144p"})
        assert transcoder.worker_pid == pid
    assert meter.restarts == []


async def test_an_encoder_that_is_not_there_is_a_clear_fault() -> None:
    clip = video_clip(frames=30)
    settings = LADDER.model_copy(update={"encoder": "h264_nosuch"})
    async with running(settings) as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format, settings=settings), video=clip.format, audio=None)
        transcoder.boundary(clip.packets[0].pts)
        for packet in clip.packets:
            transcoder.push(packet)
        await recorder.until(lambda: bool(recorder.lost))
    assert meter.restarts[0] == "fault"
    assert recorder.packets == {}


async def test_stop_flushes_and_reaps_quickly() -> None:
    clip = video_clip(frames=60, b_frames=3)
    async with running() as (transcoder, recorder, _meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        transcoder.boundary(clip.packets[0].pts)
        for packet in clip.packets:
            transcoder.push(packet)
        await recorder.until(lambda: len(recorder.packets["144p"]) > 0)
        pid = transcoder.worker_pid
        assert pid is not None
        began = time.monotonic()
        await transcoder.stop()
        assert time.monotonic() - began < 2.5
        assert len(recorder.packets["144p"]) == 60
        assert not Path(f"/proc/{pid}").exists()
    assert recorder.lost == []


async def test_an_empty_plan_ends_the_worker_and_the_next_starts_one() -> None:
    clip = video_clip(frames=30)
    again = video_clip(frames=30, start=180_000)
    async with running() as (transcoder, recorder, meter):
        transcoder.configure(plan(clip.format), video=clip.format, audio=None)
        await feed_in_step(transcoder, recorder, clip, clip.keys, {"144p"})
        first = transcoder.worker_pid
        transcoder.configure(plan(None), video=None, audio=None)
        await recorder.until(lambda: transcoder.worker_pid is None)
        transcoder.configure(plan(again.format), video=again.format, audio=None)
        await feed_in_step(transcoder, recorder, again, again.keys, {"144p"})
        assert transcoder.worker_pid not in (None, first)
    assert recorder.lost == []
    assert meter.restarts == []


def test_no_worker_outlives_its_server(tmp_path: Path) -> None:
    """A server that is killed, run from another folder, in a shop's own environment."""
    root = Path(media.__file__).parents[1]
    script = textwrap.dedent(f"""
        import asyncio, sys
        sys.path.insert(0, {str(root)!r})
        from config.settings import LadderSettings, LimitsSettings
        from media.model import Codec, TrackFormat
        from media.meter import NoMeter
        from media.transcode.plan import plan_ladder
        from media.transcode.process import Transcoder

        async def main():
            fmt = TrackFormat(codec=Codec.H264, config=b"", codec_string="", width=1920,
                              height=1080)
            t = Transcoder(stream="s", settings=LadderSettings(), limits=LimitsSettings(),
                           sink=None, meter=NoMeter())
            plan = plan_ladder(fmt, None, LadderSettings(), reencode_source=False)
            t.configure(plan, video=fmt, audio=None)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(t.run())
                while not t._hang.spoke:
                    await asyncio.sleep(0.01)
                print(t.worker_pid, flush=True)

        asyncio.run(main())
    """)
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "__init__.py").write_text("raise SystemExit('the wrong media')")
    environment = os.environ | {"VITRINA_AUTH__ADMIN_TOKEN": "very-secret"}
    (tmp_path / "serve.py").write_text(script)
    with subprocess.Popen(
        [sys.executable, "serve.py"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.strip().isdigit())
        pid = int(line)
        assert b"very-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
        # It may just read a file of its own.
        soon = time.monotonic() + 3
        folder = Path(f"/proc/{pid}/fd")
        while len(descriptors := [*folder.iterdir()]) != 4 and time.monotonic() < soon:
            time.sleep(0.02)
        server.kill()
        server.wait()
    deadline = time.monotonic() + 3
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists() or _state(pid) == "Z"
    assert len(descriptors) == 4, "stdin, stdout, stderr and the socket"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
