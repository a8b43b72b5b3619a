"""`vitrina doctor`: what this machine lacks, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from config.listening import bound_to
from config.load import data_dir
from ingest.rtmp.tls import Certificate, CertificateUnusable
from media.transcode.encoders import pixel_format
from vitrina.runner import raise_open_files
from webrtc.ice import own_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings

MIN_DESCRIPTORS = 4096
MIN_FREE_BYTES = 1 << 30
MIN_CORES = 2
_CODECS = """
import av
for name in ("libx264", "aac", "libopus"):
    av.Codec(name, "w")
for name in ("h264", "hevc", "libdav1d", "vp9", "vp8", "aac", "opus"):
    av.Codec(name, "r")
print(av.__version__)
"""
"""Runs in another process: the codecs' library is loaded by the transcoder only."""
_ENCODER = """
import sys
from fractions import Fraction
import av
name, pixels = sys.argv[1:]
if av.Codec(name, "w").canonical_name != "h264":
    sys.exit(f"{name} makes no H.264")
context = av.CodecContext.create(name, "w")
context.width, context.height, context.pix_fmt = 640, 360, pixels
context.framerate, context.time_base = Fraction(30), Fraction(1, 30)
context.open()
"""
"""As above; a hardware encoder that has no device here does not open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question."""

    what: str
    state: str
    mend: str = ""
    """The command or setting that helps; empty where all is well."""
    serious: bool = False
    """Without it the server does not do its job."""

    def __str__(self) -> str:
        mark = "FAIL" if self.serious else ("warn" if self.mend else "ok")
        line = f"{mark:4}  {self.what}: {self.state}"
        return f"{line}\n      mend: {self.mend}" if self.mend else line


def examine(settings: Settings) -> list[Finding]:
    """Look at everything once; touches nothing but a probe file in the data directory."""
    found: list[Finding] = [_python(), _codecs()]
    if settings.ladder.enabled:
        found.append(_encoder(settings.ladder.encoder))
    found += [_loop(), _front_end()]
    found += _data(settings)
    found += _ports(settings)
    found += _certificate(settings)
    found += _files(settings)
    found += _webrtc(settings)
    found += [_descriptors(), _cores()]
    return found


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(what="Python", state=version)


def _codecs() -> Finding:
    printed, reason = _run(_CODECS)
    if reason is None:
        return Finding(what="codecs", state=f"PyAV {printed}")
    return Finding(
        what="codecs",
        state=reason,
        mend=f"{sys.executable} -m pip install --force-reinstall --only-binary :all: av",
        serious=True,
    )


def _encoder(name: str) -> Finding:
    _, reason = _run(_ENCODER, name, pixel_format(name))
    if reason is None:
        return Finding(what="encoder", state=name)
    return Finding(
        what="encoder",
        state=f"{name} does not open: {reason}",
        mend="--set ladder.encoder=libx264",
        serious=True,
    )


def _run(script: str, *arguments: str) -> tuple[str, str | None]:
    """Return what a script prints, and why it failed, None where it did not."""
    # Fixed code, no shell, this very interpreter.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 0:
        return done.stdout.strip(), None
    return "", (done.stderr.strip().splitlines() or ["it did not start"])[-1]


def _loop() -> Finding:
    if importlib.util.find_spec("uvloop") is not None:
        return Finding(what="event loop", state=f"uvloop {importlib.metadata.version('uvloop')}")
    return Finding(what="event loop", state="asyncio's own, slower", mend="pip install uvloop")


def _front_end() -> Finding:
    static = Path(__file__).parents[1] / "delivery" / "static" / "vitrina-player.js"
    if static.is_file():
        return Finding(what="player", state="built")
    return Finding(
        what="player",
        state="not built; pages fall back to the browser's own HLS",
        mend="./run web (needs the npm registry)",
    )


