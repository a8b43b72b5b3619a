"""Stream keys and API tokens: made here, kept only as digests."""

from __future__ import annotations

from hashlib import sha256
from secrets import token_urlsafe

SECRET_BYTES = 24


def new_secret() -> str:
    """Return a fresh key or token: 192 random bits, 32 characters, no `?` or `/` among them."""
    return token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """Return what is stored of a secret: SHA-256, lower-case hex.

    A plain hash is enough for 192 random bits; a slow one only helps secrets people choose, and
    those who flood the door.
    """
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
