"""The proxy configuration that we document is one that nginx takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from config.settings import LimitsSettings
from delivery.api.products import IMPORT_BODIES

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx: apt install nginx"),
]

EXAMPLE = Path(__file__).parents[2] / "docs" / "nginx.conf"


def test_the_largest_body_gets_through() -> None:
    allowed = re.search(r"client_max_body_size (\d+)m;", EXAMPLE.read_text("utf-8"))
    assert allowed is not None
    assert int(allowed[1]) * 2**20 >= LimitsSettings().max_body_bytes * IMPORT_BODIES


def test_nginx_accepts_the_example(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=live.example.com", "-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    text = EXAMPLE.read_text("utf-8")
    for old, new in (
        ("/etc/ssl/certs/live.example.com.pem", str(certificate)),
        ("/etc/ssl/private/live.example.com.key", str(key)),
        ("/var/cache/nginx/vitrina", str(tmp_path / "cache")),
        ("events {", f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\nevents {{"),
    ):
        assert old in text
        text = text.replace(old, new)
    config = tmp_path / "nginx.conf"
    config.write_text(text)
    done = subprocess.run(
        ["nginx", "-t", "-p", str(tmp_path), "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
