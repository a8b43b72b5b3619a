"""Looks names up in threads of its own, so that a name server that never answers harms nobody.

The event loop's few threads for this are everybody's, a lookup in them cannot be given up, and the
process would wait for them before it ends. Names come from whoever may add a target.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import TypeAlias

MAX_LOOKUPS = 64
"""Under way at once; one for each name."""

Found: TypeAlias = list[tuple[socket.AddressFamily, tuple[object, ...]]]
"""Families and socket addresses, in the resolver's order."""


class Resolver:
    """`resolve` can be given up at any time; what is under way goes on for whoever asks next."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], asyncio.Future[Found]] = {}

    async def resolve(self, host: str, port: int) -> Found:
        """Return the addresses of a name. Raises OSError, TimeoutError where too many wait."""
        with suppress(socket.gaierror):
            return _look_up(host, port, socket.AI_NUMERICHOST)
        pending = self._under_way.get((host, port))
        if pending is None:
            if len(self._under_way) >= MAX_LOOKUPS:
                raise TimeoutError
            pending = self._start(host, port)
        return await asyncio.shield(pending)

    def _start(self, host: str, port: int) -> asyncio.Future[Found]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        self._under_way[host, port] = future

        def finish(found: Found, error: OSError | None) -> None:
            del self._under_way[host, port]
            if future.cancelled():
                return
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)
                future.exception()  # nobody may wait for it any more

        def work() -> None:
            found: Found = []
            failure: OSError | None = None
            try:
                found = _look_up(host, port, 0)
            except OSError as err:
                failure = err
            except UnicodeError:
                failure = socket.gaierror(socket.EAI_NONAME, "no host name")
            with suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(finish, found, failure)

        threading.Thread(target=work, name="resolve", daemon=True).start()
        return future


def _look_up(host: str, port: int, flags: int) -> Found:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
    )
    return [(family, address) for family, _type, _proto, _name, address in found]
