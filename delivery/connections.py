"""The connections of the HTTP server: how many, and which of them no longer read."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from delivery.problems import Problem
from ingest.addresses import crowd_of

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

    from delivery.meter import DeliveryMeter

GRACE_S = 15.0
"""A response may take this long, plus its size at `SLOWEST`; then the connection is cut."""
SLOWEST = 16 * 1024
"""Bytes a second; the lowest rung with its audio is six times as much."""

_FULL_BODY = Problem(503, "Too many connections are open; try again later.").document()
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    b"Access-Control-Allow-Origin: *\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class Turnaway(asyncio.Protocol):
    """A connection beyond the limit: told so and closed, before anything is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer 503 and close."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(_FULL)
        transport.close()


class ConnectionTable(web.Server):
    """aiohttp's low-level server, with a limit and a watch on clients that do not read.

    Memory per connection is bounded by one response: the handler waits while the client does
    not read, and `sweep` cuts it off when that takes too long.
    """

    def __init__(
        self,
        *args: object,
        limit: int,
        limit_per_address: int,
        meter: DeliveryMeter,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._addresses: Counter[str] = Counter()
        self._counted: dict[RequestHandler, str] = {}
        self._meter = meter
        self._open: dict[RequestHandler, asyncio.Transport] = {}
        self._stuck: dict[RequestHandler, tuple[int, float]] = {}
        self.answers: dict[RequestHandler, int] = {}
        """Answers given so far, by connection; the request path counts them."""
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._open)

    def accept(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        if len(self._open) >= self._limit:
            self._meter.refused("connections")
            return Turnaway()
        return self()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Hear of a new connection (called by aiohttp).

        Beyond the limit of its address it is told so and closed, before anything is read.
        """
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = crowd_of(peer[0]) if isinstance(peer, tuple) else ""
        if address and self._addresses.get(address, 0) >= self._limit_per_address:
            self._meter.refused("address")
            transport.write(_FULL)
            transport.close()
        if address:
            self._addresses[address] += 1
            self._counted[handler] = address
        self._open[handler] = transport
        self._empty.clear()
        self.answers[handler] = 0

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Hear of the end of one (called by aiohttp)."""
        super().connection_lost(handler, exc)
        address = self._counted.pop(handler, None)
        if address is not None:
            self._addresses[address] -= 1
            if self._addresses[address] <= 0:
                del self._addresses[address]
        self._open.pop(handler, None)
        self.answers.pop(handler, None)
        self._stuck.pop(handler, None)
        if not self._open:
            self._empty.set()

    async def wait_empty(self, timeout_s: float) -> bool:
        """Wait until the last connection has ended; False when the time is up first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def sweep(self, now: float) -> int:
        """Cut off clients that have not taken their response in time; return how many.

        `now` is monotonic, in seconds. To be called every few seconds.
        """
        cut = 0
        for handler, transport in tuple(self._open.items()):
            waiting = transport.get_write_buffer_size()
            if waiting == 0:
                self._stuck.pop(handler, None)
                continue
            answered = self.answers.get(handler, 0)
            seen, deadline = self._stuck.get(handler, (-1, 0.0))
            if seen != answered:
                self._stuck[handler] = (answered, now + GRACE_S + waiting / SLOWEST)
            elif now >= deadline:
                cut += 1
                self._meter.refused("slow")
                transport.abort()
        return cut

    def abort_all(self) -> None:
        """Cut off every connection that is left."""
        for transport in tuple(self._open.values()):
            transport.abort()


def server_logger(meter: DeliveryMeter) -> logging.Logger:
    """Return the logger for aiohttp's own reports: what peers get wrong is counted, not logged."""
    logger = logging.getLogger("delivery.http")

    def keep(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            meter.refused("malformed")
            return False
        return not isinstance(error, ConnectionError)

    logger.filters.clear()
    logger.addFilter(keep)
    return logger
