"""Opaque stream keys: made here, stored only as digests, found by digest.

A key has 192 random bits, so a plain SHA-256 is enough to keep it at rest: there is nothing to
guess, and a slow hash would only help those who flood the door.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Protocol

from ingest.source import Grant, KeyRefused
from media.model import Role
from storage.streams import KeyOwner

_KEY_BYTES = 24
MAX_KEY_CHARS = 512
REFUSED_TEXT = "The stream key is unknown or disabled: copy it again from the stream's page."


class KeyStore(Protocol):
    """Where the digests of stream keys are kept."""

    async def find(self, key_digest: str) -> KeyOwner | None:
        """Return what the key with this digest stands for, None where there is none."""


def new_key() -> str:
    """Make a stream key: 32 characters that are safe in a URL and without `?` or `/`."""
    return secrets.token_urlsafe(_KEY_BYTES)


def key_digest(key: str) -> str:
    """SHA-256 of the key in lower-case hex, the only form that is stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class ConfiguredKeys:
    """A `KeyStore` over keys from the configuration; every digest is compared, in constant time."""

    def __init__(self, keys: Iterable[tuple[KeyOwner, str]]) -> None:
        """`keys`: owners with their clear keys; only digests are kept."""
        self._digests = tuple((owner, key_digest(key).encode()) for owner, key in keys)

    async def find(self, key_digest: str) -> KeyOwner | None:
        """See `KeyStore.find`."""
        wanted = key_digest.encode()
        found = None
        for owner, digest in self._digests:
            if hmac.compare_digest(digest, wanted):
                found = owner
        return found


async def authorize(key: str, *stores: KeyStore) -> Grant:
    """Return what `key` may publish, from the first store that knows it.

    Only the digest is looked up, so what an index lookup's time may tell is about a digest
    that the caller cannot steer. Raises `KeyRefused` with a sentence for the producer.
    """
    if key and len(key) <= MAX_KEY_CHARS:
        digest = key_digest(key)
        for store in stores:
            owner = await store.find(digest)
            if owner is not None:
                role = Role.BACKUP if owner.backup else Role.PRIMARY
                return Grant(stream=owner.stream, role=role)
    raise KeyRefused(REFUSED_TEXT)
