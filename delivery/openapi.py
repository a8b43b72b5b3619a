"""The OpenAPI 3.1 document, made from the one table of routes and the pydantic models."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from openapi_pydantic import OpenAPI
from pydantic.json_schema import models_json_schema

from delivery.problems import CONTENT_TYPE, ProblemDetails
from delivery.routing import JSON, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from delivery.routing import Answer, Route

_REF = "#/components/schemas/{model}"
_VARIABLE = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_ALWAYS = (405, 500)
_WITH_TOKEN = (401, 403)
_WITH_BODY = (400, 408, 413, 415, 422)


def document(routes: Sequence[Route], *, version: str) -> OpenAPI:
    """Return the document; schemas are shared as components."""
    models = _models(routes)
    named, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF
    )
    schemas = {model: named[(model, "validation")] for model in models}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _VARIABLE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return OpenAPI.model_validate(
        {
            "openapi": "3.1.1",
            "info": {
                "title": "Vitrina",
                "version": version,
                "description": "Live-shopping media server. Times are UTC, RFC 3339, with "
                "milliseconds and Z. Errors are application/problem+json (RFC 9457).",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": paths,
            "components": {
                "schemas": definitions.get("$defs", {}),
                "securitySchemes": {
                    "token": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "Made by `vitrina tokens add`. A producer's token may be "
                        "bound to one stream; an admin's may do everything.",
                    }
                },
            },
        }
    )


def to_json(openapi: OpenAPI) -> bytes:
    """Return it as JSON, UTF-8."""
    return openapi.model_dump_json(by_alias=True, exclude_unset=True, indent=1).encode()


def _models(routes: Sequence[Route]) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {ProblemDetails: None}
    for route in routes:
        if route.body is not None:
            found[route.body] = None
        for answer in route.answers.values():
            if answer.model is not None:
                found[answer.model] = None
    return list(found)


def _operation(route: Route, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _VARIABLE.findall(route.path)
    ]
    parameters += [
        {
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.description,
            "schema": dict(parameter.schema),
        }
        for parameter in route.parameters
    ]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(route, schemas),
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": schemas[route.body]}},
        }
    elif route.text_body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {route.text_body: {"schema": {"type": "string"}}},
        }
    if route.scope is not Scope.PUBLIC:
        operation["security"] = [{"token": []}]
    if route.scope is Scope.ADMIN:
        operation["description"] = "Needs a token with the role admin."
    return operation


def _responses(route: Route, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    responses = {str(status): _answer(answer, schemas) for status, answer in route.answers.items()}
    errors = {*route.errors, *_ALWAYS}
    if route.scope is not Scope.PUBLIC:
        errors.update(_WITH_TOKEN)
    if route.body is not None or route.text_body is not None:
        errors.update(_WITH_BODY)
    problem = {"content": {CONTENT_TYPE: {"schema": schemas[ProblemDetails]}}}
    for status in sorted(errors):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, **problem}
    return responses


def _answer(answer: Answer, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    if answer.content_type is None:
        return {"description": answer.description}
    schema: Any = {}
    if answer.model is not None:
        schema = schemas[answer.model]
    elif answer.content_type != JSON:
        schema = {"type": "string"}
    return {
        "description": answer.description,
        "content": {answer.content_type: {"schema": schema}},
    }
