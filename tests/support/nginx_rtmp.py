"""A real nginx with its RTMP module, as a target and an independent reader of what we push."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support.server import free_port, wait_for

MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
CONFIG = """
{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log info;
load_module {module};
events {{ worker_connections 64; }}
rtmp {{ access_log off; server {{ listen 127.0.0.1:{port}; chunk_size 4096;
  application live {{ live on; hls on; hls_path {folder}/hls; hls_fragment 2s;
    hls_playlist_length 60s; }} }} }}
"""


def available() -> bool:
    return shutil.which("nginx") is not None and MODULE.exists()


class NginxRtmp:
    """Takes any key; `playlist` is what it makes of the one that was pushed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "hls").mkdir(parents=True)
        user = "user root; " if os.geteuid() == 0 else ""
        text = CONFIG.format(user=user, folder=folder, port=self.port, module=MODULE)
        (folder / "nginx.conf").write_text(text)
        self.process = subprocess.Popen(
            ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for((folder / "nginx.pid").exists, 10, "the start of nginx")

    @property
    def url(self) -> str:
        return f"rtmp://127.0.0.1:{self.port}/live"

    @property
    def log(self) -> str:
        return (self.folder / "error.log").read_text(errors="replace")

    def segments(self, key: str) -> list[Path]:
        """Finished segments, oldest first."""
        playlist = self.folder / "hls" / f"{key}.m3u8"
        if not playlist.exists():
            return []
        names = [line for line in playlist.read_text().splitlines() if line.endswith(".ts")]
        return [playlist.parent / name for name in names]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
