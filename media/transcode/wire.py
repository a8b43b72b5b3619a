"""Framing between the server and its worker: sans-IO, both ways, bounded.

A frame is `length (u32, big endian, of what follows) | type (u8) | body`. Access units have a
packed body, everything rare is JSON.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media.model import Codec, Kind
from media.slate.loop import SlateOrder
from media.transcode.messages import (
    Boundary,
    Coded,
    Configure,
    Fault,
    Finish,
    FromWorker,
    KeyWanted,
    Listen,
    MakeSlate,
    Opened,
    Relief,
    Report,
    RungReport,
    SlateFailed,
    SlateMade,
    Source,
    SourceTrack,
    ToWorker,
)
from media.transcode.plan import AudioPlan, Plan, Rung
from media.transcode.wire_slate import made_body, made_of

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FRAME_BYTES = 32 * 2**20
"""Larger than any message an ingest accepts (`rtmp.max_message_bytes`), with room for a header."""
MAX_TEXT = 2000

_HEAD = struct.Struct(">IB")
_SOURCE = struct.Struct(">BqqIQ")
_CODED = struct.Struct(">BqqIB")
_BOUNDARY = struct.Struct(">q")
_SERIAL = struct.Struct(">q")

_KEY, _VIDEO, _REPLAY, _REALTIME = 1, 2, 4, 8
T_CONFIGURE, T_SOURCE, T_BOUNDARY, T_RELIEF, T_FINISH, T_MAKE_SLATE, T_LISTEN, T_KEY_WANTED = range(
    1, 9
)
T_OPENED, T_CODED, T_REPORT, T_FAULT, T_SLATE_MADE, T_SLATE_FAILED = 65, 66, 67, 68, 69, 70


class WireError(Exception):
    """The other side sent what this framing does not allow."""


def encode(message: ToWorker | FromWorker) -> list[bytes]:
    """Return the buffers of one frame, for a gathering write; the payload is not copied."""
    match message:
        case Source():
            flags = (message.key and _KEY) | (message.kind is Kind.VIDEO and _VIDEO)
            body = _SOURCE.pack(
                flags | (message.replay and _REPLAY) | (message.realtime and _REALTIME),
                message.dts,
                message.pts,
                message.duration,
                message.sent_ns,
            )
            return _frame(T_SOURCE, body, message.payload)
        case Coded():
            name = message.rung.encode()
            body = _CODED.pack(message.key, message.dts, message.pts, message.duration, len(name))
            return _frame(T_CODED, body + name, message.payload)
        case Boundary():
            return _frame(T_BOUNDARY, _BOUNDARY.pack(message.ticks))
        case KeyWanted():
            return _frame(T_KEY_WANTED, message.rung.encode())
        case Finish():
            return _frame(T_FINISH, b"")
        case Configure():
            return _json_frame(T_CONFIGURE, message)
        case Relief():
            return _json_frame(T_RELIEF, message)
        case Listen():
            return _json_frame(T_LISTEN, message)
        case Opened():
            return _json_frame(T_OPENED, message)
        case Report():
            return _json_frame(T_REPORT, message)
        case MakeSlate():
            return _json_frame(T_MAKE_SLATE, message)
        case SlateMade():
            return _frame(T_SLATE_MADE, _made_body(message))
        case SlateFailed():
            text = message.text[:MAX_TEXT].encode("utf-8", "replace")
            return _frame(T_SLATE_FAILED, _SERIAL.pack(message.serial) + text)
        case Fault():
            return _frame(T_FAULT, message.text[:MAX_TEXT].encode("utf-8", "replace"))


class Decoder:
    """Cuts a byte stream into messages. One per direction and connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[ToWorker | FromWorker]:
        """Return the messages that `data` completes.

        Raises `WireError`; the connection is of no use after that.
        """
        buffer = self._buffer
        buffer += data
        messages: list[ToWorker | FromWorker] = []
        pos = 0
        while len(buffer) - pos >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, pos)
            if not 1 <= length <= MAX_FRAME_BYTES:
                raise WireError(f"a frame of {length} bytes is outside 1..{MAX_FRAME_BYTES}")
            end = pos + 4 + length
            if len(buffer) < end:
                break
            messages.append(_parse(kind, bytes(memoryview(buffer)[pos + _HEAD.size : end])))
            pos = end
        del buffer[:pos]
        return messages


def _frame(kind: int, body: bytes, payload: bytes = b"") -> list[bytes]:
    length = 1 + len(body) + len(payload)
    if length > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {length} bytes is outside 1..{MAX_FRAME_BYTES}")
    head = _HEAD.pack(length, kind) + body
    return [head, payload] if payload else [head]


def _json_frame(
    kind: int, message: Configure | Relief | Listen | Opened | Report | MakeSlate
) -> list[bytes]:
    return _frame(kind, json.dumps(asdict(message), default=_to_json).encode())


def _to_json(value: object) -> object:
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not belong on the wire")


def _parse(kind: int, body: bytes) -> ToWorker | FromWorker:
    parser = _PARSERS.get(kind)
    if parser is None:
        raise WireError(f"frame type {kind} is unknown")
    try:
        return parser(body)
    except _UNREADABLE as err:
        raise WireError(f"a frame of type {kind} cannot be read: {err}"[:200]) from err


_UNREADABLE = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    struct.error,
)


