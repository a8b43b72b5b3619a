"""What a producer hears of a stream as Server-Sent Events: its state and its findings.

A connection begins with a `snapshot`, whether it is new or comes back: it holds everything that
still counts, so nothing is missed and no log is kept. Then come `state` and `finding` (with
`change`: `opened`, `updated` or `closed`), each with an id that grows.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from delivery.problems import Problem
from delivery.sse import HEADERS, RETRY, Reader, format_event, write_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from delivery.meter import DeliveryMeter
    from delivery.seams import Directory, StreamView

LIMIT = 64
"""Connections of all producers; a studio holds one."""

Findings = dict[tuple[object, object], "Mapping[str, object]"]
"""By code and start."""


class _Channel:
    """One stream's listeners, and what they were last told."""

    def __init__(self, view: StreamView) -> None:
        self.readers: set[Reader] = set()
        self.state = view.state
        self.findings = _known(view)
        self.number = 0

    def changes(self, view: StreamView | None) -> Iterator[bytes]:
        """Return what is new as events, and remember it as told."""
        state = "ended" if view is None else view.state
        if state != self.state:
            self.state = state
            yield self._event("state", {"state": state})
        before, self.findings = self.findings, {} if view is None else _known(view)
        for key, finding in self.findings.items():
            known = before.get(key)
            if known != finding:
                change = _change(known, finding)
                yield self._event("finding", {"change": change, "finding": finding})

    def snapshot(self) -> bytes:
        """Return all that is so now, as one event."""
        data = {"state": self.state, "findings": list(self.findings.values())}
        return format_event("snapshot", data, id=self.number)

    def _event(self, name: str, data: Mapping[str, object]) -> bytes:
        self.number += 1
        return format_event(name, data, id=self.number)


class ProducerEvents:
    """All connections of producers; `LIMIT` bounds them, then 503."""

    def __init__(self, *, directory: Directory, meter: DeliveryMeter, heartbeat_s: float) -> None:
        self._directory = directory
        self._meter = meter
        self._heartbeat_s = heartbeat_s
        self._channels: dict[str, _Channel] = {}
        self._draining = False
        self.count = 0
        """Connections now."""

    def check(self) -> None:
        """Tell the listeners of every stream what has changed."""
        for name, channel in tuple(self._channels.items()):
            for event in channel.changes(self._directory.get(name)):
                for reader in tuple(channel.readers):
                    if not reader.offer(event):
                        self._meter.refused("slow")

    def drain(self) -> None:
        """End every connection: the server stops."""
        self._draining = True
        for channel in self._channels.values():
            for reader in tuple(channel.readers):
                reader.close()

    async def serve(self, request: web.Request, view: StreamView) -> web.StreamResponse:
        """Answer `GET /api/v1/streams/STREAM/events` for a producer who may see `view`."""
        if request.method == "HEAD":
            return web.Response(headers=HEADERS)
        if self._draining or self.count >= LIMIT:
            self._meter.refused("event_streams")
            raise Problem(
                503, "Too many event streams are open; try again.", headers={"Retry-After": "2"}
            )
        response = web.StreamResponse(status=HTTPStatus.OK, headers=HEADERS)
        self.check()
        channel = self._channels.get(view.name)
        if channel is None:
            channel = self._channels[view.name] = _Channel(view)
        reader = Reader()
        reader.offer(RETRY + channel.snapshot())
        channel.readers.add(reader)
        self.count += 1
        try:
            # A client that went away is how these connections end.
            with suppress(ConnectionError):
                await response.prepare(request)
                await write_events(
                    request, response, reader, heartbeat_s=self._heartbeat_s, meter=self._meter
                )
        finally:
            self.count -= 1
            channel.readers.discard(reader)
            if not channel.readers:
                self._channels.pop(view.name, None)
        return response


def _known(view: StreamView) -> Findings:
    return {(finding["code"], finding["since"]): finding for finding in view.findings()}


def _change(known: Mapping[str, object] | None, finding: Mapping[str, object]) -> str:
    if finding["until"] is not None:
        return "closed"
    return "opened" if known is None else "updated"
