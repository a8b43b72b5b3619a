"""`./run test`: its verdict is the tests', whatever else the script keeps in variables."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.component

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("body", "verdict"),
    [("assert True", 0), ("assert False", 1)],
)
def test_the_exit_code_is_that_of_the_tests(tmp_path: Path, body: str, verdict: int) -> None:
    if not (ROOT / ".venv" / ".vitrina-dev").exists():
        pytest.skip("the tests run outside ./run's environment: it would be installed first")
    file = tmp_path / "test_one.py"
    file.write_text(f"def test_one():\n    {body}\n")
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    done = subprocess.run(
        [ROOT / "run", "test", "-p", "no:cacheprovider", str(file)],
        check=False,
        env=environment | {"VITRINA_NO_APT": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == verdict, done.stdout + done.stderr
