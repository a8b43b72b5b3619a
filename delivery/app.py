"""The application: one table of routes, registered, guarded and documented."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from delivery import openapi, webrtc
from delivery.api import cues, encoder, live, operations, products, streams, targets
from delivery.auth import authorize
from delivery.clients import Clients
from delivery.cors import Cors
from delivery.deps import PARTS, PRINCIPAL, Deps, Parts
from delivery.docs import render
from delivery.events import EventHub
from delivery.hls import MediaPath
from delivery.pages import Pages
from delivery.problems import FieldError, Problem, invalid
from delivery.routing import Scope
from delivery.wire import WireResponse
from overlay.errors import CueError, Invalid, TooMany
from restream.model import NoSuchTarget, TargetRefused
from storage.database import DatabaseUnavailable
from storage.streams import NoSuchStream, StreamRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from delivery.routing import Route

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)

API_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def build_app(deps: Deps) -> web.Application:
    """Return the application; nothing runs until `delivery.server.HttpServer` does."""
    cors = Cors(deps.http.cors_origins)
    media = MediaPath(
        directory=deps.directory,
        cors=cors,
        hls=deps.hls,
        limits=deps.limits,
        meter=deps.meter,
        whep_viewers=deps.whep_viewers,
    )
    events = EventHub(
        directory=deps.directory,
        cues=deps.cues,
        cors=cors,
        meter=deps.meter,
        limit=deps.limits.max_event_streams,
    )
    app = web.Application(middlewares=[_problems], client_max_size=deps.limits.max_body_bytes)
    clients = Clients(deps.http.trusted_proxies)
    app[PARTS] = Parts(deps=deps, media=media, events=events, cors=cors, clients=clients)
    routes = all_routes(deps)
    _register(app, routes, cors)
    document = openapi.to_json(openapi.document(routes, version=deps.version))
    app[operations.DOCUMENT] = document
    app[operations.DOCS_PAGE] = render(json.loads(document))
    return app


def all_routes(deps: Deps) -> tuple[Route, ...]:
    """Return every route of the server."""
    return (
        *products.ROUTES,
        *live.ROUTES,
        *Pages(deps.static).routes(),
        *streams.ROUTES,
        *encoder.ROUTES,
        *targets.ROUTES,
        *cues.ROUTES,
        *webrtc.ROUTES,
        *operations.ROUTES,
    )


def _register(app: web.Application, routes: Sequence[Route], cors: Cors) -> None:
    options: dict[str, Handler] = {}
    for route in routes:
        guarded = _guard(route, cors)
        app.router.add_route(route.method, route.path, guarded)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, guarded)
        if route.options is not None:
            options[route.path] = route.options
        elif route.cross_origin:
            options[route.path] = _preflight(cors)
    for path, handler in options.items():
        app.router.add_route("OPTIONS", path, handler)


def _preflight(cors: Cors) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        headers = cors.preflight(request.headers.get("Origin"))
        return web.Response(status=204, headers=headers)

    return answer


def _guard(route: Route, cors: Cors) -> Handler:
    """Return the route's handler behind its token check, metered, with its common headers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        meter = request.app[PARTS].deps.meter
        try:
            response = await _authorized(route, request)
        except Exception as error:
            response = _problem_of(error, route.name).response()
        if not response.prepared and not isinstance(response, WireResponse):
            response.headers.setdefault("Server", "vitrina")
            if route.scope is not Scope.PUBLIC:
                _add(response, API_HEADERS)
            if route.cross_origin:
                _add(response, cors.headers(request.headers.get("Origin")))
        if route.handler is not live.media:
            meter.request(route.name, response.status, time.perf_counter() - started)
        return response

    return answer


async def _authorized(route: Route, request: web.Request) -> web.StreamResponse:
    if route.scope is not Scope.PUBLIC:
        request[PRINCIPAL] = await authorize(
            request.app[PARTS].deps.tokens,
            request.headers.get("Authorization"),
            route.scope,
            request.match_info.get("stream"),
        )
    return await route.handler(request)


def _add(response: web.StreamResponse, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        response.headers.setdefault(name, value)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what the router itself refuses (404, 405) into problem details."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        problem = _router_problem(error)
        parts = request.app[PARTS]
        parts.deps.meter.request("unrouted", problem.status, 0.0)
        response = problem.response()
        response.headers["Server"] = "vitrina"
        if request.path.startswith(("/live/", "/static/", "/whip", "/whep")):
            _add(response, parts.cors.headers(request.headers.get("Origin")))
        return response


def _router_problem(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            405,
            f"{error.method[:20]} is not possible here; use {allowed}.",
            headers={"Allow": allowed},
        )
    if isinstance(error, web.HTTPNotFound):
        return Problem(404, "Nothing is at this address.")
    return Problem(error.status, error.reason)


def _problem_of(error: Exception, route: str) -> Problem:
    """Translate what a handler raised; what nobody foresaw is logged once and stays inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Invalid):
        return invalid([FieldError(item.field or "body", item.detail) for item in error.errors])
    if isinstance(error, TooMany):
        wait = 1 if error.retry_after_s is None else max(1, -int(-error.retry_after_s // 1))
        return Problem(429, _sentence(error), headers={"Retry-After": str(wait)})
    if isinstance(error, CueError):
        retry = {"Retry-After": "1"} if error.status == 503 else {}
        return Problem(error.status, _sentence(error), headers=retry)
    if isinstance(error, NoSuchStream | NoSuchTarget):
        return Problem(404, _sentence(error))
    if isinstance(error, TargetRefused):
        if error.field is not None:
            return invalid([FieldError(error.field, str(error))])
        return Problem(409, _sentence(error))
    if isinstance(error, StreamRefused):
        return Problem(409, _sentence(error))
    if isinstance(error, DatabaseUnavailable):
        return Problem(503, _sentence(error), headers={"Retry-After": "1"})
    if isinstance(error, web.HTTPException):
        return _router_problem(error)
    number = secrets.token_hex(6)
    log.error("a request failed", route=route, id=number, exc_info=error)
    return Problem(500, f"The server failed to answer this; its log calls it {number}.", id=number)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
