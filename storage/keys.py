"""Stream keys and API tokens: made here, kept only as digests."""

from __future__ import annotations

from hashlib import sha256
from secrets import token_urlsafe

SECRET_BYTES = 24


def new_secret() -> str:
    """Return a fresh key or token: 192 random bits, URL-safe."""
    return token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """Return what is stored of a secret: SHA-256, hex.

    A plain hash is enough for 192 random bits; a slow one only helps secrets people choose.
    """
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
