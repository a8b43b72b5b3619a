"""The publishing side of RTMP, without I/O: what `restream` and `vitrina demo` push with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from ingest.rtmp.amf0 import AmfObject, AmfValue, EcmaArray, encode
from ingest.rtmp.chunks import TIME_MASK, ChunkLimits, ChunkReader, ChunkWriter, Message
from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.flv import AUDIO_FOURCC, VIDEO_FOURCC, PacketType
from ingest.rtmp.handshake import ClientHandshake
from ingest.rtmp.messages import (
    Command,
    MessageType,
    UserControl,
    parse_command,
    parse_u32,
    parse_user_control,
    user_control,
)
from media.bitstream.formats import IN_BAND
from media.model import Codec

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK_SIZE = 65536
_LIMITS = ChunkLimits(max_message_bytes=65536, max_partial_bytes=131_072, max_chunk_streams=32)
_CONTROL, _COMMANDS, _DATA, _VIDEO, _PUBLISH, _AUDIO = 2, 3, 4, 6, 8, 7
_CONNECT, _RELEASE, _FC_PUBLISH, _CREATE, _PUBLISH_CALL, _UNPUBLISH, _DELETE = range(1, 8)
_LEGACY_AVC, _LEGACY_AAC, _LEGACY_MP3 = 7, 0xAF, 0x2F
_EX_VIDEO, _EX_AUDIO = 0x80, 0x90
_KEY, _INTER = 1, 2
_MAX_WORDS = 300
_CAPS_RECONNECT = 1
_FOURCC = {codec: name for name, codec in (VIDEO_FOURCC | AUDIO_FOURCC).items()}


@dataclass(frozen=True, slots=True)
class PublishStarted:
    """The server accepted the key: media may be sent."""


@dataclass(frozen=True, slots=True)
class PublishRefused:
    """The server said no, at any moment; it closes the connection. `text` is its own words."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ReconnectRequested:
    """The server asks to `stop` at a key frame and to publish again on a new connection."""

    tc_url: str
    """Where to; empty is where it was."""


ClientEvent: TypeAlias = PublishStarted | PublishRefused | ReconnectRequested


class _State(Enum):
    HANDSHAKE = auto()
    CONNECTING = auto()
    PUBLISHING = auto()
    STOPPED = auto()


