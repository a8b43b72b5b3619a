"""Reading request bodies and queries: bounded in size, depth and time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import NoReturn, TypeVar

from aiohttp import ClientError, web
from aiohttp.http_exceptions import PayloadEncodingError
from pydantic import BaseModel, ValidationError

from delivery.deps import PARTS
from delivery.problems import FieldError, Problem, from_validation, invalid
from overlay.times import parse_ms

READ_TIMEOUT_S = 15.0
MAX_KEY = 200

M = TypeVar("M", bound=BaseModel)


async def read_bytes(request: web.Request, *, limit: int) -> bytes:
    """Return the whole body; raises `Problem` 408, 413 or 415."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Send the body without Content-Encoding.")
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                parts.append(chunk)
    except TimeoutError:
        raise Problem(408, "The body did not arrive in time.") from None
    except (ClientError, PayloadEncodingError, ConnectionError, web.RequestPayloadError):
        # Cut short or no chunked coding (RFC 9112 7.1): the client's fault, whoever reads this.
        raise Problem(400, "The body ended before it was complete.") from None
    return b"".join(parts)


async def read_json(request: web.Request, *, limit: int) -> object:
    """Return the body as JSON (RFC 8259); raises `Problem` 400 with the place of the fault."""
    return parse_json(await read_bytes(request, limit=limit))


def parse_json(body: bytes) -> object:
    """Return JSON in UTF-8 (RFC 8259); raises `Problem` 400 with the place of the fault."""
    try:
        value: object = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        # A lone surrogate is an escape without a character: nothing could be stored or sent.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as err:
        raise Problem(
            400, f"The body is not JSON: {err.msg} at line {err.lineno}, column {err.colno}."
        ) from None
    except UnicodeError:
        raise Problem(400, "The body is not JSON in UTF-8 with whole characters.") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None
    except ValueError as err:
        raise Problem(400, f"The body is not JSON: {err}.") from None
    return value


async def read_object(request: web.Request, *, limit: int) -> dict[str, object]:
    """Return the body as a JSON object; raises `Problem`."""
    value = await read_json(request, limit=limit)
    if not isinstance(value, dict):
        raise Problem(400, "The body must be a JSON object.")
    return value


async def read_model(request: web.Request, model: type[M]) -> M:
    """Return the body as a model; raises `Problem`, 422 naming each field that is refused."""
    body = await read_object(request, limit=request.app[PARTS].deps.limits.max_body_bytes)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise from_validation(error) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body is larger than {limit} bytes.")


def query_time(request: web.Request, name: str) -> int | None:
    """Return a query parameter as UTC milliseconds; raises `Problem` 422."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        # The plus of a zone is a space in a query where the client did not encode it.
        return parse_ms(text.replace(" ", "+"))
    except ValueError as err:
        raise invalid([FieldError(name, str(err))]) from None


def query_integer(request: web.Request, name: str) -> int | None:
    """Return a query parameter as a number from 0; raises `Problem` 422."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise invalid([FieldError(name, "a whole number from 0 is needed")])
    return int(text)


def query_choice(request: web.Request, name: str, choices: Sequence[str]) -> str:
    """Return a query parameter that is one of some words, by default the first; raises 422."""
    text = request.query.get(name, choices[0])
    if text not in choices:
        raise invalid([FieldError(name, f"must be one of: {', '.join(choices)}")])
    return text


def idempotency_key(request: web.Request) -> str | None:
    """Return the Idempotency-Key header; raises `Problem` 422 for an unusable one."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= MAX_KEY and key.isprintable()):
        raise invalid([FieldError("Idempotency-Key", f"1 to {MAX_KEY} printable characters")])
    return key
