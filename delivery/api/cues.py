"""`/api/v1/streams/S/cues`: firing, changing and reading cues; chapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import RootModel

from delivery.api.models import BatchAnswer, CueAnswer, CueLog
from delivery.api.streams import require_stream
from delivery.body import idempotency_key, query_integer, query_time, read_json
from delivery.deps import PARTS
from delivery.routing import Answer, Parameter, Route, Scope
from overlay.cue import CueBatch, CuePatch, CueRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlay.service import CueService


class CueBody(RootModel[CueRequest]):
    """Body of `POST cues`: one of the cue types."""


def _cues(request: web.Request) -> CueService:
    return request.app[PARTS].deps.cues


async def _body(request: web.Request) -> object:
    return await read_json(request, limit=request.app[PARTS].deps.limits.max_body_bytes)


async def fire(request: web.Request) -> web.Response:
    """`POST /streams/S/cues`."""
    stream = require_stream(request).name
    key = idempotency_key(request)
    answer = await _cues(request).fire(stream, await _body(request), idempotency_key=key)
    location = f"/api/v1/streams/{stream}/cues/{answer['id']}"
    return web.json_response(answer, status=201, headers={"Location": location})


async def batch(request: web.Request) -> web.Response:
    """`POST /streams/S/cues/batch`."""
    stream = require_stream(request).name
    key = idempotency_key(request)
    answers = await _cues(request).batch(stream, await _body(request), idempotency_key=key)
    return web.json_response(answers, status=201)


async def list_cues(request: web.Request) -> web.Response:
    """`GET /streams/S/cues`."""
    stream = require_stream(request).name
    after = query_integer(request, "after") or 0
    at_ms = query_time(request, "at")
    return web.json_response(await _cues(request).list(stream, after=after, at_ms=at_ms))


async def get_cue(request: web.Request) -> web.Response:
    """`GET /streams/S/cues/ID`."""
    stream = require_stream(request).name
    return web.json_response(await _cues(request).get(stream, request.match_info["cue"]))


async def revise(request: web.Request) -> web.Response:
    """`PATCH /streams/S/cues/ID`."""
    stream = require_stream(request).name
    cue = request.match_info["cue"]
    key = idempotency_key(request)
    answer = await _cues(request).revise(stream, cue, await _body(request), idempotency_key=key)
    return web.json_response(answer)


async def end(request: web.Request) -> web.Response:
    """`POST /streams/S/cues/ID/end`."""
    stream = require_stream(request).name
    answer = await _cues(request).end(
        stream, request.match_info["cue"], idempotency_key=idempotency_key(request)
    )
    return web.json_response(answer)


async def retract(request: web.Request) -> web.Response:
    """`POST /streams/S/cues/ID/retract`."""
    stream = require_stream(request).name
    answer = await _cues(request).retract(
        stream, request.match_info["cue"], idempotency_key=idempotency_key(request)
    )
    return web.json_response(answer)


async def chapters_json(request: web.Request) -> web.StreamResponse:
    """`GET /streams/S/chapters.json`."""
    stream = require_stream(request).name
    return web.json_response(_cues(request).chapters(stream))


async def chapters_vtt(request: web.Request) -> web.StreamResponse:
    """`GET /streams/S/chapters.vtt`."""
    stream = require_stream(request).name
    text = _cues(request).chapters_vtt(stream, language=request.query.get("lang"))
    return web.Response(text=text, content_type="text/vtt", charset="utf-8")


AT_PARAMETER = Parameter(
    name="at",
    description="Program date-time, RFC 3339.",
    schema={"type": "string", "format": "date-time"},
)
LANGUAGE_PARAMETER = Parameter(name="lang", description="Language of the titles (BCP 47).")
_KEY = Parameter(
    name="Idempotency-Key",
    description="The same key with the same body gets the same answer, and writes once.",
    place="header",
)
_CUES = "/api/v1/streams/{stream}/cues"
_CUE = f"{_CUES}/{{cue}}"
_ANSWER: Mapping[int, Answer] = {200: Answer(description="The new revision.", model=CueAnswer)}
_WRITE_ERRORS = (404, 409, 422, 429, 503)

ROUTES = (
    Route(
        method="POST",
        path=_CUES,
        name="fire_cue",
        summary="Fire or schedule a cue",
        handler=fire,
        scope=Scope.PRODUCER,
        tag="cues",
        body=CueBody,
        parameters=(_KEY,),
        answers={201: Answer(description="Written.", model=CueAnswer)},
        errors=_WRITE_ERRORS,
    ),
    Route(
        method="POST",
        path=f"{_CUES}/batch",
        name="fire_batch",
        summary="Fire several cues, all or none",
        handler=batch,
        scope=Scope.PRODUCER,
        tag="cues",
        body=CueBatch,
        parameters=(_KEY,),
        answers={201: Answer(description="All written.", model=BatchAnswer)},
        errors=_WRITE_ERRORS,
    ),
    Route(
        method="GET",
        path=_CUES,
        name="list_cues",
        summary="The log, from a place on, or the cues at a moment",
        handler=list_cues,
        scope=Scope.PRODUCER,
        tag="cues",
        parameters=(
            Parameter(
                name="after",
                description="Entries with a higher seq.",
                schema={"type": "integer", "minimum": 0},
            ),
            AT_PARAMETER,
        ),
        answers={200: Answer(description="Entries, oldest first.", model=CueLog)},
        errors=(404, 422, 503),
    ),
    Route(
        method="GET",
        path=_CUE,
        name="get_cue",
        summary="One cue in its newest revision",
        handler=get_cue,
        scope=Scope.PRODUCER,
        tag="cues",
        answers={200: Answer(description="The cue.", model=CueAnswer)},
        errors=(404, 503),
    ),
    Route(
        method="PATCH",
        path=_CUE,
        name="revise_cue",
        summary="Change a cue's text, region or end: a new revision",
        handler=revise,
        scope=Scope.PRODUCER,
        tag="cues",
        body=CuePatch,
        parameters=(_KEY,),
        answers=_ANSWER,
        errors=_WRITE_ERRORS,
    ),
    Route(
        method="POST",
        path=f"{_CUE}/end",
        name="end_cue",
        summary="End a cue now",
        handler=end,
        scope=Scope.PRODUCER,
        tag="cues",
        parameters=(_KEY,),
        answers=_ANSWER,
        errors=_WRITE_ERRORS,
    ),
    Route(
        method="POST",
        path=f"{_CUE}/retract",
        name="retract_cue",
        summary="Take a cue back",
        handler=retract,
        scope=Scope.PRODUCER,
        tag="cues",
        parameters=(_KEY,),
        answers=_ANSWER,
        errors=_WRITE_ERRORS,
    ),
    Route(
        method="GET",
        path="/api/v1/streams/{stream}/chapters.json",
        name="chapters_json",
        summary="Chapters so far (com.apple.hls.chapters)",
        handler=chapters_json,
        scope=Scope.PRODUCER,
        tag="cues",
        answers={200: Answer(description="Chapters.")},
        errors=(404,),
    ),
    Route(
        method="GET",
        path="/api/v1/streams/{stream}/chapters.vtt",
        name="chapters_vtt",
        summary="Chapters so far, as WebVTT",
        handler=chapters_vtt,
        scope=Scope.PRODUCER,
        tag="cues",
        parameters=(LANGUAGE_PARAMETER,),
        answers={200: Answer(description="Chapters.", content_type="text/vtt")},
        errors=(404,),
    ),
)
