"""RTMP from both ends: every byte that an encoder or a restream target can send."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ingest.rtmp import amf0, flv
from ingest.rtmp.amf0 import AmfError, AmfValue
from ingest.rtmp.chunks import ChunkLimits, ChunkReader, ChunkWriter, Message
from ingest.rtmp.client import PublishRefused, RtmpPublishClient
from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.events import Event, FormatChanged, PublishRequested, TrackIgnored
from ingest.rtmp.handshake import BLOCK, ClientHandshake, ServerHandshake
from ingest.rtmp.messages import MessageType
from ingest.rtmp.session import ServerSession, State
from ingest.rtmp.target import publish_target
from ingest.rtmp.tracks import Tracks
from media.bitstream import describe
from media.model import Packet
from tests.fuzz.harness import Choices, Target, pieces, target

LIMITS = ChunkLimits(max_message_bytes=2**17, max_partial_bytes=2**18, max_chunk_streams=16)
_TURNS = 64


@target("rtmp_handshake", max_bytes=3600)
def handshake(data: bytes) -> None:
    """However the bytes are cut, both sides say the same, or refuse with the handshake's word."""
    sizes, body = data[:4], data[4:]
    for make in (ServerHandshake, ClientHandshake):
        outcomes = []
        for cut in ([body], pieces(body, sizes)):
            side, replies, fault = make(), 0, None
            for piece in cut:
                try:
                    replies += len(side.receive_data(piece))
                except RtmpError as error:
                    fault = str(error)
                    assert error.fault is Fault.HANDSHAKE
                    break
                if side.done:
                    break
            outcomes.append((fault, replies, side.done))
            if side.done and fault is None and len(cut) == 1:
                assert side.rest == body[1 + 2 * BLOCK :]
        assert outcomes[0] == outcomes[1]


def _messages(cut: Sequence[bytes]) -> tuple[list[Message], str | None]:
    reader = ChunkReader(LIMITS)
    found: list[Message] = []
    try:
        for piece in cut:
            reader.receive_data(piece)
            while (message := reader.next_message()) is not None:
                found.append(message)
    except RtmpError as error:
        assert error.fault in (Fault.CHUNK, Fault.TOO_BIG, Fault.MESSAGE)
        return found, str(error)
    return found, None


@target("rtmp_chunks")
def chunks(data: bytes) -> None:
    """The messages do not depend on how the bytes are cut, and survive our writer."""
    sizes, body = data[:3], data[3:]
    found, _ = whole = _messages([body])
    assert whole == _messages(pieces(body, sizes))
    assert sum(len(message.payload) for message in found) <= len(body)
    writer = ChunkWriter()
    again = b""
    for message in found:
        assert 0 <= message.timestamp < 2**32
        if message.type > 2:  # those change how the bytes behind them are read
            again += writer.write(
                3, message.type, message.stream_id, message.timestamp, message.payload
            )
    assert _messages([again]) == ([m for m in found if m.type > 2], None)


def _weight(value: AmfValue) -> int:
    """Values in a tree, where a shared branch counts each time that it is met."""
    total, todo = 0, [value]
    while todo:
        total += 1
        assert total <= amf0.MAX_VALUES, "more values than were allowed, by references"
        each = todo.pop()
        if isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, list):
            todo += each
    return total


@target("rtmp_amf0")
def amf(data: bytes) -> None:
    """What is decoded is a bounded tree, and its encoding decodes to the same."""
    try:
        values = amf0.decode(data)
    except AmfError:
        return
    assert sum(map(_weight, values)) <= amf0.MAX_VALUES
    with contextlib.suppress(AmfError):  # written out, references may nest too deep to be read
        # By their text, because NaN differs from itself.
        assert repr(amf0.decode(amf0.encode(*values))) == repr(values)


def _check_events(events: Sequence[Event], received: int) -> int:
    """Return how many payload bytes the events hold."""
    total = 0
    for event in events:
        match event:
            case Packet():
                assert event.dts >= 0
                assert event.payload
                total += len(event.payload)
            case FormatChanged():
                assert 0 <= event.track <= 255
                assert event.track_format.codec_string
            case TrackIgnored():
                assert event.track > 0
                assert len(event.text) < 400
            case _:
                pass
    # Lengths of one byte become four: a body of empty NAL units grows fourfold.
    assert total <= 4 * received
    return total


