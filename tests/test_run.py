"""`./run test`: its verdict is the tests', whatever else the script keeps in variables."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.component

ROOT = Path(__file__).parents[1]


# Each notes how often it ran, and passes from the `bar`-th time on.
TESTS = """
from pathlib import Path

import pytest


def attempt(name, bar):
    times = Path(__file__).with_name(name)
    with times.open("a") as file:
        file.write("x")
    assert len(times.read_text()) >= bar


@pytest.mark.unit
def test_one():
    attempt("unit", {unit})


@pytest.mark.{browser}
def test_two():
    attempt("e2e", {e2e})


@pytest.mark.{browser}
def test_three():
    attempt("steady", 1)
"""


@pytest.mark.parametrize(
    ("unit", "e2e", "verdict", "attempts"),
    [(2, 2, 0, ("xx", "xx", "x")), (3, 1, 1, ("xx", "x", "x"))],
    ids=["passes at last", "stays broken"],
)
def test_the_verdict_is_that_of_the_tests_at_their_second_attempt(
    tmp_path: Path, unit: int, e2e: int, verdict: int, attempts: tuple[str, ...]
) -> None:
    if not (ROOT / ".venv" / ".vitrina-dev").exists():
        pytest.skip("the tests run outside ./run's environment: it would be installed first")
    file = tmp_path / "test_one.py"
    file.write_text(TESTS.format(unit=unit, e2e=e2e, browser="e2e"))
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    done = subprocess.run(
        [ROOT / "run", "test", "-o", f"cache_dir={tmp_path / 'cache'}", file],
        check=False,
        env=environment | {"VITRINA_NO_APT": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == verdict, done.stdout + done.stderr
    assert tuple((tmp_path / name).read_text() for name in ("unit", "e2e", "steady")) == attempts
    assert ("passed only when run again" in done.stderr) == (verdict == 0)
