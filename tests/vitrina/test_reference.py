from __future__ import annotations

import re
from pathlib import Path

import pytest

from vitrina.reference import generated
from vitrina.telemetry import Telemetry

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def test_generated_documentation_is_current() -> None:
    stale = [str(path) for path, text in generated().items() if path.read_text("utf-8") != text]
    assert stale == [], "run ./run docs"


def test_every_metric_that_the_documents_name_exists() -> None:
    known = {name for name, _, _ in Telemetry().reference()}
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        named = set(re.findall(r"`(vitrina_[a-z_]+)`", path.read_text("utf-8")))
        assert named <= known, f"{path.name}: {sorted(named - known)}"
