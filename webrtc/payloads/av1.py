"""AV1 in RTP (RTP Payload Format For AV1, v1.0.0)."""

from __future__ import annotations

from dataclasses import dataclass

from media.bitstream import BitstreamError
from media.bitstream.av1 import (
    MAX_OBUS,
    OBU_FRAME,
    OBU_FRAME_HEADER,
    OBU_SEQUENCE_HEADER,
    OBU_TEMPORAL_DELIMITER,
    is_key_temporal_unit,
    iterate_obus,
    read_leb128,
    write_leb128,
)
from webrtc.payloads.assembly import MAX_UNIT_BYTES, Depacketizer
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD, check_max_payload

MAX_SEQUENCE_HEADER = 1024
"""Bytes; a real one has under 100, operating points and all."""
_CONTINUES = 0x80
_GOES_ON = 0x40
_NEW_SEQUENCE = 0x08
_HAS_EXTENSION = 0x04
_HAS_SIZE = 0x02
_OBU_TILE_LIST = 8
# 5.1: they should not be sent, and are ignored where they are.
_DROPPED = frozenset({OBU_TEMPORAL_DELIMITER, _OBU_TILE_LIST})


class Av1Depacketizer(Depacketizer):
    """Puts temporal units together; every OBU gets a size field, temporal delimiters go.

    All spatial and temporal layers of an SSRC stay in the unit.
    """

    def __init__(self, *, max_unit_bytes: int = MAX_UNIT_BYTES) -> None:
        super().__init__(max_unit_bytes=max_unit_bytes)
        self._fragment = bytearray()
        self._obus = 0
        self._sequence_header: tuple[bytes, ...] = ()

    def _add(self, payload: bytes) -> None:
        header = payload[0]
        count = header >> 4 & 3
        end = len(payload)
        if end == 1:
            raise PayloadError("The AV1 payload ends behind its aggregation header.")
        if bool(header & _CONTINUES) is not bool(self._fragment):
            raise PayloadError(
                "An AV1 OBU was not ended."
                if self._fragment
                else "The AV1 payload continues an OBU that lacks its beginning."
            )
        if header & _CONTINUES and header & _NEW_SEQUENCE:
            raise PayloadError("The AV1 payload both continues an OBU and begins a sequence.")
        pos = index = 0
        pos = 1
        while pos < end:
            index += 1
            if count and index > count:
                raise PayloadError(f"The AV1 payload holds more than the {count} OBUs it says.")
            size = end - pos
            if index != count:
                try:
                    size, pos = read_leb128(payload, pos)
                except BitstreamError as err:
                    raise PayloadError(str(err)) from err
            start, pos = pos, pos + size
            if pos > end:
                raise PayloadError("An AV1 OBU is longer than its payload.")
            if not size:
                raise PayloadError("The AV1 payload holds an empty OBU.")
            self._element(payload[start:pos], last=pos == end and header & _GOES_ON > 0)
        if index < count:
            raise PayloadError(f"The AV1 payload holds fewer than the {count} OBUs it says.")

    def _element(self, element: bytes, *, last: bool) -> None:
        """Take an OBU or a piece of one; `last`: the next payload goes on with it."""
        if self._fragment or last:
            self._fragment += element
            self._check_size(len(self._fragment) + len(self._buffer))
            if last:
                return
            element = bytes(self._fragment)
            self._fragment = bytearray()
        self._obus += 1
        if self._obus > MAX_OBUS:
            raise PayloadError(f"The AV1 temporal unit holds more than {MAX_OBUS} OBUs.")
        header, body = _split(element)
        kind = header[0] >> 3 & 15
        if kind in _DROPPED:
            return
        obu = bytes((header[0] | _HAS_SIZE,)) + header[1:] + write_leb128(len(body)) + body
        if kind == OBU_SEQUENCE_HEADER:
            if len(obu) > MAX_SEQUENCE_HEADER:
                raise PayloadError(
                    f"The AV1 sequence header has {len(obu)} bytes; "
                    f"at most {MAX_SEQUENCE_HEADER} are accepted."
                )
            if self._sequence_header != (obu,):
                self._sequence_header = (obu,)
        elif kind in (OBU_FRAME, OBU_FRAME_HEADER):
            self._picture = True
        self._buffer += obu

    def _discard(self) -> None:
        super()._discard()
        self._fragment = bytearray()
        self._obus = 0

    def _whole(self) -> bool:
        return not self._fragment

    def _begins(self, payload: bytes) -> bool:
        """Whether the N bit says that a coded video sequence begins here (4.4)."""
        return payload[0] & (_CONTINUES | _NEW_SEQUENCE) == _NEW_SEQUENCE

    def _is_key(self, payload: bytes) -> bool:
        return is_key_temporal_unit(payload, in_band=not self._sequence_header)

    def _parameter_sets(self) -> tuple[bytes, ...]:
        return self._sequence_header


