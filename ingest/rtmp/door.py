"""The TLS listener's own accept loop.

With a TLS context, a loop's server tells of a client only once its handshake is over: clients
that never finish one would count nowhere. Here each is known from its first packet on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 128
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY_S = 0.5
"""Out of descriptors: the clients that are there go on, the next one waits."""


async def listen(host: str | None, port: int) -> list[socket.socket]:
    """Bind every address of `host`, None: of the machine; port 0 takes a free one for all.

    Raises `OSError`.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, address in dict.fromkeys((entry[0], entry[4][0]) for entry in found):
            taken = sockets[0].getsockname()[1] if sockets else port
            listener = opened.enter_context(
                socket.create_server((str(address), taken), family=family, backlog=BACKLOG)
            )
            listener.setblocking(False)
            sockets.append(listener)
        opened.pop_all()
        return sockets


async def accept(
    listener: socket.socket, welcome: Callable[[socket.socket, tuple[str, int]], None]
) -> None:
    """Hand every client to `welcome`, which owns it then; ends by cancellation, closes."""
    loop = asyncio.get_running_loop()
    with listener:
        while True:
            try:
                client, peer = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    await asyncio.sleep(RETRY_S)
                continue  # else the client left ahead of its turn
            client.setblocking(False)
            welcome(client, (str(peer[0]), int(peer[1])))
