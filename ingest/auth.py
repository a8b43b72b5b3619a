"""Opaque stream keys: made here, stored only as digests, found by digest.

A key has 192 random bits, so a plain SHA-256 is enough to keep it at rest: there is nothing to
guess, and a slow hash would only help those who flood the door.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Protocol

from ingest.source import KeyRefused

_KEY_BYTES = 24
MAX_KEY_CHARS = 512
REFUSED_TEXT = "The stream key is unknown or disabled: copy it again from the stream's page."


class KeyStore(Protocol):
    """Where the digests of stream keys are kept."""

    async def find(self, key_digest: str) -> str | None:
        """Return the name of the stream whose key has this digest, None where there is none."""


def new_key() -> str:
    """Make a stream key: 32 characters that are safe in a URL and without `?` or `/`."""
    return secrets.token_urlsafe(_KEY_BYTES)


def key_digest(key: str) -> str:
    """SHA-256 of the key in lower-case hex, the only form that is stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class ConfiguredKeys:
    """A `KeyStore` over keys from the configuration; every digest is compared, in constant time."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """`keys`: stream name to clear key; only digests are kept."""
        self._digests = tuple((name, key_digest(key).encode()) for name, key in keys.items())

    async def find(self, key_digest: str) -> str | None:
        """See `KeyStore.find`."""
        wanted = key_digest.encode()
        found = None
        for name, digest in self._digests:
            if hmac.compare_digest(digest, wanted):
                found = name
        return found


async def authorize(key: str, *stores: KeyStore) -> str:
    """Return the stream that `key` may publish, from the first store that knows it.

    Only the digest is looked up, so what an index lookup's time may tell is about a digest
    that the caller cannot steer. Raises `KeyRefused` with a sentence for the producer.
    """
    if key and len(key) <= MAX_KEY_CHARS:
        digest = key_digest(key)
        for store in stores:
            name = await store.find(digest)
            if name is not None:
                return name
    raise KeyRefused(REFUSED_TEXT)
