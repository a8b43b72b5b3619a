"""Bring the database to this version's schema, inside the process, at start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage.database import DatabaseMisconfigured

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from storage.database import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


async def upgrade(database: Database) -> None:
    """Run the migrations that are still missing, in one write transaction.

    Safe to run at every start, and by two processes at once. Raises `DatabaseUnavailable`, and
    `DatabaseMisconfigured` for a database that a newer version has changed.
    """
    async with database.write() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    # A `%` in the path would be read as interpolation.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if not known.issuperset(MigrationContext.configure(connection).get_current_heads()):
        raise DatabaseMisconfigured(
            "the database was made by a newer version: run that one, or restore the backup "
            "from before it was installed"
        )
    command.upgrade(config, "head")
