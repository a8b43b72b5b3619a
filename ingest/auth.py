"""Whose a stream key is, found by its digest (`storage.keys`): in the configuration, in a store."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Protocol

from ingest.source import Grant, KeyRefused
from media.model import Role
from storage.keys import digest as key_digest
from storage.streams import KeyOwner

MAX_KEY_CHARS = 512
REFUSED_TEXT = "The stream key is unknown or disabled: copy it again from the stream's page."


class KeyStore(Protocol):
    """Where the digests of stream keys are kept."""

    async def find(self, key_digest: str) -> KeyOwner | None:
        """Return what the key with this digest stands for, None where there is none."""


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
                return Grant(stream=owner.stream, role=role, key_digest=digest)
    raise KeyRefused(REFUSED_TEXT)
