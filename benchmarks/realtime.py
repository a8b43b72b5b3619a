"""How long a stream's packets take from the encoder to those who watch without a segment's delay.

    python -m benchmarks.realtime [--seconds 20]

One stream with its real worker in this process, fed in real time with 720p30 H.264 and AAC; a
listener on its feed (`media.realtime`). Sound is encoded to Opus; its delay counts from the
arrival of the AAC that holds a packet's beginning, so the packet's own 20 ms are in it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import subprocess
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import imageio_ffmpeg

from benchmarks._common import emit, percentile, table
from config.settings import Settings
from media.bitstream import describe
from media.hls.seams import NoMetadata
from media.meter import NoMeter
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat
from media.realtime import OPUS
from media.stream import Stream
from media.tap import Tap
from media.transcode.process import Transcoder

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from media.clock import ShowClock
    from media.show import Show
    from media.transcode.sink import RungSink

BUDGET_MS = {"source": 2.0, OPUS: 60.0}
"""p95 by rung; `RUNG_MS` for what the worker makes."""
RUNG_MS = 80.0
WARM_S = 3.0
"""The worker starts, and the first packets are settled."""
CODECS = {"h264": Codec.H264, "aac": Codec.AAC}


class Host:
    """What a stream needs of its server (`media.stream.Host`)."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.settings = Settings()
        self.meter = NoMeter()
        self.worker: Transcoder | None = None
        self._tasks = tasks

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def utc_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def new_run_id(self) -> str:
        return secrets.token_hex(4)

    def metadata(self, stream: str, clock: ShowClock) -> NoMetadata:
        del stream, clock
        return NoMetadata()

    def encoders(self, stream: str, sink: RungSink) -> Transcoder:
        self.worker = Transcoder(
            stream=stream,
            settings=self.settings.ladder,
            limits=self.settings.limits,
            sink=sink,
            meter=self.meter,  # type: ignore[arg-type]  # answers every call
        )
        return self.worker

    def tap(self, stream: str) -> Tap:
        del stream
        return Tap()

    def start(self, show: Show) -> None:
        run: Coroutine[object, object, None] = show.run()
        self._tasks.create_task(run)


class Watch:
    """Notes the delay of every packet (`media.realtime.RealtimeListener`)."""

    def __init__(self) -> None:
        self.delays_ms: dict[str, list[float]] = defaultdict(list)
        self.from_ns = time.monotonic_ns() + int(WARM_S * 1e9)

    def formats(self, rung: str, track_format: TrackFormat) -> None:
        """Every rung is watched."""

    def packet(self, rung: str, packet: Packet) -> None:
        now_ns = time.monotonic_ns()
        if now_ns >= self.from_ns:
            self.delays_ms[rung].append((now_ns - packet.arrived_ns) / 1e6)

    def gone(self, rung: str) -> None:
        raise RuntimeError(f"{rung} is gone")

    def ended(self) -> None:
        """The run is over."""


def make_clip(folder: Path, seconds: int) -> Path:
    path = folder / "source.mp4"
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"),
        *("-f", "lavfi", "-t", str(seconds), "-i", "testsrc2=s=1280x720:r=30"),
        *("-f", "lavfi", "-t", str(seconds), "-i", "sine=frequency=440:sample_rate=48000"),
        *("-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-g", "60", "-bf", "0"),
        *("-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2", "-b:a", "128k", str(path)),
    ]
    subprocess.run(command, check=True)
    return path


def read_clip(path: Path) -> tuple[list[TrackFormat], list[tuple[int, Packet]]]:
    """Return formats, and packets with when they are whole: sound when its last sample is."""
    found = []
    with av.open(str(path)) as container:
        formats = [
            describe(CODECS[stream.codec_context.name], stream.codec_context.extradata or b"")
            for stream in container.streams
        ]
        for item in container.demux():
            if item.dts is None or item.pts is None or item.dts < 0:
                continue
            codec, scale = CODECS[item.stream.codec_context.name], item.time_base * 90_000
            packet = Packet(
                track=0,
                codec=codec,
                dts=int(item.dts * scale),
                pts=int(item.pts * scale),
                key=item.is_keyframe,
                payload=bytes(item),
                arrived_ns=0,
            )
            length = 1920 if packet.kind is Kind.AUDIO else 0
            found.append((packet.dts + length, packet))
    return formats, sorted(found, key=lambda pair: pair[0])


async def measure(formats: list[TrackFormat], packets: list[tuple[int, Packet]]) -> Watch:
    async with asyncio.TaskGroup() as tasks:
        host = Host(tasks)
        stream = Stream("s", host)  # type: ignore[arg-type]  # the meter answers every call
        watch = Watch()
        stream.realtime.add(watch)
        publication = stream.publish(
            protocol="rtmp", wrap_ticks=2**32 * 90, on_revoked=lambda _text: None
        )
        for track_format in formats:
            publication.set_format(0, track_format)
        start_ns = time.monotonic_ns()
        for at, packet in packets:
            wait_s = at / TICKS_PER_SECOND - (time.monotonic_ns() - start_ns) / 1e9
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            publication.push(replace(packet, arrived_ns=time.monotonic_ns()))
        stream.realtime.remove(watch)
        stream.end()
    return watch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=20, help="length of the clip")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitrina-bench-") as folder:
        formats, packets = read_clip(make_clip(Path(folder), arguments.seconds))
    watch = asyncio.run(measure(formats, packets))
    rows, figures, missed = [], {}, {"source", OPUS} - set(watch.delays_ms)
    for rung, delays in sorted(watch.delays_ms.items()):
        p50, p95 = percentile(delays, 50), percentile(delays, 95)
        budget = BUDGET_MS.get(rung, RUNG_MS)
        if p95 > budget:
            missed.add(rung)
        rows.append([rung, len(delays), f"{p50:.2f}", f"{p95:.2f}", f"{max(delays):.2f}", budget])
        figures[rung] = {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}
    table(["rung", "packets", "p50 ms", "p95 ms", "max ms", "budget p95"], rows)
    emit("realtime", {"rungs": figures, "missed": sorted(missed)})
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