def _split(obu: bytes) -> tuple[bytes, bytes]:
    """Return an OBU's header without its size flag and its payload; a size field may be there."""
    first = obu[0]
    if first & 0x80:
        raise PayloadError("An AV1 OBU has its forbidden bit set.")
    pos = 2 if first & _HAS_EXTENSION else 1
    if len(obu) < pos:
        raise PayloadError("An AV1 OBU ends inside its header.")
    header = bytes((first & ~_HAS_SIZE,)) + obu[1:pos]
    if not first & _HAS_SIZE:
        return header, obu[pos:]
    try:
        size, pos = read_leb128(obu, pos)
    except BitstreamError as err:
        raise PayloadError(str(err)) from err
    if pos + size != len(obu):
        raise PayloadError(f"An AV1 OBU says {size} bytes, but its payload has {len(obu) - pos}.")
    return header, obu[pos:]


@dataclass(slots=True)
class _Draft:
    """A payload being filled."""

    body: bytearray
    continues: bool
    goes_on: bool = False


class Av1Packetizer:
    """Cuts temporal units into payloads; OBUs lose their size fields, delimiters go."""

    def __init__(self, *, max_payload: int = DEFAULT_MAX_PAYLOAD) -> None:
        self.max_payload = check_max_payload(max_payload)

    def packetize(self, unit: bytes) -> list[tuple[bytes, bool]]:
        """Return (payload, marker bit) of every packet, the marker on the last alone.

        Every OBU element has its length (W is 0). The N bit marks a unit with a sequence header
        before a shown key frame. Raises `PayloadError` for a broken or empty unit.
        """
        try:
            obus = [
                b"".join(_split(unit[obu.start : obu.stop]))
                for obu in iterate_obus(unit)
                if obu.kind not in _DROPPED
            ]
            new_sequence = is_key_temporal_unit(unit)
        except BitstreamError as err:
            raise PayloadError(str(err)) from err
        if not obus:
            raise PayloadError("The temporal unit holds no OBU.")
        drafts = [_Draft(bytearray(), continues=False)]
        for obu in obus:
            self._spread(drafts, obu)
        last = len(drafts) - 1
        packets = []
        for index, draft in enumerate(drafts):
            header = _CONTINUES * draft.continues | _GOES_ON * draft.goes_on
            header |= _NEW_SEQUENCE * (new_sequence and index == 0)
            packets.append((bytes((header,)) + bytes(draft.body), index == last))
        return packets

    def _spread(self, drafts: list[_Draft], obu: bytes) -> None:
        """Put an OBU behind what there is, over as many payloads as it takes."""
        pos = 0
        while pos < len(obu):
            draft = drafts[-1]
            room = self.max_payload - 1 - len(draft.body)
            left = len(obu) - pos
            # A length of more bytes leaves room for fewer.
            size = min(left, room - len(write_leb128(min(left, max(room, 0)))))
            if size <= 0:
                drafts.append(_Draft(bytearray(), continues=pos > 0))
                draft.goes_on = pos > 0
                continue
            draft.body += write_leb128(size) + obu[pos : pos + size]
            pos += size
