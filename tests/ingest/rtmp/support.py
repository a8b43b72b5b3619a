"""An independent sender of chunks, and stand-ins for what `vitrina.app` supplies."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from config.settings import RtmpSettings
from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.server import RtmpServer
from ingest.source import Approach, Grant, KeyRefused
from media.limits import Limits
from media.model import FormatRefused, Kind, Packet, TrackFormat


@contextmanager
def only(*faults: Fault) -> Iterator[None]:
    """Whatever garbage causes, it is nothing or one of these typed errors."""
    fault = faults[0]
    try:
        yield
    except RtmpError as error:
        fault = error.fault
    assert fault in faults


def header(
    fmt: int,
    csid: int,
    *,
    time: int = 0,
    length: int = 0,
    type_id: int = 0,
    stream: int = 0,
    form: int | None = None,
) -> bytes:
    """A basic and message header; `time` is what stands in the field. `form`: bytes of csid."""
    if form is None:
        form = 1 if csid < 64 else 2 if csid < 320 else 3
    if form == 1:
        out = bytes((fmt << 6 | csid,))
    elif form == 2:
        out = bytes((fmt << 6, csid - 64))
    else:
        out = bytes((fmt << 6 | 1,)) + struct.pack("<H", csid - 64)
    if fmt == 3:
        return out
    out += min(time, 0xFFFFFF).to_bytes(3, "big")
    if fmt < 2:
        out += length.to_bytes(3, "big") + bytes((type_id,))
    if fmt == 0:
        out += struct.pack("<I", stream)
    if time >= 0xFFFFFF:
        out += struct.pack(">I", time)
    return out


def amf(*values: object) -> bytes:
    """AMF0 by the book, independent of `ingest.rtmp.amf0`."""
    out = b""
    for value in values:
        if value is None:
            out += b"\x05"
        elif isinstance(value, bool):
            out += b"\x01" + bytes((value,))
        elif isinstance(value, (int, float)):
            out += b"\x00" + struct.pack(">d", value)
        elif isinstance(value, str):
            raw = value.encode()
            out += b"\x02" + struct.pack(">H", len(raw)) + raw
        elif isinstance(value, dict):
            out += b"\x03"
            for name, item in value.items():
                out += struct.pack(">H", len(name)) + name.encode() + amf(item)
            out += b"\0\0\x09"
        else:
            raise TypeError(value)
    return out


def whole(csid: int, type_id: int, payload: bytes, *, time: int = 0, stream: int = 0) -> bytes:
    """One message in 128-byte chunks, type 0 then type 3 headers."""
    head = header(0, csid, time=time, length=len(payload), type_id=type_id, stream=stream)
    extended = struct.pack(">I", time) if time >= 0xFFFFFF else b""
    parts = [payload[i : i + 128] for i in range(0, len(payload), 128)] or [b""]
    return head + (header(3, csid) + extended).join(parts)


HANDSHAKE = b"\x03" + bytes(1536) + bytes(1536)
CONNECT = whole(
    3, 20, amf("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", "flashVer": "X"})
)
CREATE = whole(3, 20, amf("createStream", 4, None))


def publish(key: str, stream: int = 1) -> bytes:
    return whole(8, 20, amf("publish", 5, None, key, "live"), stream=stream)


# Configuration of a 320x180 H.264 stream and of mono AAC, as libx264 and FFmpeg's encoder wrote.
AVCC = bytes.fromhex("0142c00dffe100176742c00dda05067e7c0440000003004000000f03c50aa801000468ce0fc8")
ASC = bytes.fromhex("120856e500")
AVC_CONFIG = b"\x17\x00\x00\x00\x00" + AVCC
AVC_KEY = b"\x17\x01\x00\x00\x00" + b"\0\0\0\x05\x65abcd"
AAC_CONFIG = b"\xaf\x00" + ASC
AAC_FRAME = b"\xaf\x01" + b"sound"


@dataclass
class RecordingPublication:
    stream: str
    on_revoked: Callable[[str], None]
    formats: list[tuple[int, TrackFormat]] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    dropped: list[tuple[int, Kind]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    languages: dict[int, str] = field(default_factory=dict)
    rates: dict[tuple[Kind, int], int] = field(default_factory=dict)
    refuse: str = ""
    lead_s: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        if self.refuse:
            raise FormatRefused(self.refuse)
        self.formats.append((track, track_format))
        self.changed.set()

    def drop_track(self, track: int, kind: Kind) -> None:
        self.dropped.append((track, kind))

    def note_loss(self, *, lost: int, packets: int, pictures: int) -> None:
        raise AssertionError("TCP loses nothing")

    def describe_sound(self, languages: Mapping[int, str]) -> None:
        self.languages |= languages
        self.changed.set()

    def declare_rates(self, rates: Mapping[tuple[Kind, int], int]) -> None:
        self.rates |= rates
        self.changed.set()

    def push(self, packet: Packet) -> None:
        self.packets.append(packet)
        self.changed.set()

    def close(self, reason: str) -> None:
        self.closed.append(reason)
        self.changed.set()


class RecordingGate:
    """Knows the keys in `keys`; a newer publication takes over."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.asked: list[str] = []
        self.approaches: list[Approach] = []
        self.publications: list[RecordingPublication] = []
        self.opened = asyncio.Event()
        self.refuse = ""
        self.hold: asyncio.Event | None = None
        self.wraps: set[int] = set()
        self.protocols: list[str] = []
        self.limits: Limits | None = None

    async def authorize(self, approach: Approach) -> Grant:
        key = approach.key
        self.asked.append(key)
        self.approaches.append(approach)
        if self.hold is not None:
            await self.hold.wait()
        if approach.user is not None:
            return Grant(stream=f"{approach.user}-{key}", limits=self.limits)
        if key not in self.keys:
            raise KeyRefused("The stream key is unknown.")
        return Grant(stream=self.keys[key], limits=self.limits)

    def open(
        self,
        grant: Grant,
        *,
        protocol: str,
        wrap_ticks: int,
        on_revoked: Callable[[str], None],
        on_key_wanted: Callable[[], None] | None = None,
    ) -> RecordingPublication:
        stream = grant.stream
        assert protocol in ("rtmp", "rtmps")
        self.wraps.add(wrap_ticks)
        self.protocols.append(protocol)
        for older in self.publications:
            if older.stream == stream and not older.closed:
                older.on_revoked("Another encoder publishes this stream now.")
        publication = RecordingPublication(stream, on_revoked, refuse=self.refuse)
        self.publications.append(publication)
        self.opened.set()
        return publication


