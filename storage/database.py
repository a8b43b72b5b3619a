"""One database: SQLite in a file by default, PostgreSQL by URL.

SQLite has a single writer. Write transactions are short, start with `BEGIN IMMEDIATE` (so that
they fail or wait at their first statement, never at their last) and never span a network wait.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from config.load import Misconfigured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

log = structlog.get_logger(__name__)

BUSY_TIMEOUT_MS = 2000
"""How long a SQLite write waits for another process's transaction."""
POOL_SIZE = 4
POOL_TIMEOUT_S = 5.0
_WRITES = "vitrina_writes"


class DatabaseUnavailable(Exception):
    """The database could not be read or written; the text says why and what to do."""


class DatabaseMisconfigured(Misconfigured):
    """The database URL cannot be used; the text never repeats the URL (it may hold a password)."""


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()


def _async_url(url: str) -> URL:
    """Choose the asyncio driver: bare `postgresql://` would mean another one to SQLAlchemy."""
    try:
        parsed = make_url(url)
    except ArgumentError as err:
        raise DatabaseMisconfigured("database.url is not a database URL") from err
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+asyncpg")
    raise DatabaseMisconfigured(
        f"database.url names {backend!r}; this server works with sqlite and postgresql"
    )


class Database:
    """An engine and its two kinds of transaction. `dispose` joins the driver's threads."""

    def __init__(self, url: str) -> None:
        """Open nothing yet. Raises `DatabaseMisconfigured`."""
        address = _async_url(url)
        sqlite = address.get_backend_name() == "sqlite"
        self._file = Path(address.database) if sqlite and address.database else None
        try:
            self.engine: AsyncEngine = create_async_engine(
                address,
                pool_size=POOL_SIZE,
                max_overflow=0,
                pool_timeout=POOL_TIMEOUT_S,
                pool_pre_ping=not sqlite,
                hide_parameters=True,  # keys of targets are among them
            )
        except ImportError as err:
            raise DatabaseMisconfigured(
                "PostgreSQL needs the driver asyncpg: install vitrina[postgresql]"
            ) from err
        if sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a read transaction. Raises `DatabaseUnavailable`."""
        async with self._transaction(writes=False) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a write transaction: committed at the end, rolled back on any exception.

        Raises `DatabaseUnavailable`; then nothing was written.
        """
        async with self._transaction(writes=True) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        # The driver's thread outlives a failed open for a moment, and complains at exit.
        if self._file is not None and not self._file.parent.is_dir():
            raise DatabaseUnavailable(_sentence("unable to open"))
        try:
            async with self.engine.connect() as plain:
                connection = await plain.execution_options(**{_WRITES: writes})
                async with connection.begin():
                    yield connection
        except DBAPIError as err:
            # The driver's own words, without the statement and its values.
            log.error("database failed", reason=str(err.orig))
            raise DatabaseUnavailable(_sentence(str(err.orig))) from err
        except (SQLAlchemyError, OSError) as err:
            raise DatabaseUnavailable(f"the database failed: {type(err).__name__}") from err

    async def dispose(self) -> None:
        """Close every connection and join the driver's threads."""
        await self.engine.dispose()


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    # The driver's own implicit BEGIN would come too late and be deferred: `_begin_sqlite` decides.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _sentence(reason: str) -> str:
    """Say what a person can do about the driver's words."""
    lowered = reason.lower()
    if "is full" in lowered or "no space" in lowered:
        return "the disk that holds the database is full; free some space and send it again"
    if "disk i/o error" in lowered:
        return "the database cannot be written; check the disk and its quota, then send it again"
    if "locked" in lowered or "busy" in lowered:
        return "the database is locked by another process; send it again in a moment"
    if "readonly" in lowered or "read-only" in lowered:
        return "the database is read-only; check who owns the data directory"
    if "unable to open" in lowered:
        return "the database file cannot be opened; check the data directory"
    if "malformed" in lowered or "not a database" in lowered:
        return "the database file is damaged; restore it from a backup"
    return "the database failed; the server's log has its words"
