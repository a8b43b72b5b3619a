"""`/healthz`, `/readyz`, `/metrics`, `/openapi.json`, `/docs`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from delivery.deps import PARTS
from delivery.docs import DOCS_HEADERS
from delivery.problems import Problem
from delivery.routing import Answer, Route


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """The server takes traffic, or says why not."""
    reason = request.app[PARTS].deps.not_ready()
    if reason is not None:
        raise Problem(503, reason, headers={"Retry-After": "1"})
    return web.json_response({"status": "ready"}, headers={"Cache-Control": "no-store"})


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text."""
    collect = request.app[PARTS].deps.metrics
    if collect is None:
        raise Problem(404, "Metrics are switched off (telemetry.enabled).")
    body, content_type = collect()
    return web.Response(
        body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"}
    )


DOCUMENT: web.AppKey[bytes] = web.AppKey("openapi_document")
DOCS_PAGE: web.AppKey[str] = web.AppKey("docs_page")


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    return web.Response(
        body=request.app[DOCUMENT],
        headers={"Content-Type": "application/json", "Cache-Control": "no-cache"},
    )


async def docs(request: web.Request) -> web.Response:
    """The reference page."""
    return web.Response(
        text=request.app[DOCS_PAGE],
        content_type="text/html",
        charset="utf-8",
        headers=DOCS_HEADERS,
    )


def _route(path: str, name: str, summary: str, handler: Any, **more: Any) -> Route:
    content_type = more.pop("content_type", "application/json")
    return Route(
        method="GET",
        path=path,
        name=name,
        summary=summary,
        handler=handler,
        tag="operations",
        answers={200: Answer(description=summary, content_type=content_type)},
        **more,
    )


ROUTES = (
    _route("/healthz", "healthz", "The process answers", healthz),
    _route("/readyz", "readyz", "The server takes traffic", readyz, errors=(503,)),
    _route(
        "/metrics",
        "metrics",
        "Prometheus metrics",
        metrics,
        content_type="text/plain",
        errors=(404,),
    ),
    _route("/openapi.json", "openapi", "This document", openapi),
    _route("/docs", "docs", "Reference page", docs, content_type="text/html"),
)
