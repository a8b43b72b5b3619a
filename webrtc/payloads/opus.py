"""Opus in RTP (RFC 7587): every payload is one Opus packet, on a clock of 48 kHz."""

from __future__ import annotations

from media.bitstream import BitstreamError
from media.bitstream.opus import packet_samples
from webrtc.payloads.assembly import AccessUnit, Depacketizer
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD, check_max_payload


class OpusDepacketizer(Depacketizer):
    """Hands on each payload as it is; the marker bit (a talk spurt's begin) says nothing here."""

    def __init__(self, *, max_unit_bytes: int = 65_535) -> None:
        super().__init__(max_unit_bytes=max_unit_bytes)
        self.needs_key = False

    def feed(self, payload: bytes, marker: bool, timestamp: int, sequence: int) -> list[AccessUnit]:
        """Return the packet as an access unit; nothing for an empty payload.

        Raises `PayloadError` where the packet's own header is illegal (RFC 6716 3.4).
        """
        self._next = sequence + 1
        if not payload:
            return []
        try:
            packet_samples(payload)
            self._check_size(len(payload))
        except (BitstreamError, PayloadError) as err:
            self.dropped += 1
            raise PayloadError(str(err)) from err
        return [AccessUnit(payload=payload, key=True, timestamp=timestamp)]

    def lost(self, count: int = 1) -> None:
        """Take note of a loss: a decoder conceals it, nothing is broken."""

    def _begins(self, payload: bytes) -> bool:
        return True

    def _add(self, payload: bytes) -> None:
        self._buffer += payload

    def _is_key(self, payload: bytes) -> bool:
        return True


class OpusPacketizer:
    """Puts an Opus packet into a payload as it is."""

    def __init__(self, *, max_payload: int = DEFAULT_MAX_PAYLOAD) -> None:
        self.max_payload = check_max_payload(max_payload)

    def packetize(self, unit: bytes) -> list[tuple[bytes, bool]]:
        """Return the one (payload, marker bit); no marker, for there are no pauses in speech.

        Raises `PayloadError` for an empty packet or one that does not fit: Opus cannot be cut.
        """
        if not 0 < len(unit) <= self.max_payload:
            raise PayloadError(
                f"The Opus packet has {len(unit)} bytes; 1 to {self.max_payload} fit a payload."
            )
        return [(unit, False)]
