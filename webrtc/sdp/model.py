"""A session description as values (RFC 8866, the part that JSEP, RFC 8829, uses)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from webrtc.sdp.candidates import Candidate

DATA_CHANNEL = "webrtc-datachannel"
DIGEST_BYTES = {
    "sha-256": 32,
    "sha-384": 48,
    "sha-512": 64,
    "sha-224": 28,
    "sha-1": 20,
    "md5": 16,
}
"""Hash functions of RFC 8122 section 5 by the length of what they yield."""
STRONG = frozenset({"sha-256", "sha-384", "sha-512"})


class MediaKind(StrEnum):
    """Media types that WebRTC has; a section of another type is `OTHER`."""

    AUDIO = "audio"
    VIDEO = "video"
    APPLICATION = "application"
    OTHER = "other"


class Direction(StrEnum):
    """Who sends (RFC 8866 section 6.7), seen from the writer of the description."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def reverse(self) -> Direction:
        """The same, seen from the other side."""
        return _REVERSE.get(self, self)

    @property
    def sends(self) -> bool:
        """Whether the writer sends."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """Whether the writer receives."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)


_REVERSE = {
    Direction.SENDONLY: Direction.RECVONLY,
    Direction.RECVONLY: Direction.SENDONLY,
}


class Setup(StrEnum):
    """Who opens the DTLS connection (RFC 8842 section 5)."""

    ACTPASS = "actpass"
    ACTIVE = "active"
    PASSIVE = "passive"
    HOLDCONN = "holdconn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The hash of a certificate (RFC 8122 section 5)."""

    algorithm: str
    """In lower case, a key of `DIGEST_BYTES`."""
    digest: bytes

    @property
    def strong(self) -> bool:
        """Whether the hash is SHA-256 or better, the least that is trusted."""
        return self.algorithm in STRONG

    @property
    def text(self) -> str:
        """The digest as SDP writes it: upper-case pairs between colons."""
        return self.digest.hex(":").upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """ICE and DTLS attributes of one level, session or media; each may be absent."""

    ufrag: str | None = None
    password: str | None = field(default=None, repr=False)
    options: tuple[str, ...] = ()
    """`a=ice-options` (RFC 8839 section 5.6)."""
    fingerprints: tuple[Fingerprint, ...] = ()
    setup: Setup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadType:
    """One RTP payload type with its `rtpmap`, `fmtp` and `rtcp-fb` lines."""

    number: int
    encoding: str
    """As written; compare in lower case."""
    clock_rate: int
    channels: int = 1
    parameters: tuple[tuple[str, str | None], ...] = ()
    """Of `a=fmtp`, names in lower case; None where there is no `=`."""
    feedback: tuple[str, ...] = ()
    """Of `a=rtcp-fb`, those for all payload types (`*`) included."""

    def parameter(self, name: str) -> str | None:
        """Return the first value under a lower-case name, "" when it has none."""
        for key, value in self.parameters:
            if key == name:
                return value or ""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderExtension:
    """One `a=extmap` (RFC 8285 section 8); ids 1 to 14 and 16 to 255."""

    id: int
    uri: str
    direction: Direction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What `a=ssrc` lines say of one SSRC (RFC 5576 section 4.1)."""

    ssrc: int
    cname: str | None = None
    msid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGroup:
    """One `a=ssrc-group`; FID pairs a source with its retransmissions."""

    semantics: str
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Msid:
    """One `a=msid` (RFC 8830): the MediaStream and, where given, the track."""

    stream: str
    track: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rid:
    """One `a=rid` (RFC 8851): an encoding that its writer sends or receives."""

    id: str
    sends: bool
    payload_types: tuple[int, ...] = ()
    """Those of `pt=`; empty means all."""
    restrictions: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One alternative of a simulcast stream; `paused` is the `~` before its rid."""

    rid: str
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulcast:
    """`a=simulcast` (RFC 8853 section 5.1): streams, each with its alternatives."""

    send: tuple[tuple[Layer, ...], ...] = ()
    recv: tuple[tuple[Layer, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One m-section. `payload_types` are those of `formats` that have an `rtpmap`."""

    kind: MediaKind
    port: int
    protocol: str
    formats: tuple[str, ...]
    """The words of the m-line behind the protocol: payload types, or `webrtc-datachannel`."""
    address: str = "0.0.0.0"  # noqa: S104 - what JSEP writes for "see the candidates"
    """Of the section's `c=` line."""
    mid: str | None = None
    direction: Direction = Direction.SENDRECV
    """The section's own, else the session's, else `sendrecv`."""
    bundle_only: bool = False
    transport: Transport = Transport()
    payload_types: tuple[PayloadType, ...] = ()
    extensions: tuple[HeaderExtension, ...] = ()
    extmap_allow_mixed: bool = False
    rtcp_mux: bool = False
    rtcp_mux_only: bool = False
    rtcp_rsize: bool = False
    msids: tuple[Msid, ...] = ()
    sources: tuple[Source, ...] = ()
    source_groups: tuple[SourceGroup, ...] = ()
    rids: tuple[Rid, ...] = ()
    simulcast: Simulcast | None = None
    candidates: tuple[Candidate, ...] = ()
    """The usable ones."""
    end_of_candidates: bool = False
    sctp_port: int | None = None
    max_message_size: int | None = None
    """Bytes; 0 is without limit (RFC 8841 section 6)."""

    @property
    def rejected(self) -> bool:
        """Whether port 0 switches the section off (RFC 8843 section 6 for `bundle-only`)."""
        return self.port == 0 and not self.bundle_only

    @property
    def name(self) -> str:
        """How a sentence calls the section."""
        return f"{self.kind} section" + (f" (mid {self.mid[:16]})" if self.mid else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A whole description."""

    media: tuple[Media, ...] = ()
    id: int = 0
    version: int = 0
    bundles: tuple[tuple[str, ...], ...] = ()
    """The mids of each `a=group:BUNDLE` (RFC 8843)."""
    transport: Transport = Transport()
    ice_lite: bool = False
    extmap_allow_mixed: bool = False
    msid_semantic: str | None = None

    def transport_of(self, media: Media) -> Transport:
        """Return a section's attributes, the session's where it has none of its own."""
        own, common = media.transport, self.transport
        paired = own.ufrag is not None or own.password is not None
        ice = own if paired else common
        return Transport(
            ufrag=ice.ufrag,
            password=ice.password,
            options=own.options or common.options,
            fingerprints=own.fingerprints or common.fingerprints,
            setup=own.setup or common.setup,
        )
