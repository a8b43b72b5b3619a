"""The HTTP listener: the media path in front, the application behind, a bounded stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from config.listening import bound_to
from delivery.connections import ConnectionTable, server_logger
from delivery.deps import PARTS
from delivery.hls import PREFIX

if TYPE_CHECKING:
    from config.settings import HttpSettings, LimitsSettings

STOP_S = 3.0
"""Longest stop: held requests are let go at once, responses in flight get this long."""
KEEPALIVE_S = 75.0
"""Also the time a client has for its first whole request head."""
SWEEP_S = 2.0
MAX_HEADERS = 64
"""A browser behind a CDN sends 40. With 8 KB a line this bounds what an unfinished head may hold
for as long as `KEEPALIVE_S`."""
BACKLOG = 1024

log = structlog.get_logger(__name__)


class HttpServer:
    """Serves an application of `delivery.app.build_app` until `run` is cancelled.

    Wants uvloop as the loop (measured: 7 % on 1 MB bodies, 20 % on small ones), works on any.
    """

    def __init__(
        self, *, settings: HttpSettings, limits: LimitsSettings, app: web.Application
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._app = app
        self._port: int | None = None
        self.started = asyncio.Event()
        """Set once connections are accepted and `port` is known."""

    @property
    def port(self) -> int:
        """The port that is listened on; raises `RuntimeError` before `started`."""
        if self._port is None:
            raise RuntimeError("the server does not listen yet")
        return self._port

    async def run(self) -> None:
        """Listen and serve; raises `OSError` where the address cannot be had.

        When cancelled: stops accepting, lets held requests and cue streams go, gives responses
        in flight up to `STOP_S` seconds, cuts off the rest.
        """
        parts = self._app[PARTS]
        meter = parts.deps.meter
        runner = web.AppRunner(self._app, access_log=None, handle_signals=False)
        await runner.setup()
        inner = runner.server
        assert inner is not None
        table = ConnectionTable(
            self._front(inner, parts.media),
            request_factory=inner.request_factory,
            access_log=None,
            logger=server_logger(meter),
            keepalive_timeout=KEEPALIVE_S,
            auto_decompress=False,
            max_headers=MAX_HEADERS,
            limit=self._limits.max_http_connections,
            limit_per_address=self._limits.max_http_connections_per_address,
            meter=meter,
        )
        self._table = table
        listener = await asyncio.get_running_loop().create_server(
            table.accept, bound_to(self._settings.host), self._settings.port, backlog=BACKLOG
        )
        self._port = listener.sockets[0].getsockname()[1]
        log.info("http listens", host=self._settings.host, port=self._port)
        self.started.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(parts.events.run())
                tasks.create_task(self._watch(table))
        finally:
            listener.close()
            parts.media.drain()
            parts.events.drain()
            table.pre_shutdown()
            if not await table.wait_empty(STOP_S - 0.5):
                table.abort_all()
            await runner.cleanup()
            self.started.clear()

    def _front(self, inner: web.Server, media: Any) -> Any:
        """Return the handler of every request: media first, then the application."""
        application = inner.request_handler

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response: web.StreamResponse | None = None
            if request.raw_path.startswith(PREFIX):
                response = await media.handle(request)
            if response is None:
                response = await application(request)
            answers = self._table.answers
            protocol = request.protocol
            if protocol in answers:
                answers[protocol] += 1
            return response

        return handle

    async def _watch(self, table: ConnectionTable) -> None:
        loop = asyncio.get_running_loop()
        parts = self._app[PARTS]
        while True:
            cut = table.sweep(loop.time())
            if cut:
                log.info("cut off clients that did not read", count=cut)
            parts.media.report_viewers()
            parts.deps.meter.open_now(table.count, parts.media.waiting, parts.events.count)
            await asyncio.sleep(SWEEP_S)
