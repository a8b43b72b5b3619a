"""API tokens: who may fire cues and manage streams."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from storage.keys import digest, new_secret
from storage.schema import tokens

if TYPE_CHECKING:
    from storage.database import Database


class Role(StrEnum):
    """What a token may do: a producer fires cues, an admin manages everything."""

    PRODUCER = "producer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a valid token allows; `stream` None means every stream."""

    role: Role
    stream: str | None


class NoSuchToken(ValueError):
    """A token is not known; the text does not hold it."""


class TokenStore:
    """Tokens by digest. Every method raises `DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, role: Role, *, stream: str | None = None) -> str:
        """Make a token and return it, for the only time."""
        token = new_secret()
        async with self._database.write() as connection:
            await connection.execute(
                insert(tokens).values(
                    digest=digest(token),
                    role=Role(role).value,
                    stream=stream,
                    created_at_ms=time.time_ns() // 1_000_000,
                )
            )
        return token

    async def check(self, token: str) -> Grant | None:
        """Return what this token allows, or None for one that is unknown."""
        wanted = digest(token)
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(tokens).where(tokens.c.digest == wanted))
            ).first()
        if row is None or not compare_digest(str(row.digest), wanted):
            return None
        return Grant(role=Role(row.role), stream=row.stream)

    async def remove(self, token: str) -> None:
        """Withdraw a token. Raises `NoSuchToken`."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(tokens).where(tokens.c.digest == digest(token)))
            if gone.rowcount == 0:
                raise NoSuchToken("there is no such token in the database")
