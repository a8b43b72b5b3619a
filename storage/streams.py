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
    from sqlalchemy.ext.asyncio import AsyncConnection

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

    async def add(self, name: str, *, key: str | None = None) -> str:
        """Create a stream and return its key, for the only time.

        `key` is a key chosen elsewhere (configuration, demo); without it a fresh one is made.
        Raises `StreamExists`, or `StreamRefused` for an unusable name or a key in use.
        """
        if not _NAME.fullmatch(name):
            raise StreamRefused(
                f"{name[:80]!r} is no stream name: 1 to 64 of a-z, 0-9, '-' and '_', "
                "starting with a letter or digit"
            )
        key = new_secret() if key is None else _checked(key)
        async with self._database.write() as connection:
            taken = await connection.scalar(select(streams.c.name).where(streams.c.name == name))
            if taken is not None:
                raise StreamExists(f"there is a stream {name!r} already")
            await _refuse_shared(connection, name, digest(key))
            await connection.execute(
                insert(streams).values(
                    name=name, key_digest=digest(key), created_at_ms=time.time_ns() // 1_000_000
                )
            )
        return key

    async def ensure(self, name: str, *, key: str | None = None) -> str | None:
        """Make a configured stream exist; a configured key replaces the stored one.

        Returns the key where a fresh one was made, else None. Raises `StreamRefused`.
        """
        if name not in {record.name for record in await self.list()}:
            made = await self.add(name, key=key)
            return made if key is None else None
        if key is not None:
            await self._set_key(name, _checked(key))
        return None

    async def rotate(self, name: str, *, backup: bool = False) -> str:
        """Replace the stream's key, or its backup key; return the new one.

        Raises `NoSuchStream`.
        """
        key = new_secret()
        await self._set_key(name, key, backup=backup)
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

    async def _set_key(self, name: str, key: str, *, backup: bool = False) -> None:
        column = streams.c.backup_key_digest if backup else streams.c.key_digest
        async with self._database.write() as connection:
            await _refuse_shared(connection, name, digest(key), backup=backup)
            changed = await connection.execute(
                update(streams).where(streams.c.name == name).values({column: digest(key)})
            )
            if changed.rowcount == 0:
                raise NoSuchStream(f"there is no stream {name[:80]!r}")


def _has_key(key_digest: str) -> ColumnElement[bool]:
    return or_(streams.c.key_digest == key_digest, streams.c.backup_key_digest == key_digest)


async def _refuse_shared(
    connection: AsyncConnection, name: str, key_digest: str, *, backup: bool = False
) -> None:
    """One key names one role of one stream: an encoder says nothing else of where it goes."""
    row = (
        await connection.execute(
            select(streams.c.name, streams.c.key_digest).where(_has_key(key_digest))
        )
    ).first()
    if row is None:
        return
    if row.name != name:
        raise StreamRefused(f"the key for {name!r} is already that of another stream")
    if (row.key_digest != key_digest) != backup:
        raise StreamRefused(f"the key for {name!r} is already that of its other encoder")


def _checked(key: str) -> str:
    if not 1 <= len(key) <= 200 or not key.isprintable():
        raise StreamRefused("a stream key has 1 to 200 printable characters")
    return key
