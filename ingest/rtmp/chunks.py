"""The RTMP chunk stream, both directions (RTMP 1.0 section 5.3 and 5.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ingest.rtmp.errors import Fault, NeedsMoreDataError, RtmpError

DEFAULT_CHUNK_SIZE = 128
MAX_CHUNK_SIZE = 0x7FFFFFFF
SET_CHUNK_SIZE = 1
ABORT = 2
CONTROL_CSID = 2
TIME_MASK = 0xFFFFFFFF
"""Timestamps are u32 milliseconds and wrap after 49.7 days."""
_EXTENDED = 0xFFFFFF
_NEGATIVE = 0x80_0000
"""As 24 bits of two's complement, in which some encoders step back."""
_MAX_BACKLOG = 2**20
_MESSAGE_HEADER = (11, 7, 3, 0)


@dataclass(frozen=True, slots=True)
class Message:
    """One complete RTMP message; `timestamp` is u32 milliseconds as sent, not unwrapped."""

    type: int
    stream_id: int
    timestamp: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLimits:
    """What one connection may hold."""

    max_message_bytes: int
    max_partial_bytes: int
    """Sum of unfinished messages."""
    max_chunk_streams: int


class _ChunkStream:
    """What a chunk stream remembers from its last header, and its unfinished message."""

    __slots__ = (
        "absolute",
        "body",
        "chunk_left",
        "delta",
        "extended",
        "left",
        "length",
        "open",
        "stream_id",
        "timestamp",
        "type",
    )

    def __init__(self) -> None:
        self.timestamp = 0
        self.delta = 0
        self.length = 0
        self.type = 0
        self.stream_id = 0
        self.extended: int | None = None
        self.absolute = False
        self.body = bytearray()
        self.open = False
        self.left = 0
        self.chunk_left = 0


