"""`/api/v1/streams/S/targets`: where a stream is pushed on to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from config.settings import TARGET_CODECS
from delivery.api.streams import require_stream
from delivery.body import read_model
from delivery.deps import PARTS
from delivery.routing import Answer, Route, Scope
from overlay.times import format_ms

if TYPE_CHECKING:
    from delivery.seams import TargetAdmin
    from restream.model import Status, Target

HIDDEN = "…"
_Url = Annotated[
    str,
    Field(
        max_length=1024,
        description=(
            "`rtmp://HOST[:PORT]/APP` or `rtmps://...`; without `key` its last part is the key."
        ),
    ),
]
_Key = Annotated[
    SecretStr, Field(max_length=1024, description="Stream key there; never shown again.")
]
_Codecs = Annotated[
    list[TARGET_CODECS],
    Field(
        max_length=16,
        description="What it takes beside H.264 and AAC, where it does not say so itself.",
    ),
]


class NewTarget(BaseModel):
    """Body of `POST /streams/S/targets`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        description="Names it in the API and in metrics: 1 to 32 of a-z, 0-9, - and _.",
    )
    url: _Url
    key: _Key | None = None
    enabled: bool = True
    codecs: _Codecs = []
    source: Literal["source"] = Field("source", description="What is pushed.")


class TargetChange(BaseModel):
    """Body of `PATCH /streams/S/targets/T`; a new `url` needs `key` with it."""

    model_config = ConfigDict(extra="forbid")

    url: _Url | None = None
    key: _Key | None = None
    enabled: bool | None = None
    codecs: _Codecs | None = None
    source: Literal["source"] | None = None


class TargetAnswer(BaseModel):
    """A target and how it stands."""

    name: str
    url: str
    key: str = Field(description="Always `…`.")
    enabled: bool
    codecs: list[str]
    source: str
    configured: bool = Field(description="It comes from the configuration: change it there.")
    state: Literal["off", "idle", "connecting", "live", "waiting", "refused"]
    since: str
    text: str | None = Field(description="What went wrong last, and what to do about it.")
    retry_at: str | None = Field(description="When it is tried again.")
    bitrate_bps: int
    sent_bytes: int
    dropped: int = Field(description="Access units given up because the target was too slow.")
    reconnects: int
    delay_s: float = Field(description="How long media waited here for the target.")


class TargetList(BaseModel):
    """The targets of a stream."""

    targets: list[TargetAnswer]


def answer(target: Target, status: Status) -> dict[str, object]:
    """Return what the API says of a target; the key is not in it."""
    return {
        "name": target.name,
        "url": target.url,
        "key": HIDDEN,
        "enabled": target.enabled,
        "codecs": sorted(codec.value for codec in target.codecs),
        "source": target.source,
        "configured": target.configured,
        "state": status.state.value,
        "since": format_ms(status.since_ms),
        "text": status.text,
        "retry_at": None if status.retry_at_ms is None else format_ms(status.retry_at_ms),
        "bitrate_bps": status.bitrate_bps,
        "sent_bytes": status.sent_bytes,
        "dropped": status.dropped,
        "reconnects": status.reconnects,
        "delay_s": round(status.delay_s, 3),
    }


def _targets(request: web.Request) -> TargetAdmin:
    return request.app[PARTS].deps.targets


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


async def list_targets(request: web.Request) -> web.Response:
    """`GET /streams/S/targets`."""
    found = _targets(request).list(require_stream(request).name)
    return web.json_response({"targets": [answer(*one) for one in found]})


async def get_target(request: web.Request) -> web.Response:
    """`GET /streams/S/targets/T`."""
    stream = require_stream(request).name
    return web.json_response(answer(*_targets(request).get(stream, request.match_info["target"])))


async def add_target(request: web.Request) -> web.Response:
    """`POST /streams/S/targets`."""
    stream = require_stream(request).name
    new = await read_model(request, NewTarget)
    await _targets(request).add(
        stream,
        new.name,
        url=new.url,
        key=_secret(new.key),
        enabled=new.enabled,
        codecs=new.codecs,
    )
    return web.json_response(
        answer(*_targets(request).get(stream, new.name)),
        status=201,
        headers={"Location": f"/api/v1/streams/{stream}/targets/{new.name}"},
    )


async def change_target(request: web.Request) -> web.Response:
    """`PATCH /streams/S/targets/T`."""
    stream, name = require_stream(request).name, request.match_info["target"]
    change = await read_model(request, TargetChange)
    await _targets(request).change(
        stream,
        name,
        url=change.url,
        key=_secret(change.key),
        enabled=change.enabled,
        codecs=change.codecs,
    )
    return web.json_response(answer(*_targets(request).get(stream, name)))


async def remove_target(request: web.Request) -> web.Response:
    """`DELETE /streams/S/targets/T`."""
    stream, name = require_stream(request).name, request.match_info["target"]
    await _targets(request).remove(stream, name)
    return web.Response(status=204)


_TARGETS = "/api/v1/streams/{stream}/targets"
_TARGET = f"{_TARGETS}/{{target}}"

ROUTES = (
    Route(
        method="GET",
        path=_TARGETS,
        name="list_targets",
        summary="Where a stream is pushed on to, and how each target stands",
        handler=list_targets,
        scope=Scope.PRODUCER,
        tag="targets",
        answers={200: Answer(description="The targets.", model=TargetList)},
        errors=(404,),
    ),
    Route(
        method="POST",
        path=_TARGETS,
        name="add_target",
        summary="Push a stream on to another RTMP server",
        handler=add_target,
        scope=Scope.PRODUCER,
        tag="targets",
        body=NewTarget,
        answers={
            201: Answer(description="It is pushed to while there is media.", model=TargetAnswer)
        },
        errors=(404, 409, 422, 503),
    ),
    Route(
        method="GET",
        path=_TARGET,
        name="get_target",
        summary="One target",
        handler=get_target,
        scope=Scope.PRODUCER,
        tag="targets",
        answers={200: Answer(description="The target.", model=TargetAnswer)},
        errors=(404,),
    ),
    Route(
        method="PATCH",
        path=_TARGET,
        name="change_target",
        summary="Change a target; it is connected to again",
        handler=change_target,
        scope=Scope.PRODUCER,
        tag="targets",
        body=TargetChange,
        answers={200: Answer(description="Changed.", model=TargetAnswer)},
        errors=(404, 409, 422, 503),
    ),
    Route(
        method="DELETE",
        path=_TARGET,
        name="remove_target",
        summary="Stop pushing to a target and forget it",
        handler=remove_target,
        scope=Scope.PRODUCER,
        tag="targets",
        answers={204: Answer(description="Gone.", content_type=None)},
        errors=(404, 409, 503),
    ),
)
