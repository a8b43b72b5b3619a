"""The ladder against the ffmpeg command line, and two 1080p30 streams at once.

    python -m benchmarks.ladder [--seconds 12] [--pairs 3] [--reencode-source] [--no-realtime]

A and B run in turn (A B A B); ratios are medians of the pairs. CPU is user + system of all
processes of a side: for Vitrina the worker and this process (which plays the server), for
ffmpeg the ffmpeg process. Neither side writes its output anywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shlex
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import imageio_ffmpeg

from benchmarks._common import emit, percentile, table
from config.settings import LadderSettings, LimitsSettings
from media.bitstream import describe
from media.meter import NoMeter
from media.model import Codec, Packet, TrackFormat
from media.transcode.plan import Plan, plan_ladder
from media.transcode.pressure import PressureRule
from media.transcode.process import Transcoder

if TYPE_CHECKING:
    from media.meter import MediaMeter

GRID = 180_000
AHEAD = 6
"""Pictures in flight when not paced: as many as keep every thread busy without a drop."""
STALL_S = 20
SCENES = (
    "testsrc2=s=1920x1080:r=30,rotate=0.05*t,noise=alls=6:allf=t",
    "mandelbrot=s=1920x1080:r=30:end_scale=0.02,noise=alls=6:allf=t",
    "life=s=480x270:r=30:mold=10:ratio=0.1,scale=1920:1080,noise=alls=6:allf=t",
)


def make_clip(folder: Path, seconds: int) -> Path:
    """Write a 1080p30 H.264 clip with motion, cuts and noise; 6 Mb/s, GOP 2 s, no B-frames."""
    path = folder / "source.mp4"
    each = max(1, seconds // len(SCENES))
    inputs = [a for scene in SCENES for a in ("-f", "lavfi", "-t", str(each), "-i", scene)]
    joined = "".join(f"[{n}:v]format=yuv420p,setsar=1[v{n}];" for n in range(len(SCENES)))
    joined += "".join(f"[v{n}]" for n in range(len(SCENES))) + f"concat=n={len(SCENES)}[v]"
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs),
        *("-filter_complex", joined, "-map", "[v]", "-c:v", "libx264", "-preset", "veryfast"),
        *("-b:v", "6M", "-maxrate", "6M", "-bufsize", "12M", "-g", "60", "-bf", "0"),
        *("-x264-params", "scenecut=0", str(path)),
    ]
    subprocess.run(command, check=True)
    return path


def read_clip(path: Path) -> tuple[TrackFormat, list[Packet]]:
    """Return the clip as an ingest would hand it over."""
    packets = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fmt = describe(Codec.H264, stream.codec_context.extradata or b"")
        for item in container.demux(stream):
            if item.dts is None or item.pts is None:
                continue
            scale = item.time_base * 90_000
            packets.append(
                Packet(
                    track=0,
                    codec=Codec.H264,
                    dts=int(item.dts * scale),
                    pts=int(item.pts * scale),
                    key=item.is_keyframe,
                    payload=bytes(item),
                    arrived_ns=0,
                )
            )
    return fmt, packets


@dataclass
class Sink:
    """Counts what comes back."""

    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def rung_format(self, rung: str, fmt: TrackFormat) -> None:
        del fmt
        self.counts.setdefault(rung, 0)

    def rung_packet(self, rung: str, packet: Packet) -> None:
        self.counts[rung] = self.counts.get(rung, 0) + 1
        self.sizes[rung] = self.sizes.get(rung, 0) + len(packet.payload)
        self.last = time.monotonic()
        self.first = self.first or self.last
        if packet.arrived_ns:
            self.delays_ms.append((time.monotonic_ns() - packet.arrived_ns) / 1e6)
        self.changed.set()

    def worker_lost(self, reason: str) -> None:
        self.lost.append(reason)


def transcoder(name: str, settings: LadderSettings, sink: Sink) -> Transcoder:
    """Return a transcoder that reports to nobody."""
    meter = cast("MediaMeter", NoMeter())
    return Transcoder(
        stream=name, settings=settings, limits=LimitsSettings(), sink=sink, meter=meter
    )


def cpu() -> float:
    """User and system seconds of this process and all reaped children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


async def ours(
    fmt: TrackFormat, packets: list[Packet], plan: Plan, settings: LadderSettings
) -> Sink:
    """Run the whole clip through one worker as fast as it goes."""
    sink = Sink()
    machine = transcoder("bench", settings, sink)
    machine.configure(plan, video=fmt, audio=None)
    # Six pictures always wait here on purpose: that is no reason to take a cheaper preset.
    machine._pressure = PressureRule(0)  # noqa: SLF001
    names = [rung.name for rung in plan.rungs]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(machine.run())
        # What is pushed before the worker runs waits for it, so no start needs awaiting.
        for number, packet in enumerate(packets):
            if packet.pts % GRID == 0:
                machine.boundary(packet.pts)
            machine.push(packet)
            while number - min(sink.counts.get(name, 0) for name in names) >= AHEAD:
                sink.changed.clear()
                async with asyncio.timeout(STALL_S):
                    await sink.changed.wait()
        await machine.stop()
    return sink


