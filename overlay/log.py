"""The append-only cue log: every entry of every stream, in the database.

An entry is never changed or removed; the database itself refuses it. `seq` grows by one per
stream, also with several processes writing.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select

from overlay.entry import Entry, State, compact_json
from overlay.errors import LogUnavailable
from storage.database import DatabaseUnavailable
from storage.schema import cue_log, idempotency_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from storage.database import Database

KEY_LIFE_MS = 86_400_000
"""An Idempotency-Key is honoured for a day."""


class Remembered:
    """What an Idempotency-Key was used for."""

    __slots__ = ("answer", "body_digest")

    def __init__(self, body_digest: str, answer: str) -> None:
        self.body_digest = body_digest
        self.answer = answer


class LogTransaction:
    """A write in progress on one stream's log; nothing holds until the block ends."""

    def __init__(self, connection: AsyncConnection, stream: str) -> None:
        self._connection = connection
        self._stream = stream

    async def last_seq(self) -> int:
        """Return the number of the newest entry, 0 for an empty log."""
        found = await self._connection.scalar(
            select(func.max(cue_log.c.seq)).where(cue_log.c.stream == self._stream)
        )
        return int(found or 0)

    async def page(self, after: int, limit: int) -> list[Entry]:
        """Return entries with `seq > after`, oldest first."""
        return await _page(self._connection, self._stream, after, limit)

    async def recall(self, key: str, *, now_ms: int) -> Remembered | None:
        """Return what this Idempotency-Key was used for within a day, or None."""
        await self._connection.execute(
            delete(idempotency_keys).where(idempotency_keys.c.issued_at_ms < now_ms - KEY_LIFE_MS)
        )
        row = (
            await self._connection.execute(
                select(idempotency_keys).where(
                    idempotency_keys.c.stream == self._stream, idempotency_keys.c.key == key
                )
            )
        ).first()
        return None if row is None else Remembered(str(row.body_digest), str(row.answer))

    async def remember(self, key: str, *, body_digest: str, answer: str, now_ms: int) -> None:
        """Keep the answer to a request under its Idempotency-Key."""
        await self._connection.execute(
            insert(idempotency_keys).values(
                stream=self._stream,
                key=key,
                body_digest=body_digest,
                answer=answer,
                issued_at_ms=now_ms,
            )
        )

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add entries; their `seq` must follow `last_seq` without a gap."""
        if entries:
            await self._connection.execute(insert(cue_log), [_values(entry) for entry in entries])


class CueLog:
    """Reads and writes logs. Every method raises `LogUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self, stream: str) -> AsyncIterator[LogTransaction]:
        """Open a write: committed at the end of the block, undone by any exception in it."""
        try:
            async with self._database.write() as connection:
                yield LogTransaction(connection, stream)
        except DatabaseUnavailable as err:
            raise LogUnavailable(f"the cue was not taken: {err}") from err

    async def page(self, stream: str, *, after: int, limit: int) -> list[Entry]:
        """Return entries of a stream with `seq > after`, oldest first."""
        try:
            async with self._database.read() as connection:
                return await _page(connection, stream, after, limit)
        except DatabaseUnavailable as err:
            raise LogUnavailable(f"the cue log cannot be read: {err}") from err

    async def revisions(self, stream: str, cue_id: str) -> list[Entry]:
        """Return all revisions of one cue, oldest first; none for an unknown one."""
        query = (
            select(cue_log)
            .where(cue_log.c.stream == stream, cue_log.c.id == cue_id)
            .order_by(cue_log.c.rev)
        )
        try:
            async with self._database.read() as connection:
                return [_entry(row) for row in await connection.execute(query)]
        except DatabaseUnavailable as err:
            raise LogUnavailable(f"the cue log cannot be read: {err}") from err

    async def newest(self, keep: int) -> dict[str, list[Entry]]:
        """Return the newest `keep` entries of every stream, oldest first."""
        newest: dict[str, list[Entry]] = {}
        last = select(cue_log.c.stream, func.max(cue_log.c.seq).label("last")).group_by(
            cue_log.c.stream
        )
        try:
            async with self._database.read() as connection:
                for stream, seq in (await connection.execute(last)).all():
                    newest[stream] = await _page(connection, stream, max(0, seq - keep), keep)
        except DatabaseUnavailable as err:
            raise LogUnavailable(f"the cue log cannot be read: {err}") from err
        return newest


async def _page(connection: AsyncConnection, stream: str, after: int, limit: int) -> list[Entry]:
    query = (
        select(cue_log)
        .where(cue_log.c.stream == stream, cue_log.c.seq > after)
        .order_by(cue_log.c.seq)
        .limit(limit)
    )
    return [_entry(row) for row in await connection.execute(query)]


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "stream": entry.stream,
        "seq": entry.seq,
        "id": entry.id,
        "rev": entry.rev,
        "state": entry.state.value,
        "type": entry.type,
        "at_ms": entry.at_ms,
        "effective_ms": entry.effective_ms,
        "end_ms": entry.end_ms,
        "planned_end_ms": entry.planned_end_ms,
        "data": compact_json(entry.data),
        "issued_at_ms": entry.issued_at_ms,
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        stream=row.stream,
        seq=row.seq,
        id=row.id,
        rev=row.rev,
        state=State(row.state),
        type=row.type,
        at_ms=row.at_ms,
        effective_ms=row.effective_ms,
        end_ms=row.end_ms,
        planned_end_ms=row.planned_end_ms,
        data=json.loads(row.data),
        issued_at_ms=row.issued_at_ms,
    )
