"""RTMPS: a real ffmpeg pushes over TLS; certificates change under running connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest
from pydantic import ValidationError

from config.settings import RtmpSettings
from ingest.rtmp.tls import Certificate, CertificateUnusable
from tests.ingest.rtmp.support import Peer, running
from tests.support.certificates import make_certificate

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(
        shutil.which("openssl") is None, reason="needs openssl to make certificates"
    ),
]


async def presented(port: int) -> bytes:
    """The certificate that a new connection is shown, in DER."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return bytes(shown)


def der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


async def test_ffmpeg_publishes_over_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    async with running(tls_port=0, tls_certificate=certificate, tls_key=key) as server:
        assert server.server.tls_port not in (None, server.server.port)
        process = await asyncio.create_subprocess_exec(
            imageio_ffmpeg.get_ffmpeg_exe(),
            *("-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10", "-t", "2"),
            *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-f", "flv"),
            *("-tls_verify", "0", f"rtmps://127.0.0.1:{server.server.tls_port}/live/good"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        publication = server.gate.publications[0]
        await server.until(lambda: bool(publication.closed))
        assert len(publication.packets) == 20
        assert server.gate.protocols == ["rtmps"]


async def test_a_renewed_certificate_reaches_new_connections_only(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "live")
    old = der(certificate)
    new_certificate, new_key = make_certificate(tmp_path, "next")
    async with running(tls_port=0, tls_certificate=certificate, tls_key=key) as server:
        port = server.server.tls_port
        assert port is not None
        assert await presented(port) == old
        peer = await server.connect()
        await peer.publish("good")
        # Half of a pair is not taken over.
        new_certificate.replace(certificate)
        await asyncio.sleep(0)
        new_key.replace(key)
        async with asyncio.timeout(10):
            while await presented(port) == old:
                await asyncio.sleep(0.05)
        assert await presented(port) == der(certificate)
        assert server.gate.publications[0].closed == []


async def test_plain_rtmp_on_the_tls_port_harms_nobody(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    async with running(tls_port=0, tls_certificate=certificate, tls_key=key) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.tls_port)
        writer.write(b"\x03" + bytes(1536))
        async with asyncio.timeout(10):
            while await reader.read(4096):
                pass
        writer.close()
        peer = await server.connect()
        await peer.publish("good")
        assert server.gate.publications


def test_half_a_pair_keeps_the_old_certificate(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    other, _ = make_certificate(tmp_path, "two")
    loaded = Certificate(certificate, key)
    other.replace(certificate)
    loaded.refresh()
    with pytest.raises(CertificateUnusable, match=r"rtmp\.tls_certificate .* cannot be used"):
        Certificate(certificate, key)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateUnusable, match=r"none\.pem .* No such file"):
        Certificate(tmp_path / "none.pem", tmp_path / "none.key")


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValidationError, match="given together or not at all"):
        RtmpSettings(tls_certificate=Path("cert.pem"))


async def half_open_handshakes_count(certificate: Path, key: Path) -> None:
    tls = {"tls_port": 0, "tls_certificate": certificate, "tls_key": key}
    async with running(max_connections=3, handshake_timeout_s=0.5, **tls) as server:
        port = server.server.tls_port
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await server.until(lambda: server.meter.opened == 3)
        # Neither listener takes a fourth while the three say nothing.
        refused = await server.connect()
        assert await refused.until_closed() == b""
        assert server.meter.rejections["limit"] == 1
        async with asyncio.timeout(10):
            for reader, writer in idle:
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
        await server.until(lambda: server.meter.closed["rejected"] == 3)
        assert server.meter.rejections == {"limit": 1, "tls": 3}
        # Their places are free again, and what comes right behind the handshake is not lost.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for _ in range(3):
            peer = Peer(*await asyncio.open_connection("127.0.0.1", port, ssl=context))
            await peer.publish("good")
            peer.close()
            closed = server.meter.closed.total()
            await server.until(lambda closed=closed: server.meter.closed.total() > closed)
        # A stop ends handshakes that are under way.
        await asyncio.open_connection("127.0.0.1", port)
        await server.until(lambda: server.meter.opened == 7)


async def test_half_open_handshakes_count(tmp_path: Path) -> None:
    await half_open_handshakes_count(*make_certificate(tmp_path, "one"))


def test_half_open_handshakes_count_under_uvloop(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(half_open_handshakes_count(*make_certificate(tmp_path, "one")))


async def test_a_stranger_is_cut_ahead_of_the_handshake(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    tls = {"tls_port": 0, "tls_certificate": certificate, "tls_key": key}
    async with running(allow=["192.0.2.0/24"], **tls) as server:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", server.server.tls_port))
        assert await peer.until_closed() == b""
        assert server.meter.rejections == {"address": 1}
        assert server.meter.opened == 0


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "locked")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-out", locked, "-aes128", "-passout", "pass:secret"],
        check=True,
        capture_output=True,
    )
    # In a process with a terminal of its own, where OpenSSL would ask for the password.
    script = (
        "import sys; from pathlib import Path; from ingest.rtmp.tls import Certificate\n"
        "try: Certificate(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except ValueError as error: print(error)\n"
    )
    leader, follower = pty.openpty()
    try:
        asked = subprocess.run(
            [sys.executable, "-c", script, certificate, locked],
            check=True,
            stdin=follower,
            capture_output=True,
            start_new_session=True,
            timeout=20,
            text=True,
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert "cannot be used" in asked.stdout, asked.stderr
    assert "pass phrase" not in asked.stderr
