"""The server's side of one RTMP connection, as a state machine without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto

from ingest.rtmp import flv
from ingest.rtmp.adobe import AdobeLogins, LoggedIn, login_query
from ingest.rtmp.amf0 import UNDEFINED, AmfError, AmfValue, encode
from ingest.rtmp.chunks import ChunkLimits, ChunkReader, ChunkWriter, Message
from ingest.rtmp.connect import CAPS_RECONNECT, SERVER, ConnectInfo, read_connect, rejected, success
from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.events import (
    Event,
    LoginAnswered,
    MetadataReceived,
    PublishEnded,
    PublishRequested,
)
from ingest.rtmp.handshake import ServerHandshake
from ingest.rtmp.messages import (
    DYNAMIC_BANDWIDTH,
    Command,
    MessageType,
    UserControl,
    parse_command,
    parse_data,
    parse_u32,
    parse_user_control,
    split_aggregate,
    user_control,
)
from ingest.rtmp.strangers import EARLY_LIMITS, EARLY_TURN_COST, TURN_COST, Allowance
from ingest.rtmp.target import publish_target
from ingest.rtmp.tracks import Describe, Tracks

CHUNK_SIZE = 65536
"""What we send with; FFmpeg then uses the same."""
WINDOW_BYTES = 2_500_000
MAX_STREAMS = 16

_CONTROL, _COMMANDS = 2, 3
_STREAM_COMMANDS = 5
RECONNECT_REQUEST = "NetConnection.Connect.ReconnectRequest"


class State(Enum):
    """How far a connection has come."""

    HANDSHAKE = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    AUTHORIZING = auto()
    PUBLISHING = auto()
    FAILED = auto()


class ServerSession:
    """One connection: feed bytes, drain events, send what `data_to_send` returns.

    On `RtmpError` from `next_event` (or from the transport's own checks, through `fail`) the
    transport sends what is left and closes. Memory is bounded by the limits of the chunk reader.
    """

    def __init__(
        self, *, limits: ChunkLimits, describe: Describe, logins: AdobeLogins | None = None
    ) -> None:
        """`limits` hold once a key was accepted, tighter ones before."""
        self.address = ""
        """Of the peer, to count its failed logins."""
        self._logins = logins
        self._user: str | None = None
        self.state = State.HANDSHAKE
        self.received = 0
        """Bytes since the connection began."""
        self._limits = limits
        self._describe = describe
        self._handshake = ServerHandshake()
        self._reader = ChunkReader(EARLY_LIMITS)
        self._writer = ChunkWriter()
        self._out: list[bytes] = []
        self._events: deque[Event] = deque()
        self._aggregate: Iterator[Message] = iter(())
        self._tracks = Tracks(describe)
        self._now_ns = 0
        self._allowance = Allowance()
        self._window = WINDOW_BYTES
        self._acknowledged = 0
        self._info = ConnectInfo()
        self._streams: set[int] = set()
        self._publish_stream = 0
        self._had_publication = False

    @property
    def flash_version(self) -> str:
        """What the encoder calls itself, at most 64 printable characters."""
        return self._info.flash_version

    @property
    def dropped(self) -> int:
        """Frames of the current publication that nothing could have decoded."""
        return self._tracks.dropped

    @property
    def turn_over(self) -> bool:
        """Whether `next_event` stopped early: there may be more in another turn."""
        return self._reader.budget <= 0

    def begin_turn(self) -> None:
        """Let `next_event` parse for a while and then say None, so that others get the CPU."""
        self._reader.budget = TURN_COST if self.state is State.PUBLISHING else EARLY_TURN_COST

    def receive_data(self, data: bytes, now_ns: int) -> None:
        """Take bytes read at `now_ns`. Raises `RtmpError` (handshake, protocol)."""
        if self.state is State.FAILED:
            return
        self.received += len(data)
        self._now_ns = now_ns
        if self.state not in (State.AUTHORIZING, State.PUBLISHING):
            self._allowance.spend_bytes(len(data))
        if self.state is State.HANDSHAKE:
            reply = self._handshake.receive_data(data)
            if reply:
                self._out.append(reply)
            if not self._handshake.done:
                return
            self.state = State.CONNECTING
            data = self._handshake.rest
        self._reader.receive_data(data)
        if self.received - self._acknowledged >= self._window:
            self._acknowledged = self.received
            total = (self.received & 0xFFFFFFFF).to_bytes(4, "big")
            self._send(_CONTROL, MessageType.ACKNOWLEDGEMENT, 0, total)

    def next_event(self) -> Event | None:
        """Return the next event, None when bytes, an answer or (`turn_over`) a turn are needed.

        Raises `RtmpError`; the session is over then.
        """
        while not self._events:
            if self.turn_over or self.state in (State.HANDSHAKE, State.AUTHORIZING, State.FAILED):
                return None
            message = next(self._aggregate, None)
            if message is not None:
                self._reader.budget -= 1  # the others have a chunk header each
            else:
                message = self._reader.next_message()
            if message is None:
                return None
            self._charge(message)
            self._receive(message)
        return self._events.popleft()

    def data_to_send(self) -> bytes:
        """Return and forget the bytes for the peer."""
        if not self._out:
            return b""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def accept_publish(self) -> None:
        """Tell the client that it publishes; reading goes on with the full limits."""
        assert self.state is State.AUTHORIZING
        self.state = State.PUBLISHING
        self._had_publication = True
        self._reader.limits = self._limits
        self._tracks = Tracks(self._describe)
        stream = self._publish_stream
        begin = user_control(UserControl.STREAM_BEGIN, stream)
        self._send(_CONTROL, MessageType.USER_CONTROL, 0, begin)
        self._on_status("status", "NetStream.Publish.Start", "The stream is published.")

    def refuse_publish(self, text: str) -> None:
        """Tell the client that its key is not accepted; the transport closes after sending."""
        self._on_status("error", "NetStream.Publish.BadName", text)
        self.state = State.FAILED

    def fail(self, text: str) -> None:
        """Tell a publishing client why it is cut off; the transport closes after sending."""
        if self.state in (State.AUTHORIZING, State.PUBLISHING):
            self._on_status("error", "NetStream.Publish.Rejected", text)
        self.state = State.FAILED

    def request_reconnect(self, text: str) -> bool:
        """Ask a publishing client to come back on a new connection; False where it cannot.

        It goes on until it leaves, at a key frame of its own choice (Enhanced RTMP v2, "Reconnect
        Request"); without a tcUrl it comes back to where it is.
        """
        if self.state is not State.PUBLISHING or not self._info.caps & CAPS_RECONNECT:
            return False
        self._on_status("status", RECONNECT_REQUEST, text, stream=0)
        return True

    def ping(self, now_ms: int) -> None:
        """Ask the client for a sign of life."""
        if self.state in (State.CONNECTED, State.PUBLISHING):
            ping = user_control(UserControl.PING_REQUEST, now_ms)
            self._send(_CONTROL, MessageType.USER_CONTROL, 0, ping)

    def _charge(self, message: Message) -> None:
        """Count a message towards the turn and, from a stranger, towards the limit."""
        media = message.type in (MessageType.VIDEO, MessageType.AUDIO, MessageType.AGGREGATE)
        self._reader.budget -= len(message.payload) >> (7 if media else 3)
        if self.state is not State.PUBLISHING:
            self._allowance.spend_message()

    def _receive(self, message: Message) -> None:
        match message.type:
            case MessageType.VIDEO:
                self._media(flv.parse_video(message.payload), message.timestamp)
            case MessageType.AUDIO:
                self._media(flv.parse_audio(message.payload), message.timestamp)
            case MessageType.COMMAND | MessageType.COMMAND_AMF3:
                command = parse_command(message)
                if command is not None:
                    self._command(command, message.stream_id)
            case MessageType.DATA | MessageType.DATA_AMF3:
                self._data(message)
            case MessageType.AGGREGATE:
                self._aggregate = self._members(message)
            case MessageType.USER_CONTROL:
                event, value = parse_user_control(message.payload)
                if event == UserControl.PING_REQUEST:
                    pong = user_control(UserControl.PING_RESPONSE, value)
                    self._send(_CONTROL, MessageType.USER_CONTROL, 0, pong)
            case MessageType.WINDOW_ACK_SIZE:
                self._window = parse_u32(message) or WINDOW_BYTES
            case _:
                # Acknowledgements, shared objects and what is unknown need no answer.
                pass

    @staticmethod
    def _members(message: Message) -> Iterator[Message]:
        for member in split_aggregate(message):
            if member.type == MessageType.AGGREGATE:
                raise RtmpError(Fault.MESSAGE, "An aggregate message holds another one.")
            yield member

    def _media(self, values: Iterator[flv.FlvValue], timestamp: int) -> None:
        if self.state is State.PUBLISHING:
            self._events.extend(self._tracks.receive(values, timestamp, self._now_ns))
        elif not self._had_publication:
            raise RtmpError(Fault.PROTOCOL, "The client sent media before it published a stream.")

    def _data(self, message: Message) -> None:
        if self.state is not State.PUBLISHING:
            return
        try:
            values = parse_data(message)
        except AmfError:
            # Nothing that media cannot do without; the next message is none the worse for it.
            self._tracks.dropped += 1
            return
        if values and values[0] == "@setDataFrame":
            values = values[1:]
        if values and values[0] == "onMetaData" and len(values) > 1 and isinstance(values[1], dict):
            self._events.append(MetadataReceived(values[1]))

    def _command(self, command: Command, stream_id: int) -> None:
        match command.name:
            case "connect":
                self._connect(command)
            case "createStream":
                self._create_stream(command)
            case "publish":
                self._publish(command, stream_id)
            case "FCPublish":
                self._fc_publish(command)
            case "releaseStream":
                self._result(command, None, UNDEFINED)
            case "FCUnpublish" | "closeStream":
                self._end_publication()
                self._result(command, None, UNDEFINED)
            case "deleteStream":
                self._delete_stream(command)
            case "play" | "play2":
                raise RtmpError(
                    Fault.PROTOCOL, "Playing over RTMP is not offered: use the HLS address."
                )
            case "_result" | "_error" | "onStatus":
                pass
            case _:
                # Hardware encoders end on an error to _checkbw and its like.
                self._result(command, None, None)

    def _connect(self, command: Command) -> None:
        if self.state is not State.CONNECTING:
            raise RtmpError(Fault.PROTOCOL, "The client sent connect twice.")
        self._info = read_connect(command.object)
        if not self._log_in(command):
            return
        self._reader.delta_after_absolute = self.flash_version.startswith(("FMLE", "Flash"))
        self.state = State.CONNECTED
        window = WINDOW_BYTES.to_bytes(4, "big")
        self._send(_CONTROL, MessageType.WINDOW_ACK_SIZE, 0, window)
        bandwidth = window + bytes((DYNAMIC_BANDWIDTH,))
        self._send(_CONTROL, MessageType.SET_PEER_BANDWIDTH, 0, bandwidth)
        self._out.append(self._writer.set_chunk_size(CHUNK_SIZE))
        self._result(command, SERVER, success(), always=True)

    def _log_in(self, command: Command) -> bool:
        """Take the next step of a login where one is asked for; False ends the connection."""
        if self._logins is None:
            return True
        query = login_query(self._info.app, self._info.tc_url)
        if not self._logins.asks(self._info.app.partition("?")[0], query):
            return True
        verdict = self._logins.answer(query, address=self.address, now_ns=self._now_ns)
        if isinstance(verdict, LoggedIn):
            self._user = verdict.user
            return True
        self._out.append(self._writer.set_chunk_size(CHUNK_SIZE))
        info = rejected(verdict.description)
        payload = encode("_error", command.transaction, None, info)
        self._send(_COMMANDS, MessageType.COMMAND, 0, payload)
        self.state = State.FAILED
        self._events.append(LoginAnswered(failed=verdict.failed))
        return False

    def _create_stream(self, command: Command) -> None:
        self._require_connect("createStream")
        if len(self._streams) >= MAX_STREAMS:
            raise RtmpError(Fault.PROTOCOL, f"The client created {MAX_STREAMS} streams.")
        stream = next(n for n in range(1, MAX_STREAMS + 1) if n not in self._streams)
        self._streams.add(stream)
        self._result(command, None, stream, always=True)

    def _publish(self, command: Command, stream_id: int) -> None:
        self._require_connect("publish")
        if self.state is State.PUBLISHING:
            raise RtmpError(Fault.PROTOCOL, "The client published twice on one connection.")
        # After a login no part of the app stands for a key.
        app = self._info.app if self._user is None else ""
        target = publish_target(app, self._info.tc_url, command.text(0))
        # Some encoders publish on a stream id that they never created: answer on that one.
        self._publish_stream = stream_id
        self.state = State.AUTHORIZING
        self._events.append(PublishRequested(target.key, target.query, self._user))

    def _fc_publish(self, command: Command) -> None:
        """Answer with `onFCPublish`, too: some hardware encoders wait for it.

        It has no code: the usual NetStream.Publish.Start would be said ahead of the key's check.
        """
        self._require_connect("FCPublish")
        self._result(command, None, UNDEFINED)
        info = {"level": "status", "description": "Publish to be answered on the stream."}
        payload = encode("onFCPublish", command.transaction, None, info)
        self._send(_COMMANDS, MessageType.COMMAND, 0, payload)

    def _delete_stream(self, command: Command) -> None:
        number = command.number(0)
        if number is not None:
            self._streams.discard(int(number) if abs(number) < 2**32 else 0)
        if number is None or number == self._publish_stream:
            self._end_publication()

    def _end_publication(self) -> None:
        if self.state is not State.PUBLISHING:
            return
        self.state = State.CONNECTED
        self._allowance = Allowance()
        self._events.append(PublishEnded())

    def _require_connect(self, name: str) -> None:
        if self.state is State.CONNECTING:
            raise RtmpError(Fault.PROTOCOL, f"The client sent {name} before connect.")

    def _result(self, command: Command, *values: AmfValue, always: bool = False) -> None:
        """Answer a call; transaction 0 asks for no answer (RTMP 1.0 section 7.2.1.2)."""
        if command.transaction or always:
            payload = encode("_result", command.transaction, *values)
            self._send(_COMMANDS, MessageType.COMMAND, 0, payload)

    def _on_status(self, level: str, code: str, text: str, *, stream: int | None = None) -> None:
        info = {"level": level, "code": code, "description": text}
        payload = encode("onStatus", 0, None, info)
        stream = self._publish_stream if stream is None else stream
        self._send(_STREAM_COMMANDS, MessageType.COMMAND, stream, payload)

    def _send(self, csid: int, message_type: MessageType, stream_id: int, payload: bytes) -> None:
        self._out.append(self._writer.write(csid, message_type, stream_id, 0, payload))
