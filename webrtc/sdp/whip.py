"""The answer to a publisher's offer: we receive (RFC 9725 section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from webrtc.sdp.codecs import AUDIO, VIDEO, choose, named, retransmission
from webrtc.sdp.errors import unprocessable
from webrtc.sdp.model import Direction, Layer, Media, MediaKind, Rid, Session, Simulcast
from webrtc.sdp.negotiate import (
    FEEDBACK,
    RECEIVED_EXTENSIONS,
    RID,
    Agreed,
    Answer,
    Local,
    answered_types,
    answering_data,
    answering_rtp,
    answering_session,
    check_extensions,
    check_section,
    extensions_of,
    feedback_of,
    live_sections,
    peer_of,
    switched_off,
    tagged,
)
from webrtc.sdp.write import serialise


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPolicy:
    """What a publisher may send."""

    video: tuple[str, ...] = VIDEO
    """Encoding names in order of preference."""
    audio: tuple[str, ...] = AUDIO
    extensions: frozenset[str] = RECEIVED_EXTENSIONS
    feedback: frozenset[str] = FEEDBACK
    max_video: int = 1
    """Sections, not layers."""
    max_audio: int = 1
    max_layers: int = 4
    data: bool = False
    """Whether one data channel section is taken."""
    max_message_size: int = 65_536


def answer_publisher(offer: Session, local: Local, policy: PublishPolicy) -> Answer:
    """Take a publisher's offer whole, or raise `SdpError` with the reason.

    One payload type is answered for each section, with its retransmissions, and every simulcast
    layer: OBS gives up when one is missing. A single section is never refused on its own
    (RFC 9725 section 4.4).
    """
    sections = live_sections(offer)
    peer = peer_of(offer)
    _check_counts(sections, policy)
    check_extensions(sections)
    first = tagged(offer)
    media: list[Media] = []
    agreed: list[Agreed] = []
    for index, each in enumerate(offer.media):
        if each.rejected:
            media.append(switched_off(each))
            continue
        check_section(each)
        if each.kind is MediaKind.APPLICATION:
            answer, found = answering_data(
                each,
                local,
                first=each is first,
                index=index,
                max_message_size=policy.max_message_size,
            )
        else:
            answer, found = _section(each, local, policy, first=each is first, index=index)
        media.append(answer)
        agreed.append(found)
    session = answering_session(offer, local, media)
    return Answer(text=serialise(session), session=session, peer=peer, sections=tuple(agreed))


def _check_counts(sections: Sequence[Media], policy: PublishPolicy) -> None:
    counts = {kind: sum(each.kind is kind for each in sections) for kind in MediaKind}
    if not counts[MediaKind.AUDIO] + counts[MediaKind.VIDEO]:
        raise unprocessable("The offer has neither an audio nor a video section.")
    for kind, most in ((MediaKind.VIDEO, policy.max_video), (MediaKind.AUDIO, policy.max_audio)):
        if counts[kind] > most:
            raise unprocessable(
                f"The offer has {counts[kind]} {kind} sections; at most {most} can be published."
            )
    if counts[MediaKind.APPLICATION] > policy.data:
        wanted = "at most one" if policy.data else "no"
        raise unprocessable(f"A publisher may offer {wanted} data channel section.")


def _section(
    offered: Media, local: Local, policy: PublishPolicy, *, first: bool, index: int
) -> tuple[Media, Agreed]:
    if not offered.direction.sends:
        raise unprocessable(
            f"The {offered.name} is a={offered.direction}: a publisher offers a=sendonly."
        )
    preferred = policy.video if offered.kind is MediaKind.VIDEO else policy.audio
    allowed = _layer_types(offered)
    usable = [each for each in offered.payload_types if not allowed or each.number in allowed]
    chosen = choose(usable, preferred)
    if chosen is None:
        raise unprocessable(
            f"The {offered.name} offers {named(offered.payload_types)}; taken are"
            f" {', '.join(preferred)}."
        )
    rids = _layers(offered, chosen.number, policy)
    rtx = retransmission(offered, chosen)
    extensions = extensions_of(offered, policy.extensions)
    feedback = feedback_of(chosen, policy.feedback, extensions)
    types = answered_types(chosen, rtx, feedback)
    answer = replace(
        answering_rtp(offered, local, first=first),
        formats=tuple(str(each.number) for each in types),
        direction=Direction.RECVONLY,
        payload_types=types,
        extensions=extensions,
        rids=tuple(Rid(id=each, sends=False) for each in rids),
        simulcast=Simulcast(recv=tuple((Layer(rid=each),) for each in rids))
        if offered.simulcast is not None and rids
        else None,
    )
    return answer, Agreed(
        index=index,
        mid=offered.mid,
        kind=offered.kind,
        direction=Direction.RECVONLY,
        codec=chosen.encoding.lower(),
        payload_type=chosen,
        rtx_payload_type=rtx.number if rtx else None,
        extensions=extensions,
        feedback=feedback,
        rtcp_rsize=offered.rtcp_rsize,
        rids=rids,
        ssrcs=tuple(each.ssrc for each in offered.sources),
        source_groups=offered.source_groups,
    )


def _layer_types(offered: Media) -> frozenset[int]:
    """Return the payload types that every sent rid may use; empty when all may."""
    restricted = [
        set(each.payload_types) for each in offered.rids if each.sends and each.payload_types
    ]
    return frozenset(set.intersection(*restricted)) if restricted else frozenset()


def _layers(offered: Media, payload_type: int, policy: PublishPolicy) -> tuple[str, ...]:
    """Return the rids to receive, one for each simulcast stream, none without rids.

    Of alternatives the first that may use the payload type is taken (RFC 8853 section 5.3.2); a
    layer that begins paused is taken, too.
    """
    sent = {
        each.id: each
        for each in offered.rids
        if each.sends and (not each.payload_types or payload_type in each.payload_types)
    }
    streams = offered.simulcast.send if offered.simulcast is not None else ()
    if streams:
        found = [
            next((layer.rid for layer in stream if layer.rid in sent), None) for stream in streams
        ]
        rids = tuple(dict.fromkeys(each for each in found if each is not None))
        if len(rids) < len(streams):
            raise unprocessable(
                f"The {offered.name} lists {len(streams)} simulcast layers, but has usable a=rid"
                f" lines for {len(rids)}."
            )
    else:
        rids = tuple(sent)
    if len(rids) > policy.max_layers:
        raise unprocessable(
            f"The {offered.name} has {len(rids)} simulcast layers; at most {policy.max_layers}"
            " are taken."
        )
    if len(rids) > 1 and not any(each.uri == RID for each in offered.extensions):
        raise unprocessable(
            f"The {offered.name} has simulcast layers without a=extmap of {RID}, by which they"
            " are told apart."
        )
    return rids
