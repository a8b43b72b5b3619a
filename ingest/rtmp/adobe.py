"""`authmod=adobe`: a login by user and password inside `connect`, without I/O.

What librtmp, OBS, FFmpeg and vMix do with `rtmp://USER:PASSWORD@HOST/APP`: they connect without a
word of the login, are rejected with "need auth", connect again with the user's name, get a salt
and a challenge, and connect a third time with the response

    b64(md5(b64(md5(user + salt + password)) + opaque + client challenge))

The dance takes three connections. The state between them travels in `opaque`, sealed with a key
of this process: strangers who open challenges cost no memory, and cannot push out those of others.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIFETIME_NS = 30_000_000_000
"""Of a challenge; the client's next connection follows at once."""
MAX_FAILURES = 10
"""Wrong responses that an address may give within `FAILURE_WINDOW_NS`; then none is looked at."""
FAILURE_WINDOW_NS = 60_000_000_000
MAX_REMEMBERED = 4096
"""Addresses with failures, the oldest is forgotten; and challenges that were used, none is."""
PARAMETERS = frozenset({"authmod", "user", "challenge", "response", "opaque", "nonce"})
"""Names in the query that belong to the login."""

_MAX_TEXT = 4096
_MAX_PARAMETERS = 32
_MAX_VALUE = 256
_REJECT = "[ AccessManager.Reject ] : "
_NEED_AUTH = _REJECT + "[ code=403 need auth; authmod=adobe ] : "
_FAILED = _REJECT + "[ authmod=adobe ] : ?reason=authfailed"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The response was right."""

    user: str


@dataclass(frozen=True, slots=True)
class LoginRejected:
    """`description` goes into the rejection of `connect`; the connection is closed then."""

    description: str
    failed: bool
    """False where this is only a step of the dance."""


class AdobeLogins:
    """Users, and the checks of all connections of one server."""

    def __init__(self, users: Mapping[str, str], apps: Iterable[str]) -> None:
        """`users`: name to clear password. `apps`: where a login is asked for unasked."""
        self._users = {name: password.encode() for name, password in users.items()}
        self._apps = frozenset(apps)
        self._seal_key = secrets.token_bytes(32)
        self._nobody = secrets.token_bytes(16)
        self._used: OrderedDict[str, int] = OrderedDict()
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def asks(self, app: str, query: Mapping[str, str]) -> bool:
        """Whether a client that connects to `app` (its path) has to log in."""
        return app.strip("/").partition("/")[0] in self._apps or query.get("authmod") == "adobe"

    def answer(
        self, query: Mapping[str, str], *, address: str, now_ns: int
    ) -> LoggedIn | LoginRejected:
        """Take the next step with what `connect` said; `now_ns` is monotonic.

        Unknown users get a challenge like known ones, and fail like them.
        """
        user = query.get("user", "")
        if query.get("authmod") != "adobe" or not user:
            return LoginRejected(_NEED_AUTH, failed=False)
        if len(user) > _MAX_VALUE or not user.isprintable() or set(user) & set("&?=;[] "):
            return LoginRejected(_FAILED, failed=True)
        if "response" not in query:
            return LoginRejected(self._challenge(user, now_ns), failed=False)
        if self._barred(address, now_ns) or not self._right(user, query, now_ns):
            self._note_failure(address, now_ns)
            return LoginRejected(_FAILED, failed=True)
        return LoggedIn(user)

    def _challenge(self, user: str, now_ns: int) -> str:
        salt = secrets.token_hex(8)
        challenge = secrets.token_hex(8)
        text = f"{salt}.{challenge}.{now_ns + LIFETIME_NS:x}"
        opaque = f"{text}.{self._seal(user, text)}"
        return (
            f"{_REJECT}[ authmod=adobe ] : ?reason=needauth&user={user}&salt={salt}"
            f"&challenge={challenge}&opaque={opaque}"
        )

    def _right(self, user: str, query: Mapping[str, str], now_ns: int) -> bool:
        opaque = query.get("opaque", "")
        mine = query.get("challenge", "")
        if len(opaque) > _MAX_VALUE or len(mine) > _MAX_VALUE:
            return False
        text, _, seal = opaque.rpartition(".")
        if not _same(seal, self._seal(user, text)):
            return False
        # The seal is right, so these are our own words.
        salt, _challenge, expires = text.split(".")
        password = self._users.get(user, self._nobody)
        wanted = adobe_response(user, password, salt, opaque, mine)
        right = _same(query["response"], wanted)
        if not right or user not in self._users or now_ns > int(expires, 16):
            return False
        return self._use(opaque, int(expires, 16), now_ns)

    def _use(self, opaque: str, expires_ns: int, now_ns: int) -> bool:
        """Mark a challenge as used; False where it was, or too many are marked (fail closed)."""
        while self._used and next(iter(self._used.values())) < now_ns:
            self._used.popitem(last=False)
        if opaque in self._used or len(self._used) >= MAX_REMEMBERED:
            return False
        self._used[opaque] = expires_ns
        return True

    def _barred(self, address: str, now_ns: int) -> bool:
        count, since_ns = self._failures.get(address, (0, 0))
        return count >= MAX_FAILURES and now_ns - since_ns < FAILURE_WINDOW_NS

    def _note_failure(self, address: str, now_ns: int) -> None:
        count, since_ns = self._failures.pop(address, (0, now_ns))
        if now_ns - since_ns >= FAILURE_WINDOW_NS:
            count, since_ns = 0, now_ns
        self._failures[address] = (count + 1, since_ns)
        if len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)

    def _seal(self, user: str, text: str) -> str:
        words = f"{user}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._seal_key, words, "sha256").hex()[:32]


def adobe_response(user: str, password: bytes, salt: str, opaque: str, challenge: str) -> str:
    """Return what a client that knows the password answers; `challenge` is the client's own."""
    inner = _md5_text(_bytes(user) + _bytes(salt) + password)
    return _md5_text(inner.encode() + _bytes(opaque) + _bytes(challenge))


def login_query(*texts: str) -> dict[str, str]:
    """Return the login's parameters from the queries of app and tcUrl; the earlier text wins.

    Not by the rules of HTML forms: clients put Base64 in as it is, and its `+` is no space.
    """
    found: dict[str, str] = {}
    for text in texts:
        try:
            query = urlsplit(text[:_MAX_TEXT].strip("'")).query
        except ValueError:
            continue
        for pair in query.split("&", _MAX_PARAMETERS)[:_MAX_PARAMETERS]:
            name, _, value = pair.partition("=")
            if name in PARAMETERS:
                found.setdefault(name, unquote(value))
    return found


def _md5_text(data: bytes) -> str:
    # The protocol's choice; the seal and the comparison do not rest on it.
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
