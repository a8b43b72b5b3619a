"""Server-Sent Events of a stream: its cues and its state (HTML standard, 9.2).

Events: `cue` (data as in the log, `id` is its `seq`) and `state` (no id, so that it does not
disturb `Last-Event-ID`). Written by hand: the format is four lines, and the bounds are ours.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from delivery.problems import Problem
from overlay.errors import CueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from delivery.cors import Cors
    from delivery.meter import DeliveryMeter
    from delivery.seams import Directory, StreamView
    from overlay.entry import Entry
    from overlay.service import CueService
    from overlay.subscribers import Subscription

log = structlog.get_logger(__name__)

QUEUE = 64
"""Events ready for one slow reader; then its connection is closed and it resumes by its id."""
HEARTBEAT_S = 15.0
WRITE_TIMEOUT_S = 10.0
RETRY_MS = 2000
POLL_S = 0.25
MAX_ID_DIGITS = 15
MAX_FORMATTED = 4096
"""Events kept as bytes, of some 2 KB at most: two streams whose viewers all catch up."""


def format_event(event: str, data: Mapping[str, object], *, id: int | None = None) -> bytes:  # noqa: A002
    """Return one event; JSON has no raw line end, so it is always one data line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = "" if id is None else f"id: {id}\n"
    return f"{head}event: {event}\ndata: {text}\n\n".encode()


class _Reader:
    """One connection: its queue of ready events, and whether it was cut off."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE)
        self.cut = False

    def offer(self, event: bytes) -> bool:
        """Queue an event; False, and the end of the connection, when the queue is full."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.close()
            return False
        return True

    def ready(self) -> bytes:
        """Return all events that are queued, up to the end of the connection."""
        events = []
        while not self.cut and not self.queue.empty():
            event = self.queue.get_nowait()
            if event is None:
                self.cut = True
            else:
                events.append(event)
        return b"".join(events)

    def close(self) -> None:
        """End the connection: what is queued is dropped, the reader resumes by its last id."""
        self.cut = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


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
        self._readers: dict[str, set[_Reader]] = {}
        self._states: dict[str, str] = {}
        self._formatted: dict[tuple[str, int], bytes] = {}
        self._count = 0
        self._draining = False

    @property
    def count(self) -> int:
        """Connections now."""
        return self._count

    async def run(self) -> None:
        """Tell readers of changes of state, until cancelled."""
        while True:
            self.check_states()
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
        for readers in self._readers.values():
            for reader in tuple(readers):
                reader.close()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /live/STREAM/events`."""
        name = request.match_info["stream"]
        view = self._directory.get(name)
        if view is None:
            raise Problem(404, "There is no stream of that name.")
        headers = {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "Server": "vitrina",
            # Proxies that buffer (nginx) would hold events back.
            "X-Accel-Buffering": "no",
            **self._cors.headers(request.headers.get("Origin")),
        }
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
        reader = _Reader()
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
        reader: _Reader,
        view: StreamView,
        entries: Subscription,
    ) -> None:
        await response.prepare(request)
        state = view.state
        self._states.setdefault(view.name, state)
        reader.offer(f"retry: {RETRY_MS}\n\n".encode())
        reader.offer(format_event("state", {"state": state}))
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(self._pump(entries, reader))
            # A client that went away is how these connections end.
            with suppress(ConnectionError):
                await self._write(request, response, reader)
            pump.cancel()

    async def _pump(self, entries: Subscription, reader: _Reader) -> None:
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

    async def _write(
        self, request: web.Request, response: web.StreamResponse, reader: _Reader
    ) -> None:
        while not reader.cut:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    event = await reader.queue.get()
            except TimeoutError:
                event = b": still here\n\n"
            if event is None:
                return
            # One write for all that is ready: a reader that catches up would else cost a system
            # call and two timers an event, and hundreds of them hold up a producer's cue.
            event += reader.ready()
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await response.write(event)
                    await request.writer.drain()
            except TimeoutError:
                self._meter.refused("slow")
                if request.transport is not None:
                    request.transport.abort()
                return


def _state_of(view: StreamView | None) -> str:
    return "ended" if view is None else view.state


def _last_seq(request: web.Request) -> int | None:
    """Return where to resume: `Last-Event-ID`, else `?after=`; None to begin with what is new."""
    text = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    # A foreign id is no reason to refuse: EventSource would never try again.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS else None
