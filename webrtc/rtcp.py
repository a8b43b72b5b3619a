"""RTCP packets, compound and of reduced size (RFC 3550 section 6, RFC 4585, 5104, 5506)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrtc.twcc import RtcpError as RtcpError
from webrtc.twcc import TransportFeedback as TransportFeedback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BYTES = 4096
"""Of one datagram; what keeps to an Ethernet's MTU has under 1500."""

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
_NACK, _TWCC = 1, 15
_PLI, _FIR, _AFB = 1, 4, 15
_CNAME = 1
_BLOCK = struct.Struct("!IIIIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """How one source is received (RFC 3550 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Of 256, since the last report."""
    cumulative_lost: int
    """Signed 24 bits: duplicates count against losses."""
    highest_sequence: int
    """32 bits: 16 of wraps, 16 of sequence number."""
    jitter: int
    """In units of the payload's clock."""
    last_sr: int
    """The middle 32 bits of the last sender report's NTP time; 0 without one."""
    delay_since_last_sr: int
    """In 1/65536 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """What a source sent, and its clock (RFC 3550 6.4.1).

    One with `empty` must not be used for synchronisation: OBS begins with such a report, whose
    RTP timestamp is a filler.
    """

    ssrc: int
    ntp: int
    """64 bits: 32 of seconds since 1900, 32 of their fraction."""
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing had been sent yet, so that the times say nothing."""
        return self.packet_count == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """What a receiver that sends nothing says (RFC 3550 6.4.2)."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """The canonical names of sources (RFC 3550 6.5.1); other items are left out."""

    names: tuple[tuple[int, bytes], ...]
    """(SSRC, CNAME as sent, 255 bytes at most)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """Sources that end (RFC 3550 6.6); the reason is left out."""

    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """Packets that were not received (RFC 4585 6.2.1)."""

    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]
    """16-bit sequence numbers, ascending modulo 2**16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLoss:
    """A decoder cannot go on without a key picture (PLI, RFC 4585 6.3.1)."""

    sender_ssrc: int
    media_ssrc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FullIntraRequest:
    """A key picture is asked for (FIR, RFC 5104 4.3.1)."""

    sender_ssrc: int
    entries: tuple[tuple[int, int], ...]
    """(SSRC, command number of 8 bits, the same one where a request is repeated)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remb:
    """The bandwidth that a receiver estimates (draft-alvestrand-rmcat-remb-03 section 2)."""

    sender_ssrc: int
    bitrate: int
    """Bits a second; 18 significant bits are sent, the rest is rounded down."""
    ssrcs: tuple[int, ...]


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Goodbye
    | Nack
    | TransportFeedback
    | PictureLoss
    | FullIntraRequest
    | Remb
)


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """Read a datagram of one or more RTCP packets; unknown types and formats are skipped.

    A datagram need not begin with a report (RFC 5506). Raises `RtcpError`.
    """
    if len(data) > MAX_BYTES:
        raise RtcpError(f"The RTCP datagram is larger than {MAX_BYTES} bytes.")
    found: list[RtcpPacket] = []
    for packet_type, count, body in _packets(data):
        packet = _read(packet_type, count, body)
        if packet is not None:
            found.append(packet)
    return found


def serialise_rtcp(packets: Iterable[RtcpPacket]) -> bytes:
    """Return one datagram. Raises `ValueError` for values beyond their fields."""
    try:
        return b"".join(_write(packet) for packet in packets)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"A field of an RTCP packet is out of range: {error}.") from error


def _packets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, count or format, body) of a datagram's packets (RFC 3550 6.1)."""
    pos = 0
    end = len(data)
    if not end:
        raise RtcpError("The RTCP datagram is empty.")
    while pos < end:
        if pos + 4 > end:
            raise RtcpError("The RTCP datagram ends inside a header.")
        first, packet_type, words = struct.unpack_from("!BBH", data, pos)
        if first & 0xC0 != 0x80:
            raise RtcpError(f"The RTCP packet says version {first >> 6}; only 2 is defined.")
        start = pos + 4
        pos = start + 4 * words
        if pos > end:
            raise RtcpError("The RTCP packet reaches beyond its datagram.")
        stop = pos
        if first & 0x20:
            padding = data[pos - 1] if words else 0
            stop -= padding
            if padding == 0 or stop < start:
                raise RtcpError("The RTCP packet's padding is empty or longer than its body.")
        yield packet_type, first & 0x1F, data[start:stop]


