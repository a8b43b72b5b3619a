"""One encoder's connection: bytes to the session, events to the publication, and the deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol, cast

from config.settings import RtmpSettings
from ingest.addresses import crowd_of, plain_address
from ingest.rtmp.account import Account
from ingest.rtmp.adobe import AdobeLogins
from ingest.rtmp.chunks import ChunkLimits
from ingest.rtmp.deadlines import Deadlines
from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.events import (
    Event,
    FormatChanged,
    LoginAnswered,
    MetadataReceived,
    PublishEnded,
    PublishRequested,
    TrackEnded,
    TrackIgnored,
)
from ingest.rtmp.intake import Intake
from ingest.rtmp.metadata import bit_rates, languages
from ingest.rtmp.session import ServerSession, State
from ingest.rtmp.tracks import TICKS_PER_MS, Describe
from ingest.source import (
    MAX_LEAD_S,
    RESUME_LEAD_S,
    Approach,
    Grant,
    IngestMeter,
    KeyRefused,
    Publication,
    PublishGate,
)
from media.excess import Bucket
from media.limits import LimitExceeded
from media.model import FormatRefused, Packet

WRAP_TICKS = 2**32 * TICKS_PER_MS
LINGER_S = 1.0
"""How long a refused client may take to read why; closing at once would reset its connection."""
WASTE = 2
"""Times the bit rate of a publisher's limits: everything that it may send, media or not."""
_NS = 1_000_000_000


class ConnectionHost(Protocol):
    """The listener, as its connections see it."""

    settings: RtmpSettings
    gate: PublishGate
    meter: IngestMeter
    describe: Describe
    limits: ChunkLimits
    logins: AdobeLogins | None
    check_timeout_s: float

    def admit(self, connection: Connection, address: str) -> Fault | None:
        """Count a new connection in, or say why not."""

    def dismiss(self, connection: Connection, address: str) -> None:
        """Count a connection out."""

    def may_log(self) -> bool:
        """Whether a line about a stranger may be written now."""

    def check_key(self, connection: Connection, request: PublishRequested) -> None:
        """Start the key's check; its end calls back into the connection."""

    def publication_ended(self) -> None:
        """Note that some connection publishes no more."""


