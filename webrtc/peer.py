"""One WebRTC peer: ICE, DTLS and SRTP by aiortc; RTP and RTCP go to and from the caller as bytes.

aiortc's own receivers decode what they get, and its senders encode: neither is used. Its private
names that are (SRTP sessions, the datagram queue) are covered by tests, and its minor version is
pinned.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pylibsrtp
import structlog
from aioice import Candidate
from aiortc import (
    RTCCertificate,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceTransport,
)
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceParameters
from aiortc.rtcsctptransport import RTCSctpCapabilities

from webrtc.allowance import Allowance
from webrtc.ice import IceConnection
from webrtc.sctp import BoundedSctp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = structlog.get_logger(__name__)

HANDSHAKE_S = 15.0
"""From the answer to the keys: a peer that needs longer will not come."""
MAX_SOURCES = 256
"""SSRCs of one peer: libsrtp keeps some 300 bytes of each and looks through all of them for every
packet. Publishers have two to ten, and a new one now and then."""
RECORDS_PER_S = 500
RECORDS_BURST_S = 4.0
"""DTLS of a connected peer: data channels, which `webrtc.sctp` bounds closer."""
MAX_SRTP_BYTES = 1500
"""What pylibsrtp takes; no path of the Internet carries more."""


class PeerLost(Exception):
    """The peer could not be reached, or is gone; the text is a sentence for its user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What one side's SDP says of ICE and DTLS."""

    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    """Hash algorithm in lower case, and hexadecimal pairs with colons."""


def make_certificate() -> RTCCertificate:
    """Return a new self-signed P-256 certificate, good for a month and for any number of peers."""
    return RTCCertificate.generateCertificate()


class _Gatherer(RTCIceGatherer):
    def __init__(self, connection: IceConnection) -> None:
        super().__init__(iceServers=[])
        self._connection = connection


