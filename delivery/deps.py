"""What the application is built from; `vitrina.app` fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from config.settings import LadderSettings
from delivery.meter import DeliveryMeter, NoDeliveryMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from commerce.catalog import Catalog
    from config.settings import HlsSettings, HttpSettings, LimitsSettings
    from delivery.clients import Clients
    from delivery.cors import Cors
    from delivery.events import EventHub
    from delivery.hls import MediaPath
    from delivery.seams import Directory, Principal, StreamAdmin, TargetAdmin, TokenCheck
    from overlay.service import CueService
    from webrtc.door import Door

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """The parts of the server that HTTP serves."""

    directory: Directory
    admin: StreamAdmin
    tokens: TokenCheck
    targets: TargetAdmin
    cues: CueService
    catalog: Catalog
    http: HttpSettings
    hls: HlsSettings
    limits: LimitsSettings
    version: str
    meter: DeliveryMeter = field(default_factory=NoDeliveryMeter)
    metrics: Callable[[], tuple[bytes, str]] | None = None
    """Body and content type of `GET /metrics`; None: not offered."""
    ladder: LadderSettings = field(default_factory=LadderSettings)
    push_ports: Callable[[], Mapping[str, int]] = dict
    """Where encoders push, by scheme, the better one first; empty: no RTMP listener."""
    not_ready: Callable[[], str | None] = lambda: None
    """Why the server takes no traffic now, None when it does."""
    whip: Door | None = None
    """Where browsers and encoders publish by WebRTC; None: switched off."""
    whep: Door | None = None
    """Where viewers watch by WebRTC; None: switched off."""
    whep_viewers: Callable[[str], int] = lambda _: 0
    """How many watch a stream by WebRTC now."""
    static: Path = STATIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What handlers share, made by `delivery.app.build_app`."""

    deps: Deps
    media: MediaPath
    events: EventHub
    cors: Cors
    clients: Clients


PARTS: web.AppKey[Parts] = web.AppKey("parts")
PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal")
