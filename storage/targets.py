"""Where streams are pushed on to, with the keys there.

Unlike our own keys these must be said to others, so they are stored as they are: the database
file is readable to its owner alone, and no method but `list` ever gives a key back.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from storage.schema import restream_targets as targets

if TYPE_CHECKING:
    from storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    """A target as it is stored."""

    stream: str
    name: str
    url: str
    key: str = field(repr=False)
    enabled: bool
    codecs: tuple[str, ...]
    source: str


class TargetStore:
    """Targets by stream and name. Every method raises `DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[TargetRecord]:
        """Return all targets of all streams, by name."""
        query = select(targets).order_by(targets.c.stream, targets.c.name)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [
                TargetRecord(
                    stream=row.stream,
                    name=row.name,
                    url=row.url,
                    key=row.key,
                    enabled=bool(row.enabled),
                    codecs=tuple(json.loads(row.codecs)),
                    source=row.source,
                )
                for row in rows
            ]

    async def put(self, record: TargetRecord) -> None:
        """Store a target, replacing one of the same stream and name."""
        values = {
            "url": record.url,
            "key": record.key,
            "enabled": record.enabled,
            "codecs": json.dumps(sorted(record.codecs)),
            "source": record.source,
        }
        here = (targets.c.stream == record.stream) & (targets.c.name == record.name)
        async with self._database.write() as connection:
            changed = await connection.execute(update(targets).where(here).values(values))
            if changed.rowcount == 0:
                now_ms = time.time_ns() // 1_000_000
                await connection.execute(
                    insert(targets).values(
                        stream=record.stream, name=record.name, created_at_ms=now_ms, **values
                    )
                )

    async def remove(self, stream: str, name: str) -> None:
        """Remove a target. Idempotent."""
        here = (targets.c.stream == stream) & (targets.c.name == name)
        async with self._database.write() as connection:
            await connection.execute(delete(targets).where(here))
