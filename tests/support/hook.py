"""An authorisation hook to ask: a real HTTP server that answers as it is told."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SECRET = "hook-secret-0123456789"


@dataclass
class Hook:
    """`answer` says what to do next: a response's arguments, or `hang`."""

    answer: dict[str, Any] | str = field(default_factory=lambda: {"text": '{"allow": true}'})
    asked: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    elsewhere: int = 0
    port: int = 0
    busy: int = 0
    busiest: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/publish"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        stamp = request.headers["X-Vitrina-Timestamp"]
        wanted = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        assert request.headers["X-Vitrina-Signature"] == f"sha256={wanted}"
        self.asked.append(json.loads(body))
        self.bodies.append(body + str(request.headers).encode())
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            if self.answer == "hang":
                await asyncio.sleep(60)
            if self.answer == "slow":
                await asyncio.sleep(0.1)
        finally:
            self.busy -= 1
        return web.Response(**(self.answer if isinstance(self.answer, dict) else yes()))

    async def wrong_place(self, _request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response(**yes())


def yes(**more: object) -> dict[str, Any]:
    return {"text": json.dumps({"allow": True, **more}), "content_type": "application/json"}


def no(reason: str | None = None) -> dict[str, Any]:
    return {"text": json.dumps({"allow": False, "reason": reason})}


@asynccontextmanager
async def hook_server() -> AsyncIterator[Hook]:
    """Serve a hook on a free port of the loopback."""
    hook = Hook()
    app = web.Application()
    app.router.add_post("/publish", hook.handle)
    app.router.add_route("*", "/elsewhere", hook.wrong_place)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.port = runner.addresses[0][1]
    try:
        yield hook
    finally:
        await runner.cleanup()