def _read(packet_type: int, count: int, body: bytes) -> RtcpPacket | None:
    if packet_type == SR:
        _need(body, 24, "sender report")
        ssrc, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
        return SenderReport(
            ssrc=ssrc,
            ntp=ntp,
            rtp_timestamp=timestamp,
            packet_count=packets,
            octet_count=octets,
            reports=_blocks(body, 24, count),
        )
    if packet_type == RR:
        _need(body, 4, "receiver report")
        (ssrc,) = struct.unpack_from("!I", body)
        return ReceiverReport(ssrc=ssrc, reports=_blocks(body, 4, count))
    if packet_type == SDES:
        return _read_names(count, body)
    if packet_type == BYE:
        _need(body, 4 * count, "BYE")
        return Goodbye(ssrcs=struct.unpack_from(f"!{count}I", body))
    if packet_type in (RTPFB, PSFB):
        _need(body, 8, "feedback")
        return _read_feedback(packet_type, count, body)
    return None


def _read_feedback(packet_type: int, form: int, body: bytes) -> RtcpPacket | None:
    sender, media = struct.unpack_from("!II", body)
    fci = body[8:]
    if packet_type == RTPFB:
        if form == _NACK:
            return Nack(sender_ssrc=sender, media_ssrc=media, lost=_read_lost(fci))
        if form == _TWCC:
            return TransportFeedback.parse(sender, media, fci)
        return None
    if form == _PLI:
        return PictureLoss(sender_ssrc=sender, media_ssrc=media)
    if form == _FIR:
        if not fci or len(fci) % 8:
            raise RtcpError("The FIR does not hold whole entries.")
        entries = tuple((ssrc, number) for ssrc, number in struct.iter_unpack("!IB3x", fci))
        return FullIntraRequest(sender_ssrc=sender, entries=entries)
    if form == _AFB and fci[:4] == b"REMB":
        _need(fci, 8, "REMB")
        count = fci[4]
        _need(fci, 8 + 4 * count, "REMB")
        value = int.from_bytes(fci[5:8], "big")
        ssrcs = struct.unpack_from(f"!{count}I", fci, 8)
        bitrate = (value & 0x3FFFF) << (value >> 18)
        return Remb(sender_ssrc=sender, bitrate=bitrate, ssrcs=ssrcs)
    return None


def _need(body: bytes, size: int, what: str) -> None:
    if len(body) < size:
        raise RtcpError(f"The RTCP {what} has {len(body)} bytes; it needs {size}.")


def _blocks(body: bytes, pos: int, count: int) -> tuple[ReportBlock, ...]:
    """Read report blocks; what follows them is a profile's and skipped."""
    _need(body, pos + 24 * count, "report")
    blocks = []
    for index in range(count):
        ssrc, lost, highest, jitter, last, delay = _BLOCK.unpack_from(body, pos + 24 * index)
        cumulative = lost & 0xFFFFFF
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=lost >> 24,
                cumulative_lost=cumulative - ((cumulative & 0x800000) << 1),
                highest_sequence=highest,
                jitter=jitter,
                last_sr=last,
                delay_since_last_sr=delay,
            )
        )
    return tuple(blocks)