@target("rtmp_flv")
def flv_bodies(data: bytes) -> None:
    """Media messages, one behind the other, become formats and packets or a typed refusal."""
    choices = Choices(data)
    tracks = Tracks(describe)
    timestamp = 0
    while choices.left:
        flags = choices.number()
        timestamp += flags >> 1
        body = choices.piece()
        parse = flv.parse_video if flags & 1 else flv.parse_audio
        try:
            _check_events(tracks.receive(parse(body), timestamp, 0), len(body))
        except RtmpError as error:
            assert error.fault in (Fault.MEDIA, Fault.CODEC, Fault.AMF)
            assert len(str(error)) < 400


def _feed(session: ServerSession, data: bytes) -> None:
    session.receive_data(data, 1_000)
    for _ in range(_TURNS):
        session.begin_turn()
        events = []
        while (event := session.next_event()) is not None:
            events.append(event)
            if isinstance(event, PublishRequested):
                assert len(event.query) <= 96
                session.accept_publish()
        _check_events(events, session.received)
        if not session.turn_over:
            break
    # A ping, a stream, a result: small answers to messages of at least a byte each.
    assert len(session.data_to_send()) <= 8192 + 512 * len(data)


HELLO = b"\x03" + bytes(2 * BLOCK)


@target("rtmp_session")
def session(data: bytes) -> None:
    """A whole connection after its handshake, byte for byte, in pieces of the input's choice."""
    sizes, body = data[:2], data[2:]
    side = ServerSession(limits=LIMITS, describe=describe)
    try:
        _feed(side, HELLO)
        for piece in pieces(body, sizes):
            _feed(side, piece)
    except RtmpError as error:
        side.fail(str(error))
        assert side.state is State.FAILED
        assert len(side.data_to_send()) < 1024


def _opening() -> bytes:
    writer = ChunkWriter()
    connect = amf0.encode("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live"})
    publish = amf0.encode("publish", 5, None, "key", "live")
    return (
        HELLO
        + writer.write(3, MessageType.COMMAND, 0, 0, connect)
        + writer.write(3, MessageType.COMMAND, 0, 0, amf0.encode("createStream", 4, None))
        + writer.write(8, MessageType.COMMAND, 1, 0, publish)
        + writer.set_chunk_size(65536)
    )


OPENING = _opening()


@target("rtmp_publishing")
def publishing(data: bytes) -> None:
    """A publisher whose chunk layer is sound and whose messages are anything."""
    choices = Choices(data)
    side = ServerSession(limits=LIMITS, describe=describe)
    _feed(side, OPENING)
    assert side.state is State.PUBLISHING
    writer = ChunkWriter()
    writer.chunk_size = 65536
    try:
        while choices.left:
            kind, time, body = choices.number(), choices.number(4), choices.piece()
            _feed(side, writer.write(4, kind, 1, time, body))
    except RtmpError as error:
        side.fail(str(error))


@target("rtmp_client")
def client(data: bytes) -> None:
    """A server that answers our publisher with anything."""
    sizes, body = data[:2], data[2:]
    side = RtmpPublishClient("live", "rtmp://127.0.0.1/live", "secret-key")
    side.start()
    with contextlib.suppress(RtmpError):
        side.receive_data(HELLO)
        for piece in pieces(body, sizes):
            for event in side.receive_data(piece):
                if isinstance(event, PublishRefused):
                    assert len(event.text) <= 300
                    assert (event.code + event.text).isprintable()
            assert len(side.data_to_send()) <= 8192 + 64 * len(piece)


@target("rtmp_target", max_bytes=2048)
def publish_name(data: bytes) -> None:
    """Server field, URL and stream name of an encoder: never an error, always bounded."""
    parts = data.decode("utf-8", "replace").split("\n")
    app, url, name = (*parts, "", "", "")[:3]
    found = publish_target(app, url, name)
    assert len(found.key) <= max(map(len, parts))
    assert len(found.query) <= 96


TARGETS: list[Target] = [
    handshake,
    chunks,
    amf,
    flv_bodies,
    session,
    publishing,
    client,
    publish_name,
]