def _data(settings: Settings) -> Iterator[Finding]:
    folder = data_dir(settings)
    probe = folder / ".doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as err:
        yield Finding(
            what="data directory",
            state=f"{folder}: {err.strerror}",
            mend="set VITRINA_DATA_DIR to a folder this user may write",
            serious=True,
        )
        return
    free = shutil.disk_usage(folder).free
    state = f"{folder.resolve()}, {free / 2**30:.1f} GiB free"
    little = free < MIN_FREE_BYTES
    mend = "free space, or set VITRINA_DATA_DIR to a larger disk" if little else ""
    yield Finding(what="data directory", state=state, mend=mend)


def _ports(settings: Settings) -> Iterator[Finding]:
    http, rtmp = settings.http, settings.rtmp
    wanted = [("http", "http.port", http.host, http.port)]
    if rtmp.enabled:
        wanted.append(("rtmp", "rtmp.port", rtmp.host, rtmp.port))
        if rtmp.tls_certificate is not None:
            wanted.append(("rtmps", "rtmp.tls_port", rtmp.host, rtmp.tls_port))
    for protocol, setting, host, port in wanted:
        what = f"port {port} ({protocol})"
        try:
            host = bound_to(host) or ""
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as err:
            yield Finding(
                what=what,
                state=str(err.strerror),
                mend=f"stop what listens there, or --set {setting}=…",
                serious=True,
            )
        else:
            yield Finding(what=what, state="free")


def _certificate(settings: Settings) -> Iterator[Finding]:
    rtmp = settings.rtmp
    if not rtmp.enabled or rtmp.tls_certificate is None or rtmp.tls_key is None:
        return
    what = "certificate (rtmps)"
    try:
        Certificate(rtmp.tls_certificate, rtmp.tls_key)
    except CertificateUnusable as err:
        yield Finding(
            what=what,
            state=str(err),
            mend="name readable PEM files that belong together; the key without a pass phrase",
            serious=True,
        )
    else:
        yield Finding(what=what, state=str(rtmp.tls_certificate))


def _files(settings: Settings) -> Iterator[Finding]:
    named = [
        ("slate.image", settings.slate.image),
        ("slate.font", settings.slate.font),
        ("restream.tls_certificates", settings.restream.tls_certificates),
        *((f"slate_image of {each.name}", each.slate_image) for each in settings.streams.list),
    ]
    for setting, path in named:
        if path is None:
            continue
        try:
            path.open("rb").close()
        except OSError as err:
            mend = "correct the path, or let this user read the file"
            state = f"{path}: {err.strerror}"
            yield Finding(what=setting, state=state, mend=mend, serious=True)
        else:
            yield Finding(what=setting, state=str(path))


def _webrtc(settings: Settings) -> Iterator[Finding]:
    whip = settings.whip
    if not whip.enabled and not whip.whep_enabled:
        return
    first, last = whip.port_range
    if last:
        ports = range(first, last + 1)
        free = sum(map(_free_udp, ports))
        wanted = whip.max_sessions * whip.enabled + whip.whep_max_viewers * whip.whep_enabled
        few = free < wanted
        yield Finding(
            what="UDP ports (whip)",
            state=f"{free} of {len(ports)} from {first} to {last} free, {wanted} sessions allowed",
            mend="--set whip.ports=FIRST-LAST with more free ports" if few else "",
            serious=not free,
        )
    told = list(whip.addresses) or own_addresses()
    public = any(ip_address(each).is_global for each in told)
    yield Finding(
        what="addresses told to WebRTC peers",
        state=", ".join(told)
        + ("" if public else "; peers out of this network need whip.addresses"),
    )


def _free_udp(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _descriptors() -> Finding:
    limit = raise_open_files()
    if limit is None:
        return Finding(what="open files", state="not limited here")
    mend = "" if limit >= MIN_DESCRIPTORS else f"ulimit -n {MIN_DESCRIPTORS} (LimitNOFILE=)"
    return Finding(what="open files", state=f"at most {limit}", mend=mend)


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = count or 1
    mend = "" if cores >= MIN_CORES else "--set ladder.rungs=[] (source only), or more cores"
    return Finding(what="cores", state=str(cores), mend=mend)
