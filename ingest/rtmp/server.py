"""The RTMP listener: accepts encoders, counts them, and watches their deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Mapping

import structlog

from config.listening import bound_to
from config.settings import RtmpSettings
from ingest.addresses import AddressRule, crowd_of
from ingest.rtmp import door
from ingest.rtmp.adobe import AdobeLogins
from ingest.rtmp.chunks import ChunkLimits
from ingest.rtmp.connection import Connection
from ingest.rtmp.errors import Fault
from ingest.rtmp.events import PublishRequested
from ingest.rtmp.room import whom_to_displace
from ingest.rtmp.tls import Certificate
from ingest.rtmp.tracks import Describe
from ingest.source import IngestMeter, PublishGate
from media.bitstream import describe as describe_config
from media.excess import Bucket

PROTOCOL = "rtmp"
PROTOCOL_TLS = "rtmps"
DRAIN_S = 5.0
"""Two key frame intervals of an encoder as it should be set, and a little."""
SILENCE_NS = 1_000_000_000
LINES_PER_S = 5
LINES_BURST_S = 20
"""Lines about strangers that are cut: who connects for ever must not fill the disk."""

_log = structlog.get_logger(__name__)


class RtmpServer:
    """Accepts encoders and hands their packets to the gate's publications.

    `run` owns the listener, one connection object per client, a watch task, and one short task
    per key check. Nothing queues here: packets are pushed as they are read, and reading pauses
    while a key is checked.
    """

    def __init__(
        self,
        *,
        settings: RtmpSettings,
        gate: PublishGate,
        meter: IngestMeter,
        describe: Describe = describe_config,
        users: Mapping[str, str] | None = None,
        check_timeout_s: float | None = None,
    ) -> None:
        self.settings = settings
        self.gate = gate
        self.check_timeout_s = check_timeout_s or settings.handshake_timeout_s
        """Longest that the gate may take to say yes or no."""
        self.logins = AdobeLogins(users, settings.login_apps) if users else None
        self.meter = meter
        self.describe = describe
        self.started = asyncio.Event()
        self.limits = ChunkLimits(
            max_message_bytes=settings.max_message_bytes,
            max_partial_bytes=settings.max_partial_bytes,
            max_chunk_streams=settings.max_chunk_streams,
        )
        self._port = settings.port
        self._tls_port = settings.tls_port
        self._certificate: Certificate | None = None
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._allowed = AddressRule(settings.allow)
        self._turned_away = 0
        self._silent_until_ns = 0
        self._lines = Bucket(rate=LINES_PER_S, seconds=LINES_BURST_S)
        self._group: asyncio.TaskGroup | None = None
        self._draining = False
        self._left = asyncio.Event()
        self._drained = asyncio.Event()

    @property
    def port(self) -> int:
        """The bound port; the configured one until `started` is set."""
        return self._port

    @property
    def tls_port(self) -> int | None:
        """The bound port of RTMPS; None without a certificate."""
        return self._tls_port if self._certificate is not None else None

    async def run(self) -> None:
        """Bind and serve until cancelled, then end every publication and connection.

        Raises `OSError` when an address cannot be bound, `CertificateUnusable`.
        """
        loop = asyncio.get_running_loop()
        settings, host = self.settings, bound_to(self.settings.host)
        listener = await loop.create_server(
            lambda: Connection(self, PROTOCOL), host, settings.port, start_serving=False
        )
        secure: list[socket.socket] = []
        if settings.tls_certificate is not None and settings.tls_key is not None:
            self._certificate = Certificate(settings.tls_certificate, settings.tls_key)
            secure = await door.listen(host, settings.tls_port)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._watch(), name="rtmp-watch")
                await listener.start_serving()
                self._port = listener.sockets[0].getsockname()[1]
                _log.info("listening for encoders", protocol=PROTOCOL, port=self._port)
                for sock in secure:
                    self._tls_port = sock.getsockname()[1]
                    group.create_task(door.accept(sock, self._welcome), name="rtmp-tls-accept")
                    _log.info("listening for encoders", protocol=PROTOCOL_TLS, port=self._tls_port)
                self.started.set()
        finally:
            self._group = None
            listener.close()
            for sock in secure:
                sock.close()
            for connection in tuple(self._connections):
                connection.shut_down()
            if self._connections:
                await self._drained.wait()

    async def drain(self) -> None:
        """Take no more encoders; let those leave at a key frame that know how, `DRAIN_S` at most.

        The others stay until `run` ends.
        """
        self._draining = True
        asked = [c for c in tuple(self._connections) if c.ask_to_reconnect()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while any(connection.publishing for connection in asked):
                    self._left.clear()
                    await self._left.wait()

    def admit(self, connection: Connection, address: str) -> Fault | None:
        """Count a new connection in, or say why not."""
        settings = self.settings
        crowd = crowd_of(address)
        if not self._allowed.allows(address):
            return self._turn_away(
                Fault.ADDRESS, address, "The address is not in rtmp.allow: add it there."
            )
        if self._draining:
            return self._turn_away(Fault.LIMIT, address, "The server is stopping.")
        if (
            self._group is None
            or self._addresses.get(crowd, 0) >= settings.max_connections_per_address
            or (len(self._connections) >= settings.max_connections and not self._make_room(crowd))
        ):
            return self._turn_away(Fault.LIMIT, address, "Too many RTMP connections are open.")
        self._connections.add(connection)
        self._addresses[crowd] += 1
        self._drained.clear()
        return None

    def _make_room(self, crowd: str) -> bool:
        """End a connection that does not publish, so that one from `crowd` can be let in."""
        strangers = (each for each in self._connections if each.is_stranger)
        leaving = whom_to_displace(strangers, crowd)
        if leaving is not None:
            leaving.displace()
        return leaving is not None

    def _turn_away(self, fault: Fault, address: str, text: str) -> Fault:
        """Log at most once a second: whoever knocks must not fill the disk."""
        self._turned_away += 1
        now_ns = time.monotonic_ns()
        if now_ns >= self._silent_until_ns:
            self._silent_until_ns = now_ns + SILENCE_NS
            _log.warning(
                "encoders turned away",
                reason=fault.value,
                remote=address,
                detail=text,
                count=self._turned_away,
            )
            self._turned_away = 0
        return fault

    def may_log(self) -> bool:
        """Whether a line about a stranger may be written now: some each second, in bursts."""
        return self._lines.add(1, time.monotonic_ns()) is None

    def _welcome(self, client: socket.socket, peer: tuple[str, int]) -> None:
        connection = Connection(self, PROTOCOL_TLS)
        if self._group is not None and connection.arrive(peer, secure=False):
            task = self._group.create_task(self._shake_hands(connection, client), name="rtmp-tls")
            task.add_done_callback(lambda task: self._shaken(task, connection, client))
            connection.handshake = task
        else:
            client.close()

    async def _shake_hands(self, connection: Connection, client: socket.socket) -> None:
        """Start TLS on a client that was counted in. Lets no error out."""
        assert self._certificate is not None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                client,
                ssl=self._certificate.context,
                ssl_handshake_timeout=self.settings.handshake_timeout_s,
            )
        except OSError:  # ssl.SSLError and the loop's own time-out are among them
            client.close()

    @staticmethod
    def _shaken(task: asyncio.Task[None], connection: Connection, client: socket.socket) -> None:
        """Count out who came to nothing, also where the task ended before it began."""
        if task.cancelled():
            client.close()
        connection.unsecured()

    def dismiss(self, connection: Connection, address: str) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        crowd = crowd_of(address)
        self._addresses[crowd] -= 1
        if self._addresses[crowd] <= 0:
            del self._addresses[crowd]
        if not self._connections:
            self._drained.set()

    def publication_ended(self) -> None:
        """Note that some connection publishes no more."""
        self._left.set()

    def check_key(self, connection: Connection, request: PublishRequested) -> None:
        """Start the key's check; its end calls back into the connection."""
        if self._group is not None:
            self._group.create_task(connection.authorize(request), name="rtmp-authorize")

    async def _watch(self) -> None:
        """Enforce the deadlines of all connections, a fifth of the shortest one apart."""
        settings = self.settings
        shortest = min(
            settings.handshake_timeout_s, settings.idle_timeout_s, settings.ping_interval_s
        )
        interval = min(1.0, shortest / 5)
        while True:
            await asyncio.sleep(interval)
            now_ns = time.monotonic_ns()
            if self._certificate is not None:
                self._certificate.refresh()
            for connection in tuple(self._connections):
                connection.check(now_ns)
