"""Who may do what: bearer tokens (RFC 6750), never cookies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delivery.problems import Problem
from delivery.routing import Scope

if TYPE_CHECKING:
    from delivery.seams import Principal, TokenCheck

MAX_TOKEN = 512


def bearer(authorization: str | None) -> str:
    """Return the token of an Authorization header; raises `Problem` 401."""
    if not authorization:
        raise _challenge("Send a token: Authorization: Bearer TOKEN.")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN or not token.isascii():
        raise _challenge("The Authorization header must be: Bearer TOKEN.")
    return token


async def authorize(
    tokens: TokenCheck, authorization: str | None, scope: Scope, stream: str | None
) -> Principal:
    """Return who calls; raises `Problem` 401 for an unknown token, 403 for too weak a one.

    A token that is bound to another stream gets 403 whether or not `stream` exists.
    """
    principal = await tokens.check(bearer(authorization))
    if principal is None:
        raise _challenge("The token is not known here; it may have been withdrawn.", invalid=True)
    if scope is Scope.ADMIN and principal.role != "admin":
        raise Problem(403, "This needs a token with the role admin.")
    if stream is not None and not principal.may_touch(stream):
        raise Problem(403, "The token is for another stream.")
    return principal


def _challenge(detail: str, *, invalid: bool = False) -> Problem:
    value = 'Bearer realm="vitrina"'
    if invalid:
        value += ', error="invalid_token"'
    return Problem(401, detail, headers={"WWW-Authenticate": value})
