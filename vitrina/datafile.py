"""Where the database is, and that nobody else reads it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from config.load import data_dir
from storage.database import sqlite_url

if TYPE_CHECKING:
    from pathlib import Path

    from config.settings import Settings

log = structlog.get_logger(__name__)


def database_url(settings: Settings) -> str:
    """Return the configured URL, or SQLite in the data directory, which is made."""
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    directory = data_dir(settings)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "vitrina.sqlite3"
    keep_private(path)
    return sqlite_url(path)


def keep_private(path: Path) -> None:
    """Make the database file readable to its owner alone: it holds the keys of targets.

    SQLite gives the files beside it the same mode when it makes them; those of a version that was
    killed are there. What another user owns stays as it is.
    """
    try:
        path.touch(mode=0o600)
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            with suppress(FileNotFoundError):
                path.with_name(name).chmod(0o600)
    except PermissionError:
        log.warning("the database file may be readable to others", path=str(path))
