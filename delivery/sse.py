"""Server-Sent Events as such (HTML standard, 9.2): their format, a bounded reader, writing.

Written by hand: the format is four lines, and the bounds are ours.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from delivery.meter import DeliveryMeter

QUEUE = 64
"""Events ready for one slow reader; then its connection is closed and it resumes by its id."""
HEARTBEAT_S = 15.0
WRITE_TIMEOUT_S = 10.0
RETRY = b"retry: 2000\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "Server": "vitrina",
    # Proxies that buffer (nginx) would hold events back.
    "X-Accel-Buffering": "no",
}


def format_event(event: str, data: Mapping[str, object], *, id: int | None = None) -> bytes:  # noqa: A002
    """Return one event; JSON has no raw line end, so it is always one data line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = "" if id is None else f"id: {id}\n"
    return f"{head}event: {event}\ndata: {text}\n\n".encode()


class Reader:
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


async def write_events(
    request: web.Request,
    response: web.StreamResponse,
    reader: Reader,
    *,
    heartbeat_s: float,
    meter: DeliveryMeter,
) -> None:
    """Send what the reader holds until it is cut off; a client that does not read is aborted.

    Raises `ConnectionError` where the client is gone.
    """
    while not reader.cut:
        try:
            async with asyncio.timeout(heartbeat_s):
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
            meter.refused("slow")
            if request.transport is not None:
                request.transport.abort()
            return
