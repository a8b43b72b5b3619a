"""RTP header extensions (RFC 8285): the elements, those that we negotiate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrtc.rtp import RtpError, RtpPacket

if TYPE_CHECKING:
    from collections.abc import Mapping

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000


def elements(profile: int | None, data: bytes) -> dict[int, bytes]:
    """Return the extension elements by their ids (RFC 8285 4.2 and 4.3).

    A form of another profile has none. Of an id that comes twice, the last one counts. As
    4.2 wants, reading stops at id 15, and at id 0 with a length. Raises `RtpError` where an element
    reaches beyond the extension.
    """
    found: dict[int, bytes] = {}
    if profile == ONE_BYTE:
        two = False
    elif profile is not None and profile & 0xFFF0 == TWO_BYTE:
        two = True
    else:
        return found
    pos = 0
    end = len(data)
    while pos < end:
        head = data[pos]
        pos += 1
        if two:
            if head == 0:
                continue
            if pos == end:
                raise RtpError("An RTP header extension element ends before its length.")
            stop = pos + 1 + data[pos]
            pos += 1
        else:
            if head == 0:
                continue
            size = (head & 0x0F) + 1
            head >>= 4
            if head in (0, 15):
                break
            stop = pos + size
        if stop > end:
            raise RtpError("An RTP header extension element reaches beyond its extension.")
        found[head] = data[pos:stop]
        pos = stop
    return found


def build(found: Mapping[int, bytes]) -> tuple[int | None, bytes]:
    """Return (profile, data) for these elements, in the one-byte form where they fit.

    (None, b"") without elements. Raises `ValueError` for an id or a length beyond the form.
    """
    if not found:
        return None, b""
    if any(not 1 <= key <= 255 or len(value) > 255 for key, value in found.items()):
        raise ValueError("Header extension ids are 1 to 255 and values 255 bytes at most.")
    short = all(key <= 14 and 1 <= len(value) <= 16 for key, value in found.items())
    parts = []
    for key, value in found.items():
        head = bytes((key << 4 | len(value) - 1,)) if short else bytes((key, len(value)))
        parts.append(head + value)
    data = b"".join(parts)
    return (ONE_BYTE if short else TWO_BYTE), data + bytes(-len(data) % 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What a packet's header extensions say; None where one is not there."""

    mid: str | None = None
    """Which m-section the packet is of (RFC 9143)."""
    rid: str | None = None
    """Which simulcast layer (RFC 8852)."""
    repaired_rid: str | None = None
    """On an RTX packet: which layer it repairs."""
    abs_send_time: int | None = None
    """24 bits of the sender's seconds, 18 of them fraction."""
    transport_sequence: int | None = None
    """16 bits, counted over all of the transport's packets."""
    audio_level: int | None = None
    """0 (loudest) to 127 dB below overload (RFC 6464)."""
    voice: bool | None = None
    """The sender's voice activity flag; comes with `audio_level`."""


_NOTHING = Extensions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionMap:
    """The ids that the answer gave to the extensions; 0 for one that was not negotiated."""

    mid: int = 0
    rid: int = 0
    repaired_rid: int = 0
    abs_send_time: int = 0
    transport_cc: int = 0
    audio_level: int = 0

    @classmethod
    def from_uris(cls, uris: Mapping[int, str]) -> ExtensionMap:
        """Take from an SDP's extmap lines, id to URI, those that are known here."""
        ids = {uri: key for key, uri in uris.items()}
        return cls(
            mid=ids.get(MID, 0),
            rid=ids.get(RID, 0),
            repaired_rid=ids.get(REPAIRED_RID, 0),
            abs_send_time=ids.get(ABS_SEND_TIME, 0),
            transport_cc=ids.get(TRANSPORT_CC, 0),
            audio_level=ids.get(AUDIO_LEVEL, 0),
        )

    def read(self, packet: RtpPacket) -> Extensions:
        """Return what the packet's extensions say. Raises `RtpError` for a malformed one."""
        if packet.profile is None:
            return _NOTHING
        found = elements(packet.profile, packet.extension)
        if not found:
            return _NOTHING
        level = _number(found, self.audio_level, 1, "audio level")
        return Extensions(
            mid=_name(found, self.mid, "mid"),
            rid=_name(found, self.rid, "rid"),
            repaired_rid=_name(found, self.repaired_rid, "repaired rid"),
            abs_send_time=_number(found, self.abs_send_time, 3, "abs-send-time"),
            transport_sequence=_number(found, self.transport_cc, 2, "transport-wide sequence"),
            audio_level=None if level is None else level & 0x7F,
            voice=None if level is None else level > 0x7F,
        )

    def transport_sequence(self, packet: RtpPacket) -> int | None:
        """Return the transport-wide sequence number alone: what every packet is asked for.

        Raises `RtpError` for a malformed extension.
        """
        if packet.profile is None or not self.transport_cc:
            return None
        found = elements(packet.profile, packet.extension)
        return _number(found, self.transport_cc, 2, "transport-wide sequence")

    def build(self, values: Extensions) -> tuple[int | None, bytes]:
        """Return (profile, data) for those values whose extension was negotiated."""
        found: dict[int, bytes] = {}
        for key, name in (
            (self.mid, values.mid),
            (self.rid, values.rid),
            (self.repaired_rid, values.repaired_rid),
        ):
            if key and name is not None:
                found[key] = name.encode("ascii")
        if self.abs_send_time and values.abs_send_time is not None:
            found[self.abs_send_time] = values.abs_send_time.to_bytes(3, "big")
        if self.transport_cc and values.transport_sequence is not None:
            found[self.transport_cc] = values.transport_sequence.to_bytes(2, "big")
        if self.audio_level and values.audio_level is not None:
            level = values.audio_level | (0x80 if values.voice else 0)
            found[self.audio_level] = bytes((level,))
        return build(found)


def _number(found: Mapping[int, bytes], key: int, size: int, what: str) -> int | None:
    """Read a number; the two-byte form may be longer than it (RFC 6464 section 3)."""
    value = found.get(key)
    if value is None:
        return None
    if len(value) < size:
        raise RtpError(f"The {what} extension has {len(value)} bytes; it needs {size}.")
    return int.from_bytes(value[:size], "big")


def _name(found: Mapping[int, bytes], key: int, what: str) -> str | None:
    value = found.get(key)
    if value is None:
        return None
    if not value.isascii() or not value.decode("ascii").isprintable():
        raise RtpError(f"The {what} extension is not printable ASCII.")
    return value.decode("ascii")
