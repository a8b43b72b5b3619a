"""H.264 in RTP (RFC 6184), packetization modes 0 and 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream import BitstreamError, nal
from media.bitstream.bits import BitReader
from media.bitstream.h264 import NAL_AUD, NAL_IDR, NAL_PPS, NAL_SPS
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD, NalDepacketizer, check_max_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

STAP_A = 24
FU_A = 28
_LAST_VCL = 5
_FIRST_OF_PICTURE = frozenset({1, 2, NAL_IDR})
# RFC 6184 5.4: what only the interleaved mode has.
_INTERLEAVED = {25: "STAP-B", 26: "MTAP16", 27: "MTAP24", 29: "FU-B"}


class H264Depacketizer(NalDepacketizer):
    """Takes single NAL units, STAP-A and FU-A (RFC 6184 5.6 to 5.8).

    Parameter sets that come by themselves, under whatever timestamp and marker bit, join the next
    picture.
    """

    _codec = "H.264"
    _set_kinds = frozenset({NAL_SPS, NAL_PPS})

    def _add(self, payload: bytes) -> None:
        first = payload[0]
        kind = first & 0x1F
        if first & 0x80:
            raise PayloadError("An H.264 NAL unit has its forbidden bit set.")
        if kind == FU_A:
            if len(payload) < 3:
                raise PayloadError("The H.264 fragment is empty.")
            header = payload[1]
            kind = header & 0x1F
            if not 0 < kind < STAP_A:
                raise PayloadError(f"An H.264 fragment says NAL unit type {kind}.")
            nal_header = bytes((first & 0x60 | kind,))
            self._fragment(
                payload, 2, kind, nal_header, start=header >= 0x80, end=header & 0x40 > 0
            )
        elif kind == STAP_A:
            self._aggregate(payload, 1, 1)
        elif 0 < kind < STAP_A:
            self._whole_nal(kind, payload, 1)
        elif kind in _INTERLEAVED:
            raise PayloadError(
                f"The H.264 payload is a {_INTERLEAVED[kind]} of the interleaved packetization "
                "mode; only modes 0 and 1 are accepted."
            )
        else:
            raise PayloadError(f"The H.264 payload says NAL unit type {kind}.")

    def _aggregated(self, unit: bytes) -> None:
        kind = unit[0] & 0x1F
        if unit[0] & 0x80:
            raise PayloadError("An H.264 NAL unit has its forbidden bit set.")
        if not 0 < kind < STAP_A:
            raise PayloadError(f"An H.264 aggregation packet holds NAL unit type {kind}.")
        self._whole_nal(kind, unit, 1)

    def _kind(self, unit: bytes) -> int:
        return unit[0] & 0x1F

    def _note(self, kind: int, second: int) -> bool:
        if kind <= _LAST_VCL:
            if kind == NAL_IDR:
                self._starts_decoding = True
            if not self._picture:
                # first_mb_in_slice 0 is the single bit 1; data partitions B and C have none.
                self._picture_begun(second >= 0x80 or kind not in _FIRST_OF_PICTURE)
        return kind != NAL_AUD

    def _set_id(self, kind: int, unit: bytes) -> int:
        if kind == NAL_PPS:
            return BitReader(nal.rbsp(unit, 1, "H.264 PPS"), "H.264 PPS").ue(
                "pic_parameter_set_id", 255
            )
        reader = BitReader(nal.rbsp(unit, 1, "H.264 SPS"), "H.264 SPS")
        reader.skip(24)
        return reader.ue("seq_parameter_set_id", 31)

    def _begins(self, payload: bytes) -> bool:
        """Whether an access unit delimiter or an SPS comes first (H.264 7.4.1.2.3).

        The delimiter itself is dropped, so that nothing is missing where only it was lost.
        """
        kind = payload[0] & 0x1F
        if kind == STAP_A and len(payload) > 3:
            kind = payload[3] & 0x1F
        elif kind == FU_A and payload[1:2] >= b"\x80":
            kind = payload[1] & 0x1F
        return kind in (NAL_AUD, NAL_SPS)

    def _may_begin(self, payload: bytes) -> bool:
        """With the sets of the SDP, a stream may begin with the first slice of its IDR picture."""
        if self._begins(payload):
            return True
        kind, body = payload[0] & 0x1F, payload[1:2]
        if kind == FU_A and payload[1:2] >= b"\x80":
            kind, body = payload[1] & 0x1F, payload[2:3]
        return kind == NAL_IDR and body >= b"\x80" and self._sets.has(self._set_kinds)

    def _pictures(self, payload: bytes) -> bool:
        kind = payload[0] & 0x1F
        if kind == FU_A:
            return bool(payload[1:]) and 0 < payload[1] & 0x1F <= _LAST_VCL
        if kind != STAP_A:
            return 0 < kind <= _LAST_VCL
        pos = 1
        while pos + 2 < len(payload):
            if 0 < payload[pos + 2] & 0x1F <= _LAST_VCL:
                return True
            pos += 2 + int.from_bytes(payload[pos : pos + 2], "big")
        return False


class H264Packetizer:
    """Cuts length-prefixed access units into payloads.

    Non-interleaved mode (1): what comes before the first slice (parameter sets, SEI) goes into
    STAP-As as far as it fits, slices are single NAL units or FU-As. Mode 0 has single NAL units
    only and refuses larger ones.
    """

    def __init__(
        self,
        *,
        max_payload: int = DEFAULT_MAX_PAYLOAD,
        mode: int = 1,
        parameter_sets: Sequence[bytes] = (),
    ) -> None:
        """`parameter_sets` go before every IDR picture that brings no SPS of its own."""
        if mode not in (0, 1):
            raise ValueError(f"Packetization mode {mode} is not 0 or 1.")
        self.max_payload = check_max_payload(max_payload)
        self.mode = mode
        self.parameter_sets = tuple(parameter_sets)

    def packetize(self, unit: bytes) -> list[tuple[bytes, bool]]:
        """Return (payload, marker bit) of every packet, the marker on the last alone.

        Access unit delimiters are left out. Raises `PayloadError` for a broken or empty unit.
        """
        try:
            nals = [unit[start:stop] for start, stop in nal.length_prefixed_spans(unit)]
        except BitstreamError as err:
            raise PayloadError(str(err)) from err
        kinds = [each[0] & 0x1F for each in nals]
        if self.parameter_sets and NAL_IDR in kinds and NAL_SPS not in kinds:
            nals = [*self.parameter_sets, *nals]
        payloads: list[bytes] = []
        waiting: list[bytes] = []
        room = self.max_payload - 1
        for each in nals:
            kind = each[0] & 0x1F
            if kind == NAL_AUD:
                continue
            if not 0 < kind < STAP_A or len(each) < 2:
                raise PayloadError("The access unit holds what is no H.264 NAL unit.")
            size = len(each) + 2
            if self.mode and kind > _LAST_VCL and size < self.max_payload:
                if size > room:
                    _flush(payloads, waiting)
                    room = self.max_payload - 1
                waiting.append(each)
                room -= size
                continue
            _flush(payloads, waiting)
            room = self.max_payload - 1
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
        if not self.mode:
            raise PayloadError(
                f"A NAL unit of {len(unit)} bytes does not fit a payload of {self.max_payload}; "
                "packetization mode 0 cannot cut it."
            )
        first = unit[0]
        indicator, kind = first & 0xE0 | FU_A, first & 0x1F
        step = self.max_payload - 2
        middle = bytes((indicator, kind))
        payloads.append(bytes((indicator, 0x80 | kind)) + unit[1 : 1 + step])
        end = len(unit)
        pos = 1 + step
        while pos + step < end:
            payloads.append(middle + unit[pos : pos + step])
            pos += step
        payloads.append(bytes((indicator, 0x40 | kind)) + unit[pos:])


def _flush(payloads: list[bytes], waiting: list[bytes]) -> None:
    """Send what waits: one NAL unit as it is, several as a STAP-A (RFC 6184 5.7.1)."""
    if len(waiting) > 1:
        importance = max(unit[0] & 0x60 for unit in waiting)
        parts = [bytes((importance | STAP_A,))]
        for unit in waiting:
            parts += (len(unit).to_bytes(2, "big"), unit)
        payloads.append(b"".join(parts))
    else:
        payloads += waiting
    waiting.clear()
