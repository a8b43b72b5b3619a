"""`/live/...` as routes: the media path for the document, and what viewers read beside media."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from delivery.api.cues import AT_PARAMETER, LANGUAGE_PARAMETER, chapters_json, chapters_vtt
from delivery.api.models import StateAnswer
from delivery.api.streams import require_stream
from delivery.body import query_time
from delivery.deps import PARTS
from delivery.hls import PLAYLIST_TYPE
from delivery.problems import Problem
from delivery.routing import Answer, Parameter, Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def media(request: web.Request) -> web.StreamResponse:
    """Playlists, init segments, segments and parts; the server usually answers before this."""
    response = await request.app[PARTS].media.handle(request)
    if response is None:
        raise Problem(404, "Nothing is at this address.")
    return response


async def state(request: web.Request) -> web.StreamResponse:
    """`GET /live/STREAM/state.json`."""
    view = require_stream(request)
    at = query_time(request, "at")
    answer = request.app[PARTS].deps.cues.state_at(view.name, at)
    return web.json_response(
        {**answer, "stream_state": view.state},
        headers={"Cache-Control": "no-cache"},
    )


async def events(request: web.Request) -> web.StreamResponse:
    """`GET /live/STREAM/events`."""
    return await request.app[PARTS].events.serve(request)


def public(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler whose answer a short-lived cache may keep."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await handler(request)
        response.headers["Cache-Control"] = "public, max-age=1"
        return response

    return answer


def _number(name: str, description: str) -> Parameter:
    return Parameter(name=name, description=description, schema={"type": "integer", "minimum": 0})


_DIRECTIVES = (
    _number("_HLS_msn", "Hold until this media sequence number is listed."),
    _number("_HLS_part", "... and this part of it; needs _HLS_msn."),
    Parameter(
        name="_HLS_skip",
        description="Ask for a delta update.",
        schema={"type": "string", "enum": ["YES", "v2"]},
    ),
)

ROUTES = (
    Route(
        method="GET",
        path="/live/{stream}/index.m3u8",
        name="multivariant",
        summary="Multivariant playlist",
        handler=media,
        answers={200: Answer(description="The playlist.", content_type=PLAYLIST_TYPE)},
        errors=(404, 503),
        cross_origin=True,
    ),
    Route(
        method="GET",
        path="/live/{stream}/state.json",
        name="state",
        summary="Cues that are active at a moment, the live edge if none is given",
        handler=state,
        parameters=(AT_PARAMETER,),
        answers={200: Answer(description="The cues.", model=StateAnswer)},
        errors=(404, 422),
        cross_origin=True,
    ),
    Route(
        method="GET",
        path="/live/{stream}/events",
        name="events",
        summary="Cues and state as Server-Sent Events: `cue` and `state`",
        handler=events,
        parameters=(
            Parameter(name="Last-Event-ID", description="Resume after this seq.", place="header"),
            _number("after", "The same, where a header cannot be set."),
        ),
        answers={200: Answer(description="The stream.", content_type="text/event-stream")},
        errors=(404, 503),
        cross_origin=True,
    ),
    Route(
        method="GET",
        path="/live/{stream}/chapters.json",
        name="live_chapters_json",
        summary="Chapters so far, for players (com.apple.hls.chapters)",
        handler=public(chapters_json),
        answers={200: Answer(description="Chapters.")},
        errors=(404,),
        cross_origin=True,
    ),
    Route(
        method="GET",
        path="/live/{stream}/chapters.vtt",
        name="live_chapters_vtt",
        summary="Chapters so far, as WebVTT",
        handler=public(chapters_vtt),
        parameters=(LANGUAGE_PARAMETER,),
        answers={200: Answer(description="Chapters.", content_type="text/vtt")},
        errors=(404,),
        cross_origin=True,
    ),
    Route(
        method="GET",
        path="/live/{stream}/{rendition}/index.m3u8",
        name="playlist",
        summary="Media playlist, with LL-HLS delivery directives",
        handler=media,
        parameters=_DIRECTIVES,
        answers={200: Answer(description="The playlist.", content_type=PLAYLIST_TYPE)},
        errors=(400, 404, 503),
        cross_origin=True,
    ),
    Route(
        method="GET",
        path="/live/{stream}/{rendition}/{name}",
        name="media",
        summary="Init segment, segment or part; the hinted part is held until it is complete",
        handler=media,
        parameters=(Parameter(name="Range", description="A single byte range.", place="header"),),
        answers={
            200: Answer(description="The bytes.", content_type="video/mp4"),
            206: Answer(description="The range.", content_type="video/mp4"),
        },
        errors=(404, 416, 503),
        cross_origin=True,
    ),
)
