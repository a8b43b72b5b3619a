"""RTP packets: reading and writing (RFC 3550 5.1)."""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER_BYTES = 12
_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")


class RtpError(Exception):
    """The peer's RTP packet breaks its format; the text holds none of the peer's bytes."""


class RtpPacket(NamedTuple):
    """One RTP packet (RFC 3550 5.1).

    A named tuple, not a dataclass: a frozen one takes four times as long to make, and this is
    made for every packet.
    """

    payload_type: int
    marker: bool
    sequence: int
    """16 bits as sent."""
    timestamp: int
    """32 bits as sent, of the payload type's clock."""
    ssrc: int
    payload: bytes
    """Without padding."""
    csrc: tuple[int, ...] = ()
    profile: int | None = None
    """"Defined by profile" of the header extension, which says its form; None without one."""
    extension: bytes = b""
    """The header extension's data, whole 32-bit words."""
    padding: int = 0
    """Bytes of padding, its count included; 0 without the padding bit."""

    def serialise(self) -> bytes:
        """Return the packet's bytes. Raises `ValueError` for values beyond their fields."""
        first = 0x80 | len(self.csrc)
        if len(self.csrc) > 15 or self.padding > 255 or len(self.extension) % 4:
            raise ValueError("An RTP packet takes 15 CSRCs, 255 bytes of padding, whole words.")
        extension = b""
        if self.profile is not None:
            first |= 0x10
            extension = _EXTENSION.pack(self.profile, len(self.extension) // 4) + self.extension
        padding = b""
        if self.padding:
            first |= 0x20
            padding = bytes(self.padding - 1) + bytes((self.padding,))
        try:
            header = _HEADER.pack(
                first,
                self.payload_type | (0x80 if self.marker else 0),
                self.sequence,
                self.timestamp,
                self.ssrc,
            )
            csrc = struct.pack(f"!{len(self.csrc)}I", *self.csrc)
        except struct.error as error:
            raise ValueError(f"A field of an RTP header is out of range: {error}.") from error
        return header + csrc + extension + self.payload + padding


def parse_rtp(data: bytes) -> RtpPacket:
    """Read one RTP packet (RFC 3550 5.1). Raises `RtpError`.

    What the header extension holds is not looked at: see `webrtc.extensions`.
    """
    if len(data) < HEADER_BYTES:
        raise RtpError("The RTP packet is shorter than its header of 12 bytes.")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first & 0xC0 != 0x80:
        raise RtpError(f"The RTP packet says version {first >> 6}; only 2 is defined.")
    if first == 0x80:  # no padding, no extension, no CSRC
        return RtpPacket(
            second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, data[HEADER_BYTES:]
        )
    pos = HEADER_BYTES
    end = len(data)
    csrc: tuple[int, ...] = ()
    if count := first & 0x0F:
        pos += 4 * count
        if pos > end:
            raise RtpError("The RTP packet ends inside its list of contributing sources.")
        csrc = struct.unpack_from(f"!{count}I", data, HEADER_BYTES)
    profile: int | None = None
    extension = b""
    if first & 0x10:
        if pos + 4 > end:
            raise RtpError("The RTP packet ends inside its header extension.")
        profile, words = _EXTENSION.unpack_from(data, pos)
        start = pos + 4
        pos = start + 4 * words
        if pos > end:
            raise RtpError("The RTP header extension reaches beyond the packet.")
        extension = data[start:pos]
    padding = 0
    if first & 0x20:
        padding = data[-1]
        end -= padding
        if padding == 0 or end < pos:
            raise RtpError("The RTP packet's padding is empty or longer than its payload.")
    return RtpPacket(
        second & 0x7F,
        second > 0x7F,
        sequence,
        timestamp,
        ssrc,
        data[pos:end],
        csrc,
        profile,
        extension,
        padding,
    )


def restore_rtx(packet: RtpPacket, *, ssrc: int, payload_type: int) -> RtpPacket | None:
    """Return the packet that an RTX packet carries again (RFC 4588 section 4).

    `ssrc` and `payload_type` are those of the original stream. None where nothing is carried:
    browsers probe the bandwidth with RTX packets of padding alone. Raises `RtpError` where the
    payload is too short for the original sequence number.
    """
    payload = packet.payload
    if len(payload) < 2:
        if not payload:
            return None
        raise RtpError("The RTX packet is too short for its original sequence number.")
    return packet._replace(
        ssrc=ssrc,
        payload_type=payload_type,
        sequence=int.from_bytes(payload[:2], "big"),
        payload=payload[2:],
        padding=0,
    )