class RtmpPublishClient:
    """One publication on one connection.

    Write what `start` returns to a fresh connection, pass everything read to `receive_data`, and
    write `data_to_send` after every call. Send configurations and frames once `PublishStarted`
    came; after `PublishRefused` or `stop`, send what is left and close. A client is used once.

    Times are milliseconds, non-negative, wrapping at 2**32; composition offsets are signed.
    Media methods raise `RuntimeError` ahead of `PublishStarted` and after `stop`.
    """

    def __init__(self, app: str, tc_url: str, key: str, *, reconnects: bool = False) -> None:
        """`app`: path of the server's URL, e.g. `live`; `tc_url`: that whole URL, without key.

        `reconnects`: tell the server that `ReconnectRequested` is acted on.
        """
        self._reconnects = reconnects
        self._app = app
        self._tc_url = tc_url
        self._key = key
        self._state = _State.HANDSHAKE
        self._handshake = ClientHandshake()
        self._reader = ChunkReader(_LIMITS)
        self._writer = ChunkWriter()
        self._out: list[bytes] = []
        self._stream = 0
        self._received = 0
        self._acknowledged = 0
        self._window = 0
        self._accepts: frozenset[Codec] = frozenset()

    @property
    def publishing(self) -> bool:
        """Whether media may be sent."""
        return self._state is _State.PUBLISHING

    @property
    def accepts(self) -> frozenset[Codec]:
        """Codecs that the server says it takes by Enhanced RTMP; empty when it says nothing."""
        return self._accepts

    def start(self) -> bytes:
        """Return the first bytes to send."""
        return self._handshake.start()

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """Take bytes from the server. Raises `RtmpError` when it does not speak RTMP."""
        self._received += len(data)
        if not self._handshake.done:
            self._out.append(self._handshake.receive_data(data))
            if not self._handshake.done:
                return []
            data = self._handshake.rest
            self._connect()
        self._reader.receive_data(data)
        events: list[ClientEvent] = []
        while (message := self._reader.next_message()) is not None:
            event = self._receive(message)
            if event is not None:
                events.append(event)
        if self._window and self._received - self._acknowledged >= self._window:
            self._acknowledged = self._received
            total = (self._received & TIME_MASK).to_bytes(4, "big")
            self._send(_CONTROL, MessageType.ACKNOWLEDGEMENT, 0, 0, total)
        return events

    def data_to_send(self) -> bytes:
        """Return and forget the bytes for the server."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def metadata(self, values: AmfObject) -> None:
        """Send `onMetaData`."""
        payload = encode("@setDataFrame", "onMetaData", EcmaArray(values))
        self._media(_DATA, MessageType.DATA, 0, payload)

    def video_config(self, codec: Codec, record: bytes, time_ms: int = 0) -> None:
        """Send a video sequence header: avcC, hvcC, av1C or vpcC as in `TrackFormat.config`."""
        if codec is Codec.H264:
            head = bytes((_KEY << 4 | _LEGACY_AVC, 0, 0, 0, 0))
        else:
            head = _enhanced_video(_KEY, PacketType.SEQUENCE_START, codec)
        self._media(_VIDEO, MessageType.VIDEO, time_ms, head + record)

    def video(
        self, codec: Codec, payload: bytes, *, key: bool, time_ms: int, offset_ms: int = 0
    ) -> None:
        """Send a coded picture decoded at `time_ms` and shown `offset_ms` later.

        `payload` is as in `Packet`, length-prefixed NAL units for H.264 and HEVC. Raises
        `ValueError` when the offset does not fit 24 bits or the codec cannot carry one.
        """
        frame_type = _KEY if key else _INTER
        try:
            offset = offset_ms.to_bytes(3, "big", signed=True)
        except OverflowError as error:
            raise ValueError(f"a composition offset of {offset_ms} ms does not fit") from error
        if codec is Codec.H264:
            head = bytes((frame_type << 4 | _LEGACY_AVC, 1)) + offset
        elif codec is Codec.HEVC and offset_ms:
            head = _enhanced_video(frame_type, PacketType.CODED_FRAMES, codec) + offset
        elif codec is Codec.HEVC:
            head = _enhanced_video(frame_type, PacketType.CODED_FRAMES_X, codec)
        elif offset_ms:
            raise ValueError(f"{codec.value} over RTMP has no composition offset")
        else:
            head = _enhanced_video(frame_type, PacketType.CODED_FRAMES, codec)
        self._media(_VIDEO, MessageType.VIDEO, time_ms, head + payload)

    def audio_config(self, codec: Codec, record: bytes, time_ms: int = 0) -> None:
        """Send an audio sequence header: AudioSpecificConfig, OpusHead or STREAMINFO.

        MP3, AC-3 and E-AC-3 have none.
        """
        if codec is Codec.AAC:
            head = bytes((_LEGACY_AAC, 0))
        elif codec in IN_BAND:
            raise ValueError(f"{codec} has no sequence header")
        else:
            head = bytes((_EX_AUDIO | PacketType.SEQUENCE_START,)) + _FOURCC[codec]
        self._media(_AUDIO, MessageType.AUDIO, time_ms, head + record)

    def audio(self, codec: Codec, payload: bytes, *, time_ms: int) -> None:
        """Send a coded audio frame, without ADTS."""
        if codec is Codec.AAC:
            head = bytes((_LEGACY_AAC, 1))
        elif codec is Codec.MP3:
            head = bytes((_LEGACY_MP3,))
        else:
            head = bytes((_EX_AUDIO | PacketType.CODED_FRAMES,)) + _FOURCC[codec]
        self._media(_AUDIO, MessageType.AUDIO, time_ms, head + payload)

    def stop(self) -> None:
        """Say goodbye; send what is left and close."""
        if self._state is _State.PUBLISHING:
            self._command(_COMMANDS, 0, "FCUnpublish", _UNPUBLISH, None, self._key)
            self._command(_COMMANDS, 0, "deleteStream", _DELETE, None, self._stream)
        self._state = _State.STOPPED

    def _connect(self) -> None:
        self._state = _State.CONNECTING
        target: AmfObject = {
            "app": self._app,
            "type": "nonprivate",
            # Servers read FMLE as: a type 3 header after a type 0 one repeats its time. We
            # never send such a header, and some serve only what calls itself FMLE.
            "flashVer": "FMLE/3.0 (compatible; Vitrina)",
            "tcUrl": self._tc_url,
            "fourCcList": [name.decode() for name in (*VIDEO_FOURCC, *AUDIO_FOURCC)],
        }
        if self._reconnects:
            target = {**target, "capsEx": _CAPS_RECONNECT}
        self._command(_COMMANDS, 0, "connect", _CONNECT, target)
        self._out.append(self._writer.set_chunk_size(CHUNK_SIZE))

    def _receive(self, message: Message) -> ClientEvent | None:
        match message.type:
            case MessageType.WINDOW_ACK_SIZE:
                self._window = parse_u32(message)
            case MessageType.USER_CONTROL:
                event, value = parse_user_control(message.payload)
                if event == UserControl.PING_REQUEST:
                    pong = user_control(UserControl.PING_RESPONSE, value)
                    self._send(_CONTROL, MessageType.USER_CONTROL, 0, 0, pong)
            case MessageType.COMMAND | MessageType.COMMAND_AMF3:
                command = parse_command(message)
                if command is not None:
                    return self._answer(command)
            case _:
                pass
        return None

    def _answer(self, command: Command) -> ClientEvent | None:
        info = command.args[0] if command.args and isinstance(command.args[0], dict) else {}
        code, text = _words(info.get("code")), _words(info.get("description"))
        match command.name:
            case "_result" if command.transaction == _CONNECT:
                self._accepts = _announced((command.object, *command.args))
                self._command(_COMMANDS, 0, "releaseStream", _RELEASE, None, self._key)
                self._command(_COMMANDS, 0, "FCPublish", _FC_PUBLISH, None, self._key)
                self._command(_COMMANDS, 0, "createStream", _CREATE, None)
            case "_result" if command.transaction == _CREATE:
                number = command.number(0)
                if number is None or not 0 <= number < 2**32:
                    raise RtmpError(Fault.PROTOCOL, "The server created no stream.")
                self._stream = int(number)
                stream = self._stream
                self._command(_PUBLISH, stream, "publish", _PUBLISH_CALL, None, self._key, "live")
            case "_error" if command.transaction in (_CONNECT, _CREATE, _PUBLISH_CALL):
                self._state = _State.STOPPED
                return PublishRefused(code, text)
            case "onStatus" if info.get("level") == "error":
                self._state = _State.STOPPED
                return PublishRefused(code, text)
            case "onStatus" if code == "NetConnection.Connect.ReconnectRequest":
                return ReconnectRequested(_words(info.get("tcUrl")))
            case "onStatus" if code == "NetStream.Publish.Start":
                self._state = _State.PUBLISHING
                return PublishStarted()
            case _:
                pass
        return None

    def _command(
        self, csid: int, stream: int, name: str, transaction: int, *values: AmfValue
    ) -> None:
        self._send(csid, MessageType.COMMAND, stream, 0, encode(name, transaction, *values))

    def _media(self, csid: int, message_type: MessageType, time_ms: int, payload: bytes) -> None:
        if self._state is not _State.PUBLISHING:
            raise RuntimeError("the client does not publish")
        self._send(csid, message_type, self._stream, time_ms, payload)

    def _send(
        self, csid: int, message_type: MessageType, stream: int, time_ms: int, payload: bytes
    ) -> None:
        self._out.append(self._writer.write(csid, message_type, stream, time_ms, payload))


def _words(value: AmfValue) -> str:
    """Return what a server says in a form that a log or a page can hold."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:_MAX_WORDS])


def _enhanced_video(frame_type: int, packet_type: PacketType, codec: Codec) -> bytes:
    return bytes((_EX_VIDEO | frame_type << 4 | packet_type,)) + _FOURCC[codec]


def _announced(values: Sequence[AmfValue]) -> frozenset[Codec]:
    """Return what a server's answer to `connect` says it takes (E-RTMP v2, NetConnection).

    `fourCcList` names codecs, `videoFourCcInfoMap` and `audioFourCcInfoMap` have them as keys;
    `*` is all of them.
    """
    names: set[str] = set()
    for value in values:
        if isinstance(value, dict):
            listed = value.get("fourCcList")
            if isinstance(listed, list):
                names |= {one for one in listed if isinstance(one, str)}
            for key in ("videoFourCcInfoMap", "audioFourCcInfoMap"):
                known = value.get(key)
                names |= set(known) if isinstance(known, dict) else set()
    return frozenset(
        codec for codec, name in _FOURCC.items() if "*" in names or name.decode() in names
    )
