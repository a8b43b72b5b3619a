"""Server-Sent Events of a stream: its cues and its state (HTML standard, 9.2).

Events: `cue` (data as in the log, `id` is its `seq`) and `state` (no id, so that it does not
disturb `Last-Event-ID`). What producers hear is in `delivery.producers`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from delivery.problems import Problem
from delivery.producers import ProducerEvents
from delivery.sse import HEADERS, HEARTBEAT_S, RETRY, Reader, format_event, write_events
from overlay.errors import CueError

if TYPE_CHECKING:
    from delivery.cors import Cors
    from delivery.meter import DeliveryMeter
    from delivery.seams import Directory, StreamView
    from overlay.entry import Entry
    from overlay.service import CueService
    from overlay.subscribers import Subscription

log = structlog.get_logger(__name__)

POLL_S = 0.25
MAX_ID_DIGITS = 15
MAX_FORMATTED = 4096
"""Events kept as bytes, of some 2 KB at most: two streams whose viewers all catch up."""


class EventHub:
    """All cue streams of the server; `limits.max_event_streams` bounds them, then 503."""

    def __init__(
        self,
        *,
        directory: Directory,
        cues: CueService,
        cors: Cors,
        meter: DeliveryMeter,
        limit: int,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._directory = directory
        self._cues = cues
        self._cors = cors
        self._meter = meter
        self._limit = limit
        self._heartbeat_s = heartbeat_s
        self.producers = ProducerEvents(directory=directory, meter=meter, heartbeat_s=heartbeat_s)
        self._readers: dict[str, set[Reader]] = {}
        self._states: dict[str, str] = {}
        self._formatted: dict[tuple[str, int], bytes] = {}
        self._count = 0
        self._draining = False

    @property
    def count(self) -> int:
        """Connections now, of viewers and producers."""
        return self._count + self.producers.count

    async def run(self) -> None:
        """Tell readers of changes, until cancelled."""
        while True:
            self.check_states()
            self.producers.check()
            await asyncio.sleep(POLL_S)

    def check_states(self) -> None:
        """Send `state` to the readers of every stream whose state has changed."""
        for name, readers in tuple(self._readers.items()):
            state = _state_of(self._directory.get(name))
            if state == self._states.get(name):
                continue
            self._states[name] = state
            event = format_event("state", {"state": state})
            for reader in tuple(readers):
                if not reader.offer(event):
                    self._meter.refused("slow")

    def drain(self) -> None:
        """End every connection: the server stops."""
        self._draining = True
        self.producers.drain()
        for readers in self._readers.values():
            for reader in tuple(readers):
                reader.close()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /live/STREAM/events`."""
        name = request.match_info["stream"]
        view = self._directory.get(name)
        if view is None:
            raise Problem(404, "There is no stream of that name.")
        headers = {**HEADERS, **self._cors.headers(request.headers.get("Origin"))}
        if request.method == "HEAD":
            return web.Response(headers=headers)
        if self._draining or self._count >= self._limit:
            self._meter.refused("event_streams")
            raise Problem(
                503, "Too many cue streams are open; try again.", headers={"Retry-After": "2"}
            )
        # Subscribed before the answer begins: nothing is missed between the two.
        entries = self._cues.subscribe(name, _last_seq(request))
        response = web.StreamResponse(status=HTTPStatus.OK, headers=headers)
        reader = Reader()
        self._count += 1
        self._readers.setdefault(name, set()).add(reader)
        try:
            await self._stream(request, response, reader, view, entries)
        finally:
            self._count -= 1
            await entries.aclose()
            readers = self._readers[name]
            readers.discard(reader)
            if not readers:
                del self._readers[name]
                self._states.pop(name, None)
        return response

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        reader: Reader,
        view: StreamView,
        entries: Subscription,
    ) -> None:
        await response.prepare(request)
        state = view.state
        self._states.setdefault(view.name, state)
        reader.offer(RETRY)
        reader.offer(format_event("state", {"state": state}))
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(self._pump(entries, reader))
            # A client that went away is how these connections end.
            with suppress(ConnectionError):
                await write_events(
                    request, response, reader, heartbeat_s=self._heartbeat_s, meter=self._meter
                )
            pump.cancel()

    async def _pump(self, entries: Subscription, reader: Reader) -> None:
        try:
            async for entry in entries:
                # Waiting here moves the pressure into the subscription, which is bounded.
                await reader.queue.put(self._format(entry))
        except CueError as error:
            log.warning("a cue stream ended early", reason=error.reason)
        reader.close()

    def _format(self, entry: Entry) -> bytes:
        """Return an entry as an event; all readers of a stream share the bytes."""
        key = entry.stream, entry.seq
        event = self._formatted.get(key)
        if event is None:
            if len(self._formatted) >= MAX_FORMATTED:
                self._formatted.clear()
            event = format_event("cue", entry.event(), id=entry.seq)
            self._formatted[key] = event
        return event


def _state_of(view: StreamView | None) -> str:
    return "ended" if view is None else view.state


def _last_seq(request: web.Request) -> int | None:
    """Return where to resume: `Last-Event-ID`, else `?after=`; None to begin with what is new."""
    text = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    # A foreign id is no reason to refuse: EventSource would never try again.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS else None
