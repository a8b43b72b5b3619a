"""Secrets never reach the log, not even in a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.component

SCRIPT = """
import structlog
from config.settings import LogSettings
from vitrina import logs

logs.configure(LogSettings(format={format!r}))
log = structlog.get_logger("test")

def fail(key):
    local = key
    raise RuntimeError("broken")

log.warning("masked", key="s3cr3t", stream="show")
try:
    fail("s3cr3t")
except RuntimeError:
    log.exception("failed")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_neither_fields_nor_tracebacks_show_a_key(form: str):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(format=form)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "RuntimeError: broken" in ran.stderr
    assert "show" in ran.stderr
    # The call's own source line is quoted in the traceback; its argument's value must not be.
    shown = [line for line in ran.stderr.splitlines() if "s3cr3t" in line]
    assert not [line for line in shown if 'fail("s3cr3t")' not in line]
