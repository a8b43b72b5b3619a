"""Problem details for HTTP APIs (RFC 9457): every error that delivery answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import ValidationError

CONTENT_TYPE = "application/problem+json"
MAX_FIELDS = 100
"""Faults named in one answer: an import of 5000 products may have as many."""


class FieldProblem(BaseModel):
    """One field that was refused."""

    field: str = Field(description="Dotted name, `data.sku`; list items by number.")
    detail: str


class ProblemDetails(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What went wrong and what to do about it.")
    errors: list[FieldProblem] | None = Field(None, description="With 422: each refused field.")
    id: str | None = Field(None, description="With 500: what the server's log calls it.")
    reason: str | None = Field(
        None,
        description="Of a WebRTC session that the server has ended: `revoked` (taken over, or the"
        " show was ended), `limit`, `timeout` or `error`.",
    )


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that was refused, and why."""

    field: str
    detail: str


class Problem(Exception):
    """An answer that is an error; raised by handlers, written by the app."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
        id: str | None = None,  # noqa: A002  # the member's name in the document
        reason: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        self.id = id
        self.reason = reason

    def document(self) -> bytes:
        """Return the JSON document, UTF-8."""
        body: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"field": e.field, "detail": e.detail} for e in self.errors]
        if self.id is not None:
            body["id"] = self.id
        if self.reason is not None:
            body["reason"] = self.reason
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")

    def response(self) -> web.Response:
        """Return it as an aiohttp response."""
        headers = {"Cache-Control": "no-store", **self.headers, "Content-Type": CONTENT_TYPE}
        return web.Response(status=self.status, body=self.document(), headers=headers)


def from_validation(error: ValidationError, prefix: str = "") -> Problem:
    """Return a 422 that names each field a pydantic model refused."""
    fields = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(str(part) for part in item["loc"]) or "body"
        detail = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            detail = "this field is not known here; remove it"
        elif item["type"] == "missing":
            detail = "this field is required"
        fields.append(FieldError(prefix + name, detail))
    if len(fields) > MAX_FIELDS:
        more = len(fields) - MAX_FIELDS
        fields = [*fields[:MAX_FIELDS], FieldError(prefix + "body", f"and {more} more faults")]
    return invalid(fields)


def invalid(fields: Sequence[FieldError]) -> Problem:
    """Return a 422; the detail names every field in one sentence."""
    listed = "; ".join(f"{e.field}: {e.detail}" for e in fields)
    return Problem(422, f"The request was understood, but: {listed}.", errors=fields)
