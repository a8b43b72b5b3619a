"""ICE of one peer: a UDP port out of a range, and media only from addresses that ICE has checked.

`aioice` does the checks; it would take datagrams from anybody and bind any port.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol, get_host_addresses
from aioice.stun import TransactionError

from webrtc.allowance import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioice.stun import Message

RECEIVE_BUFFER_BYTES = 1 << 20
EARLY_DATAGRAMS = 8
"""Kept from addresses still unchecked: a DTLS hello that overtakes the check's answer."""
MAX_PLACES = 64
"""Addresses that a peer may have, told or found by its checks: each costs checks of ours."""
CONSENT_S = 5.0
"""Between two questions whether the peer still wants our packets (RFC 7675), give or take 20 %."""
CONSENT_LASTS_S = 30.0
CONSENT_REPEATS = 2
"""Of a question, after 0.5 and 1.5 s: an answer may take 3.5 s, over satellites or a busy path."""
FIRST_REPEAT_S = 0.5
"""After it, nobody knows which question was answered."""
MAX_UNSENT_BYTES = 1 << 17
"""Of one socket, beyond what the kernel takes: a tenth of a second of 10 Mb/s."""
CHECKS_PER_S = 200
CHECKS_BURST_S = 3.0
"""STUN of a peer: each costs 100 us and an answer. Browsers send some 20 a second at first."""
MAX_QUEUED = 256
"""Datagrams of a handshake that nobody has read yet; DTLS sends again what is dropped."""
WILDCARDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104  # NAT in front


_BINDING_REQUEST = b"\x00\x01"

MAX_OWN = 8
"""Of this machine's addresses: one with many networks does not tell peers of all."""


def own_addresses() -> list[str]:
    """Return this machine's addresses, IPv4 first, without link-local ones; loopback if alone."""
    found = dict.fromkeys(get_host_addresses(use_ipv4=True, use_ipv6=True))
    return sorted(found, key=lambda host: ":" in host)[:MAX_OWN] or ["127.0.0.1"]


class NoPort(OSError):
    """No port of the configured range is free; the text says what to do."""


