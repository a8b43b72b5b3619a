"""The authorisation hook: an address of the operator that is asked before anybody publishes.

It is asked once the key (or the login) is known, so strangers cannot make this server send
requests. The request is signed; the answer is a plain yes, or the publisher is refused: whatever
else happens - no answer in time, a redirect, a status that is no 2xx, a body that is not the
JSON of `HookAnswer` - is a no. Nothing is tried twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import aiohttp
import structlog
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from config.settings import StreamLimits
from ingest.source import KeyRefused, Refusal

if TYPE_CHECKING:
    from config.settings import AuthSettings
    from ingest.source import Approach, Grant

MAX_CONCURRENT = 16
"""Requests at once; more wait for their turn within their own deadline."""
MAX_ANSWER_BYTES = 16_384
MAX_REASON_CHARS = 200
SIGNATURE_HEADER = "X-Vitrina-Signature"
TIMESTAMP_HEADER = "X-Vitrina-Timestamp"
UNDECIDED_TEXT = "Whether you may publish could not be found out: try again in a moment."
DENIED_TEXT = "You may not publish this stream now."

log = structlog.get_logger(__name__)


class HookMeter(Protocol):
    """What the hook reports; never raises."""

    def hook_asked(self, result: str, seconds: float) -> None:
        """Count an answer: `allowed`, `denied`, `timeout`, `unreachable`, `status`, `malformed`."""


class HookAnswer(BaseModel):
    """What the hook has to answer, with a 2xx status; other members are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    allow: StrictBool
    reason: str | None = Field(None, max_length=4096)
    """Told to the encoder where the answer is no."""
    limits: StreamLimits | None = None
    """Bounds for this publisher, where they are closer than the configured ones."""


class _Undecided(Exception):
    """There is no answer; the text is the metric's word."""


class PublishHook:
    """Asks; owns one HTTP session from the first question to `close`."""

    def __init__(self, settings: AuthSettings, meter: HookMeter) -> None:
        """Needs `publish_hook_url` and `publish_hook_secret`."""
        assert settings.publish_hook_url is not None
        assert settings.publish_hook_secret is not None
        self._url = settings.publish_hook_url
        self._secret = settings.publish_hook_secret.get_secret_value().encode()
        self._timeout_s = settings.publish_hook_timeout_s
        self._meter = meter
        self._turns = asyncio.Semaphore(MAX_CONCURRENT)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, approach: Approach, grant: Grant) -> StreamLimits | None:
        """Return the limits that come with a yes; raises `ingest.source.KeyRefused`."""
        started = time.monotonic()
        result = "unreachable"
        answer: HookAnswer | None = None
        try:
            async with asyncio.timeout(self._timeout_s), self._turns:
                answer = _parse(await self._post(_body(approach, grant)))
            result = "allowed" if answer.allow else "denied"
        except TimeoutError:
            result = "timeout"
        except _Undecided as error:
            result = str(error)
        except (aiohttp.ClientError, OSError):
            result = "unreachable"
        finally:
            self._meter.hook_asked(result, time.monotonic() - started)
        if answer is not None and answer.allow:
            return answer.limits
        # Neither the address nor the error is logged: both may hold credentials.
        log.warning("publishing is not authorised", stream=grant.stream, reason=result)
        text = UNDECIDED_TEXT
        if answer is not None:
            reason = "".join(c for c in answer.reason or "" if c.isprintable())
            text = reason[:MAX_REASON_CHARS].strip() or DENIED_TEXT
        raise KeyRefused(text, reason=Refusal.HOOK, undecided=answer is None)

    async def close(self) -> None:
        """Close the session. Idempotent."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: bytes) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Each on a connection of its own: one that the other side is about to close
                # would refuse a publisher.
                connector=aiohttp.TCPConnector(limit=MAX_CONCURRENT, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # `ask` has the deadline
                auto_decompress=False,
            )
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: sign(self._secret, timestamp, body),
        }
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:
                raise _Undecided("status")
            read = bytearray()
            async for data in response.content.iter_any():
                read += data
                if len(read) > MAX_ANSWER_BYTES:
                    raise _Undecided("malformed")
            return bytes(read)


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the signature header: HMAC-SHA256 of timestamp, a full stop, and the body."""
    digest = hmac.digest(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hex()}"


def _body(approach: Approach, grant: Grant) -> bytes:
    """Render the question. The key is not in it, wherever the encoder put it."""
    query = {
        name: value
        for name, value in approach.query.items()
        if not approach.key or (approach.key not in name and approach.key not in value)
    }
    return json.dumps(
        {
            "event": "publish",
            "id": secrets.token_hex(16),
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "stream": grant.stream,
            "role": grant.role.value,
            "protocol": approach.protocol,
            "address": approach.address,
            "user": approach.user,
            "query": query,
        }
    ).encode()


def _parse(data: bytes) -> HookAnswer:
    try:
        return HookAnswer.model_validate_json(data)
    except ValidationError:
        raise _Undecided("malformed") from None