def peer_command(source: Path, plan: Plan) -> list[str]:
    """Return ffmpeg with the same encoders; threads as ffmpeg chooses them."""
    rungs = plan.rungs
    graph = f"[0:v]split={len(rungs)}" + "".join(f"[s{n}]" for n in range(len(rungs))) + ";"
    graph += ";".join(
        f"[s{n}]scale={rung.width}:{rung.height}:flags=bicubic[v{n}]"
        for n, rung in enumerate(rungs)
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(source)]
    command += ["-filter_complex", graph]
    for n, rung in enumerate(rungs):
        command += [
            *("-map", f"[v{n}]", "-c:v", "libx264", "-preset", rung.preset),
            *("-tune", "zerolatency", "-profile:v", "high", "-bf", "0", "-b:v", str(rung.bitrate)),
            *("-maxrate", str(rung.maxrate), "-bufsize", str(rung.bufsize)),
            *("-force_key_frames", "expr:gte(t,n_forced*2)", "-forced-idr", "1"),
            *("-x264-params", "sliced-threads=0:scenecut=0:keyint=300:min-keyint=300"),
            *("-f", "null", "-"),
        ]
    return command


def compare(source: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Measure A (Vitrina) and B (ffmpeg) in turn."""
    settings = LadderSettings(nice=0)
    fmt, packets = read_clip(source)
    plan = plan_ladder(fmt, None, settings, reencode_source=arguments.reencode_source)
    command = peer_command(source, plan)
    print("A: media.transcode, a worker process fed", AHEAD, "pictures ahead")
    print("B:", shlex.join(command), "\n")
    rows, walls, cpus = [], [], []
    for _ in range(arguments.pairs):
        figures = []
        for side in "AB":
            wall, used = time.monotonic(), cpu()
            if side == "A":
                sink = asyncio.run(ours(fmt, packets, plan, settings))
                assert not sink.lost
                assert set(sink.counts.values()) == {len(packets)}, sink.counts
            else:
                subprocess.run(command, check=True)
            figures.append((time.monotonic() - wall, cpu() - used))
        (wall_a, cpu_a), (wall_b, cpu_b) = figures
        walls.append(wall_a / wall_b)
        cpus.append(cpu_a / cpu_b)
        rows.append(
            [
                *(f"{wall_a:.2f}", f"{wall_b:.2f}", f"{walls[-1]:.3f}"),
                *(f"{cpu_a:.2f}", f"{cpu_b:.2f}", f"{cpus[-1]:.3f}"),
            ]
        )
    table(["wall A s", "wall B s", "A/B", "CPU A s", "CPU B s", "A/B"], rows)
    return {
        "rungs": [rung.name for rung in plan.rungs],
        "frames": len(packets),
        "cpu_ratio": round(statistics.median(cpus), 3),
        "wall_ratio": round(statistics.median(walls), 3),
        "budget_cpu_ratio": 0.95,
    }


async def pace(machine: Transcoder, packets: list[Packet]) -> None:
    """Push like a live encoder: 30 pictures a second."""
    started = time.monotonic()
    for packet in packets:
        await asyncio.sleep(max(0.0, started + packet.dts / 90_000 - time.monotonic()))
        if packet.pts % GRID == 0:
            machine.boundary(packet.pts)
        machine.push(replace(packet, arrived_ns=time.monotonic_ns()))


async def loop_lag(lags_ms: list[float]) -> None:
    """Note how late a 5 ms timer is."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.005)
        lags_ms.append((time.monotonic() - before - 0.005) * 1000)


async def realtime(fmt: TrackFormat, packets: list[Packet], count: int) -> dict[str, object]:
    """Run `count` streams at once in real time, with the shipped settings."""
    settings = LadderSettings()
    plan = plan_ladder(fmt, None, settings, reencode_source=False)
    sinks = [Sink() for _ in range(count)]
    lags: list[float] = []
    used, began = cpu(), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(loop_lag(lags))
        machines = [transcoder(f"s{n}", settings, sink) for n, sink in enumerate(sinks)]
        for machine in machines:
            machine.configure(plan, video=fmt, audio=None)
            tasks.create_task(machine.run())
        async with asyncio.TaskGroup() as pushing:
            for machine in machines:
                pushing.create_task(pace(machine, packets))
        steps = [machine.pressure_step for machine in machines]
        for machine in machines:
            await machine.stop()
        watch.cancel()
    span = time.monotonic() - began
    rows = []
    rates = []
    for number, sink in enumerate(sinks):
        for name, frames in sorted(sink.counts.items()):
            fps = (frames - 1) / (sink.last - sink.first)
            rates.append(fps)
            rows.append([f"s{number}", name, frames, f"{fps:.2f}"])
    table(["stream", "rung", "frames", "fps"], rows)
    delays = [delay for sink in sinks for delay in sink.delays_ms]
    figures: dict[str, object] = {
        "streams": count,
        "fps_min": round(min(rates), 2),
        "frames_pushed": len(packets),
        "frames_min": min(min(sink.counts.values()) for sink in sinks),
        "cores": round((cpu() - used) / span, 2),
        "delay_ms_p50": round(percentile(delays, 50), 1),
        "delay_ms_p99": round(percentile(delays, 99), 1),
        "loop_lag_ms_p99": round(percentile(lags, 99), 2),
        "pressure_steps": steps,
        "budget_fps": 29.9,
    }
    table(list(figures), [list(figures.values())])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=12, help="length of the clip")
    parser.add_argument("--pairs", type=int, default=3, help="A B pairs")
    parser.add_argument("--reencode-source", action="store_true", help="a 1080p rung on top")
    parser.add_argument("--streams", type=int, default=2, help="streams at once")
    parser.add_argument("--no-realtime", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitrina-bench-") as folder:
        source = make_clip(Path(folder), arguments.seconds)
        figures = compare(source, arguments) if arguments.pairs else {}
        if not arguments.no_realtime:
            fmt, packets = read_clip(source)
            figures["realtime"] = asyncio.run(realtime(fmt, packets, arguments.streams))
    emit("ladder", figures)


if __name__ == "__main__":
    main()
