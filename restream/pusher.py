"""Pushes one stream on to one target: connects, follows the stream, comes back after failures.

It hears the stream through `media.tap.PacketTap`: those calls only touch the bounded queue. All
of the network is in `run`, a supervised task of its own, so a target can be as slow or as dead as
it likes. Everything happens on the event loop.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import TYPE_CHECKING

import structlog

from ingest.rtmp.client import RtmpPublishClient
from media.model import Packet
from restream.addresses import AddressRefused
from restream.backoff import refused_delay_s, retry_delay_s
from restream.link import Link, LinkLost
from restream.model import State, Status
from restream.muxer import Muxer, RestartNeeded, Unsendable
from restream.queue import PacketQueue
from restream.words import explain, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from config.settings import RestreamSettings
    from media.model import TrackFormat
    from restream.dial import Dialer
    from restream.endpoint import Endpoint
    from restream.meter import RestreamMeter
    from restream.model import Target

log = structlog.get_logger(__name__)

REPORT_S = 1.0
HEALTHY_S = 30.0
"""A connection that lived this long starts the back-off over."""
SERVED_S = 5.0
"""A target that took the stream for this long knows its key."""
TRUST_S = 180.0
"""What it refuses within this time after that is not for the key: it stops, or still holds the
connection that broke, as it may do for a minute or two."""
BUSY = re.compile(r"\balready\b|\bbusy\b|\bin use\b", re.IGNORECASE)
"""What servers say of a stream that somebody publishes: nginx, SRS, Adobe's and their like."""
SILENT_NS = 5_000_000_000
"""A stream without packets for this long is not worth a connection: servers close idle ones."""


class _Failed(Exception):
    """A try failed; the sentence is for the producer."""

    def __init__(self, text: str, *, refused: bool = False, unsendable: bool = False) -> None:
        super().__init__(text)
        self.refused = refused or unsendable
        self.unsendable = unsendable
        """It is the stream that is not taken: another one may be."""


