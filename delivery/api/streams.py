"""`/api/v1/streams`: what is on, and making and unmaking streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from delivery.api.models import ChosenSource, NewStream, Stream, StreamKey, StreamList
from delivery.body import query_choice, read_model
from delivery.deps import PARTS, PRINCIPAL
from delivery.problems import Problem
from delivery.routing import Answer, Parameter, Route, Scope
from delivery.seams import SourceUnavailable

if TYPE_CHECKING:
    from delivery.seams import StreamView


def summary(request: web.Request, view: StreamView) -> dict[str, object]:
    """Return what the API says of a stream."""
    return {**view.summary(), "viewers": request.app[PARTS].media.viewers(view.name)}


def require_stream(request: web.Request) -> StreamView:
    """Return the stream that the path names; raises `Problem` 404."""
    view = request.app[PARTS].deps.directory.get(request.match_info["stream"])
    if view is None:
        raise Problem(404, "There is no stream of that name.")
    return view


async def list_streams(request: web.Request) -> web.Response:
    """`GET /streams`."""
    principal = request[PRINCIPAL]
    views = request.app[PARTS].deps.directory.all()
    seen = [summary(request, view) for view in views if principal.may_touch(view.name)]
    return web.json_response({"streams": seen})


async def get_stream(request: web.Request) -> web.Response:
    """`GET /streams/S`."""
    return web.json_response(summary(request, require_stream(request)))


async def producer_events(request: web.Request) -> web.StreamResponse:
    """`GET /streams/S/events`."""
    return await request.app[PARTS].events.producers.serve(request, require_stream(request))


async def add_stream(request: web.Request) -> web.Response:
    """`POST /streams`."""
    name = (await read_model(request, NewStream)).name
    key = await request.app[PARTS].deps.admin.add(name)
    return web.json_response(
        {"name": name, "key": key},
        status=201,
        headers={"Location": f"/api/v1/streams/{name}", "Cache-Control": "no-store"},
    )


async def remove_stream(request: web.Request) -> web.Response:
    """`DELETE /streams/S`."""
    view = require_stream(request)
    await request.app[PARTS].deps.admin.remove(view.name)
    return web.Response(status=204)


async def rotate_key(request: web.Request) -> web.Response:
    """`POST /streams/S/rotate-key`."""
    view = require_stream(request)
    backup = query_choice(request, "role", _ROLES) == "backup"
    key = await request.app[PARTS].deps.admin.rotate_key(view.name, backup=backup)
    return web.json_response({"name": view.name, "key": key}, headers={"Cache-Control": "no-store"})


async def open_stream(request: web.Request) -> web.Response:
    """`POST /streams/S/open`."""
    view = require_stream(request)
    try:
        view.open_ahead()
    except SourceUnavailable as err:
        raise Problem(409, str(err)) from None
    return web.json_response(summary(request, view))


async def end_stream(request: web.Request) -> web.Response:
    """`POST /streams/S/end`."""
    view = require_stream(request)
    view.end()
    return web.json_response(summary(request, view))


async def choose_source(request: web.Request) -> web.Response:
    """`POST /streams/S/source`."""
    view = require_stream(request)
    chosen = await read_model(request, ChosenSource)
    try:
        view.choose_source(chosen.role)
    except SourceUnavailable as err:
        raise Problem(409, str(err)) from None
    return web.json_response(summary(request, view))


async def yield_to_next(request: web.Request) -> web.Response:
    """`POST /streams/S/takeover`."""
    view = require_stream(request)
    view.yield_to_next(query_choice(request, "role", _ROLES))
    return web.json_response(summary(request, view))


_ROLES = ("primary", "backup")
_STREAMS = "/api/v1/streams"
_STREAM = "/api/v1/streams/{stream}"

ROUTES = (
    Route(
        method="GET",
        path=_STREAMS,
        name="list_streams",
        summary="State, tracks, bitrate, findings, viewers and renditions of every stream",
        handler=list_streams,
        scope=Scope.PRODUCER,
        tag="streams",
        answers={200: Answer(description="Streams that the token may see.", model=StreamList)},
    ),
    Route(
        method="GET",
        path=_STREAM,
        name="get_stream",
        summary="The same of one stream",
        handler=get_stream,
        scope=Scope.PRODUCER,
        tag="streams",
        answers={200: Answer(description="The stream.", model=Stream)},
        errors=(404,),
    ),
    Route(
        method="GET",
        path=f"{_STREAM}/events",
        name="producer_events",
        summary="State and findings as Server-Sent Events: `snapshot`, then `state` and `finding`",
        handler=producer_events,
        scope=Scope.PRODUCER,
        tag="streams",
        answers={200: Answer(description="The stream.", content_type="text/event-stream")},
        errors=(404, 503),
    ),
    Route(
        method="POST",
        path=_STREAMS,
        name="add_stream",
        summary="Make a stream",
        handler=add_stream,
        scope=Scope.ADMIN,
        tag="streams",
        body=NewStream,
        answers={201: Answer(description="Made; the key is shown this once.", model=StreamKey)},
        errors=(409, 503),
    ),
    Route(
        method="DELETE",
        path=_STREAM,
        name="remove_stream",
        summary="Unmake a stream: its publisher is cut off, its key is void",
        handler=remove_stream,
        scope=Scope.ADMIN,
        tag="streams",
        answers={204: Answer(description="Gone.", content_type=None)},
        errors=(404, 409, 503),
    ),
    Route(
        method="POST",
        path=f"{_STREAM}/open",
        name="open_stream",
        summary="Start a show with its slate before the encoder comes",
        handler=open_stream,
        scope=Scope.PRODUCER,
        tag="streams",
        answers={200: Answer(description="The stream.", model=Stream)},
        errors=(404, 409),
    ),
    Route(
        method="POST",
        path=f"{_STREAM}/end",
        name="end_stream",
        summary="End the show now; its encoder is sent away",
        handler=end_stream,
        scope=Scope.PRODUCER,
        tag="streams",
        answers={200: Answer(description="The stream.", model=Stream)},
        errors=(404,),
    ),
    Route(
        method="POST",
        path=f"{_STREAM}/source",
        name="choose_source",
        summary="Put the primary or the backup encoder on air, at its next key frame",
        handler=choose_source,
        scope=Scope.PRODUCER,
        tag="streams",
        body=ChosenSource,
        answers={200: Answer(description="The stream.", model=Stream)},
        errors=(404, 409),
    ),
    Route(
        method="POST",
        path=f"{_STREAM}/takeover",
        name="yield_to_next",
        summary="Of two encoders that fight for a key, let in the one that is refused",
        handler=yield_to_next,
        scope=Scope.PRODUCER,
        tag="streams",
        parameters=(
            Parameter(
                name="role",
                description="`backup`: the encoders with the backup key.",
                schema={"type": "string", "enum": list(_ROLES), "default": "primary"},
            ),
        ),
        answers={200: Answer(description="The stream.", model=Stream)},
        errors=(404,),
    ),
    Route(
        method="POST",
        path=f"{_STREAM}/rotate-key",
        name="rotate_key",
        summary="Give a stream a new key; the old one is void at once",
        handler=rotate_key,
        scope=Scope.ADMIN,
        tag="streams",
        parameters=(
            Parameter(
                name="role",
                description="`backup`: the key of the encoder that stands by.",
                schema={"type": "string", "enum": list(_ROLES), "default": "primary"},
            ),
        ),
        answers={200: Answer(description="The new key, shown this once.", model=StreamKey)},
        errors=(404, 409, 503),
    ),
)
