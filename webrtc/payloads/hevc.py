"""HEVC in RTP (RFC 7798), without decoding order numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream import BitstreamError, nal
from media.bitstream.bits import BitReader
from media.bitstream.hevc import NAL_AUD, NAL_PPS, NAL_VPS, nal_type
from media.bitstream.hevc_sps import NAL_SPS
from webrtc.payloads.assembly import MAX_UNIT_BYTES
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD, NalDepacketizer, check_max_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AP = 48
FU = 49
_PACI = 50
_LAST_VCL = 31
_FIRST_IRAP, _LAST_IRAP = 16, 23


class HevcDepacketizer(NalDepacketizer):
    """Takes single NAL units, aggregation packets and fragments (RFC 7798 4.4.1 to 4.4.3)."""

    _codec = "HEVC"
    _set_kinds = frozenset({NAL_VPS, NAL_SPS, NAL_PPS})

    def __init__(
        self,
        *,
        max_unit_bytes: int = MAX_UNIT_BYTES,
        parameter_sets: Iterable[bytes] = (),
        max_don_diff: int = 0,
    ) -> None:
        """`max_don_diff`: the SDP's sprop-max-don-diff; with any but 0 this is refused."""
        if max_don_diff:
            raise PayloadError(
                f"The HEVC sender announces sprop-max-don-diff {max_don_diff}; "
                "only NAL units in decoding order are accepted, which is 0."
            )
        super().__init__(max_unit_bytes=max_unit_bytes, parameter_sets=parameter_sets)

    def _add(self, payload: bytes) -> None:
        first = payload[0]
        kind = nal_type(first)
        if first & 0x80:
            raise PayloadError("An HEVC NAL unit has its forbidden bit set.")
        if kind == FU:
            if len(payload) < 4:
                raise PayloadError("The HEVC fragment is empty.")
            header = payload[2]
            kind = header & 0x3F
            if kind >= AP:
                raise PayloadError(f"An HEVC fragment says NAL unit type {kind}.")
            nal_header = bytes((first & 0x01 | kind << 1, payload[1]))
            self._fragment(
                payload, 3, kind, nal_header, start=header >= 0x80, end=header & 0x40 > 0
            )
        elif kind == AP:
            self._aggregate(payload, 2, 2)
        elif kind < AP:
            self._whole_nal(kind, payload, 2)
        elif kind == _PACI:
            raise PayloadError("The HEVC payload is a PACI packet, which was not negotiated.")
        else:
            raise PayloadError(f"The HEVC payload says NAL unit type {kind}.")

    def _aggregated(self, unit: bytes) -> None:
        kind = nal_type(unit[0])
        if unit[0] & 0x80:
            raise PayloadError("An HEVC NAL unit has its forbidden bit set.")
        if kind >= AP:
            raise PayloadError(f"An HEVC aggregation packet holds NAL unit type {kind}.")
        self._whole_nal(kind, unit, 2)

    def _kind(self, unit: bytes) -> int:
        return nal_type(unit[0])

    def _note(self, kind: int, second: int) -> bool:
        if kind <= _LAST_VCL:
            if _FIRST_IRAP <= kind <= _LAST_IRAP:
                self._starts_decoding = True
            if not self._picture:
                # first_slice_segment_in_pic_flag (H.265 7.3.6.1).
                self._picture_begun(second >= 0x80)
        return kind != NAL_AUD

    def _set_id(self, kind: int, unit: bytes) -> int:
        """Read an id (H.265 7.3.2.1 to 7.3.2.3)."""
        name = {NAL_VPS: "HEVC VPS", NAL_SPS: "HEVC SPS"}.get(kind, "HEVC PPS")
        reader = BitReader(nal.rbsp(unit, 2, name), name)
        if kind == NAL_VPS:
            return reader.bits(4)
        if kind == NAL_PPS:
            return reader.ue("pps_pic_parameter_set_id", 63)
        reader.skip(4)
        sub_layers = reader.bits(3)
        reader.skip(1 + 96)
        present = [(reader.flag(), reader.flag()) for _ in range(sub_layers)]
        if sub_layers:
            reader.skip(2 * (8 - sub_layers))
        for profile, level in present:
            reader.skip(88 * profile + 8 * level)
        return reader.ue("sps_seq_parameter_set_id", 15)

    def _begins(self, payload: bytes) -> bool:
        """Whether an access unit delimiter or a VPS comes first (H.265 7.4.2.4.4)."""
        kind = nal_type(payload[0])
        if kind == AP and len(payload) > 4:
            kind = nal_type(payload[4])
        elif kind == FU and payload[2:3] >= b"\x80":
            kind = payload[2] & 0x3F
        return kind in (NAL_AUD, NAL_VPS)

    def _may_begin(self, payload: bytes) -> bool:
        """With the sets of the SDP, a stream may begin with the first slice of an IRAP picture."""
        if self._begins(payload):
            return True
        kind, body = nal_type(payload[0]), payload[2:3]
        if kind == FU and payload[2:3] >= b"\x80":
            kind, body = payload[2] & 0x3F, payload[3:4]
        irap = _FIRST_IRAP <= kind <= _LAST_IRAP
        return irap and body >= b"\x80" and self._sets.has(self._set_kinds)

    def _pictures(self, payload: bytes) -> bool:
        kind = nal_type(payload[0])
        if kind == FU:
            return bool(payload[2:]) and payload[2] & 0x3F <= _LAST_VCL
        if kind != AP:
            return kind <= _LAST_VCL
        pos = 2
        while pos + 2 < len(payload):
            if nal_type(payload[pos + 2]) <= _LAST_VCL:
                return True
            pos += 2 + int.from_bytes(payload[pos : pos + 2], "big")
        return False


