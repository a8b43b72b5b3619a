"""API tokens: those of the configuration beside those of the database."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from delivery.seams import Principal

if TYPE_CHECKING:
    from config.settings import AuthSettings
    from storage.tokens import TokenStore


class Tokens:
    """Implements `delivery.seams.TokenCheck`."""

    def __init__(self, *, settings: AuthSettings, store: TokenStore) -> None:
        self._store = store
        self._configured: list[tuple[bytes, Principal]] = []
        if settings.admin_token is not None:
            token = settings.admin_token.get_secret_value()
            self._configured.append((token.encode(), Principal(role="admin")))
        if settings.producer_token is not None:
            token = settings.producer_token.get_secret_value()
            self._configured.append((token.encode(), Principal(role="producer")))

    async def check(self, token: str) -> Principal | None:
        """Return whom the token speaks for, None when it is unknown."""
        found = None
        for known, principal in reversed(self._configured):
            if compare_digest(known, token.encode()):
                found = principal
        if found is not None:
            return found
        grant = await self._store.check(token)
        if grant is None:
            return None
        return Principal(role=grant.role.value, stream=grant.stream)
