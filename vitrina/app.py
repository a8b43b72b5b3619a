"""The one composition root: makes every part, gives each what it needs, runs them, stops them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from commerce.catalog import Catalog
from delivery.app import build_app
from delivery.deps import Deps
from delivery.server import HttpServer
from ingest.rtmp.server import RtmpServer
from media.registry import Registry
from media.tap import Taps
from overlay.log import CueLog
from overlay.service import CueService
from restream.addresses import AllowList
from restream.dial import NetworkDialer
from restream.service import Restreamer
from storage.database import Database
from storage.migrate import upgrade
from storage.streams import StreamStore
from storage.targets import TargetStore
from storage.tokens import TokenStore
from vitrina import __version__
from vitrina.datafile import database_url
from vitrina.gate import Admin, Gate, publish_users
from vitrina.hook import PublishHook
from vitrina.host import ProcessHost
from vitrina.memory import give_back, set_aside, trimmer
from vitrina.supervise import Supervisor
from vitrina.telemetry import Telemetry
from vitrina.tokens import Tokens
from vitrina.views import Directory
from vitrina.webrtc import make_whep, make_whip
from webrtc.peer import make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings
    from media.clock import ShowClock
    from media.hls.seams import TimedMetadata

log = structlog.get_logger(__name__)

TICK_S = 0.25
REFRESH_S = 2.0
"""How soon `vitrina streams add` in another process is seen."""
LAST_READ_S = 1.0
"""A stop waits this long so that players can read ENDLIST."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The ports that were bound."""

    http_port: int
    rtmp_port: int


async def serve(
    settings: Settings,
    *,
    telemetry: Telemetry | None = None,
    ready: Callable[[Bound], None] | None = None,
) -> None:
    """Run the server until cancelled; then end playlists, let players read that, and close.

    Raises `OSError` where a port cannot be bound, `DatabaseUnavailable` where the database cannot
    be used, `Misconfigured` where a setting names what cannot be.
    """
    telemetry = telemetry or Telemetry()
    database = Database(database_url(settings))
    try:
        await upgrade(database)
        async with Supervisor(meter=telemetry) as supervisor:
            server = _Server(settings, telemetry, database, supervisor)
            try:
                await server.run(ready)
            finally:
                await server.close()
    finally:
        await database.dispose()


