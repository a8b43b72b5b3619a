"""The demo's publisher against our real RTMP server, and against real ffmpeg as an oracle."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import pytest

from config.settings import RtmpSettings
from ingest.rtmp.server import RtmpServer
from ingest.source import Approach, Grant, KeyRefused
from media.bitstream import describe
from media.model import Codec, Kind, Packet, TrackFormat
from vitrina.demo_publisher import Target
from vitrina.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.component


class Recorder:
    """A `PublishGate` and `Publication` that keeps what it gets."""

    stream = "demo"
    lead_s = 0.0

    def __init__(self) -> None:
        self.formats: dict[Kind, TrackFormat] = {}
        self.packets: list[Packet] = []
        self.closed: list[str] = []
        self.refused = asyncio.Event()
        self.enough = asyncio.Event()

    async def authorize(self, approach: Approach) -> Grant:
        if approach.key != "s3cret-key":
            self.refused.set()
            raise KeyRefused("unknown key")
        return Grant(stream=self.stream)

    def open(
        self,
        grant: Grant,
        *,
        protocol: str,
        wrap_ticks: int,
        on_revoked: Callable[[str], None],
        on_key_wanted: Callable[[], None] | None = None,
    ) -> Recorder:
        return self

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        self.formats[track_format.kind] = track_format

    def note_loss(self, *, lost: int, packets: int, pictures: int) -> None:
        raise AssertionError("TCP loses nothing")

    def describe_sound(self, languages: Mapping[int, str]) -> None:
        raise AssertionError("the demo tells no languages")

    def declare_rates(self, rates: Mapping[tuple[Kind, int], int]) -> None:
        raise AssertionError("the demo declares no bit rates")

    def drop_track(self, track: int, kind: Kind) -> None:
        raise AssertionError("no track ends")

    def push(self, packet: Packet) -> None:
        self.packets.append(packet)
        if sum(p.codec is Codec.H264 for p in self.packets) >= 45:
            self.enough.set()

    def close(self, reason: str) -> None:
        self.closed.append(reason)


async def start(target: Target) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vitrina.demo_publisher",
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdin is not None
    process.stdin.write(target.to_json().encode() + b"\n")
    return process


async def finish(process: asyncio.subprocess.Process) -> str:
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.close()
    async with asyncio.timeout(20):
        errors = await process.stderr.read()
        assert await process.wait() == 0
    return errors.decode()


async def test_pushes_in_real_time_and_ends_with_its_parent() -> None:
    recorder = Recorder()
    settings = RtmpSettings(host="127.0.0.1", port=0)
    server = RtmpServer(settings=settings, gate=recorder, meter=Telemetry(), describe=describe)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await server.started.wait()
        process = await start(Target(host="127.0.0.1", port=server.port, key="s3cret-key"))
        try:
            async with asyncio.timeout(30):
                await recorder.enough.wait()
        finally:
            errors = await finish(process)
        task.cancel()
    assert "s3cret" not in errors
    assert recorder.formats[Kind.VIDEO].codec is Codec.H264
    assert recorder.formats[Kind.AUDIO].sample_rate == 48000
    video = [p for p in recorder.packets if p.codec is Codec.H264]
    assert video[0].key
    taken_s = (video[-1].arrived_ns - video[0].arrived_ns) / 1e9
    assert (video[-1].dts - video[0].dts) / 90000 == pytest.approx(taken_s, abs=0.3)
    sound = [p for p in recorder.packets if p.codec is Codec.AAC]
    assert abs(sound[-1].dts - video[-1].dts) < 90000 / 5
    assert recorder.closed == ["bye"]


async def test_a_wrong_key_is_said_and_tried_again() -> None:
    recorder = Recorder()
    settings = RtmpSettings(host="127.0.0.1", port=0)
    server = RtmpServer(settings=settings, gate=recorder, meter=Telemetry(), describe=describe)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await server.started.wait()
        process = await start(Target(host="127.0.0.1", port=server.port, key="wr0ng-key"))
        async with asyncio.timeout(30):
            await recorder.refused.wait()
            recorder.refused.clear()
            await recorder.refused.wait()
        errors = await finish(process)
        task.cancel()
    first = json.loads(errors.splitlines()[0])
    assert first["event"] == "push interrupted"
    assert "NetStream.Publish.BadName" in first["reason"]
    assert "wr0ng" not in errors
    assert recorder.packets == []


RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
NGINX = """
load_module {module};
daemon off; master_process off; error_log {folder}/error.log info; pid {folder}/pid;
events {{}}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{
    live on; record all; record_path {folder}; }} }} }}
"""


@pytest.mark.skipif(
    not RTMP_MODULE.exists(), reason="needs nginx-rtmp: apt install nginx libnginx-mod-rtmp"
)
async def test_nginx_rtmp_takes_it_and_ffmpeg_decodes_it(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(module=RTMP_MODULE, folder=tmp_path, port=port))
    nginx = await asyncio.create_subprocess_exec(
        "nginx", "-p", str(tmp_path), "-c", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        process = await start(Target(host="127.0.0.1", port=port, key="k"))
        async with asyncio.timeout(30):
            while sum(file.stat().st_size for file in tmp_path.glob("k.flv")) < 200_000:
                await asyncio.sleep(0.1)  # polls another process
        await finish(process)
    finally:
        nginx.terminate()
        await nginx.wait()
    (recorded,) = tmp_path.glob("k.flv")
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    decoder = await asyncio.create_subprocess_exec(
        *(ffmpeg, "-v", "error", "-xerror", "-i", str(recorded)),
        *("-map", "0:v", "-map", "0:a", "-f", "null", "-"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await decoder.communicate()
    assert (decoder.returncode, errors) == (0, b"")


def test_no_target_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vitrina.demo_publisher"],
        input=b'{"host": "x"}\n',
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert b"one line: host, port, app and key" in done.stderr


def test_the_key_is_not_shown() -> None:
    target = Target(host="h", port=1, key="s3cret")
    assert "s3cret" not in repr(target)
    assert Target.from_json(target.to_json()) == target