class _Datagrams(StunProtocol):
    """A socket of `IceConnection`: STUN to aioice, the rest by where it comes from."""

    def __init__(self, ice: IceConnection) -> None:
        super().__init__(ice)
        self._ice = ice
        self._user = f"{ice.local_username}:".encode()

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Take a datagram; RFC 7983: STUN begins with 0 to 3."""
        assert isinstance(data, bytes)
        if data and data[0] > 3:
            self._ice.media_received(data, (addr[0], addr[1]))
        elif data and not self._meant(data):
            self._ice.strange += 1
        elif data and not self._ice.checks.spend(time.monotonic_ns()):
            self._ice.flooded += 1
        elif data:
            # aioice notices some malformed attributes only by what it stumbles over.
            with contextlib.suppress(struct.error, ValueError):
                super().datagram_received(data, addr)

    def _meant(self, data: bytes) -> bool:
        """Whether STUN may be the peer's: checks name us (RFC 8445 7.2.2), answers their question.

        Read whole, a stranger's would cost 10 us and more.
        """
        if data[:2] == _BINDING_REQUEST:
            return self._user in data
        return data[8:20] in self.transactions


class IceConnection(Connection):
    """ICE agent of a server: controlled, host candidates, one UDP port an address family.

    `ports`: first and last UDP port (0, 0: any). `hosts`: the addresses that peers are told.
    A socket is bound to each of them, so that answers come from where the question went; where one
    is not of this machine but of a NAT in front, one socket is bound to all addresses.
    """

    def __init__(self, *, ports: tuple[int, int], hosts: Sequence[str]) -> None:
        super().__init__(ice_controlling=False)
        self._ports = ports
        self._hosts = tuple(dict.fromkeys(hosts))
        self._early: deque[tuple[bytes, tuple[str, int]]] = deque(maxlen=EARLY_DATAGRAMS)
        self.tap: Callable[[bytes], bool] | None = None
        """Sees every datagram of a checked address first; True: it was its own."""
        self.unsent = 0
        """Datagrams dropped because the machine's own queue was full."""
        self.checks = Allowance(rate=CHECKS_PER_S, seconds=CHECKS_BURST_S)
        self.flooded = 0
        """Checks of the peer that were too many, dropped."""
        self.strange = 0
        """Datagrams from unchecked addresses, and STUN that is not meant for us, dropped."""
        self.round_trip_s: float | None = None
        """As the newest question for consent took; None: not answered before it was repeated."""

    # ── called by aioice ─────────────────────────────────────────────────────────────────────

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        """Bind the sockets and return the candidates. Raises `NoPort`."""
        del addresses, timeout
        candidates: list[Candidate] = []
        for family, wildcard in WILDCARDS.items():
            hosts = [host for host in self._hosts if (":" in host) == (family == socket.AF_INET6)]
            if not hosts:
                continue
            sockets = self._sockets(family, hosts, wildcard)
            port = sockets[0].getsockname()[1]
            made = [
                Candidate(
                    foundation=candidate_foundation("host", "udp", host),
                    component=component,
                    transport="udp",
                    # Each its own (RFC 8445 5.1.2.1), whatever the family: the best is told first.
                    priority=candidate_priority(component, "host", 65535 - self._place(host)),
                    host=host,
                    port=port,
                    type="host",
                )
                for host in hosts
            ]
            with contextlib.ExitStack() as unused:
                for sock in sockets:
                    unused.callback(sock.close)
                for sock, candidate in zip(sockets, made, strict=False):
                    protocol = await self._listen(sock)
                    protocol.local_candidate = candidate
                    self._protocols.append(protocol)
                unused.pop_all()
            candidates += made
        return sorted(candidates, key=lambda each: self._place(each.host))

    def data_received(self, data: bytes, component: int) -> None:
        """Nothing comes this way: `_Datagrams` hands media over with its address."""

    def check_incoming(
        self, message: Message, addr: tuple[str, int], protocol: StunProtocol
    ) -> None:
        """Take a check that proved to be the peer's; of `MAX_PLACES` addresses at most."""
        if "PRIORITY" not in message.attributes:
            return
        known = any(
            each.port == addr[1] and each.host == addr[0] for each in self._remote_candidates
        )
        if known or len(self._remote_candidates) < MAX_PLACES:
            super().check_incoming(message, addr, protocol)

    async def query_consent(self) -> None:
        """Ask for consent until none has come for `CONSENT_LASTS_S`; then close.

        aioice counts answers that take more than half a second as none.
        """
        assert self.remote_password is not None
        key = self.remote_password.encode()
        heard_s = time.monotonic()
        while True:
            await asyncio.sleep(CONSENT_S * random.uniform(0.8, 1.2))
            for pair in tuple(self._nominated.values()):
                asked_s = time.monotonic()
                try:
                    await pair.protocol.request(
                        self.build_request(pair, nominate=False),
                        pair.remote_addr,
                        integrity_key=key,
                        retransmissions=CONSENT_REPEATS,
                    )
                    heard_s = time.monotonic()
                    took_s = heard_s - asked_s
                    self.round_trip_s = took_s if took_s < FIRST_REPEAT_S else None
                except TransactionError:
                    self.round_trip_s = None
                    if time.monotonic() - heard_s >= CONSENT_LASTS_S:
                        self._query_consent_task = None
                        await self.close()
                        return

    def respond_error(
        self,
        request: Message,
        addr: tuple[str, int],
        protocol: StunProtocol,
        error_code: tuple[int, str],
    ) -> None:
        """Answer the peer alone: a stranger's address may be forged, and errors are longer."""
        if error_code[0] not in (400, 401):
            super().respond_error(request, addr, protocol, error_code)

    # ── datagrams ────────────────────────────────────────────────────────────────────────────

    def media_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Take what is no STUN, if ICE has checked `address`."""
        if not self._checked(address):
            if not self._nominated:
                self._early.append((data, address))
            else:
                self.strange += 1
        elif (self.tap is None or not self.tap(data)) and self._queue.qsize() < MAX_QUEUED:
            self._queue.put_nowait((data, 1))

    def admit_early(self) -> None:
        """Give on what came from an address before its check was answered, and forget the rest."""
        early, self._early = self._early, deque(maxlen=EARLY_DATAGRAMS)
        for data, address in early:
            self.media_received(data, address)

    def send_now(self, data: bytes) -> None:
        """Send a datagram to the nominated address. Raises ConnectionError where there is none.

        Where the machine does not get rid of what was sent, it is lost, as on any crowded path.
        """
        pair = self._nominated.get(1)
        if pair is None:
            raise ConnectionError("ICE has no address to send to")
        transport = pair.protocol.transport
        if transport.is_closing():
            raise ConnectionError("the socket is closed")
        # Every transport of asyncio has it; typeshed knows it of streams alone.
        unsent: int = transport.get_write_buffer_size()  # type: ignore[attr-defined]
        if unsent + len(data) > MAX_UNSENT_BYTES:
            self.unsent += 1
            return
        transport.sendto(data, pair.remote_addr)

    @property
    def closing(self) -> bool:
        """Whether it was closed, by us or because the peer's consent expired (RFC 7675)."""
        return self._closing

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """Address and port of the peer, once nominated."""
        pair = self._nominated.get(1)
        return pair.remote_addr if pair else None

    def _checked(self, address: tuple[str, int]) -> bool:
        pair = self._nominated.get(1)
        if pair is not None and pair.remote_addr == address:
            return True
        return any(
            pair.remote_addr == address and pair.state is CandidatePair.State.SUCCEEDED
            for pair in self._check_list
        )

    # ── sockets ──────────────────────────────────────────────────────────────────────────────

    def _place(self, host: str) -> int:
        return self._hosts.index(host)

    async def _listen(self, sock: socket.socket) -> _Datagrams:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
        return protocol

    def _sockets(
        self, family: socket.AddressFamily, hosts: Sequence[str], wildcard: str
    ) -> list[socket.socket]:
        """Return a socket for each host, or one for all, of one port out of the range."""
        first, last = self._ports
        ports = list(range(first, last + 1))
        random.shuffle(ports)
        for places in (hosts, (wildcard,)):
            for port in ports:
                try:
                    return _bound(family, places, port)
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE):
                        raise NoPort("Too many files are open: raise ulimit -n.") from None
                    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                        break  # an address of a NAT, or one that is not ready yet
        raise NoPort(f"No UDP port from {first} to {last} is free: widen whip.ports.")


def _bound(family: socket.AddressFamily, places: Sequence[str], port: int) -> list[socket.socket]:
    """Return a socket for each place, all of one port; 0 takes a free one. Raises OSError."""
    with contextlib.ExitStack() as opened:
        made: list[socket.socket] = []
        for place in places:
            made.append(opened.enter_context(_socket(family, place, port)))
            port = made[0].getsockname()[1]
        opened.pop_all()
        return made


def _socket(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
