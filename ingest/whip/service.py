"""The door of publishers: a key and an offer become a session, and that a publication."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from ingest.addresses import crowd_of
from ingest.source import Approach, KeyRefused, Refusal
from ingest.whip.publisher import PROTOCOL, WhipPublisher
from media.excess import Bucket
from storage.keys import digest as key_digest
from webrtc.door import DoorRefused
from webrtc.offers import OfferRate
from webrtc.sdp.whip import PublishPolicy, answer_publisher
from webrtc.session import End
from webrtc.sessions import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import WhipSettings
    from ingest.source import Grant, IngestMeter, PublishGate
    from webrtc.door import Call, Opened
    from webrtc.meter import RtpMeter
    from webrtc.sessions import Sessions

log = structlog.get_logger(__name__)

LINES_PER_S = 5
LINES_BURST_S = 20
"""Lines about publishers that are refused: who knocks for ever must not fill the disk."""
OFFERS_PER_MINUTE = 60
"""With one key from one address, ten at once: an encoder may reconnect every second."""
MAX_KNOWN = 1024
"""Keys, by their digests, that were let in and are checked again however many wrong ones come."""
_STATUS = {
    Refusal.KEY: 401,
    Refusal.ADDRESS: 403,
    Refusal.HOOK: 403,
    Refusal.CONTESTED: 409,
}


class WhipDoor:
    """Implements `webrtc.door.Door` for publishers (RFC 9725)."""

    def __init__(
        self,
        *,
        settings: WhipSettings,
        sessions: Sessions,
        gate: PublishGate,
        meter: IngestMeter,
        rtp_meter: RtpMeter,
        key_interval_ms: int,
        check_timeout_s: float,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`key_interval_ms`: wanted distance of key frames. `check_timeout_s`: of a key's check."""
        self._now_ns = now_ns
        self._wrong = OfferRate(settings.wrong_keys_per_minute)
        self._offers = OfferRate(OFFERS_PER_MINUTE)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._settings, self._sessions, self._gate = settings, sessions, gate
        self._meter, self._rtp_meter = meter, rtp_meter
        self._key_interval_ns = key_interval_ms * 1_000_000
        self._check_timeout_s = check_timeout_s
        self._lines = Bucket(rate=LINES_PER_S, seconds=LINES_BURST_S)

    async def open(self, call: Call) -> Opened:
        """Check the key, answer the offer, wait for the peer in a session of its own."""
        try:
            grant = await self._let_in(call)
        except DoorRefused as refused:
            self._sessions.refused(refused)
            raise
        owner = f"{grant.stream} {grant.role.value}"
        for each in self._sessions:
            # As on air, the newest publisher wins among those still on their way.
            if each.owner == owner and each.setup_s is None:
                each.finish(End.REVOKED, "A newer session was opened with this key.")
        limits = grant.limits
        layers = self._settings.max_layers
        policy = PublishPolicy(
            max_layers=layers if limits is None else min(layers, limits.max_tracks)
        )
        try:
            return await self._sessions.open(
                call,
                stream=grant.stream,
                owner=owner,
                negotiate=lambda offer, local: answer_publisher(offer, local, policy),
                attend=lambda session: WhipPublisher(
                    session,
                    grant,
                    gate=self._gate,
                    meter=self._meter,
                    rtp_meter=self._rtp_meter,
                    key_interval_ns=self._key_interval_ns,
                    media_timeout_s=self._settings.media_timeout_s,
                    now_ns=time.monotonic_ns,
                ),
            )
        except DoorRefused as refused:
            self._refused(call, "offer", str(refused), stream=grant.stream)
            raise

    async def trickle(
        self, session: str, token: str | None, fragment: str, if_match: str | None
    ) -> None:
        """As `webrtc.door.Door`."""
        await self._sessions.trickle(session, token, fragment, if_match)

    async def close(self, session: str, token: str | None) -> None:
        """As `webrtc.door.Door`."""
        await self._sessions.close(session, token)

    async def close_all(self) -> None:
        """End every session and take no more: the server stops."""
        await self._sessions.close_all()

    async def _let_in(self, call: Call) -> Grant:
        if call.token is None:
            raise DoorRefused(401, "Send the stream key: Authorization: Bearer KEY.")
        digest = key_digest(call.token)
        self._admit(call, digest)
        approach = Approach(
            protocol=PROTOCOL, address=call.address, key=call.token, query=call.query
        )
        try:
            async with asyncio.timeout(self._check_timeout_s):
                grant = await self._gate.authorize(approach)
        except TimeoutError:
            text = "The stream key could not be checked in time: try again."
            raise DoorRefused(503, text, retry_after_s=RETRY_AFTER_S) from None
        except KeyRefused as error:
            if error.reason is Refusal.KEY:
                self._known.pop(digest, None)
            self._meter.rejected(PROTOCOL, error.reason.value)
            self._refused(call, error.reason.value, str(error))
            if error.undecided:  # a 403 would tell it that there is no use in another try
                raise DoorRefused(503, str(error), retry_after_s=RETRY_AFTER_S) from None
            raise DoorRefused(_STATUS[error.reason], str(error)) from None
        if digest not in self._known:
            self._wrong.give_back(crowd_of(call.address))
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        if call.stream is not None and call.stream != grant.stream:
            text = "The key is for another stream: correct the address, or leave the name away."
            self._meter.rejected(PROTOCOL, Refusal.KEY.value)
            self._refused(call, Refusal.KEY.value, text, stream=grant.stream)
            raise DoorRefused(403, text)
        return grant

    def _admit(self, call: Call, digest: str) -> None:
        """Refuse who offers too often, before the key is looked up.

        Others' wrong keys, who may share its address, keep nobody out who was on air before.
        """
        now_ns, crowd = self._now_ns(), crowd_of(call.address)
        if digest in self._known:
            # A forgotten encoder elsewhere that tries for ever keeps out nobody but itself.
            wait_s = self._offers.take(f"{digest} {crowd}", now_ns)
            text = "Too many offers came with this key: wait, then try again."
        else:
            wait_s = self._wrong.take(crowd, now_ns)
            text = (
                "Too many offers with unknown keys came from your address: correct the key, wait."
            )
        if wait_s is not None:
            self._meter.rejected(PROTOCOL, "limit")
            self._refused(call, "limit", text)
            raise DoorRefused(429, text, retry_after_s=wait_s)

    def _refused(self, call: Call, reason: str, text: str, *, stream: str | None = None) -> None:
        if self._lines.add(1, time.monotonic_ns()) is None:
            log.warning(
                "encoder refused",
                protocol=PROTOCOL,
                remote=call.address,
                reason=reason,
                detail=text,
                **({} if stream is None else {"stream": stream}),
            )
