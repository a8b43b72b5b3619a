"""The command from outside: arguments in, exit code and text out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.component

ROOT = Path(__file__).parents[2]


def vitrina(
    *arguments: str, data: Path, typed: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VITRINA_")}
    return subprocess.run(
        [sys.executable, "-m", "vitrina", *arguments],
        cwd=ROOT,
        env={**clean, "VITRINA_DATA_DIR": str(data), **environ},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_streams_live_from_add_to_remove(tmp_path: Path) -> None:
    added = vitrina("streams", "add", "shop", data=tmp_path)
    assert added.returncode == 0
    key = added.stdout.strip()
    assert len(key) >= 32
    assert vitrina("streams", "list", data=tmp_path).stdout.split() == ["shop"]
    again = vitrina("streams", "add", "shop", data=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "error: there is a stream 'shop' already\n"
    rotated = vitrina("streams", "rotate-key", "shop", data=tmp_path)
    assert rotated.stdout.strip() not in ("", key)
    assert key.encode() not in (tmp_path / "vitrina.sqlite3").read_bytes()
    backup = vitrina("streams", "rotate-key", "shop", "--backup", data=tmp_path)
    assert backup.stdout.strip() not in ("", key, rotated.stdout.strip())
    two = vitrina("streams", "add", "pair", "--backup", data=tmp_path).stdout.split()
    assert len(set(two)) == 2
    assert vitrina("streams", "remove", "shop", data=tmp_path).returncode == 0
    gone = vitrina("streams", "remove", "shop", data=tmp_path)
    assert (gone.returncode, gone.stderr) == (1, "error: there is no stream 'shop'\n")


def test_managing_streams_loads_no_server(tmp_path: Path) -> None:
    script = """
import sys
from vitrina.__main__ import main
sys.argv = ["vitrina", "streams", "list"]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "VITRINA_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = done.stdout.split()
    assert {"storage", "vitrina"} <= set(loaded)
    assert not {"aiohttp", "aiortc", "av", "delivery", "ingest"} & set(loaded)


def test_tokens(tmp_path: Path) -> None:
    made = vitrina("tokens", "add", "--role", "producer", "--stream", "shop", data=tmp_path)
    assert made.returncode == 0
    assert len(made.stdout.strip()) >= 32
    token = made.stdout
    assert vitrina("tokens", "remove", data=tmp_path, typed=token).returncode == 0
    gone = vitrina("tokens", "remove", data=tmp_path, typed=token)
    assert (gone.returncode, gone.stderr) == (1, "error: there is no such token in the database\n")
    refused = vitrina("tokens", "add", "--role", "owner", data=tmp_path)
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: --role: 'owner' is neither producer nor admin\n",
    )


def test_a_bad_configuration_lists_everything_and_exits_2(tmp_path: Path) -> None:
    done = vitrina(
        "serve",
        "--set",
        "http.prot=1",
        data=tmp_path,
        VITRINA_RTMP__PORT="none",
        VITRINA_AUTH__ADMIN_TOKNE="s3cret",
    )
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert "error: http.prot: is not a setting; did you mean port? (--set)" in lines
    assert "s3cret" not in done.stderr


def test_unknown_options_exit_2(tmp_path: Path) -> None:
    assert vitrina("serve", "--nope", data=tmp_path).returncode == 2


def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = vitrina(
            *("serve", "--set", "http.host=127.0.0.1", "--set", f"http.port={port}"),
            *("--set", "rtmp.port=0"),
            data=tmp_path,
        )
    assert done.returncode == 1
    assert "set http.port, rtmp.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_cannot_be_used_are_named_in_one_line(tmp_path: Path) -> None:
    done = vitrina(
        *("serve", "--set", "http.host=127.0.0.1", "--set", "http.port=0", "--set", "rtmp.port=0"),
        *("--set", f"restream.tls_certificates={tmp_path}/none.pem"),
        data=tmp_path,
    )
    assert done.returncode == 1
    assert f"restream.tls_certificates {tmp_path}/none.pem cannot be used: No such" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_what_stands_in_the_way(tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        datagrams.bind(("127.0.0.1", 0))
        udp = datagrams.getsockname()[1]
        done = vitrina(
            *("doctor", "--set", "http.host=127.0.0.1", "--set", f"http.port={port}"),
            *("--set", "rtmp.port=0"),
            *("--set", f"whip.ports={udp}", "--set", "whip.addresses=203.0.113.7"),
            data=tmp_path,
        )
    assert done.returncode == 1
    assert f"FAIL  UDP ports (whip): 0 of 1 from {udp} to {udp} free" in done.stdout
    assert "mend: --set whip.ports=FIRST-LAST" in done.stdout
    assert "WebRTC peers: 203.0.113.7" in done.stdout
    assert f"FAIL  port {port} (http)" in done.stdout
    assert "ok    codecs: PyAV" in done.stdout
    assert "ok    encoder: libx264" in done.stdout


def test_doctor_tries_the_encoder_and_the_certificate(tmp_path: Path) -> None:
    (tmp_path / "pair.pem").write_text("no certificate")
    done = vitrina(
        *("doctor", "--set", "http.port=0", "--set", "rtmp.port=0", "--set", "rtmp.tls_port=0"),
        *("--set", f"rtmp.tls_certificate={tmp_path}/pair.pem"),
        *("--set", f"rtmp.tls_key={tmp_path}/pair.pem", "--set", "ladder.encoder=libx265"),
        *("--set", f"slate.image={tmp_path}/none.png"),
        data=tmp_path,
    )
    assert done.returncode == 1
    assert "FAIL  encoder: libx265 does not open: libx265 makes no H.264" in done.stdout
    assert "mend: --set ladder.encoder=libx264" in done.stdout
    assert "ok    port 0 (rtmps): free" in done.stdout
    assert f"FAIL  certificate (rtmps): rtmp.tls_certificate {tmp_path}/pair.pem" in done.stdout
    assert f"FAIL  slate.image: {tmp_path}/none.png: No such file or directory" in done.stdout
