"""Clients that mean harm: hundreds of connections that stall, lie and flood, opened anew for ever.

They come from many loopback addresses, so that no limit per address keeps them out.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.ingest.rtmp.support import CONNECT, CREATE, HANDSHAKE, amf, header, publish, whole

HOLD_S = 30.0
PACE_S = 0.3
"""Between two connections of one client: 300 clients open up to a thousand a second."""
_CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@dataclass(frozen=True, slots=True)
class Wire:
    """One open connection of a hostile client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self) -> None:
        while await self.reader.read(65536):
            pass


async def silent(wire: Wire) -> None:
    await wire.until_closed()


async def half_handshake(wire: Wire) -> None:
    await wire.send(HANDSHAKE[:700])
    await wire.until_closed()


async def slow_bytes(wire: Wire) -> None:
    for byte in HANDSHAKE:
        await wire.send(bytes((byte,)))
        await asyncio.sleep(0.05)


async def garbage(wire: Wire) -> None:
    await wire.send(random.randbytes(4096))
    await wire.until_closed()


async def garbage_behind_the_handshake(wire: Wire) -> None:
    await wire.send(HANDSHAKE + random.randbytes(8192))
    await wire.until_closed()


async def web_browser(wire: Wire) -> None:
    await wire.send(b"GET /live/show HTTP/1.1\r\nHost: x\r\n\r\n")
    await wire.until_closed()


async def half_tls(wire: Wire) -> None:
    await wire.send(_CLIENT_HELLO)
    await wire.until_closed()


async def wrong_key(wire: Wire) -> None:
    await wire.send(HANDSHAKE + CONNECT + CREATE + publish(f"guess-{random.random()}"))
    await wire.until_closed()


async def connected_and_idle(wire: Wire) -> None:
    await wire.send(HANDSHAKE + CONNECT)
    await wire.until_closed()


async def chunk_bomb(wire: Wire) -> None:
    """Ask for chunks of 2 GiB and begin messages of 16 MiB on as many streams as there are."""
    out = HANDSHAKE + CONNECT + whole(2, 1, (0x7FFFFFFF).to_bytes(4, "big"))
    for csid in range(4, 64):
        out += header(0, csid, length=0xFFFFFF, type_id=9) + bytes(64)
    await wire.send(out)
    await wire.until_closed()


async def partial_messages(wire: Wire) -> None:
    out = HANDSHAKE + CONNECT
    for csid in range(4, 12):
        out += header(0, csid, length=60_000, type_id=9) + bytes(128)
    await wire.send(out)
    await wire.until_closed()


async def nested_values(wire: Wire) -> None:
    deep = b"\x0a\x00\x00\x00\x01" * 500
    doubled = b"\x0a\x00\x00\x00\x02\x05\x05"
    for index in range(20):
        doubled += b"\x0a\x00\x00\x00\x02" + (b"\x07" + index.to_bytes(2, "big")) * 2
    await wire.send(HANDSHAKE + whole(3, 20, amf("connect", 1) + random.choice((deep, doubled))))
    await wire.until_closed()


async def empty_messages(wire: Wire) -> None:
    flood = header(0, 4, type_id=3) + header(3, 4) * 60_000
    await wire.send(HANDSHAKE + CONNECT + flood)
    await wire.until_closed()


async def questions_without_reading(wire: Wire) -> None:
    ping = whole(2, 4, b"\0\x06\0\0\0\0")
    await wire.send(HANDSHAKE + CONNECT)
    for _ in range(50):
        await wire.send(ping * 100)
    await asyncio.sleep(HOLD_S)


async def media_without_a_key(wire: Wire) -> None:
    await wire.send(HANDSHAKE + CONNECT + CREATE + whole(6, 9, b"\x17\x01" + bytes(3000), stream=1))
    await wire.until_closed()


async def nested_aggregates(wire: Wire) -> None:
    member = whole(4, 22, b"\x16" + (11).to_bytes(3, "big") + bytes(7) + bytes(15))
    await wire.send(HANDSHAKE + CONNECT + member * 20)
    await wire.until_closed()


async def slow_request(wire: Wire) -> None:
    await wire.send(b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\n")
    for number in range(100):
        await wire.send(f"X-{number}: y\r\n".encode())
        await asyncio.sleep(0.2)


Behaviour = Callable[[Wire], object]
ON_RTMP: tuple[Behaviour, ...] = (
    silent,
    half_handshake,
    slow_bytes,
    garbage,
    garbage_behind_the_handshake,
    web_browser,
    half_tls,
    wrong_key,
    connected_and_idle,
    chunk_bomb,
    partial_messages,
    nested_values,
    empty_messages,
    questions_without_reading,
    media_without_a_key,
    nested_aggregates,
)
ON_RTMPS: tuple[Behaviour, ...] = (silent, half_tls, garbage, half_handshake, slow_bytes)
ON_HTTP: tuple[Behaviour, ...] = (slow_request, silent, half_handshake)


class Swarm:
    """Some hundred hostile clients in a thread, from construction until `stop`.

    `ports`: port to what is done there. `opened` counts connections by behaviour.
    """

    def __init__(
        self, count: int, ports: dict[int, tuple[Behaviour, ...]], *, pace_s: float = PACE_S
    ) -> None:
        self.opened: Counter[str] = Counter()
        self.refused = 0
        self.at_once = 0
        self.most_at_once = 0
        self._plans = [(port, behaviour) for port, many in ports.items() for behaviour in many]
        self._count = count
        self._pace_s = pace_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="swarm")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(30)

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                clients = [group.create_task(self._client(n)) for n in range(self._count)]
                while not self._stopped.is_set():
                    await asyncio.sleep(0.05)
                for client in clients:
                    client.cancel()
        except asyncio.CancelledError:
            pass

    async def _client(self, number: int) -> None:
        address = f"127.0.0.{2 + number % 12}"
        await asyncio.sleep(random.random() * self._pace_s)
        while True:
            port, behaviour = self._plans[number % len(self._plans)]
            number += 1
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with self._connection(address, port) as wire, asyncio.timeout(HOLD_S):
                    self.opened[behaviour.__name__] += 1
                    await behaviour(wire)  # type: ignore[misc]
            await asyncio.sleep(self._pace_s * (0.5 + random.random()))

    @asynccontextmanager
    async def _connection(self, address: str, port: int) -> AsyncIterator[Wire]:
        sock = socket.socket()
        sock.setblocking(False)
        writer: asyncio.StreamWriter | None = None
        try:
            sock.bind((address, 0))
            try:
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            except OSError:
                self.refused += 1
                raise
            reader, writer = await asyncio.open_connection(sock=sock)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            yield Wire(reader, writer)
        finally:
            if writer is None:
                sock.close()
            else:
                self.at_once -= 1
                writer.transport.abort()
