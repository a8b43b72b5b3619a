"""`/api/v1/streams/S/obs-config.json`: settings for the producer's encoder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from delivery.api.models import ObsConfig
from delivery.api.streams import require_stream
from delivery.deps import PARTS
from delivery.obs import ENCODERS, obs_config
from delivery.problems import Problem
from delivery.routing import Answer, Parameter, Route, Scope

if TYPE_CHECKING:
    from config.settings import LimitsSettings
    from delivery.obs import Encoder

DEFAULT_SIZE = "1920x1080"
DEFAULT_RATE = "30"
_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})", re.ASCII)
_RATE = re.compile(r"[1-9]\d{0,2}", re.ASCII)


async def get_obs_config(request: web.Request) -> web.Response:
    """`GET /streams/S/obs-config.json`."""
    view = require_stream(request)
    deps = request.app[PARTS].deps
    ports = deps.push_ports()
    if not ports:
        raise Problem(404, "The RTMP listener is switched off (rtmp.enabled).")
    encoder = request.query.get("encoder", "x264")
    config = obs_config(
        stream=view.name,
        host=_host(request, deps.http.public_url),
        ports=ports,
        ladder=deps.ladder,
        segment_ms=deps.hls.segment_ms,
        encoder=_encoder(encoder),
        size=_size(request.query.get("size", DEFAULT_SIZE), deps.limits),
        frame_rate=_rate(request.query.get("fps", DEFAULT_RATE), deps.limits),
    )
    return web.json_response(config)


def _encoder(name: str) -> Encoder:
    for known in ENCODERS:
        if name == known:
            return known
    raise Problem(400, f"encoder is one of {', '.join(ENCODERS)}.")


def _size(text: str, limits: LimitsSettings) -> tuple[int, int]:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Problem(400, "size is the canvas in pixels, such as 1920x1080.")
    width, height = int(found[1]), int(found[2])
    if width > limits.max_width or height > limits.max_height or width * height > limits.max_pixels:
        raise Problem(
            400,
            f"size is at most {limits.max_width}x{limits.max_height} and {limits.max_pixels} "
            "pixels here.",
        )
    return width, height


def _rate(text: str, limits: LimitsSettings) -> int:
    if _RATE.fullmatch(text) is None or int(text) > limits.max_frame_rate:
        raise Problem(400, f"fps is a whole number from 1 to {limits.max_frame_rate}.")
    return int(text)


def _host(request: web.Request, public_url: str | None) -> str:
    """Return the server's name as the caller knows it, bracketed where it is IPv6."""
    try:
        host = urlsplit(public_url).hostname if public_url is not None else request.url.host
    except ValueError:
        host = None
    host = host or "localhost"
    return f"[{host}]" if ":" in host else host


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/streams/{stream}/obs-config.json",
        name="get_obs_config",
        summary="The JSON for OBS's multitrack video, with the ladder as its tracks; no key inside",
        handler=get_obs_config,
        scope=Scope.PRODUCER,
        tag="streams",
        parameters=(
            Parameter(
                name="encoder",
                description="Which encoder OBS uses.",
                schema={"type": "string", "enum": list(ENCODERS), "default": "x264"},
            ),
            Parameter(
                name="size",
                description="OBS's canvas in pixels.",
                schema={"type": "string", "pattern": _SIZE.pattern, "default": DEFAULT_SIZE},
            ),
            Parameter(
                name="fps",
                description="OBS's frame rate.",
                schema={"type": "integer", "minimum": 1, "default": int(DEFAULT_RATE)},
            ),
        ),
        answers={200: Answer(description="To paste into OBS.", model=ObsConfig)},
        errors=(400, 404),
    ),
)
