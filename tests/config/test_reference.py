from __future__ import annotations

from pathlib import Path

import pytest

from config.load import load_settings
from config.reference import default_toml, markdown, sections

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def test_every_key_says_what_it_means() -> None:
    silent = [
        f"{section}.{key}"
        for section, model in sections()
        for key, field in model.model_fields.items()
        if not (field.description or "").strip()
    ]
    assert silent == []


def test_types_are_said_in_words() -> None:
    assert "| `standby_return_s` | number, ≥ 0, ≤ 3600 or `manual` |" in markdown()
    assert "Union" not in markdown()


def test_the_default_file_holds_the_defaults(tmp_path: Path) -> None:
    lines = default_toml().splitlines()
    active = [
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in lines
    ]
    kept = [line for line in active if not line.rstrip().endswith("=")]
    file = tmp_path / "all.toml"
    file.write_text("\n".join(kept))
    assert load_settings(file=file) == load_settings()
    assert len(kept) > 60


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "examples").glob("*.toml")), ids=str)
def test_examples_are_valid(file: Path) -> None:
    load_settings(file=file)


def test_there_are_examples() -> None:
    assert len(list((ROOT / "config" / "examples").glob("*.toml"))) >= 2
