"""`vitrina demo`: a server on this machine that shows something at once."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import structlog

from vitrina import demo_show
from vitrina.demo_publisher import Target
from vitrina.supervise import Supervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vitrina.supervise import SuperviseMeter

log = structlog.get_logger(__name__)

STREAM = KEY = TOKEN = "demo"  # noqa: S105  # public on purpose, the listeners are on loopback
LOOPBACK = "127.0.0.1"
DEFAULTS: dict[str, dict[str, Any]] = {
    "http": {"host": LOOPBACK},
    "rtmp": {"host": LOOPBACK},
    "whip": {"addresses": [LOOPBACK]},
    "streams": {"list": [{"name": STREAM, "key": KEY}]},
    "auth": {"admin_token": TOKEN},
    "storage": {"data_dir": "data/demo"},
    "log": {"level": "warning"},
}
"""Weaker than the file, the environment and `--set`."""
_TERMINATE_S = 3.0


class Bound(Protocol):
    """The ports that were bound."""

    @property
    def http_port(self) -> int:
        """TCP port of HTTP."""

    @property
    def rtmp_port(self) -> int:
        """TCP port of RTMP."""


class Serve(Protocol):
    """`vitrina.app.serve` with its settings given."""

    def __call__(self, *, ready: Callable[[Bound], None]) -> Awaitable[None]:
        """Run until cancelled."""


async def demo(
    serve: Serve,
    *,
    meter: SuperviseMeter,
    say: Callable[[str], None],
    host: str = LOOPBACK,
    publisher: bool = True,
) -> None:
    """Run the server, the publisher process and the show until cancelled."""
    bound: asyncio.Future[Bound] = asyncio.get_running_loop().create_future()

    def ready(ports: Bound) -> None:
        if not bound.done():
            bound.set_result(ports)

    async def extras() -> None:
        ports = await bound
        say(describe(ports, host, publisher=publisher))
        async with Supervisor(meter=meter) as supervisor:
            supervisor.spawn("demo_show", lambda: _show(ports), restart=True)
            if publisher:
                target = Target(host=LOOPBACK, port=ports.rtmp_port, key=KEY)
                supervisor.spawn("demo_publisher", lambda: _push(target), restart=True)
            await asyncio.Event().wait()

    # Side by side, so that a stop ends both at once and each is cancelled exactly once.
    async with asyncio.TaskGroup() as group:
        group.create_task(_serve(serve, ready), name="serve")
        group.create_task(extras(), name="extras")


async def _serve(serve: Serve, ready: Callable[[Bound], None]) -> None:
    await serve(ready=ready)


async def _show(ports: Bound) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    base = f"http://{LOOPBACK}:{ports.http_port}"
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(base, headers=headers, timeout=timeout) as session:
        await demo_show.stock(session)
        await demo_show.play(session, STREAM)


class PublisherEnded(Exception):
    """The publisher process ended by itself."""


async def _push(target: Target) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vitrina.demo_publisher", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        process.stdin.write(target.to_json().encode() + b"\n")
        code = await process.wait()
        raise PublisherEnded(f"exit code {code}")
    finally:
        process.stdin.close()  # asks it to end
        with suppress(ProcessLookupError, TimeoutError):
            async with asyncio.timeout(_TERMINATE_S):
                await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def describe(ports: Bound, host: str, *, publisher: bool) -> str:
    """Return what the demo prints: every URL, and a cue to copy."""
    shown = "localhost" if host == LOOPBACK else host
    http, rtmp = f"http://{shown}:{ports.http_port}", f"rtmp://{shown}:{ports.rtmp_port}"
    picture = "a built-in publisher pushes" if publisher else "waiting for your push"
    return f"""
Vitrina demo: {picture}. Stop with Ctrl+C.

  watch          {http}/watch/{STREAM}
  playlist       {http}/live/{STREAM}/index.m3u8
  state, cues    {http}/live/{STREAM}/state.json   {http}/live/{STREAM}/events
  metrics, API   {http}/metrics   {http}/docs
  push yourself  server {rtmp}/live  stream key {KEY}   (takes over at once)
  one URL        {rtmp}/live/{KEY}
  by WebRTC      {http}/studio/publish/{STREAM}   or OBS: WHIP, server {http}/whip, token {KEY}
  in real time   {http}/watch/{STREAM}?mode=realtime

Fire a cue:
  curl -s {http}/api/v1/streams/{STREAM}/cues -H 'Authorization: Bearer {TOKEN}' \\
    -d '{{"type": "pin", "at": "now", "duration": 10, "data": {{"sku": "DEMO-1"}}}}'
"""
