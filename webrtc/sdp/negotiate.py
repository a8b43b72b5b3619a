"""What holds for every answer: transport, bundle, header extensions, feedback."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from webrtc.sdp.candidates import Candidate
from webrtc.sdp.codecs import answered_parameters
from webrtc.sdp.errors import malformed, shown, unprocessable
from webrtc.sdp.model import (
    DATA_CHANNEL,
    Direction,
    Fingerprint,
    HeaderExtension,
    Media,
    MediaKind,
    PayloadType,
    Session,
    Setup,
    SourceGroup,
    Transport,
)

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
RECEIVED_EXTENSIONS = frozenset({MID, RID, REPAIRED_RID, TRANSPORT_CC, ABS_SEND_TIME, AUDIO_LEVEL})
SENT_EXTENSIONS = frozenset({MID, TRANSPORT_CC, ABS_SEND_TIME})
FEEDBACK = frozenset({"nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"})
_RTP_PROTOCOLS = frozenset(
    {"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/TLS/RTP/SAVPF", "RTP/SAVPF", "RTP/SAVP"}
)
"""All mean DTLS-SRTP here (RFC 8829 section 5.1.2)."""
_SCTP_PROTOCOLS = frozenset({"UDP/DTLS/SCTP", "TCP/DTLS/SCTP"})
_DISCARD = 9
"""The port that stands for "see the candidates" (RFC 8840 section 4.1.1)."""
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Our side of the transport, as ICE and DTLS have it."""

    ufrag: str
    password: str = field(repr=False)
    fingerprint: Fingerprint
    candidates: tuple[Candidate, ...]
    """All of them: there is no trickling from us (RFC 9725 section 4.3.1)."""
    session_id: int
    """Of the `o=` line, below 2^63 (RFC 8829 section 5.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other side of the one bundled transport."""

    ufrag: str
    password: str = field(repr=False)
    fingerprints: tuple[Fingerprint, ...]
    """SHA-256 and stronger only, at least one; the certificate must match one."""
    candidates: tuple[Candidate, ...]
    """Those of the offer; often none, and then the peer's checks reveal it."""
    end_of_candidates: bool
    ice_lite: bool
    """Then the controlling role is ours (RFC 8445 section 6.1.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """One section after the answer; `direction` is ours."""

    index: int
    mid: str | None
    kind: MediaKind
    direction: Direction
    codec: str | None = None
    """Encoding name in lower case; None for data and for what stays inactive."""
    payload_type: PayloadType | None = None
    """As offered, with all its parameters."""
    rtx_payload_type: int | None = None
    red_payload_type: int | None = None
    """Of packets that hold the one before them as well (RFC 2198)."""
    extensions: tuple[HeaderExtension, ...] = ()
    feedback: tuple[str, ...] = ()
    rtcp_rsize: bool = False
    rids: tuple[str, ...] = ()
    """Simulcast layers in the offer's order; empty without rids."""
    ssrcs: tuple[int, ...] = ()
    """Those that the offer names; a publisher may use others (RFC 8829 section 5.2.1)."""
    source_groups: tuple[SourceGroup, ...] = ()
    sctp_port: int | None = None
    max_message_size: int = 0
    """Bytes that the peer takes in a data channel message; 0 is without limit."""

    def extension(self, uri: str) -> int | None:
        """Return the id under which packets carry a header extension."""
        return next((each.id for each in self.extensions if each.uri == uri), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished answer: its text, and what both sides now hold to."""

    text: str = field(repr=False)
    session: Session = field(repr=False)
    peer: Peer
    sections: tuple[Agreed, ...]
    """One for each m-section of the offer that is not switched off, in its order."""

    def section(self, kind: MediaKind) -> Agreed | None:
        """Return the first section of a kind that carries something."""
        used = (each for each in self.sections if each.direction is not Direction.INACTIVE)
        return next((each for each in used if each.kind is kind), None)


def live_sections(offer: Session) -> tuple[Media, ...]:
    """Return the sections that are not switched off. Raises `SdpError` when none is left."""
    found = tuple(each for each in offer.media if not each.rejected)
    if not found:
        raise unprocessable("The offer has no m= section that is switched on.")
    return found


def check_bundle(offer: Session) -> tuple[str, ...]:
    """Return the mids of the one BUNDLE group, none when the only section is alone.

    Raises `SdpError` unless all sections share one transport (RFC 9725 section 4.4.1).
    """
    sections = live_sections(offer)
    for mids in offer.bundles:
        if all(each.mid in mids for each in sections):
            live = {each.mid for each in sections}
            return tuple(mid for mid in mids if mid in live)
    if len(sections) > 1 or offer.bundles:
        raise unprocessable(
            "The offer does not bundle all its m= sections: a=group:BUNDLE names each one's a=mid."
        )
    return ()


def tagged(offer: Session) -> Media:
    """Return the section whose transport is the bundle's (RFC 8843 section 7.3.1)."""
    bundle, sections = check_bundle(offer), live_sections(offer)
    return next((each for each in sections if bundle and each.mid == bundle[0]), sections[0])


def check_section(media: Media) -> None:
    """Raise `SdpError` for a section that does not speak as WebRTC does."""
    if media.kind is MediaKind.APPLICATION:
        if media.protocol not in _SCTP_PROTOCOLS or media.formats != (DATA_CHANNEL,):
            raise unprocessable(
                f"The {media.name} is no data channel: it wants m=application 9 UDP/DTLS/SCTP"
                " webrtc-datachannel."
            )
        if media.sctp_port is None:
            raise unprocessable(f"The {media.name} has no a=sctp-port.")
        return
    if media.kind is MediaKind.OTHER:
        raise unprocessable("The offer has a section that is neither audio, video nor data.")
    if media.protocol not in _RTP_PROTOCOLS:
        raise unprocessable(
            f"The {media.name} speaks {shown(media.protocol)}; only UDP/TLS/RTP/SAVPF is taken."
        )
    if not (media.rtcp_mux or media.rtcp_mux_only):
        raise unprocessable(
            f"The {media.name} does not offer a=rtcp-mux: RTP and RTCP share one port here."
        )


def check_extensions(sections: Sequence[Media]) -> None:
    """Raise `SdpError` when an id means two things in the bundle (RFC 8843 section 9.2)."""
    meaning: dict[int, str] = {}
    for media in sections:
        for each in media.extensions:
            if meaning.setdefault(each.id, each.uri) != each.uri:
                raise malformed(f"The header extension id {each.id} stands for two extensions.")


def peer_of(offer: Session) -> Peer:
    """Return the peer's transport: that of the tagged section, whose candidates alone count.

    Raises `SdpError` when something that ICE or DTLS needs is missing or too weak.
    """
    section = tagged(offer)
    found = offer.transport_of(section)
    if found.ufrag is None or found.password is None:
        raise unprocessable("The offer lacks a=ice-ufrag or a=ice-pwd.")
    if not found.fingerprints:
        raise unprocessable(
            "The offer has no a=fingerprint of SHA-256 or better: media is taken encrypted only."
        )
    strong = tuple(each for each in found.fingerprints if each.strong)
    if not strong:
        weak = ", ".join(dict.fromkeys(each.algorithm for each in found.fingerprints))
        raise unprocessable(f"The offer's only a=fingerprint is {weak}; SHA-256 or better is due.")
    if found.setup not in (None, Setup.ACTPASS, Setup.ACTIVE):
        raise unprocessable(
            f"The offer says a=setup:{found.setup}; it must be actpass or active, because this"
            " server waits for the DTLS connection."
        )
    return Peer(
        ufrag=found.ufrag,
        password=found.password,
        fingerprints=strong,
        candidates=section.candidates,
        end_of_candidates=section.end_of_candidates,
        ice_lite=offer.ice_lite,
    )


def extensions_of(media: Media, taken: Set[str]) -> tuple[HeaderExtension, ...]:
    """Return the header extensions to answer: each once, under the offered id."""
    found: dict[str, HeaderExtension] = {}
    for each in media.extensions:
        if each.uri in taken and each.direction is not Direction.INACTIVE:
            direction = each.direction.reverse if each.direction else None
            found.setdefault(each.uri, replace(each, direction=direction))
    return tuple(found.values())


def feedback_of(
    chosen: PayloadType, taken: Set[str], extensions: Sequence[HeaderExtension]
) -> tuple[str, ...]:
    """Return the feedback to answer; transport-cc only with its header extension."""
    counted = any(each.uri == TRANSPORT_CC for each in extensions)
    return tuple(
        each for each in chosen.feedback if each in taken and (counted or each != "transport-cc")
    )


def answered_types(
    chosen: PayloadType,
    rtx: PayloadType | None,
    feedback: tuple[str, ...],
    red: PayloadType | None = None,
) -> tuple[PayloadType, ...]:
    """Return the payload types of an answering section."""
    types = [replace(chosen, parameters=answered_parameters(chosen), feedback=feedback)]
    if rtx is not None:
        types.append(replace(rtx, parameters=(("apt", str(chosen.number)),), feedback=()))
    if red is not None:
        types.append(replace(red, feedback=()))
    return tuple(types)


def answering(offered: Media, local: Local, *, first: bool) -> Media:
    """Return what every accepted section answers, without its media.

    ICE and DTLS attributes stand in each section, for readers that know no BUNDLE; candidates
    only in the tagged one, `first`, which carries the transport (RFC 8843 section 7.3).
    """
    default = next((each for each in local.candidates if ":" not in each.address), None)
    return Media(
        kind=offered.kind,
        port=default.port if default else _DISCARD,
        protocol=offered.protocol,
        formats=offered.formats,
        address=default.address if default else _ANY_ADDRESS,
        mid=offered.mid,
        direction=Direction.INACTIVE,
        transport=Transport(
            ufrag=local.ufrag,
            password=local.password,
            fingerprints=(local.fingerprint,),
            setup=Setup.PASSIVE,
        ),
        extmap_allow_mixed=offered.extmap_allow_mixed,
        candidates=local.candidates if first else (),
        end_of_candidates=first,
    )


def answering_rtp(offered: Media, local: Local, *, first: bool) -> Media:
    """Return what every accepted audio or video section answers, without its codecs."""
    return replace(
        answering(offered, local, first=first),
        rtcp_mux=True,
        rtcp_mux_only=offered.rtcp_mux_only,
        rtcp_rsize=offered.rtcp_rsize,
    )


def switched_off(offered: Media) -> Media:
    """Return the answer to a section that the offer itself switches off."""
    return Media(
        kind=offered.kind,
        port=0,
        protocol=offered.protocol,
        formats=offered.formats,
        mid=offered.mid,
        direction=Direction.INACTIVE,
    )


def answering_data(
    offered: Media, local: Local, *, first: bool, index: int, max_message_size: int
) -> tuple[Media, Agreed]:
    """Answer a data channel section (RFC 8841 section 10); the size is what we take, in bytes."""
    media = replace(
        answering(offered, local, first=first),
        direction=Direction.SENDRECV,
        sctp_port=5000,
        max_message_size=max_message_size,
    )
    # RFC 8841 section 6.1: 64 KiB where the peer does not say.
    theirs = offered.max_message_size if offered.max_message_size is not None else 65_536
    return media, Agreed(
        index=index,
        mid=offered.mid,
        kind=offered.kind,
        direction=Direction.SENDRECV,
        sctp_port=offered.sctp_port,
        max_message_size=theirs,
    )


def answering_session(offer: Session, local: Local, media: Sequence[Media]) -> Session:
    """Return the whole answer."""
    bundle = check_bundle(offer)
    return Session(
        media=tuple(media),
        id=local.session_id,
        bundles=(bundle,) if bundle else (),
        extmap_allow_mixed=offer.extmap_allow_mixed,
        msid_semantic="WMS *",
    )