class Pusher:
    """One target (`media.tap.PacketTap`). Call `run` in a task; `status` tells how it stands."""

    def __init__(
        self,
        target: Target,
        endpoint: Endpoint,
        *,
        settings: RestreamSettings,
        dialer: Dialer,
        meter: RestreamMeter,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.target = target
        self._endpoint = endpoint
        self._settings = settings
        self._dialer = dialer
        self._meter = meter
        self._uniform = uniform
        self._queue = PacketQueue(max_bytes=settings.queue_bytes, max_s=settings.queue_s)
        self._wake = asyncio.Event()
        self._on_air = False
        self._shows = 0
        """Shows that began; each has a connection of its own."""
        self._changed = False
        """The stream ended, or is something else than what the target refused."""
        self._heard_ns: int | None = None
        self._state = State.IDLE
        self._since_ms = _utc_ms()
        self._text: str | None = None
        self._retry_at_ms: int | None = None
        self._failures = 0
        self._connections = 0
        self._sent = 0
        self._bitrate = 0
        self._delay_s = 0.0
        self._served_s: float | None = None
        """When the target was last known to take the stream."""
        self._dropped_s: float | None = None
        """When media was last given up, for which the text says why."""
        self._latest_s = 0.0
        """The longest wait since the last report."""
        self._reported = (time.monotonic(), 0, 0)
        meter.restream_state(target.stream, target.name, self._state.number)

    def status(self) -> Status:
        """Return how the target stands now."""
        return Status(
            state=self._state,
            since_ms=self._since_ms,
            text=self._text,
            retry_at_ms=self._retry_at_ms,
            bitrate_bps=self._bitrate if self._state is State.LIVE else 0,
            sent_bytes=self._sent,
            dropped=self._queue.dropped,
            reconnects=max(0, self._connections - 1),
            delay_s=self._delay_s if self._state is State.LIVE else 0.0,
        )

    # ── media.tap.PacketTap ──────────────────────────────────────────────────────────────────

    def formats(self, formats: Sequence[TrackFormat]) -> None:
        """Note what the packets from here on are."""
        if not self._on_air:
            # What is left of the show before has other times.
            self._shows += 1
            self._queue.close()
        self._on_air = True
        self._changed = True
        self._queue.put_formats(formats)
        self._wake.set()

    def packet(self, packet: Packet) -> None:
        """Queue an access unit."""
        self._heard_ns = packet.arrived_ns
        self._queue.put(packet)
        self._wake.set()

    def ended(self) -> None:
        """Note that the show is over: what is queued is still sent."""
        self._on_air = False
        self._changed = True
        self._wake.set()

    # ── the task ─────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Push until cancelled."""
        try:
            while True:
                await self._until_heard()
                await self._try()
        finally:
            self._queue.close()
            self._set(State.IDLE)

    async def _until_heard(self) -> None:
        while not self._on_air or not self._heard_lately():
            if self._state is not State.IDLE:
                self._set(State.IDLE, text=self._text)
            self._failures = 0
            await self._woken(REPORT_S)

    def _heard_lately(self) -> bool:
        return self._heard_ns is not None and time.monotonic_ns() - self._heard_ns < SILENT_NS

    async def _try(self) -> None:
        """Make a connection and use it up; after a failure wait as long as it deserves."""
        began = time.monotonic()
        try:
            await self._connect_and_push()
        except RestartNeeded:
            # The queue stays open: it begins with the key frame of the new format.
            if not self._healthy(began):
                await self._wait_after(_Failed("The encoder changed its codecs; connecting again."))
        except _Failed as failure:
            self._queue.close()
            self._healthy(began)
            await self._wait_after(failure)
        else:
            self._queue.close()

    def _healthy(self, began: float) -> bool:
        """Count the end of a connection; return whether it had lived long enough."""
        healthy = time.monotonic() - began >= HEALTHY_S
        self._failures = 1 if healthy else self._failures + 1
        return healthy

    async def _wait_after(self, failure: _Failed) -> None:
        settings = self._settings
        if failure.refused:
            delay_s = refused_delay_s(self._uniform(), refused_s=settings.refused_retry_s)
        else:
            delay_s = retry_delay_s(
                self._failures,
                self._uniform(),
                first_s=settings.retry_first_s,
                max_s=settings.retry_max_s,
            )
        state = State.REFUSED if failure.refused else State.WAITING
        self._set(state, text=str(failure), retry_at_ms=_utc_ms() + round(delay_s * 1000))
        self._log("a target is not served", reason=str(failure), retry_in_s=round(delay_s, 1))
        deadline = time.monotonic() + delay_s
        self._changed = False
        # Not for a key: each slate is another stream, and platforms block who keeps trying.
        while (left := deadline - time.monotonic()) > 0:
            if not self._on_air or (failure.unsendable and self._changed):
                return
            await self._woken(left)

    async def _connect_and_push(self) -> None:
        """Push on one connection until the show ends. Raises `_Failed` and `RestartNeeded`."""
        endpoint, settings = self._endpoint, self._settings
        self._set(State.CONNECTING, text=self._text)
        self._connections += 1
        if self._connections > 1:
            self._meter.restream_reconnected(self.target.stream, self.target.name)
        try:
            link = await self._dialer.dial(endpoint, self._link)
        except AddressRefused as err:
            raise _Failed(str(err), refused=True) from err
        except (OSError, TimeoutError) as err:
            raise _Failed(explain(err, endpoint.host, endpoint.port)) from err
        try:
            await self._started(link)
            self._queue.open()
            self._set(State.LIVE)
            self._log("a target is served")
            muxer = Muxer(link.client, self.target.codecs | link.client.accepts)
            await self._pump(link, muxer)
        except LinkLost as err:
            why = "" if self._state is State.LIVE else " before it took the stream; check the key"
            raise _Failed(f"{endpoint.host} {err}{why}.") from err
        except TimeoutError as err:
            seconds = settings.handshake_timeout_s
            raise _Failed(f"{endpoint.host} did not take the stream within {seconds:g} s.") from err
        except Unsendable as err:
            raise _Failed(str(err), unsendable=True) from err
        finally:
            link.close()

    def _link(self) -> Link:
        endpoint = self._endpoint
        client = RtmpPublishClient(endpoint.app, endpoint.url, self.target.key)
        return Link(client, wake=self._wake.set, sent=self._count)

    async def _started(self, link: Link) -> None:
        """Wait until media may be sent. Raises `_Failed`, `LinkLost` or TimeoutError."""
        async with asyncio.timeout(self._settings.handshake_timeout_s):
            while not link.client.publishing:
                self._check(link)
                await self._woken(REPORT_S)

    async def _pump(self, link: Link, muxer: Muxer) -> None:
        """Send what is queued as fast as the target takes it, until the show ends."""
        began_s = time.monotonic()
        show = self._shows
        while self._shows == show:
            self._check(link)
            self._send(link, muxer)
            now_s = time.monotonic()
            if now_s - began_s >= SERVED_S:
                self._served_s = now_s
            stuck_s = link.stuck_s(now_s)
            if stuck_s >= self._settings.stall_timeout_s:
                raise _Failed(
                    f"{self._endpoint.host} has read next to nothing for {stuck_s:.0f} s; "
                    "connecting again."
                )
            self._report(now_s)
            if not self._on_air and self._queue.empty:
                return
            await self._woken(REPORT_S)

    def _check(self, link: Link) -> None:
        if link.refused is not None:
            said = f"{link.refused.code} {link.refused.text}".strip()
            words = redact(said, self.target.key)
            served_s = self._served_s
            known = served_s is not None and time.monotonic() - served_s < TRUST_S
            if known or BUSY.search(said):
                raise _Failed(
                    f"{self._endpoint.host} refuses the stream now ({words}); connecting again."
                )
            raise _Failed(
                f"{self._endpoint.host} refuses the stream ({words}); check its key.", refused=True
            )
        link.check()

    def _send(self, link: Link, muxer: Muxer) -> None:
        while not link.paused and (item := self._queue.pop()) is not None:
            try:
                muxer.take(item)
            except RestartNeeded:
                assert not isinstance(item, Packet)
                self._queue.push_back(item)
                raise
            link.flush()
            if isinstance(item, Packet):
                late_s = (time.monotonic_ns() - item.arrived_ns) / 1e9
                self._latest_s = max(self._latest_s, late_s)

    async def _woken(self, timeout_s: float) -> None:
        """Wait until something happened, at most this long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    # ── what is known of it ──────────────────────────────────────────────────────────────────

    def _count(self, size: int) -> None:
        self._sent += size

    def _report(self, now_s: float) -> None:
        then_s, sent, dropped = self._reported
        if now_s - then_s < REPORT_S:
            return
        stream, name = self.target.stream, self.target.name
        oldest_ns = self._queue.oldest_ns
        if oldest_ns is not None:
            self._latest_s = max(self._latest_s, (time.monotonic_ns() - oldest_ns) / 1e9)
        self._delay_s, self._latest_s = self._latest_s, 0.0
        self._bitrate = round((self._sent - sent) * 8 / (now_s - then_s))
        self._meter.restream_sent(stream, name, self._sent - sent)
        self._meter.restream_dropped(stream, name, self._queue.dropped - dropped)
        self._meter.restream_delay(stream, name, self._delay_s)
        self._reported = (now_s, self._sent, self._queue.dropped)
        if self._queue.dropped > dropped:
            self._dropped_s = now_s
            self._text = (
                f"{self._endpoint.host} takes less than the stream sends, and some was given up: "
                "lower the bitrate of the encoder, or check the way there."
            )
        elif self._dropped_s is not None and now_s - self._dropped_s >= HEALTHY_S:
            self._dropped_s = self._text = None

    def _set(
        self, state: State, *, text: str | None = None, retry_at_ms: int | None = None
    ) -> None:
        if state is not self._state:
            self._since_ms = _utc_ms()
        self._state, self._text, self._retry_at_ms = state, text, retry_at_ms
        self._dropped_s = None
        self._meter.restream_state(self.target.stream, self.target.name, state.number)

    def _log(self, event: str, **fields: object) -> None:
        log.info(event, stream=self.target.stream, target=self.target.name, **fields)


def _utc_ms() -> int:
    return time.time_ns() // 1_000_000
