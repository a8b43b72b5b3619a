"""Where the database is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitrina.datafile import keep_private

pytestmark = pytest.mark.component


def test_what_a_killed_version_left_beside_the_database_becomes_private(tmp_path: Path) -> None:
    names = ("x.sqlite3", "x.sqlite3-wal", "x.sqlite3-shm")
    for name in names:
        (tmp_path / name).touch(mode=0o644)
        (tmp_path / name).chmod(0o644)
    keep_private(tmp_path / "x.sqlite3")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in names} == {0o600}
    keep_private(tmp_path / "new.sqlite3")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.sqlite3", *sorted(names)]