class HevcPacketizer:
    """Cuts length-prefixed access units into payloads.

    What comes before the first slice goes into aggregation packets as far as it fits, slices are
    single NAL units or fragments.
    """

    def __init__(
        self, *, max_payload: int = DEFAULT_MAX_PAYLOAD, parameter_sets: Sequence[bytes] = ()
    ) -> None:
        """`parameter_sets` go before every IRAP picture that brings no SPS of its own."""
        self.max_payload = check_max_payload(max_payload)
        self.parameter_sets = tuple(parameter_sets)

    def packetize(self, unit: bytes) -> list[tuple[bytes, bool]]:
        """Return (payload, marker bit) of every packet, the marker on the last alone.

        Access unit delimiters are left out. Raises `PayloadError` for a broken or empty unit.
        """
        try:
            nals = [unit[start:stop] for start, stop in nal.length_prefixed_spans(unit)]
        except BitstreamError as err:
            raise PayloadError(str(err)) from err
        kinds = {nal_type(each[0]) for each in nals}
        irap = any(_FIRST_IRAP <= kind <= _LAST_IRAP for kind in kinds)
        if self.parameter_sets and irap and NAL_SPS not in kinds:
            nals = [*self.parameter_sets, *nals]
        payloads: list[bytes] = []
        waiting: list[bytes] = []
        room = self.max_payload - 2
        for each in nals:
            kind = nal_type(each[0])
            if kind == NAL_AUD:
                continue
            if kind >= AP or len(each) < 3:
                raise PayloadError("The access unit holds what is no HEVC NAL unit.")
            size = len(each) + 2
            if kind > _LAST_VCL and size + 2 <= self.max_payload:
                if size > room:
                    _flush(payloads, waiting)
                    room = self.max_payload - 2
                waiting.append(each)
                room -= size
                continue
            _flush(payloads, waiting)
            room = self.max_payload - 2
            self._single_or_fragments(payloads, each)
        _flush(payloads, waiting)
        if not payloads:
            raise PayloadError("The access unit holds no NAL unit.")
        last = len(payloads) - 1
        return [(payload, index == last) for index, payload in enumerate(payloads)]

    def _single_or_fragments(self, payloads: list[bytes], unit: bytes) -> None:
        if len(unit) <= self.max_payload:
            payloads.append(unit)
            return
        header = bytes((unit[0] & 0x81 | FU << 1, unit[1]))
        kind = nal_type(unit[0])
        step = self.max_payload - 3
        end = len(unit)
        for pos in range(2, end, step):
            edge = 0x80 if pos == 2 else 0x40 if pos + step >= end else 0
            payloads.append(header + bytes((edge | kind,)) + unit[pos : pos + step])


def _flush(payloads: list[bytes], waiting: list[bytes]) -> None:
    """Send what waits: one NAL unit as it is, several as an AP of the lowest ids (4.4.2)."""
    if len(waiting) > 1:
        layer = min((unit[0] & 1) << 5 | unit[1] >> 3 for unit in waiting)
        temporal = min(unit[1] & 7 for unit in waiting)
        parts = [bytes((AP << 1 | layer >> 5, (layer & 31) << 3 | temporal))]
        for unit in waiting:
            parts += (len(unit).to_bytes(2, "big"), unit)
        payloads.append(b"".join(parts))
    else:
        payloads += waiting
    waiting.clear()
