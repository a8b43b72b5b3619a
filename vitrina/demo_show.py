"""The demo's looping show, fired through the public HTTP API like any producer's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from media.transcode.testpicture import bag_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    import aiohttp

log = structlog.get_logger(__name__)

SCENE_S = 12.0
LEAD_S = 1.0
"""Cues are scheduled this far ahead, so that they land on their frame and not on an edge."""
PATH_POINTS = 16
"""A cue with its path must fit the 1 KB that players take in-band."""
_RETRY_S = 2.0
_CREATED, _CONFLICT, _TOO_MANY, _UNAVAILABLE = 201, 409, 429, 503

PRODUCTS: dict[str, dict[str, Any]] = {
    "DEMO-1": {
        "title": {"en": "Terracotta handbag", "de": "Handtasche Terrakotta"},
        "price": {"amount": 12900, "currency": "EUR"},
    },
    "DEMO-2": {
        "title": {"en": "Table lamp", "de": "Tischlampe"},
        "price": {"amount": 5900, "currency": "EUR"},
    },
    "DEMO-3": {
        "title": {"en": "Blue vase", "de": "Blaue Vase"},
        "price": {"amount": 3400, "currency": "EUR"},
    },
    "DEMO-4": {
        "title": {"en": "Three good books", "de": "Drei gute Bücher"},
        "price": {"amount": 4200, "currency": "EUR"},
    },
    "DEMO-5": {
        "title": {"en": "Gift boxes", "de": "Geschenkschachteln"},
        "price": {"amount": 1500, "currency": "EUR"},
    },
    "DEMO-6": {
        "title": {"en": "Set of three cups", "de": "Drei Tassen"},
        "price": {"amount": 2700, "currency": "EUR"},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One chapter of the show: a product that stands still beside the bag that moves."""

    title: dict[str, str]
    sku: str
    region: tuple[float, float, float, float]
    """x, y, width, height in 0..1 of the picture."""


SCENES = (
    Scene(
        title={"en": "Light for long evenings", "de": "Licht für lange Abende"},
        sku="DEMO-2",
        region=(0.805, 0.165, 0.092, 0.255),
    ),
    Scene(
        title={"en": "A vase with a history", "de": "Eine Vase mit Geschichte"},
        sku="DEMO-3",
        region=(0.091, 0.132, 0.083, 0.29),
    ),
    Scene(
        title={"en": "What we read in winter", "de": "Was wir im Winter lesen"},
        sku="DEMO-4",
        region=(0.434, 0.303, 0.14, 0.12),
    ),
    Scene(
        title={"en": "Wrapped in a minute", "de": "In einer Minute verpackt"},
        sku="DEMO-5",
        region=(0.083, 0.564, 0.116, 0.22),
    ),
    Scene(
        title={"en": "Cups for the first coffee", "de": "Tassen für den ersten Kaffee"},
        sku="DEMO-6",
        region=(0.834, 0.706, 0.12, 0.078),
    ),
)


def bag_path(start_ms: int, duration_s: float) -> list[list[float]]:
    """Return `[t, x, y, w, h]` points that follow the bag from `start_ms` on.

    The times match the picture's own clock; what the push adds (tens of milliseconds) is less
    than a hundredth of the picture at the bag's speed.
    """
    points = []
    for index in range(PATH_POINTS):
        seconds = duration_s * index / (PATH_POINTS - 1)
        box = bag_box(start_ms + seconds * 1000)
        place = (seconds, box.x, box.y, box.width, box.height)
        points.append([round(value, 3) for value in place])
    return points


def scene_cues(scene: Scene, start_ms: int) -> list[dict[str, Any]]:
    """Return the bodies of the cues that make one scene, for `POST .../cues/batch`."""
    at = rfc3339(start_ms)
    x, y, width, height = scene.region
    still = [[0.0, x, y, width, height]]
    label = PRODUCTS[scene.sku]["title"]
    return [
        {"type": "chapter", "at": at, "duration": None, "data": {"title": scene.title}},
        {
            "type": "hotspot",
            "at": at,
            "duration": SCENE_S,
            "data": {
                "sku": "DEMO-1",
                "path": bag_path(start_ms, SCENE_S),
                "label": PRODUCTS["DEMO-1"]["title"],
            },
        },
        {
            "type": "hotspot",
            "at": rfc3339(start_ms + 2000),
            "duration": SCENE_S - 3,
            "data": {"sku": scene.sku, "path": still, "label": label},
        },
        {
            "type": "pin",
            "at": rfc3339(start_ms + 1000),
            "duration": SCENE_S - 2,
            # A slot of its own: a pin that somebody tries out in `main` is not replaced.
            "data": {"sku": scene.sku, "label": label, "slot": "show"},
        },
    ]


def rfc3339(utc_ms: int) -> str:
    """Return a time as the API takes it: UTC with milliseconds."""
    seconds, millis = divmod(utc_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03d}Z"


async def stock(session: aiohttp.ClientSession) -> None:
    """Put the sample catalogue in place. Raises `aiohttp.ClientError`."""
    for sku, product in PRODUCTS.items():
        async with session.put(f"/api/v1/products/{sku}", json=product) as answer:
            if not answer.ok:
                raise ShowRefused(f"product {sku}: {answer.status} {await answer.text()}")


class ShowRefused(Exception):
    """The server refused what the show sent; the text is its answer."""


async def play(
    session: aiohttp.ClientSession, stream: str, scenes: Sequence[Scene] = SCENES
) -> None:
    """Fire scene after scene until cancelled; waits while the stream is not live."""
    number = 0
    while True:
        start_ms = time.time_ns() // 1_000_000 + round(LEAD_S * 1000)
        body = {"cues": scene_cues(scenes[number % len(scenes)], start_ms)}
        async with session.get(f"/api/v1/streams/{stream}") as answer:
            live = answer.ok and (await answer.json()).get("state") == "live"
        if not live:
            await asyncio.sleep(_RETRY_S)
            continue
        async with session.post(f"/api/v1/streams/{stream}/cues/batch", json=body) as answer:
            if answer.status in (_CONFLICT, _TOO_MANY, _UNAVAILABLE):
                log.warning("scene postponed", status=answer.status, reason=await answer.text())
                await asyncio.sleep(float(answer.headers.get("Retry-After", _RETRY_S)))
                continue
            if answer.status != _CREATED:
                raise ShowRefused(f"{answer.status} {await answer.text()}")
        number += 1
        await asyncio.sleep(SCENE_S)