class RecordingMeter:
    def __init__(self) -> None:
        self.opened = 0
        self.closed: Counter[str] = Counter()
        self.rejections: Counter[str] = Counter()
        self.bytes = 0
        self.changed = asyncio.Event()

    def connection_opened(self, protocol: str) -> None:
        self.opened += 1

    def connection_closed(self, protocol: str, reason: str) -> None:
        self.closed[reason] += 1
        self.changed.set()

    def rejected(self, protocol: str, reason: str) -> None:
        self.rejections[str(reason)] += 1
        self.changed.set()

    def bytes_in(self, protocol: str, size: int) -> None:
        self.bytes += size


@dataclass
class Running:
    server: RtmpServer
    gate: RecordingGate
    meter: RecordingMeter

    def url(self, name: str) -> str:
        return f"rtmp://127.0.0.1:{self.server.port}/live/{name}"

    async def connect(self) -> Peer:
        return Peer(*await asyncio.open_connection("127.0.0.1", self.server.port))

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for a condition over what the gate and the meter recorded."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.meter.changed.clear()
                waits = [self.meter.changed.wait(), self.gate.opened.wait()]
                if self.gate.publications:
                    self.gate.publications[-1].changed.clear()
                    waits[1].close()
                    waits[1] = self.gate.publications[-1].changed.wait()
                if condition():
                    for wait in waits:
                        wait.close()
                    return
                tasks = [asyncio.Task(wait) for wait in waits]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()


class Peer:
    """A hand-driven client: sends raw bytes, reads until a text appears or the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = b""

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in self.seen:
                data = await self.reader.read(65536)
                assert data, f"closed before {text!r}: {self.seen[3073:]!r}"
                self.seen += data

    async def until_closed(self) -> bytes:
        async with asyncio.timeout(10):
            while True:
                try:
                    data = await self.reader.read(65536)
                except ConnectionResetError:
                    return self.seen
                if not data:
                    return self.seen
                self.seen += data

    async def publish(self, key: str) -> None:
        self.send(HANDSHAKE + CONNECT + CREATE)
        await self.until(b"NetConnection.Connect.Success")
        self.send(publish(key))
        await self.until(b"NetStream.Publish.Start")

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def running(
    *, users: dict[str, str] | None = None, **settings: object
) -> AsyncIterator[Running]:
    """A server on a free port of the loopback, stopped at the end; key `good` is stream `demo`."""
    gate, meter = RecordingGate({"good": "demo", "other": "second"}), RecordingMeter()
    server = RtmpServer(
        settings=RtmpSettings.model_validate({"host": "127.0.0.1", "port": 0, **settings}),
        gate=gate,
        meter=meter,
        users=users,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await server.started.wait()
        try:
            yield Running(server, gate, meter)
        finally:
            task.cancel()
