"""The quick way out: a viewer's own RTP header before payloads that were packetised once."""

from __future__ import annotations

import struct

from webrtc.extensions import ExtensionMap, Extensions
from webrtc.rtp import HEADER_BYTES

_HEADER = struct.Struct("!BBHII")
_SEQUENCE = struct.Struct("!H")


class HeaderWriter:
    """Writes the packets of one outgoing RTP stream; one a viewer and stream.

    Everything that stays the same, `mid` among it, is laid out once; a packet then costs a few
    numbers written into that and one join. Not for two threads at once.
    """

    __slots__ = ("_header", "_send_time", "_transport", "payload_type", "ssrc")

    def __init__(
        self,
        *,
        ssrc: int,
        payload_type: int,
        ids: ExtensionMap | None = None,
        mid: str | None = None,
    ) -> None:
        """Every packet carries `mid`, and the two counters, where `ids` has them.

        Raises `ValueError` for an extension that does not fit its form.
        """
        ids = ids or ExtensionMap()
        self.ssrc = ssrc
        self.payload_type = payload_type
        blank = Extensions(mid=mid, abs_send_time=0, transport_sequence=0)
        profile, data = ids.build(blank)
        self._header = bytearray(HEADER_BYTES)
        if profile is not None:
            self._header += struct.pack("!HH", profile, len(data) // 4) + data
        # `build` keeps the order mid, send time, transport sequence: the last two lie at the end.
        end = len(self._header) - _padding(ids, mid, data)
        self._transport = 0
        self._send_time = 0
        if ids.transport_cc:
            self._transport = end - 2
            end -= 2 + _head(profile)
        if ids.abs_send_time:
            self._send_time = end - 3

    @property
    def overhead(self) -> int:
        """Bytes that stand before every payload."""
        return len(self._header)

    def write(
        self,
        payload: bytes,
        *,
        marker: bool,
        sequence: int,
        timestamp: int,
        transport_sequence: int = 0,
        send_time: int = 0,
    ) -> bytes:
        """Return the packet's bytes.

        `sequence` and `transport_sequence` are 16 bits, `timestamp` 32, `send_time` 24 (see
        `abs_send_time`); the last two are left out where they were not negotiated.
        """
        header = self._header
        _HEADER.pack_into(
            header,
            0,
            0x90 if len(header) > HEADER_BYTES else 0x80,
            self.payload_type | (0x80 if marker else 0),
            sequence,
            timestamp,
            self.ssrc,
        )
        if at := self._transport:
            _SEQUENCE.pack_into(header, at, transport_sequence)
        if at := self._send_time:
            header[at : at + 3] = send_time.to_bytes(3, "big")
        return b"".join((header, payload))

    def write_rtx(
        self,
        payload: bytes,
        *,
        original_sequence: int,
        marker: bool,
        sequence: int,
        timestamp: int,
        transport_sequence: int = 0,
        send_time: int = 0,
    ) -> bytes:
        """Return a retransmission of `payload` on this stream (RFC 4588 section 4)."""
        return self.write(
            _SEQUENCE.pack(original_sequence) + payload,
            marker=marker,
            sequence=sequence,
            timestamp=timestamp,
            transport_sequence=transport_sequence,
            send_time=send_time,
        )


def _head(profile: int | None) -> int:
    return 1 if profile == 0xBEDE else 2


def _padding(ids: ExtensionMap, mid: str | None, data: bytes) -> int:
    """Return how many bytes of padding `data` ends with."""
    sizes = [len(mid)] if ids.mid and mid is not None else []
    sizes += [3] if ids.abs_send_time else []
    sizes += [2] if ids.transport_cc else []
    profile, _ = ids.build(Extensions(mid=mid, abs_send_time=0, transport_sequence=0))
    return len(data) - sum(size + _head(profile) for size in sizes)


def abs_send_time(now_ns: int) -> int:
    """Return the 24 bits of abs-send-time: six of seconds, 18 of their fraction."""
    return (now_ns * (1 << 18) // 1_000_000_000) & 0xFFFFFF
