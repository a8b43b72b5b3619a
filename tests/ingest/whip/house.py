"""The door of publishers, a gate that knows one key, and what is behind both."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from config.settings import LimitsSettings, WhipSettings
from ingest.source import Approach, Grant, KeyRefused
from ingest.whip.clock import WRAP_TICKS
from ingest.whip.service import WhipDoor
from media.limits import narrow
from media.model import Kind, Packet, Role, TrackFormat
from tests.ingest.rtmp.support import RecordingMeter
from tests.support.whip import Peer
from tests.webrtc.callers import HOST, Meter, Tasks
from webrtc.door import Call, DoorRefused, Opened
from webrtc.meter import RtpCounts
from webrtc.peer import make_certificate
from webrtc.sessions import SessionLimits, Sessions

CERTIFICATE = make_certificate()
KEY = "a-key-that-nobody-may-see"


class Publication:
    """Keeps what one publisher brings."""

    lead_s = 0.0

    def __init__(
        self,
        stream: str,
        on_revoked: Callable[[str], None],
        on_key_wanted: Callable[[], None] | None,
    ) -> None:
        self.stream = stream
        self.on_revoked, self.on_key_wanted = on_revoked, on_key_wanted
        self.formats: dict[Kind, TrackFormat] = {}
        self.packets: Counter[Kind] = Counter()
        self.losses: list[tuple[int, int, int]] = []
        self.keys = 0
        self.closed: list[str] = []
        self.refusal: Exception | None = None

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        assert track == 0
        self.formats[track_format.kind] = track_format

    def note_loss(self, *, lost: int, packets: int, pictures: int) -> None:
        self.losses.append((lost, packets, pictures))

    def describe_sound(self, languages: object) -> None:
        raise AssertionError("WebRTC tells no languages")

    def declare_rates(self, rates: object) -> None:
        raise AssertionError("WebRTC declares no bit rates")

    def drop_track(self, track: int, kind: Kind) -> None:
        self.formats.pop(kind)

    def push(self, packet: Packet) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.packets[packet.kind] += 1
        self.keys += packet.kind is Kind.VIDEO and packet.key

    def close(self, reason: str) -> None:
        self.closed.append(reason)


class Gate:
    """Knows one key; the newest publisher wins."""

    def __init__(self) -> None:
        self.approaches: list[Approach] = []
        self.publications: list[Publication] = []
        self.refusal: KeyRefused | None = None
        self.hold: asyncio.Event | None = None
        self.limits = narrow(LimitsSettings())

    async def authorize(self, approach: Approach) -> Grant:
        self.approaches.append(approach)
        if self.hold is not None:
            await self.hold.wait()
        if self.refusal is not None:
            raise self.refusal
        if approach.key != KEY:
            raise KeyRefused("The stream key is unknown.")
        return Grant(stream="shop", role=Role.PRIMARY, limits=self.limits)

    def open(
        self,
        grant: Grant,
        *,
        protocol: str,
        wrap_ticks: int,
        on_revoked: Callable[[str], None],
        on_key_wanted: Callable[[], None] | None = None,
    ) -> Publication:
        assert (protocol, wrap_ticks) == ("whip", WRAP_TICKS)
        for older in self.publications:
            if not older.closed:
                older.on_revoked("Another encoder publishes this stream now.")
        self.publications.append(Publication(grant.stream, on_revoked, on_key_wanted))
        return self.publications[-1]


class RtpMeter:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.discarded: Counter[str] = Counter()
        self.paths = 0
        self.trips: list[float] = []

    def rtp_counted(self, stream: str, protocol: str, kind: str, counts: RtpCounts) -> None:
        assert (stream, protocol) == ("shop", "whip")
        self.counts[kind] += counts.packets
        self.counts[f"{kind} keys"] += counts.key_requests

    def rtp_jitter(self, stream: str, protocol: str, kind: str, seconds: float) -> None:
        assert 0 <= seconds < 1

    def rtp_discarded(self, stream: str, protocol: str, reason: str, count: int) -> None:
        assert (stream, protocol) == ("shop", "whip")
        assert count > 0
        self.discarded[reason] += count

    def rtp_path(
        self, stream: str, protocol: str, *, rtt_s: float | None, bandwidth_bps: float | None
    ) -> None:
        self.paths += 1
        if rtt_s is not None:
            self.trips.append(rtt_s)


class House:
    """A door, and all that is behind it."""

    def __init__(self, tasks: Tasks, settings: WhipSettings) -> None:
        self.now_ns = 1
        self.gate = Gate()
        self.meter = RecordingMeter()
        self.session_meter = Meter()
        self.rtp = RtpMeter()
        self.tasks = tasks
        self.sessions = Sessions(
            protocol="whip",
            settings=settings,
            limits=SessionLimits(total=8, per_address=8, per_owner=4),
            certificate=CERTIFICATE,
            meter=self.session_meter,
            spawn=tasks,
            crowd_of=lambda address: address,
        )
        self.door = WhipDoor(
            settings=settings,
            sessions=self.sessions,
            gate=self.gate,
            meter=self.meter,
            rtp_meter=self.rtp,
            key_interval_ms=1000,
            check_timeout_s=0.2,
            now_ns=lambda: self.now_ns,
        )
        self.peers: list[Peer] = []

    @property
    def publication(self) -> Publication:
        return self.gate.publications[-1]

    async def post(
        self,
        offer: str,
        *,
        token: str | None = KEY,
        stream: str | None = None,
        address: str = HOST,
    ) -> Opened:
        call = Call(offer=offer, address=address, token=token, stream=stream, query={"a": "b"})
        return await self.door.open(call)

    async def publish(self, *, video: bool = True) -> tuple[Peer, Opened]:
        peer = Peer(video=video)
        self.peers.append(peer)
        opened = await self.post(await peer.offer())
        await peer.take(opened.answer)
        return peer, opened


@contextlib.asynccontextmanager
async def house(**settings: object) -> AsyncIterator[House]:
    # Its own addresses: aiortc has no candidate on loopback.
    async with asyncio.TaskGroup() as group:
        made = House(Tasks(group), WhipSettings(ports="0", **settings))  # type: ignore[arg-type]
        try:
            yield made
        finally:
            await made.door.close_all()
            for peer in made.peers:
                await peer.close()
    assert made.tasks.failed == []
    assert len(made.sessions) == 0


@contextlib.contextmanager
def refusal(status: int, words: str) -> Iterator[None]:
    with pytest.raises(DoorRefused, match=words) as refused:
        yield
    assert refused.value.status == status
    assert KEY not in str(refused.value)