def _parse_source(body: bytes) -> Source:
    flags, dts, pts, duration, sent_ns = _SOURCE.unpack_from(body)
    return Source(
        kind=Kind.VIDEO if flags & _VIDEO else Kind.AUDIO,
        dts=dts,
        pts=pts,
        duration=duration,
        key=bool(flags & _KEY),
        sent_ns=sent_ns,
        replay=bool(flags & _REPLAY),
        payload=body[_SOURCE.size :],
        realtime=bool(flags & _REALTIME),
    )


def _parse_coded(body: bytes) -> Coded:
    key, dts, pts, duration, size = _CODED.unpack_from(body)
    start = _CODED.size + size
    name = body[_CODED.size : start]
    if len(name) != size:
        raise WireError("a coded access unit ends within its rung's name")
    return Coded(
        rung=name.decode(),
        dts=dts,
        pts=pts,
        duration=duration,
        key=bool(key),
        payload=body[start:],
    )


def _parse_boundary(body: bytes) -> Boundary:
    return Boundary(ticks=_BOUNDARY.unpack(body)[0])


def _parse_configure(body: bytes) -> Configure:
    data = json.loads(body)
    plan = data["plan"]
    audio = plan["audio"]
    return Configure(
        plan=Plan(
            rungs=tuple(Rung(**rung) for rung in plan["rungs"]),
            audio=None if audio is None else _audio_plan(audio),
        ),
        video=_track(data["video"]),
        audio=_track(data["audio"]),
        max_pixels=int(data["max_pixels"]),
    )


def _audio_plan(data: dict[str, Any]) -> AudioPlan:
    return AudioPlan(
        codec=Codec(data["codec"]),
        sample_rate=int(data["sample_rate"]),
        channels=int(data["channels"]),
        bitrate=int(data["bitrate"]),
    )


def _track(data: dict[str, Any] | None) -> SourceTrack | None:
    if data is None:
        return None
    rate, colour = data["frame_rate"], data["colour"]
    return SourceTrack(
        codec=Codec(data["codec"]),
        config=b64decode(data["config"]),
        frame_rate=(int(rate[0]), int(rate[1])),
        sample_rate=int(data["sample_rate"]),
        channels=int(data["channels"]),
        pixels=int(data["pixels"]),
        colour=None if colour is None else (int(colour[0]), int(colour[1]), int(colour[2])),
        slate=bool(data.get("slate")),
    )


def _parse_relief(body: bytes) -> Relief:
    data = json.loads(body)
    return Relief(
        faster=bool(data["faster"]),
        paused=tuple(str(name) for name in data["paused"]),
        halved=tuple(str(name) for name in data["halved"]),
    )


def _parse_opened(body: bytes) -> Opened:
    data = json.loads(body)
    return Opened(rung=str(data["rung"]), extradata=b64decode(data["extradata"]))


def _parse_report(body: bytes) -> Report:
    data = json.loads(body)
    return Report(
        consumed=int(data["consumed"]),
        decode_errors=int(data["decode_errors"]),
        skipped=int(data["skipped"]),
        decode_age_ms=int(data["decode_age_ms"]),
        catching_up=bool(data["catching_up"]),
        rungs=tuple(_rung_report(rung) for rung in data["rungs"]),
    )


def _rung_report(data: dict[str, Any]) -> RungReport:
    return RungReport(
        rung=str(data["rung"]),
        frames=int(data["frames"]),
        dropped=int(data["dropped"]),
        busy_ns=int(data["busy_ns"]),
        media_ticks=int(data["media_ticks"]),
        queue_age_ms=int(data["queue_age_ms"]),
    )


def _parse_make_slate(body: bytes) -> MakeSlate:
    data = json.loads(body)
    order = data["order"]
    audio = order["audio"]
    return MakeSlate(
        order=SlateOrder(
            width=int(order["width"]),
            height=int(order["height"]),
            sar=(int(order["sar"][0]), int(order["sar"][1])),
            audio=None if audio is None else (int(audio[0]), int(audio[1])),
            text=str(order["text"]),
            image=_path(order["image"]),
            serial=int(order["serial"]),
        ),
        font=_path(data["font"]),
        video=_track(data["video"]),
        max_pixels=int(data["max_pixels"]),
    )


def _made_body(made: SlateMade) -> bytes:
    try:
        return made_body(made)
    except (ValueError, struct.error) as err:
        raise WireError(str(err)) from err


def _path(text: object) -> Path | None:
    return None if text is None else Path(str(text))


def _parse_slate_failed(body: bytes) -> SlateFailed:
    (serial,) = _SERIAL.unpack_from(body)
    return SlateFailed(serial=serial, text=body[_SERIAL.size :].decode("utf-8", "replace"))


_PARSERS: dict[int, Callable[[bytes], ToWorker | FromWorker]] = {
    T_CONFIGURE: _parse_configure,
    T_SOURCE: _parse_source,
    T_BOUNDARY: _parse_boundary,
    T_RELIEF: _parse_relief,
    T_KEY_WANTED: lambda body: KeyWanted(rung=body.decode()),
    T_LISTEN: lambda body: Listen(track=_track(json.loads(body)["track"])),
    T_FINISH: lambda _body: Finish(),
    T_MAKE_SLATE: _parse_make_slate,
    T_OPENED: _parse_opened,
    T_CODED: _parse_coded,
    T_REPORT: _parse_report,
    T_SLATE_MADE: made_of,
    T_SLATE_FAILED: _parse_slate_failed,
    T_FAULT: lambda body: Fault(text=body.decode("utf-8", "replace")),
}