class _Server:
    """The parts of one server process."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        database: Database,
        supervisor: Supervisor,
    ) -> None:
        self._telemetry = telemetry
        self._supervisor = supervisor
        self._stopping = False
        catalog = Catalog(database)
        store = StreamStore(database)
        self._taps = Taps()
        host = ProcessHost(
            settings=settings,
            meter=telemetry,
            supervisor=supervisor,
            metadata=self._cues_of,
            tap=self._taps.of,
        )
        self._registry = Registry(host)
        self._cues = CueService(
            log=CueLog(database),
            streams=self._registry,
            products=catalog,
            meter=telemetry,
            settings=settings.cues,
            wall_ms=host.utc_ms,
            now_s=time.monotonic,
        )
        for stream in settings.streams.list:
            self._registry.add(stream.name)
        wanted = settings.auth.publish_hook_url is not None
        self._hook = PublishHook(settings.auth, telemetry) if wanted else None
        gate = Gate(settings=settings, store=store, registry=self._registry, hook=self._hook)
        self._restreamer = Restreamer(
            settings=settings.restream,
            configured={s.name: s.targets for s in settings.streams.list},
            store=TargetStore(database),
            taps=self._taps,
            dialer=NetworkDialer(
                allow=AllowList(settings.restream.allow_hosts),
                timeout_s=settings.restream.connect_timeout_s,
                certificates=settings.restream.tls_certificates,
            ),
            meter=telemetry,
            spawn=supervisor.spawn,
            utc_ms=host.utc_ms,
            exists=lambda name: self._registry.get(name) is not None,
        )
        self._admin = Admin(
            settings=settings,
            store=store,
            registry=self._registry,
            cues=self._cues,
            restreamer=self._restreamer,
        )
        self._rtmp = (
            RtmpServer(
                settings=settings.rtmp,
                gate=gate,
                meter=telemetry,
                users=publish_users(settings),
                check_timeout_s=settings.rtmp.handshake_timeout_s
                + settings.auth.publish_hook_timeout_s,
            )
            if settings.rtmp.enabled
            else None
        )
        self._certificate = make_certificate()
        self._whip = make_whip(
            settings,
            gate=gate,
            certificate=self._certificate,
            meter=telemetry,
            spawn=supervisor.spawn,
        )
        self._whep = make_whep(
            settings,
            streams=self._registry,
            cues=self._cues,
            certificate=self._certificate,
            meter=telemetry,
            supervisor=supervisor,
        )
        app = build_app(
            Deps(
                directory=Directory(self._registry),
                admin=self._admin,
                tokens=Tokens(settings=settings.auth, store=TokenStore(database)),
                targets=self._restreamer,
                cues=self._cues,
                catalog=catalog,
                http=settings.http,
                hls=settings.hls,
                limits=settings.limits,
                version=__version__,
                meter=telemetry,
                metrics=telemetry.exposition if settings.telemetry.enabled else None,
                ladder=settings.ladder,
                push_ports=self._push_ports,
                not_ready=self._not_ready,
                whip=self._whip,
                whep=self._whep,
                whep_viewers=self._whep.viewers if self._whep is not None else lambda _: 0,
            )
        )
        self._http = HttpServer(settings=settings.http, limits=settings.limits, app=app)

    def _cues_of(self, stream: str, clock: ShowClock) -> TimedMetadata:
        return self._cues.feed(stream, clock)

    async def run(self, ready: Callable[[Bound], None] | None) -> None:
        """Run everything; on cancellation end the shows before the listeners close."""
        await self._cues.load()
        await self._admin.refresh()
        await self._restreamer.load()
        self._supervisor.spawn("refresh", self._refresh, restart=True)
        if self._whep is not None:
            self._supervisor.spawn("whep-pulse", self._whep.run, restart=True)
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(self._http.run(), name="http"),
                group.create_task(self._telemetry.run(), name="telemetry"),
                group.create_task(give_back(trim=trimmer()), name="memory"),
                group.create_task(self._keep_time(), name="time"),
            ]
            if self._rtmp is not None:
                parts.append(group.create_task(self._rtmp.run(), name="rtmp"))
            try:
                await self._http.started.wait()
                if self._rtmp is not None:
                    await self._rtmp.started.wait()
                set_aside()
                if ready is not None:
                    ready(self._bound())
                await asyncio.Event().wait()
            finally:
                await self._end_shows()
                for part in parts:
                    part.cancel()

    async def close(self) -> None:
        """Let go of what `run` opened."""
        if self._hook is not None:
            await self._hook.close()

    async def _end_shows(self) -> None:
        self._stopping = True
        if self._rtmp is not None:
            await self._rtmp.drain()
        live = any(stream.live for stream in self._registry.all())
        if self._whip is not None:
            await self._whip.close_all()
        if self._whep is not None:
            await self._whep.drain()
        self._registry.end_all()
        if live:
            await asyncio.sleep(LAST_READ_S)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._registry.tick()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._admin.refresh()

    def _push_ports(self) -> dict[str, int]:
        if self._rtmp is None:
            return {}
        tls = self._rtmp.tls_port
        return ({} if tls is None else {"rtmps": tls}) | {"rtmp": self._rtmp.port}

    def _not_ready(self) -> str | None:
        return "The server is stopping." if self._stopping else None

    def _bound(self) -> Bound:
        rtmp = self._rtmp.port if self._rtmp is not None else 0
        return Bound(http_port=self._http.port, rtmp_port=rtmp)
