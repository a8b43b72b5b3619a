"""RTMP messages: their types, and how control, command and aggregate messages are read and made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from ingest.rtmp import amf0
from ingest.rtmp.amf0 import AmfObject, AmfValue
from ingest.rtmp.chunks import TIME_MASK, Message
from ingest.rtmp.errors import Fault, RtmpError


class MessageType(IntEnum):
    """Message type ids (RTMP 1.0 sections 5.4 and 7.1)."""

    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_ACK_SIZE = 5
    SET_PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    COMMAND_AMF3 = 17
    DATA = 18
    COMMAND = 20
    AGGREGATE = 22


class UserControl(IntEnum):
    """User control events (RTMP 1.0 section 7.1.7) that are acted on."""

    STREAM_BEGIN = 0
    PING_REQUEST = 6
    PING_RESPONSE = 7


DYNAMIC_BANDWIDTH = 2
"""Limit type of SetPeerBandwidth (5.4.5)."""


@dataclass(frozen=True, slots=True)
class Command:
    """An AMF0 command. `args` may hold a stream key, so it is kept out of `repr`."""

    name: str
    transaction: float
    object: AmfObject = field(repr=False)
    args: tuple[AmfValue, ...] = field(repr=False)

    def text(self, index: int) -> str:
        """Return argument `index` where it is a string, else an empty one."""
        value = self.args[index] if index < len(self.args) else None
        return value if isinstance(value, str) else ""

    def number(self, index: int) -> float | None:
        """Return argument `index` where it is a number."""
        value = self.args[index] if index < len(self.args) else None
        return value if isinstance(value, float) else None


def parse_command(message: Message) -> Command | None:
    """Read a command message, AMF0 or the AMF3 form that is AMF0 behind one format byte.

    None when it holds an AMF3 object, which no encoder needs. Raises `RtmpError` (amf, message).
    """
    payload = message.payload
    if message.type == MessageType.COMMAND_AMF3:
        payload = payload[1:]
    try:
        values = amf0.decode(payload)
    except amf0.AmfUnsupportedError:
        return None
    if not values or not isinstance(values[0], str):
        raise RtmpError(Fault.MESSAGE, "A command has no name.")
    # FFmpeg's listener sends onFCPublish as a bare name.
    transaction = values[1] if len(values) > 1 and isinstance(values[1], float) else 0.0
    target = values[2] if len(values) > 2 else None
    return Command(
        values[0], transaction, target if isinstance(target, dict) else {}, tuple(values[3:])
    )


def parse_data(message: Message) -> list[AmfValue] | None:
    """Read a data message; None for one that starts with no name or holds an AMF3 object.

    FFmpeg writes time codes as data messages of a bare number: they are dropped like that.
    Raises `RtmpError` (amf).
    """
    payload = message.payload
    if message.type == MessageType.DATA_AMF3:
        payload = payload[1:]
    if payload[:1] != bytes((amf0.STRING,)):
        return None
    try:
        return amf0.decode(payload)
    except amf0.AmfUnsupportedError:
        return None


def user_control(event: UserControl, value: int) -> bytes:
    """Payload of a user control message with one u32 of data."""
    return event.to_bytes(2, "big") + (value & TIME_MASK).to_bytes(4, "big")


def parse_user_control(payload: bytes) -> tuple[int, int]:
    """Return event and first u32 (0 where it is missing). Raises `RtmpError` (message)."""
    if len(payload) < 2:
        raise RtmpError(Fault.MESSAGE, "A user control message is shorter than 2 bytes.")
    return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:6], "big")


def parse_u32(message: Message) -> int:
    """Read the first u32 of a control message. Raises `RtmpError` (message)."""
    if len(message.payload) < 4:
        raise RtmpError(Fault.MESSAGE, "A protocol control message is shorter than 4 bytes.")
    return int.from_bytes(message.payload[:4], "big")


def split_aggregate(message: Message) -> Iterator[Message]:
    """Yield the messages of an aggregate (7.1.6), their times moved to the aggregate's.

    Raises `RtmpError` (message) when it is cut short. The last back pointer may be missing.
    """
    payload = message.payload
    pos = 0
    first: int | None = None
    while pos < len(payload):
        body = pos + 11
        size = int.from_bytes(payload[pos + 1 : pos + 4], "big")
        if body + size > len(payload):
            raise RtmpError(Fault.MESSAGE, "An aggregate message is cut short.")
        time = int.from_bytes(payload[pos + 4 : pos + 7], "big") | payload[pos + 7] << 24
        if first is None:
            first = time
        yield Message(
            payload[pos],
            message.stream_id,
            (message.timestamp + time - first) & TIME_MASK,
            payload[body : body + size],
        )
        pos = body + size + 4
