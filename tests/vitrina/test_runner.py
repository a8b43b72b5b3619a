"""What the process is allowed before it begins."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.server import ROOT

pytestmark = pytest.mark.component

SCRIPT = """
import resource
from vitrina.runner import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
print(raise_open_files(), *resource.getrlimit(resource.RLIMIT_NOFILE), raise_open_files())
"""


def test_the_soft_limit_of_open_files_is_raised() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(hard=900)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split() == ["900"] * 4
