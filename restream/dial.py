"""Opens connections to targets: resolves once, checks, connects to the very address it checked."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Protocol

from config.load import Misconfigured
from restream.addresses import AllowList, check
from restream.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from restream.endpoint import Endpoint
    from restream.link import Link

MAX_ADDRESSES = 4
"""Of one name that are tried, in the resolver's order."""
UNSENT_BYTES = 128 * 1024
"""What the kernel may hold unsent: a target that stalls is felt at once, and costs little."""


class Dialer(Protocol):
    """Opens connections."""

    async def dial(self, endpoint: Endpoint, make: Callable[[], Link]) -> Link:
        """Return a connected link. Raises OSError, TimeoutError or `AddressRefused`."""


class NetworkDialer:
    """See the module's docstring. Nothing is followed: RTMP's redirections are ignored."""

    def __init__(
        self, *, allow: AllowList, timeout_s: float, certificates: Path | None = None
    ) -> None:
        """`certificates`: PEM file of authorities to trust beside the system's.

        Raises `Misconfigured` where it cannot be used.
        """
        self._allow = allow
        self._timeout_s = timeout_s
        self._resolver = Resolver()
        self._tls = ssl.create_default_context()
        if certificates is not None:
            try:
                self._tls.load_verify_locations(certificates)
            except OSError as err:  # ssl.SSLError is one
                raise Misconfigured(
                    f"restream.tls_certificates {certificates} cannot be used: "
                    f"{getattr(err, 'reason', None) or err.strerror or err}."
                ) from err

    async def dial(self, endpoint: Endpoint, make: Callable[[], Link]) -> Link:
        """Connect to the first address that answers; each has `timeout_s`."""
        async with asyncio.timeout(self._timeout_s):
            found = await self._resolver.resolve(endpoint.host, endpoint.port)
        check(endpoint.host, (_numeric(address) for _, address in found), self._allow)
        failure: OSError | None = None
        for family, address in found[:MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(self._timeout_s):
                    sock = await _connect(family, address)
                    return await self._start(endpoint, make, sock)
            except (OSError, TimeoutError) as err:
                failure = err
        assert failure is not None
        raise failure

    async def _start(
        self, endpoint: Endpoint, make: Callable[[], Link], sock: socket.socket
    ) -> Link:
        loop = asyncio.get_running_loop()
        tls, name = (self._tls, endpoint.host) if endpoint.tls else (None, None)
        try:
            _, link = await loop.create_connection(make, sock=sock, ssl=tls, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return link


async def _connect(family: int, address: tuple[object, ...]) -> socket.socket:
    """Return a connected socket. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _numeric(address: tuple[object, ...]) -> str:
    """Return the address of a socket address; one with a scope keeps it, and is refused."""
    zone = address[3] if len(address) > 3 else 0
    return f"{address[0]}%{zone}" if zone else str(address[0])
