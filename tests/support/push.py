"""Real ffmpeg publishers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import IO

import imageio_ffmpeg

VIDEO = {
    "h264": ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0"],
    "h264_b": ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2"],
    "h264_10": ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"],
    "h264_422": ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p"],
    "hevc": [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        "log-level=error:bframes=0",
    ],
    "hevc_pq": [
        "-vf",
        (
            "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=smpte2084"
            ":colorspace=bt2020nc:range=tv"
        ),
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        (
            "log-level=error:bframes=0:hdr10=1:max-cll=1000,400"
            ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
        ),
    ],
    "av1": ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0"],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
}
AUDIO = {
    "aac": ["-c:a", "aac", "-b:a", "96k"],
    "opus": ["-c:a", "libopus", "-b:a", "96k"],
    "mp3": ["-c:a", "libmp3lame", "-b:a", "96k"],
    "flac": ["-c:a", "flac"],
    "ac3": ["-c:a", "ac3", "-b:a", "192k"],
    "eac3": ["-c:a", "eac3", "-b:a", "192k"],
}


class Publisher:
    """An ffmpeg process that pushes a synthetic picture and tone in real time."""

    def __init__(
        self,
        url: str,
        *,
        video: str | None = "h264",
        audio: str | None = "aac",
        size: str = "640x360",
        rate: int = 30,
        gop_s: float = 2.0,
        bitrate: str = "1200k",
        seconds: float | None = None,
        realtime: bool = True,
        extra: Sequence[str] = (),
        look: str = "",
    ) -> None:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "warning"]
        pace = ["-re"] if realtime else []
        if video:
            command += [*pace, "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}{look}"]
        if audio:
            command += [*pace, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
        if video:
            if video in ("h264", "h264_b", "hevc", "av1", "vp9"):
                command += ["-pix_fmt", "yuv420p"]
            command += [*VIDEO[video], "-g", str(round(rate * gop_s)), "-b:v", bitrate]
            if video.startswith("h264"):
                command += ["-keyint_min", str(round(rate * gop_s)), "-sc_threshold", "0"]
        if audio:
            command += [*AUDIO[audio], "-ac", "2"]
        if seconds is not None:
            command += ["-t", str(seconds)]
        command += [*extra, "-f", "flv", url]
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        """End it as a crash or a cut cable would: no FCUnpublish, no deleteStream."""
        self.process.kill()
        self.process.wait(5)

    def stop(self) -> None:
        """End it as a user would."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        self._log.close()
