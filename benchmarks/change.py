"""H.264 720p, then HEVC 1080p, then H.264 540p, in one show, before a browser that watches.

    python -m benchmarks.change [--seconds 20] [--rate 30]

The clips are encoded beforehand and pushed as they are, so that the machine only serves. A real
server with the default ladder, whose worker decodes all of it and encodes the rungs (and `source`,
while the encoder sends what viewers may lack). What counts is the longest time between two
pictures on the page after each change: no more than a segment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imageio_ffmpeg

from benchmarks._common import emit, table
from benchmarks._rig import end, push_command, vitrina, wait_for, workspace
from tests.support.browser import CHROMIUM, Watch, watching
from tests.support.hls import Reader
from tests.support.judge import Judge
from tests.support.push import VIDEO
from tests.support.server import KEY, STREAM, Server

if TYPE_CHECKING:
    from pathlib import Path

BUDGET_S = 2.0
GOP_S = 2


@dataclass(frozen=True)
class Clip:
    """What one encoder sends; `height` and `codec` are those of the `source` rung it becomes."""

    name: str
    video: str
    size: str
    bitrate: str
    height: int


CLIPS = (
    Clip("H.264 720p", "h264", "1280x720", "2500k", 720),
    Clip("HEVC 1080p", "hevc", "1920x1080", "3000k", 1080),
    Clip("H.264 540p", "h264", "960x540", "1500k", 540),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="watched after each change")
    parser.add_argument("--rate", type=int, default=30, help="pictures a second")
    arguments = parser.parse_args()
    if not CHROMIUM.exists():
        print("needs Chromium: apt install chromium", file=sys.stderr)
        return 2
    with workspace() as folder:
        files = [make(clip, folder, arguments.rate, arguments.seconds + 20) for clip in CLIPS]
        with vitrina(folder / "vitrina", [(STREAM, KEY)], {}) as server:
            return measure(server, files, arguments.seconds)


def make(clip: Clip, folder: Path, rate: int, seconds: float) -> Path:
    """Encode what one encoder will send."""
    file = folder / f"{clip.height}.mkv"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    command += ["-f", "lavfi", "-i", f"testsrc2=size={clip.size}:rate={rate}"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(seconds)]
    command += ["-pix_fmt", "yuv420p", *VIDEO[clip.video], "-b:v", clip.bitrate]
    command += ["-g", str(rate * GOP_S), "-keyint_min", str(rate * GOP_S)]
    command += ["-c:a", "aac", "-b:a", "96k", "-ac", "2", str(file)]
    subprocess.run(command, check=True)
    return file


def measure(server: Server, files: list[Path], seconds: float) -> int:
    """Push one after the other, each taking over from the one before; report."""
    url = f"{server.rtmp}/{KEY}"
    reader = Reader(server)
    rows: list[tuple[object, ...]] = []
    longest: list[float] = []
    pusher = subprocess.Popen(push_command(files[0], url), stdin=subprocess.DEVNULL)
    try:
        server.wait_live()
        judge = Judge(server, [STREAM])
        with watching(f"{server.url}/watch/{STREAM}") as watch:
            watch.until("p.state === 'live' && p.playingDate !== null", 40)
            wait_for(lambda: watch.pictures() > 150, 30, "pictures")
            for clip, file in zip(CLIPS, files, strict=True):
                watch.clear()
                if clip is not CLIPS[0]:
                    before, pusher = pusher, subprocess.Popen(push_command(file, url))
                    end(before)
                rows.append(seen(watch, reader, clip, seconds, longest))
            faults = [line for line in watch.console if "pageerror" in line]
        judge.stop()
        broken = judge.errors(STREAM)
    finally:
        end(pusher)
    table(("encoder", "source rung", "after s", "standstills s", "pictures/s"), rows)
    for sentence in broken[:10]:
        print(sentence)
    figures = {
        "longest_standstill_s": round(max(longest), 3),
        "player_errors": len(faults),
        "rules_broken": len(broken),
    }
    emit("change", figures)
    return int(max(longest) > BUDGET_S or bool(faults))


def seen(
    watch: Watch, reader: Reader, clip: Clip, seconds: float, longest: list[float]
) -> tuple[object, ...]:
    """Watch for `seconds` after a change, and say what came."""
    began = time.monotonic()
    wait_for(
        lambda: reader.decode("source", segments=1).height == clip.height, 30, f"{clip.name} listed"
    )
    after_s = time.monotonic() - began
    codec = reader.decode("source", segments=1).codec
    watch.page.wait_for_timeout(max(0.0, seconds - after_s) * 1000)
    stills = [still / 1000 for still in watch.standstills()]
    longest.append(max(stills, default=0.0))
    rate = watch.pictures() / (time.monotonic() - began)
    state = watch.player("p.state")
    if state != "live":
        raise RuntimeError(f"the player says {state}")
    stood = ", ".join(f"{s:.2f}" for s in stills) or "-"
    return clip.name, f"{codec} {clip.height}p", f"{after_s:.1f}", stood, f"{rate:.1f}"


if __name__ == "__main__":
    sys.exit(main())