class Peer:
    """A peer from `open` to the end of `run`. All calls on the event loop.

    `rtp(data, arrived_ns)` and `rtcp(data, arrived_ns)` get every decrypted packet; what they
    raise is a fault of ours and ends the peer. `begin()` comes ahead of the first of them, once the
    peer has connected; what it raises ends `run`. `hosts`: addresses told to it; `ports`: first
    and last UDP port.
    """

    def __init__(
        self,
        *,
        certificate: RTCCertificate,
        ports: tuple[int, int],
        hosts: Sequence[str],
        rtp: Callable[[bytes, int], None],
        rtcp: Callable[[bytes, int], None],
        begin: Callable[[], None] | None = None,
    ) -> None:
        self._begin = begin
        self._ice = IceConnection(ports=ports, hosts=hosts)
        self._gatherer = _Gatherer(self._ice)
        self._transport = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._transport, [certificate])
        self._dtls._set_role("server")  # noqa: SLF001
        self._certificate = certificate
        self._rtp, self._rtcp = rtp, rtcp
        self._incoming: pylibsrtp.Session | None = None
        self._outgoing: pylibsrtp.Session | None = None
        self._failed: asyncio.Future[None] | None = None
        self._left = False
        self.connected = asyncio.Event()
        self.received = self.sent = 0
        """Bytes of SRTP and SRTCP."""
        self.undecipherable = 0
        """Packets that SRTP refused: replayed, forged or damaged."""
        self._flooded = 0
        self._sources: set[bytes] = set()
        self._records = Allowance(rate=RECORDS_PER_S, seconds=RECORDS_BURST_S)

    # ── set-up ───────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Bind the sockets. Raises `webrtc.ice.NoPort`."""
        try:
            await self._gatherer.gather()
        except BaseException:
            await self._ice.close()
            raise

    @property
    def candidates(self) -> list[Candidate]:
        """Where the peer can reach us; complete after `open`."""
        return list(self._ice.local_candidates)

    @property
    def local(self) -> Credentials:
        """What our answer says."""
        prints = [(p.algorithm, p.value) for p in self._certificate.getFingerprints()]
        return Credentials(
            ufrag=self._ice.local_username,
            password=self._ice.local_password,
            fingerprints=tuple(pair for pair in prints if pair[0] == "sha-256"),
        )

    @property
    def address(self) -> str | None:
        """IP address of the peer, once connected."""
        remote = self._ice.remote_address
        return remote[0] if remote else None

    @property
    def round_trip_s(self) -> float | None:
        """Round trip by the newest consent check, every 5 s; None before the first."""
        return self._ice.round_trip_s

    @property
    def strange(self) -> int:
        """Datagrams from addresses that ICE has not checked, and STUN not meant for us."""
        return self._ice.strange

    @property
    def flooded(self) -> int:
        """Datagrams dropped because there were too many: checks, DTLS, sources of RTP, channels."""
        return self._flooded + self._ice.flooded

    def note_flood(self) -> None:
        """Count something else of the peer's that was too much."""
        self._flooded += 1

    @property
    def unsent(self) -> int:
        """Datagrams of ours that the machine did not get rid of."""
        return self._ice.unsent

    async def add_candidate(self, candidate: Candidate | None) -> None:
        """Take one of the peer's candidates; None: there are no more.

        Leave None away for a peer that sends none at all: it is found by its own checks.
        """
        await self._ice.add_remote_candidate(candidate)

    async def add_text(self, candidate: str) -> None:
        """Take one of the peer's candidates as SDP writes it. Raises ValueError."""
        await self.add_candidate(Candidate.from_sdp(candidate.removeprefix("candidate:")))

    def sctp(self, port: int) -> BoundedSctp:
        """Return the transport of data channels; start it with `start_sctp` once connected."""
        return BoundedSctp(self._dtls, port)

    async def start_sctp(self, sctp: BoundedSctp, *, port: int, max_message: int) -> None:
        """Wait for the peer's association; `port` and `max_message` (bytes) are its own."""
        await sctp.start(RTCSctpCapabilities(maxMessageSize=max_message), port)

    # ── life ─────────────────────────────────────────────────────────────────────────────────

    async def run(self, remote: Credentials) -> None:
        """Connect and stay so until the peer leaves; always closes the sockets.

        Returns when the peer says goodbye. Raises `PeerLost`, or what `rtp` and `rtcp` raised.
        """
        self._failed = asyncio.get_running_loop().create_future()
        try:
            await self._connect(remote)
            self._incoming = self._dtls._rx_srtp  # noqa: SLF001
            self._outgoing = self._dtls._tx_srtp  # noqa: SLF001
            self.connected.set()
            if self._begin is not None:
                self._begin()
            self._ice.tap = self._datagram
            self._ice.admit_early()
            await self._until_closed()
        finally:
            await self.close()

    async def close(self) -> None:
        """Say goodbye and close the sockets; `run` then returns."""
        self._left = True
        self._ice.tap = None
        await self._dtls.stop()
        await self._transport.stop()

    @property
    def leaving(self) -> bool:
        """Whether `close` has begun, because of either side: do not cancel `run` any more."""
        return self._left

    async def _connect(self, remote: Credentials) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._transport.start(
                    RTCIceParameters(usernameFragment=remote.ufrag, password=remote.password)
                )
                if self._transport.state != "completed":
                    raise PeerLost(
                        "No UDP packet of the peer arrived: open whip.ports in the firewall and "
                        "announce an address that it can reach (whip.addresses)."
                    )
                self._ice.admit_early()
                await self._dtls.start(
                    RTCDtlsParameters(
                        fingerprints=[
                            RTCDtlsFingerprint(algorithm=algorithm, value=value)
                            for algorithm, value in remote.fingerprints
                        ]
                    )
                )
                if self._dtls.state != "connected":
                    raise PeerLost(
                        "The peer's encryption did not come up: its certificate is not the one "
                        "of its offer, or it speaks no DTLS 1.2 with ECDSA."
                    )
        except TimeoutError:
            raise PeerLost(
                f"The peer did not connect within {HANDSHAKE_S:.0f} s: open whip.ports in the "
                "firewall and announce an address that it can reach (whip.addresses)."
            ) from None

    async def _until_closed(self) -> None:
        assert self._failed is not None
        gone = asyncio.Event()
        self._dtls.on("statechange", gone.set)
        self._transport.on("statechange", gone.set)
        self._failed.add_done_callback(lambda _: gone.set())
        while self._dtls.state == "connected" and self._transport.state == "completed":
            await gone.wait()
            gone.clear()
            if self._failed.done():
                await self._failed
        # An expired consent ends DTLS, too, and that may be seen first.
        if not self._left and (self._transport.state == "failed" or self._ice.closing):
            raise PeerLost("The peer has not answered for half a minute.")

    # ── media ────────────────────────────────────────────────────────────────────────────────

    def send_rtp(self, data: bytes) -> None:
        """Encrypt and send one RTP packet. Raises `PeerLost` before `connected` and after."""
        self._send(self._outgoing.protect(data) if self._outgoing is not None else None)

    def send_rtcp(self, data: bytes) -> None:
        """Encrypt and send one compound RTCP packet. Raises as `send_rtp` does."""
        self._send(self._outgoing.protect_rtcp(data) if self._outgoing is not None else None)

    def _send(self, data: bytes | None) -> None:
        if data is None or not self.connected.is_set():
            raise PeerLost("The peer is not connected.")
        try:
            self._ice.send_now(data)
        except ConnectionError as error:
            raise PeerLost("The peer is gone.") from error
        self.sent += len(data)

    def _datagram(self, data: bytes) -> bool:
        """Take SRTP, SRTCP (RFC 7983: 128 to 191) and what is too much; the rest is DTLS."""
        if self._incoming is None:
            return False
        arrived_ns = time.monotonic_ns()
        if not 127 < data[0] < 192:
            excess = not self._records.spend(arrived_ns)
            self._flooded += excess
            return excess
        rtcp = len(data) > 1 and 192 <= data[1] <= 223  # RFC 5761 4
        self.received += len(data)
        source = data[4:8] if rtcp else data[8:12]
        known = source in self._sources
        if not known and len(self._sources) >= MAX_SOURCES:
            self._flooded += 1
            return True
        if len(data) > MAX_SRTP_BYTES:
            self.undecipherable += 1
            return True
        try:
            plain = self._incoming.unprotect_rtcp(data) if rtcp else self._incoming.unprotect(data)
        except pylibsrtp.Error:
            self.undecipherable += 1
            return True
        if not known:
            self._sources.add(source)
        try:
            (self._rtcp if rtcp else self._rtp)(plain, arrived_ns)
        except Exception as error:  # a fault of ours must end this peer, not be swallowed
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)
        return True
