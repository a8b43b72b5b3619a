"""VP8 in RTP (RFC 7741)."""

from __future__ import annotations

from media.bitstream.vp8 import is_key
from webrtc.payloads.assembly import Depacketizer
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD, check_max_payload


class Vp8Depacketizer(Depacketizer):
    """Puts frames together from their partitions (RFC 7741 4.2 and 4.3)."""

    def _add(self, payload: bytes) -> None:
        body = _body(payload)
        if not self._picture and not self._begins(payload):
            raise PayloadError("The VP8 frame lacks its beginning.")
        if self._picture and self._begins(payload):
            raise PayloadError("A VP8 frame begins before the last one ended.")
        self._picture = True
        self._buffer += payload[body:]

    def _begins(self, payload: bytes) -> bool:
        """Whether the first partition starts here: S bit and partition 0."""
        return payload[0] & 0x17 == 0x10

    def _is_key(self, payload: bytes) -> bool:
        return is_key(payload)


def _body(payload: bytes) -> int:
    """Return where the frame's bytes begin behind the payload descriptor (RFC 7741 4.2)."""
    pos = 1
    if payload[0] & 0x80:
        extension = payload[1] if len(payload) > 1 else 0
        pos = 2
        if extension & 0x80:
            pos += 2 if payload[pos : pos + 1] >= b"\x80" else 1
        if extension & 0x40:
            pos += 1
        if extension & 0x30:
            pos += 1
    if pos >= len(payload):
        raise PayloadError("The VP8 payload ends inside its descriptor.")
    return pos


class Vp8Packetizer:
    """Cuts frames into payloads with a 15-bit picture id."""

    def __init__(self, *, max_payload: int = DEFAULT_MAX_PAYLOAD, picture_id: int = 0) -> None:
        """`picture_id` of the first frame; it should be random."""
        self.max_payload = check_max_payload(max_payload)
        self._picture_id = picture_id & 0x7FFF

    def packetize(self, unit: bytes) -> list[tuple[bytes, bool]]:
        """Return (payload, marker bit) of every packet, the marker on the last alone.

        Raises `PayloadError` for an empty frame.
        """
        if not unit:
            raise PayloadError("The VP8 frame is empty.")
        number = self._picture_id
        self._picture_id = (number + 1) & 0x7FFF
        tail = b"\x80" + (0x8000 | number).to_bytes(2, "big")
        step = self.max_payload - 4
        end = len(unit)
        return [
            ((b"\x80" if pos else b"\x90") + tail + unit[pos : pos + step], pos + step >= end)
            for pos in range(0, end, step)
        ]
