"""Which streams exist, and whose key publishes to them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, or_, select, update

from storage.keys import digest, new_secret
from storage.schema import restream_targets, streams, tokens

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from storage.database import Database

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class StreamRefused(ValueError):
    """A stream cannot be added or changed as asked; the text says why."""


class StreamExists(StreamRefused):
    """There is one of that name."""


class NoSuchStream(StreamRefused):
    """There is none of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """A stream as it is stored."""

    name: str
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOwner:
    """What a key stands for."""

    stream: str
    backup: bool = False
    """The key is that of the encoder that stands by."""


class StreamStore:
    """Streams by name; their keys only as digests. Every method raises `DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, name: str) -> str:
        """Create a stream and return its key, for the only time.

        Raises `StreamExists`, or `StreamRefused` for an unusable name.
        """
        if not _NAME.fullmatch(name):
            raise StreamRefused(
                f"{name[:80]!r} is no stream name: 1 to 64 of a-z, 0-9, '-' and '_', "
                "starting with a letter or digit"
            )
        key = new_secret()
        async with self._database.write() as connection:
            taken = await connection.scalar(select(streams.c.name).where(streams.c.name == name))
            if taken is not None:
                raise StreamExists(f"there is a stream {name!r} already")
            await connection.execute(
                insert(streams).values(
                    name=name, key_digest=digest(key), created_at_ms=time.time_ns() // 1_000_000
                )
            )
        return key

    async def rotate(self, name: str, *, backup: bool = False) -> str:
        """Replace the stream's key, or its backup key; return the new one.

        Raises `NoSuchStream`.
        """
        key = new_secret()
        column = streams.c.backup_key_digest if backup else streams.c.key_digest
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(streams).where(streams.c.name == name).values({column: digest(key)})
            )
            if changed.rowcount == 0:
                raise NoSuchStream(f"there is no stream {name[:80]!r}")
        return key

    async def remove(self, name: str) -> None:
        """Remove a stream with its tokens and targets; its cue log stays. Raises `NoSuchStream`."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(streams).where(streams.c.name == name))
            if gone.rowcount == 0:
                raise NoSuchStream(f"there is no stream {name[:80]!r}")
            for table in (tokens, restream_targets):
                await connection.execute(delete(table).where(table.c.stream == name))

    async def list(self) -> list[StreamRecord]:
        """Return all streams by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(streams.c.name, streams.c.created_at_ms).order_by(streams.c.name)
            )
            return [StreamRecord(name=row.name, created_at_ms=row.created_at_ms) for row in rows]

    async def find(self, key_digest: str) -> KeyOwner | None:
        """Return what the key with this digest (SHA-256, hex) may publish."""
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    select(streams.c.name, streams.c.key_digest, streams.c.backup_key_digest).where(
                        _has_key(key_digest)
                    )
                )
            ).first()
        if row is None:
            return None
        if compare_digest(str(row.key_digest), key_digest):
            return KeyOwner(stream=str(row.name))
        if compare_digest(str(row.backup_key_digest), key_digest):
            return KeyOwner(stream=str(row.name), backup=True)
        return None


def _has_key(key_digest: str) -> ColumnElement[bool]:
    return or_(streams.c.key_digest == key_digest, streams.c.backup_key_digest == key_digest)
