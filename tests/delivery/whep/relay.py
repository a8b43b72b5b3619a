"""A bad network between two peers: UDP through a relay that loses, delays and disorders."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any, cast

HOST = "127.0.0.1"


class _Side(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay, *, of_server: bool) -> None:
        self.relay, self.of_server = relay, of_server
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.relay.pass_on(data, addr, from_server=self.of_server)


class Relay:
    """Stands before a server; `answer` puts it into the server's answer."""

    def __init__(self, *, loss: float, jitter_s: float, seed: int = 5) -> None:
        self.loss, self.jitter_s = loss, jitter_s
        self.lost = self.passed = 0
        self._random = random.Random(seed)
        self._server: tuple[str, int] | None = None
        self._client: tuple[str, int] | None = None
        self._sides: list[_Side] = []

    async def start(self) -> Relay:
        loop = asyncio.get_running_loop()
        for of_server in (False, True):
            side = _Side(self, of_server=of_server)
            await loop.create_datagram_endpoint(lambda side=side: side, local_addr=(HOST, 0))
            self._sides.append(side)
        return self

    def answer(self, text: str) -> str:
        """Return the answer with the relay's address in place of the server's."""
        found = re.search(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+)", text)
        assert found is not None
        self._server = HOST, int(found[2])
        port = self._sides[0].transport.get_extra_info("sockname")[1]
        return re.sub(r"(a=candidate:\S+ 1 udp \d+ \S+) \d+", rf"\1 {port}", text)

    def pass_on(self, data: bytes, address: tuple[str | Any, int], *, from_server: bool) -> None:
        if not from_server:
            self._client = address
        # Only media suffers: how ICE and DTLS bear losses is not the question here.
        if 127 < data[0] < 192:
            if self._random.random() < self.loss:
                self.lost += 1
                return
            self.passed += 1
            delay_s = self._random.random() * self.jitter_s
            asyncio.get_running_loop().call_later(delay_s, self._send, data, from_server)
        else:
            self._send(data, from_server)

    def _send(self, data: bytes, from_server: bool) -> None:
        target = self._client if from_server else self._server
        side = self._sides[0 if from_server else 1]
        if target is not None and not side.transport.is_closing():
            side.transport.sendto(data, target)

    def close(self) -> None:
        for side in self._sides:
            side.transport.close()