class Connection(asyncio.Protocol):
    """One client. Every callback runs on the event loop; whatever goes wrong ends only this one."""

    def __init__(self, server: ConnectionHost, protocol: str) -> None:
        self._server = server
        self._flood: Bucket | None = None
        self._account = Account(protocol, server.meter, server.may_log)
        self._session = ServerSession(
            limits=server.limits, describe=server.describe, logins=server.logins
        )
        self._transport: asyncio.Transport | None = None
        self._publication: Publication | None = None
        self._admitted = False
        self._secure = True
        """False while the TLS handshake is under way."""
        self.handshake: asyncio.Task[None] | None = None
        """That handshake; the listener owns it."""
        self._displaced = False
        self._address = self._crowd = ""
        self._intake = Intake(self)
        self._deadlines = Deadlines(server.settings, time.monotonic_ns())
        self._closing_ns = 0
        self._turn_ns = 0

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be counted in, or be refused before a byte is read."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._intake.attach(self._transport)
        if self._admitted:
            self._secure = True
            self._deadlines.opened(time.monotonic_ns())
        elif not self.arrive(self._transport.get_extra_info("peername") or ("unknown", 0)):
            self._transport.abort()

    def arrive(self, peer: tuple[str, int], *, secure: bool = True) -> bool:
        """Be counted in under `peer`, or say False.

        Not `secure`: a TLS handshake follows, and `connection_made` or `unsecured` behind it.
        """
        self._address = plain_address(str(peer[0]))
        self._crowd = self._session.address = crowd_of(self._address)
        self._account.remote = f"{self._address}:{peer[1]}"
        fault = self._server.admit(self, self._address)
        if fault is not None:
            self._closing_ns = self.opened_ns
            self._account.refused(fault)
            return False
        self._admitted = True
        self._secure = secure
        self._account.opened()
        return True

    # ingest.rtmp.room.Stranger

    @property
    def is_stranger(self) -> bool:
        """Whether no key vouches for it, and none is being checked."""
        return (
            self._publication is None
            and not self._displaced
            and self._session.state is not State.AUTHORIZING
        )

    @property
    def address(self) -> str:
        """Where it comes from, as far as strangers are told apart."""
        return self._crowd

    @property
    def opened_ns(self) -> int:
        """When it was counted in, monotonic."""
        return self._deadlines.opened_ns

    @property
    def lingers(self) -> bool:
        """Whether it was cut already and only has its answer left to read."""
        return bool(self._closing_ns)

    def displace(self) -> None:
        """Leave at once, because another one needs the place."""
        self._displaced = True
        if not self._closing_ns:
            self._closing_ns = time.monotonic_ns()
            self._account.rejected(Fault.LIMIT)
        if self._transport is not None:
            self._transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()

    def unsecured(self) -> None:
        """Be counted out where no TLS handshake came about."""
        if self._admitted and not self._secure:
            if not self._closing_ns:
                self._closing_ns = time.monotonic_ns()
                self._account.rejected(Fault.TLS)
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        """Take a read; while the client is held back it waits."""
        if self._closing_ns:
            return
        self._deadlines.read(time.monotonic_ns())
        self._account.read(len(data))
        self._intake.feed(data)

    # ingest.rtmp.intake.Reader

    def begin_turn(self) -> None:
        """Get ready for the slices of one turn: all of them came at one time."""
        self._turn_ns = time.monotonic_ns()
        self._session.begin_turn()

    def take(self, data: bytes) -> bool:
        """Process a slice; False where the connection is over."""
        if self._closing_ns:
            return False
        try:
            self._session.receive_data(data, self._turn_ns)
            self._drain()
        except RtmpError as error:
            self._cut(error.fault, str(error))
        except LimitExceeded as error:
            self._cut(Fault.EXCESS, str(error))
        except Exception:
            self._broken()
        return not self._closing_ns

    def reads_again(self) -> bool:
        """Hear that a pause is over; False while a key is checked."""
        self._deadlines.read(time.monotonic_ns())
        return self._session.state is not State.AUTHORIZING

    def pause_writing(self) -> None:
        """Cut a client that leaves its answers unread."""
        # Answers are small: whoever leaves 64 KiB of them unread only asks.
        if not self._closing_ns:
            self._cut(Fault.SLOW_READER, "The client does not read the answers.")
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the publication and be counted out."""
        self._intake.cancel()
        if not self._admitted:
            return
        self._admitted = False
        self._report_bytes()
        if exc is not None and not self._closing_ns:
            self._account.reason = "reset"
        self._end_publication("error")
        self._server.dismiss(self, self._address)
        self._account.closed()

    def _report_bytes(self) -> None:
        """Tell the meter, and the kernel how much to gather, once a second.

        Also cut a publisher that floods: its limits count only what can be decoded.
        """
        size = self._account.settle_bytes()
        self._intake.gather(size if self._publication is not None else 0)
        if self._publication is None or self._flood is None or self._closing_ns:
            return
        bits = self._flood.add(size * 8, time.monotonic_ns())
        if bits is not None:
            self._cut(
                Fault.EXCESS,
                f"The encoder sends {bits / 1e6:.1f} Mbit/s, most of them nothing that could be "
                "played: lower the bitrate, and switch off what no sequence header announces.",
            )

    # What the session says

    def _drain(self) -> None:
        next_event = self._session.next_event
        pushed = False
        while (event := next_event()) is not None:
            if type(event) is Packet:
                if self._publication is not None:
                    self._publication.push(event)
                    pushed = True
            else:
                self._handle(event)
                if self._closing_ns:
                    return
        self._flush()
        lead_s = self._publication.lead_s if pushed and self._publication is not None else 0.0
        if lead_s > MAX_LEAD_S:
            self._intake.hold_back(lead_s - RESUME_LEAD_S)
        elif self._session.turn_over:
            self._intake.pause(0)

    def _handle(self, event: Event) -> None:
        match event:
            case PublishRequested():
                if self._transport is not None:
                    self._transport.pause_reading()
                self._server.check_key(self, event)
            case LoginAnswered():
                self._answer_login(failed=event.failed)
            case FormatChanged():
                self._set_format(event)
            case TrackEnded():
                if self._publication is not None:
                    self._publication.drop_track(event.track, event.kind)
            case TrackIgnored():
                self._account.warn(Fault.CODEC, event.text, self._stream(), track=event.track)
            case MetadataReceived():
                encoder = event.values.get("encoder")
                if isinstance(encoder, str):
                    encoder = "".join(c for c in encoder if c.isprintable())[:64]
                    self._account.info("encoder metadata", self._stream(), encoder=encoder)
                if self._publication is not None and (found := languages(event.values)):
                    self._publication.describe_sound(found)
                if self._publication is not None and (rates := bit_rates(event.values)):
                    self._publication.declare_rates(rates)
            case PublishEnded():
                self._account.reason = "bye"
                self._deadlines.unpublished(time.monotonic_ns())
                self._end_publication("bye")
            case _:
                raise AssertionError(event)

    def _answer_login(self, *, failed: bool) -> None:
        """Close: the client comes back with what it was asked for, or not."""
        self._account.reason = "login"
        if failed:
            self._account.rejected(Fault.KEY)
            text = "The login failed: check user and password in the encoder."
            self._account.warn(Fault.KEY, text, None)
        self._close()

    def _set_format(self, event: FormatChanged) -> None:
        if self._publication is None:
            return
        try:
            self._publication.set_format(event.track, event.track_format)
        except FormatRefused as error:
            raise RtmpError(Fault.FORMAT, str(error)) from error

    async def authorize(self, request: PublishRequested) -> None:
        """Ask the gate about the key, then publish or refuse. Lets no error out."""
        approach = Approach(
            protocol=self._account.protocol,
            address=self._address,
            key=request.key,
            query=request.query,
            user=request.user,
        )
        try:
            async with asyncio.timeout(self._server.check_timeout_s):
                grant = await self._server.gate.authorize(approach)
            if not self._closing_ns and not self._lost():
                self._open(grant)
        except KeyRefused as error:
            self._refuse(Fault(error.reason.value), str(error))
        except RtmpError as error:
            self._cut(error.fault, str(error))
        except LimitExceeded as error:
            self._cut(Fault.EXCESS, str(error))
        except TimeoutError:
            self._cut(Fault.TIMEOUT, "The stream key could not be checked in time: try again.")
        except Exception:
            self._broken()

    def _open(self, grant: Grant) -> None:
        self._publication = self._server.gate.open(
            grant, protocol=self._account.protocol, wrap_ticks=WRAP_TICKS, on_revoked=self._revoked
        )
        limits = grant.limits
        if limits is not None and limits.on_excess == "close":
            self._flood = Bucket(
                rate=WASTE * limits.max_bitrate_kbps * 1000, seconds=limits.excess_s
            )
        self._account.reason = "eof"
        self._session.accept_publish()
        self._account.info("encoder connected", self._stream(), encoder=self._session.flash_version)
        self._intake.resume()
        self._drain()

    # Deadlines

    def check(self, now_ns: int) -> None:
        """Ping, or cut a connection that is past a deadline."""
        if not self._secure:
            return  # the handshake has a deadline of its own
        self._report_bytes()
        if self._closing_ns:
            if now_ns - self._closing_ns > LINGER_S * _NS and self._transport is not None:
                self._transport.abort()
            return
        state = self._session.state
        if state is State.AUTHORIZING:
            return
        late = self._deadlines.overdue(
            now_ns,
            shaking_hands=state is State.HANDSHAKE,
            held_back=self._intake.held,
            publishing=self._publication is not None,
        )
        if late is not None:
            self._cut(Fault.TIMEOUT, late, left="timeout")
        elif state is not State.HANDSHAKE and self._deadlines.ping_due(now_ns):
            self._session.ping(now_ns // 1_000_000)
            self._flush()

    # Ends

    @property
    def publishing(self) -> bool:
        """Whether a publication runs on it."""
        return self._publication is not None

    def ask_to_reconnect(self) -> bool:
        """Ask the encoder to leave at its next key frame, because the server stops.

        False where it publishes nothing or does not know that request.
        """
        if self._closing_ns or self._publication is None:
            return False
        if not self._session.request_reconnect("The server restarts: connect again."):
            return False
        self._account.info("encoder asked to reconnect", self._stream())
        self._flush()
        return True

    def shut_down(self) -> None:
        """Close now, because the server stops."""
        if not self._closing_ns:
            self._account.reason = "shutdown"
            self._closing_ns = time.monotonic_ns()
            self._end_publication("bye")
        if self._transport is not None:
            self._transport.abort()
        else:
            self.connection_lost(None)

    def _revoked(self, text: str) -> None:
        if self._closing_ns or self._publication is None:
            return
        self._account.reason = "revoked"
        self._account.info("encoder sent away", self._stream(), text=text)
        self._end_publication("revoked")
        self._session.fail(text)
        self._close()

    def _refuse(self, fault: Fault, text: str) -> None:
        if self._closing_ns or self._lost():
            return
        self._account.rejected(fault)
        self._account.warn(fault, text, self._stream())
        self._session.refuse_publish(text)
        self._close()

    def _cut(self, fault: Fault, text: str, *, left: str = "error") -> None:
        """End the connection for the peer's fault, telling the encoder where it listens."""
        if self._closing_ns:
            return
        self._account.rejected(fault)
        self._account.warn(fault, text, self._stream())
        self._end_publication(left)
        self._session.fail(text)
        self._close()

    def _broken(self) -> None:
        """End the connection for a fault of ours."""
        if self._closing_ns:
            return
        self._account.broke(self._stream())
        self._closing_ns = time.monotonic_ns()
        with contextlib.suppress(Exception):
            self._end_publication("error")
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        """Send what is left, then let the peer close; `check` aborts it after `LINGER_S`."""
        self._closing_ns = time.monotonic_ns()
        self._flush()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._session.received == 0 or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        if not transport.is_reading():
            transport.resume_reading()

    def _end_publication(self, reason: str) -> None:
        publication, self._publication = self._publication, None
        if publication is not None:
            publication.close(reason)
            self._server.publication_ended()
            self._account.info(
                "encoder left", publication.stream, reason=reason, dropped=self._session.dropped
            )

    # Small things

    def _flush(self) -> None:
        out = self._session.data_to_send()
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(out)

    def _lost(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _stream(self) -> str | None:
        return None if self._publication is None else self._publication.stream
