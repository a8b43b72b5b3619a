"""The one table of routes: the app registers it, the OpenAPI document is made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web
    from pydantic import BaseModel

JSON = "application/json"


class Scope(StrEnum):
    """What a caller must show."""

    PUBLIC = "public"
    PRODUCER = "producer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful answer."""

    description: str
    model: type[BaseModel] | None = None
    content_type: str | None = JSON
    """None: no body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter or request header."""

    name: str
    description: str
    place: str = "query"
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. `name` is its operationId and its label in the metrics."""

    method: str
    path: str
    name: str
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    answers: Mapping[int, Answer]
    scope: Scope = Scope.PUBLIC
    tag: str = "viewer"
    body: type[BaseModel] | None = None
    text_body: str | None = None
    """Content type of a body that is text; with `body` unset."""
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    cross_origin: bool = False
    """Pages of other origins may read it."""
    options: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    """Answers OPTIONS at this path in place of the common preflight."""