class ChunkReader:
    """Turns bytes into messages. Holds unfinished messages, up to the limits, and one read.

    SetChunkSize and Abort act here and are handed on as messages, too. Payload bytes are taken
    out of the input as they come, so that only a chunk header ever waits in the input buffer.
    """

    def __init__(self, limits: ChunkLimits) -> None:
        self.limits = limits
        self.chunk_size = DEFAULT_CHUNK_SIZE
        self.delta_after_absolute = False
        """After a type 0 header, does a type 3 header of a new message add that header's
        timestamp (FMLE and those who call themselves so, FFmpeg too) or nothing?"""
        self.budget = math.inf
        """Chunk headers that may still be read; at 0 `next_message` pauses. They may be millions
        in a message: a chunk size of 1 is allowed."""
        self._data = b""
        self._pos = 0
        self._streams: dict[int, _ChunkStream] = {}
        self._current: _ChunkStream | None = None
        self._partial = 0

    def receive_data(self, data: bytes) -> None:
        """Append input. Raises `RtmpError` when a megabyte was left unread."""
        if self._pos < len(self._data):
            data = self._data[self._pos :] + data
            if len(data) > _MAX_BACKLOG:
                raise RtmpError(Fault.PROTOCOL, "The client sends without awaiting the answer.")
        self._data = data
        self._pos = 0

    def next_message(self) -> Message | None:
        """Return the next complete message, None when more bytes or `budget` are needed.

        Raises `RtmpError` (chunk, too_big); the reader is not usable after it.
        """
        while True:
            stream = self._current
            if stream is None:
                if self._pos >= len(self._data) or self.budget <= 0:
                    return None
                self.budget -= 1
                try:
                    stream = self._read_header()
                except NeedsMoreDataError:
                    return None
            message = self._read_payload(stream)
            if message is not None:
                if message.type <= ABORT:
                    self._control(message)
                return message
            if self._current is not None:
                return None

    def _read_payload(self, stream: _ChunkStream) -> Message | None:
        """Take what is there of the current chunk; a message when it is the last one."""
        data, pos = self._data, self._pos
        available = len(data) - pos
        wanted = stream.chunk_left
        if not stream.body and wanted == stream.left and available >= wanted:
            self._pos = pos + wanted
            return self._finish(stream, data[pos : pos + wanted])
        take = min(wanted, available)
        self._partial += take
        if self._partial > self.limits.max_partial_bytes:
            raise RtmpError(
                Fault.TOO_BIG,
                f"Unfinished messages hold more than {self.limits.max_partial_bytes} bytes.",
            )
        stream.body += memoryview(data)[pos : pos + take]
        self._pos = pos + take
        stream.left -= take
        if take < wanted:
            stream.chunk_left = wanted - take
            self._current = stream
            return None
        if stream.left:
            self._current = None
            return None
        self._partial -= len(stream.body)
        payload = bytes(stream.body)
        stream.body = bytearray()
        return self._finish(stream, payload)

    def _finish(self, stream: _ChunkStream, payload: bytes) -> Message:
        self._current = None
        stream.open = False
        return Message(stream.type, stream.stream_id, stream.timestamp, payload)

    def _read_header(self) -> _ChunkStream:
        """Read a chunk header, of which at least a byte is there.

        Raises `NeedsMoreDataError` and leaves the input untouched when it is incomplete.
        """
        data, pos = self._data, self._pos
        end = len(data)
        first = data[pos]
        form, csid = first >> 6, first & 0x3F
        pos += 1
        if csid < 2:
            if pos + 1 + csid > end:
                raise NeedsMoreDataError
            if csid == 0:
                csid = 64 + data[pos]
                pos += 1
            else:
                csid = 64 + data[pos] + (data[pos + 1] << 8)
                pos += 2
        stream = self._streams.get(csid)
        header = pos
        pos += _MESSAGE_HEADER[form]
        if pos > end:
            raise NeedsMoreDataError
        if stream is None:
            stream = self._new_stream(form, csid)
        if form == 3:
            pos = self._type_3(stream, data, pos)
        else:
            pos = self._new_header(stream, form, data, header, pos)
        if stream.left > self.chunk_size:
            stream.chunk_left = self.chunk_size
        else:
            stream.chunk_left = stream.left
        self._pos = pos
        return stream

    def _new_stream(self, form: int, csid: int) -> _ChunkStream:
        """Allow type 1 on a fresh chunk stream: librtmp's pings arrive like that."""
        if form >= 2:
            raise RtmpError(Fault.CHUNK, f"Chunk stream {csid} starts with a type {form} header.")
        if len(self._streams) >= self.limits.max_chunk_streams:
            raise RtmpError(
                Fault.CHUNK, f"More than {self.limits.max_chunk_streams} chunk streams are in use."
            )
        stream = self._streams[csid] = _ChunkStream()
        return stream

    def _new_header(
        self, stream: _ChunkStream, form: int, data: bytes, header: int, pos: int
    ) -> int:
        """Take a type 0, 1 or 2 header, which starts a message; return where the payload is."""
        if stream.open:
            raise RtmpError(
                Fault.CHUNK, f"A type {form} header interrupts an unfinished message of its stream."
            )
        time = int.from_bytes(data[header : header + 3], "big")
        extended: int | None = None
        if time == _EXTENDED:
            if pos + 4 > len(data):
                raise NeedsMoreDataError
            time = extended = int.from_bytes(data[pos : pos + 4], "big")
            pos += 4
        length = stream.length
        if form < 2:
            length = int.from_bytes(data[header + 3 : header + 6], "big")
            stream.type = data[header + 6]
        if form == 0:
            stream.stream_id = int.from_bytes(data[header + 7 : header + 11], "little")
            stream.timestamp = time
            stream.delta = time if self.delta_after_absolute else 0
            stream.absolute = not self.delta_after_absolute
        else:
            stream.absolute = False
            # A delta of 0x80000000 and more is a negative one (some encoders step back): the
            # sum modulo 2**32 is right for both. In 24 bits, two hours forwards are not meant.
            if extended is None and time >= _NEGATIVE and stream.timestamp + time >= _EXTENDED + 1:
                time -= _EXTENDED + 1
            stream.delta = time
            stream.timestamp = (stream.timestamp + time) & TIME_MASK
        stream.extended = extended
        self._open(stream, length)
        return pos

    def _type_3(self, stream: _ChunkStream, data: bytes, pos: int) -> int:
        """Take a type 3 header: a continuation, or a new message like the last one."""
        if stream.open:
            if stream.extended is None:
                return pos
            return _skip_repeated(stream, data, pos)
        if stream.extended is not None:
            if pos + 4 > len(data):
                raise NeedsMoreDataError
            stream.extended = int.from_bytes(data[pos : pos + 4], "big")
            pos += 4
            if stream.absolute:
                stream.timestamp = stream.extended
            else:
                stream.delta = stream.extended
        stream.timestamp = (stream.timestamp + stream.delta) & TIME_MASK
        self._open(stream, stream.length)
        return pos

    def _open(self, stream: _ChunkStream, length: int) -> None:
        if length > self.limits.max_message_bytes:
            raise RtmpError(
                Fault.TOO_BIG,
                f"A message of {length} bytes is larger than {self.limits.max_message_bytes}.",
            )
        stream.length = stream.left = length
        stream.open = True

    def _control(self, message: Message) -> None:
        """Apply SetChunkSize (5.4.1) and Abort (5.4.2)."""
        if message.type not in (SET_CHUNK_SIZE, ABORT):
            return
        if len(message.payload) < 4:
            raise RtmpError(Fault.MESSAGE, "A protocol control message is shorter than 4 bytes.")
        value = int.from_bytes(message.payload[:4], "big")
        if message.type == SET_CHUNK_SIZE:
            if not 1 <= value <= MAX_CHUNK_SIZE:
                raise RtmpError(Fault.CHUNK, f"A chunk size of {value} is not allowed.")
            self.chunk_size = value
            return
        stream = self._streams.get(value)
        if stream is not None and stream.open:
            self._partial -= len(stream.body)
            stream.body = bytearray()
            stream.open = False


