"""VP9 in RTP (RFC 9628), flexible and non-flexible mode.

Spatial layers of a picture stay together as one superframe: the upper ones refer to the lower ones,
so that the top layer alone could not be decoded.
"""

from __future__ import annotations

from media.bitstream import BitstreamError, vp9
from webrtc.payloads.assembly import MAX_UNIT_BYTES, Depacketizer
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD, check_max_payload

MAX_LAYERS = 8
_I, _P, _L, _F, _B, _E, _V = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
_MAX_DIFFS = 3
_SHORT = "The VP9 payload ends inside its descriptor."


class Vp9Depacketizer(Depacketizer):
    """Puts pictures together: a frame, or of several spatial layers a superframe with its index."""

    def __init__(self, *, max_unit_bytes: int = MAX_UNIT_BYTES) -> None:
        super().__init__(max_unit_bytes=max_unit_bytes)
        self._layers: list[int] = []

    def _add(self, payload: bytes) -> None:
        body = _body(payload)
        if payload[0] & _B:
            if len(self._layers) == MAX_LAYERS:
                raise PayloadError(f"The VP9 picture has more than {MAX_LAYERS} layers.")
            self._layers.append(len(self._buffer))
            self._picture = True
        elif not self._layers:
            raise PayloadError("The VP9 frame lacks its beginning.")
        self._buffer += payload[body:]

    def _discard(self) -> None:
        super()._discard()
        self._layers = []

    def _payload(self) -> bytes:
        frames = bytes(self._buffer)
        if len(self._layers) == 1:
            return frames
        ends = [*self._layers[1:], len(frames)]
        sizes = [end - start for start, end in zip(self._layers, ends, strict=True)]
        return frames + _superframe_index(sizes)

    def _begins(self, payload: bytes) -> bool:
        """Whether the lowest layer's frame begins here."""
        if not payload[0] & _B:
            return False
        if not payload[0] & _L:
            return True
        pos = 1
        if payload[0] & _I:
            pos += 2 if payload[1:2] >= b"\x80" else 1
        return pos < len(payload) and not payload[pos] & 0x0E

    def _is_key(self, payload: bytes) -> bool:
        return vp9.is_key(payload)


def _superframe_index(sizes: list[int]) -> bytes:
    """Write the index behind a superframe (VP9 Annex B.3)."""
    width = (max(sizes).bit_length() + 7) // 8
    edge = bytes((0xC0 | (width - 1) << 3 | len(sizes) - 1,))
    return edge + b"".join(size.to_bytes(width, "little") for size in sizes) + edge


def _body(payload: bytes) -> int:
    """Return where the frame's bytes begin behind the payload descriptor (RFC 9628 4.2)."""
    flags = payload[0]
    flexible = flags & _F
    pos = 1
    end = len(payload)
    if flags & _I:
        pos += 2 if payload[1:2] >= b"\x80" else 1
    elif flexible:
        raise PayloadError("The VP9 payload is of flexible mode but has no picture id.")
    if flags & _L:
        pos += 1 if flexible else 2
    if flags & _P and flexible:
        for index in range(_MAX_DIFFS + 1):
            if index == _MAX_DIFFS:
                raise PayloadError("The VP9 frame refers to more than 3 others.")
            if pos >= end:
                raise PayloadError(_SHORT)
            pos += 1
            if not payload[pos - 1] & 1:
                break
    if flags & _V:
        pos = _skip_scalability(payload, pos)
    if pos >= end:
        raise PayloadError(_SHORT)
    return pos


def _skip_scalability(payload: bytes, pos: int) -> int:
    """Pass over the scalability structure (RFC 9628 4.2.1)."""
    if pos >= len(payload):
        raise PayloadError(_SHORT)
    head = payload[pos]
    pos += 1
    if head & 0x10:
        pos += 4 * ((head >> 5) + 1)
    if head & 0x08:
        if pos >= len(payload):
            raise PayloadError(_SHORT)
        pictures = payload[pos]
        pos += 1
        for _ in range(pictures):
            if pos >= len(payload):
                raise PayloadError(_SHORT)
            pos += 1 + (payload[pos] >> 2 & 3)
    return pos


class Vp9Packetizer:
    """Cuts frames of one spatial layer into payloads of non-flexible mode."""

    def __init__(self, *, max_payload: int = DEFAULT_MAX_PAYLOAD, picture_id: int = 0) -> None:
        """`picture_id` of the first frame; it should be random."""
        self.max_payload = check_max_payload(max_payload)
        self._picture_id = picture_id & 0x7FFF

    def packetize(self, unit: bytes) -> list[tuple[bytes, bool]]:
        """Return (payload, marker bit) of every packet, the marker on the last alone.

        Raises `PayloadError` for what is no frame.
        """
        try:
            flags = _I if vp9.is_key(unit) else _I | _P
        except BitstreamError as err:
            raise PayloadError(str(err)) from err
        number = (0x8000 | self._picture_id).to_bytes(2, "big")
        self._picture_id = (self._picture_id + 1) & 0x7FFF
        step = self.max_payload - 3
        end = len(unit)
        packets = []
        for pos in range(0, end, step):
            last = pos + step >= end
            edges = (0 if pos else _B) | (_E if last else 0)
            packets.append((bytes((flags | edges,)) + number + unit[pos : pos + step], last))
        return packets