def _read_names(count: int, body: bytes) -> SourceDescription:
    """Read the chunks of an SDES packet (RFC 3550 6.5)."""
    names = []
    pos = 0
    end = len(body)
    for _ in range(count):
        if pos + 4 > end:
            raise RtcpError("The RTCP source description ends inside a chunk.")
        ssrc = int.from_bytes(body[pos : pos + 4], "big")
        pos += 4
        while pos < end and (kind := body[pos]):
            if pos + 2 > end or (stop := pos + 2 + body[pos + 1]) > end:
                raise RtcpError("An item of the RTCP source description reaches beyond it.")
            if kind == _CNAME:
                names.append((ssrc, body[pos + 2 : stop]))
            pos = stop
        if pos >= end:
            raise RtcpError("A chunk of the RTCP source description has no end.")
        pos = (pos // 4 + 1) * 4
    return SourceDescription(names=tuple(names))


def _read_lost(fci: bytes) -> tuple[int, ...]:
    """Read pairs of a packet id and a mask of the sixteen after it (RFC 4585 6.2.1)."""
    if not fci or len(fci) % 4:
        raise RtcpError("The NACK does not hold whole entries.")
    lost = []
    for first, mask in struct.iter_unpack("!HH", fci):
        lost.append(first)
        if mask:
            lost += [(first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1]
    return tuple(lost)


def _write(packet: RtcpPacket) -> bytes:
    if isinstance(packet, SenderReport):
        body = struct.pack(
            "!IQIII",
            packet.ssrc,
            packet.ntp,
            packet.rtp_timestamp,
            packet.packet_count,
            packet.octet_count,
        )
        return _frame(SR, len(packet.reports), body + _write_blocks(packet.reports))
    if isinstance(packet, ReceiverReport):
        body = struct.pack("!I", packet.ssrc) + _write_blocks(packet.reports)
        return _frame(RR, len(packet.reports), body)
    if isinstance(packet, SourceDescription):
        chunks = []
        for ssrc, name in packet.names:
            chunk = struct.pack("!IBB", ssrc, _CNAME, len(name)) + name
            chunks.append(chunk + bytes(4 - len(chunk) % 4))
        return _frame(SDES, len(packet.names), b"".join(chunks))
    if isinstance(packet, Goodbye):
        count = len(packet.ssrcs)
        return _frame(BYE, count, struct.pack(f"!{count}I", *packet.ssrcs))
    return _write_feedback(packet)


def _write_feedback(
    packet: Nack | TransportFeedback | PictureLoss | FullIntraRequest | Remb,
) -> bytes:
    media = 0
    if isinstance(packet, Nack):
        kind, form, media = RTPFB, _NACK, packet.media_ssrc
        fci = _write_lost(packet.lost)
    elif isinstance(packet, TransportFeedback):
        kind, form, media = RTPFB, _TWCC, packet.media_ssrc
        fci = packet.serialise()
    elif isinstance(packet, PictureLoss):
        kind, form, media = PSFB, _PLI, packet.media_ssrc
        fci = b""
    elif isinstance(packet, FullIntraRequest):
        kind, form = PSFB, _FIR
        fci = b"".join(struct.pack("!IB3x", *entry) for entry in packet.entries)
    else:
        kind, form = PSFB, _AFB
        exponent = max(packet.bitrate.bit_length() - 18, 0)
        value = exponent << 18 | packet.bitrate >> exponent
        count = len(packet.ssrcs)
        fci = b"REMB" + bytes((count,)) + value.to_bytes(3, "big")
        fci += struct.pack(f"!{count}I", *packet.ssrcs)
    return _frame(kind, form, struct.pack("!II", packet.sender_ssrc, media) + fci)


def _write_blocks(blocks: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            each.ssrc,
            each.fraction_lost << 24 | each.cumulative_lost & 0xFFFFFF,
            each.highest_sequence,
            each.jitter,
            each.last_sr,
            each.delay_since_last_sr,
        )
        for each in blocks
    )


def _write_lost(lost: tuple[int, ...]) -> bytes:
    parts = []
    index = 0
    while index < len(lost):
        first = lost[index]
        mask = 0
        index += 1
        while index < len(lost) and 1 <= (step := (lost[index] - first) & 0xFFFF) <= 16:
            mask |= 1 << (step - 1)
            index += 1
        parts.append(struct.pack("!HH", first, mask))
    return b"".join(parts)


def _frame(packet_type: int, count: int, body: bytes) -> bytes:
    if count > 31:
        raise ValueError(f"An RTCP packet holds 31 entries at most, not {count}.")
    return struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body