def _skip_repeated(stream: _ChunkStream, data: bytes, pos: int) -> int:
    """Skip the extended timestamp of a continuation chunk where the sender repeats it.

    The specification asks for it (5.3.1.3), old librtmp and some SDKs leave it out; so four bytes
    that differ from the message's are payload. Waits only while what is there could be it.
    """
    seen = data[pos : pos + 4]
    assert stream.extended is not None
    for value in (stream.extended, stream.timestamp):
        expected = value.to_bytes(4, "big")
        if seen == expected:
            return pos + 4
        if len(seen) < 4 and expected.startswith(seen):
            raise NeedsMoreDataError
    return pos


class ChunkWriter:
    """Turns messages into chunks. Every message starts with a type 0 header."""

    def __init__(self) -> None:
        self.chunk_size = DEFAULT_CHUNK_SIZE

    def write(
        self, csid: int, message_type: int, stream_id: int, timestamp: int, payload: bytes
    ) -> bytes:
        """Return the chunks of one message. `csid` 2..63; `timestamp` u32 milliseconds."""
        extended = b""
        time = timestamp & TIME_MASK
        if time >= _EXTENDED:
            extended = time.to_bytes(4, "big")
            time = _EXTENDED
        parts = [
            bytes((csid,)),
            time.to_bytes(3, "big"),
            len(payload).to_bytes(3, "big"),
            bytes((message_type,)),
            stream_id.to_bytes(4, "little"),
            extended,
        ]
        size = self.chunk_size
        if len(payload) <= size:
            parts.append(payload)
            return b"".join(parts)
        view = memoryview(payload)
        continuation = bytes((0xC0 | csid,)) + extended
        parts.append(payload[:size])
        for start in range(size, len(payload), size):
            parts.append(continuation)
            parts.append(bytes(view[start : start + size]))
        return b"".join(parts)

    def set_chunk_size(self, size: int) -> bytes:
        """Return a SetChunkSize message; the chunks after it have the new size."""
        message = self.write(CONTROL_CSID, SET_CHUNK_SIZE, 0, 0, size.to_bytes(4, "big"))
        self.chunk_size = size
        return message
