"""The answer to a viewer's offer: we send (draft-ietf-wish-whep-03 section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from webrtc.sdp.codecs import choose, named, redundancy, retransmission
from webrtc.sdp.errors import shown, unprocessable
from webrtc.sdp.h264 import fit, parse_profile_level_id
from webrtc.sdp.model import (
    Direction,
    Media,
    MediaKind,
    Msid,
    PayloadType,
    Session,
    Source,
    SourceGroup,
)
from webrtc.sdp.negotiate import (
    FEEDBACK,
    SENT_EXTENSIONS,
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
class Sources:
    """The SSRCs under which one viewer gets the stream; they must differ."""

    video: int
    video_rtx: int
    audio: int
    cname: str
    """The same for sound and picture, which makes them play in sync (RFC 7022)."""
    stream_id: str
    """Of the MediaStream that the viewer's page sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What can be sent to a viewer."""

    profile_level_id: str | None
    """Bytes 1 to 3 of the H.264 SPS in hexadecimal; None when there is no picture."""
    audio: bool
    """Whether there is Opus."""
    data: bool = True
    """Whether a data channel is answered; else one in the offer refuses it."""
    max_message_size: int = 65_536
    """Bytes that we take in one message."""
    extensions: frozenset[str] = SENT_EXTENSIONS
    feedback: frozenset[str] = FEEDBACK


def answer_viewer(offer: Session, local: Local, programme: Programme, sources: Sources) -> Answer:
    """Answer a viewer, or raise `SdpError` with the reason.

    The first video and the first audio section that receive are filled; further ones, and those
    for which the stream has nothing, stay in the answer as `inactive`.
    """
    peer = peer_of(offer)
    live = live_sections(offer)
    _check(live, programme)
    first = tagged(offer)
    media: list[Media] = []
    agreed: list[Agreed] = []
    filled: set[MediaKind] = set()
    for index, each in enumerate(offer.media):
        if each.rejected:
            media.append(switched_off(each))
            continue
        if each.kind is MediaKind.APPLICATION:
            answer, found = answering_data(
                each,
                local,
                first=each is first,
                index=index,
                max_message_size=programme.max_message_size,
            )
        else:
            there = programme.audio
            if each.kind is MediaKind.VIDEO:
                there = programme.profile_level_id is not None
            send = there and each.direction.receives and each.kind not in filled
            empty = answering_rtp(each, local, first=each is first)
            if send:
                answer, found = _sending(each, empty, programme, sources, index)
                filled.add(each.kind)
            else:
                answer, found = _inactive(each, empty, index)
        media.append(answer)
        agreed.append(found)
    if not filled:
        raise unprocessable("The offer receives nothing that this stream has.")
    session = answering_session(offer, local, media)
    return Answer(text=serialise(session), session=session, peer=peer, sections=tuple(agreed))


def _check(sections: Sequence[Media], programme: Programme) -> None:
    for each in sections:
        check_section(each)
        if each.direction is Direction.SENDONLY and each.kind is not MediaKind.APPLICATION:
            raise unprocessable(f"The {each.name} is a=sendonly: a viewer offers a=recvonly.")
    if sum(each.kind is MediaKind.APPLICATION for each in sections) > programme.data:
        wanted = "at most one" if programme.data else "no"
        raise unprocessable(f"A viewer may offer {wanted} data channel section.")
    check_extensions(sections)


def choose_video(offered: Media, profile_level_id: str) -> PayloadType | None:
    """Return the H.264 payload type that plays a stream: of the nearest profile, then the first.

    Among equals one whose level reaches the stream's is preferred.
    """
    source = parse_profile_level_id(profile_level_id)
    found: list[tuple[int, bool, int, PayloadType]] = []
    for order, each in enumerate(offered.payload_types):
        if source is None or each.encoding.lower() != "h264" or each.clock_rate != 90_000:
            continue
        fmtp = {name: value or "" for name, value in reversed(each.parameters)}
        distance = fit(fmtp, profile_level_id)
        if distance is not None:
            level = parse_profile_level_id(fmtp.get("profile-level-id", ""))
            low = level is None or level.level_idc < source.level_idc
            found.append((distance, low, order, each))
    return min(found, key=lambda each: each[:3])[3] if found else None


def _chosen(offered: Media, programme: Programme) -> PayloadType:
    if offered.kind is MediaKind.AUDIO:
        chosen = choose(offered.payload_types, ("opus",))
        if chosen is None:
            raise unprocessable(
                f"The {offered.name} offers {named(offered.payload_types)}; Opus is sent."
            )
        return chosen
    profile = programme.profile_level_id or ""
    chosen = choose_video(offered, profile)
    if chosen is None:
        raise unprocessable(
            f"The {offered.name} offers {named(offered.payload_types)}; H264 is sent, in"
            f" packetization mode 1, with profile-level-id {shown(profile)}, and none of the"
            " offered formats plays it."
        )
    return chosen


def _sending(
    offered: Media, empty: Media, programme: Programme, sources: Sources, index: int
) -> tuple[Media, Agreed]:
    chosen = _chosen(offered, programme)
    rtx = retransmission(offered, chosen) if offered.kind is MediaKind.VIDEO else None
    red = redundancy(offered, chosen) if offered.kind is MediaKind.AUDIO else None
    extensions = extensions_of(offered, programme.extensions)
    feedback = feedback_of(chosen, programme.feedback, extensions)
    types = answered_types(chosen, rtx, feedback, red)
    main = sources.video if offered.kind is MediaKind.VIDEO else sources.audio
    ssrcs = (main,) if rtx is None else (main, sources.video_rtx)
    groups = () if rtx is None else (SourceGroup(semantics="FID", ssrcs=ssrcs),)
    track = f"{sources.stream_id}-{offered.kind}"
    answer = replace(
        empty,
        formats=tuple(str(each.number) for each in types),
        direction=Direction.SENDONLY,
        payload_types=types,
        extensions=extensions,
        msids=(Msid(stream=sources.stream_id, track=track),),
        sources=tuple(
            Source(ssrc=each, cname=sources.cname, msid=f"{sources.stream_id} {track}")
            for each in ssrcs
        ),
        source_groups=groups,
    )
    if offered.kind is MediaKind.AUDIO:
        answer = replace(answer, payload_types=(_stereo(types[0]), *types[1:]))
    return answer, Agreed(
        index=index,
        mid=offered.mid,
        kind=offered.kind,
        direction=Direction.SENDONLY,
        codec=chosen.encoding.lower(),
        payload_type=chosen,
        rtx_payload_type=rtx.number if rtx else None,
        red_payload_type=red.number if red else None,
        extensions=extensions,
        feedback=feedback,
        rtcp_rsize=offered.rtcp_rsize,
        ssrcs=ssrcs,
        source_groups=groups,
    )


def _stereo(each: PayloadType) -> PayloadType:
    """Say that two channels are sent (RFC 7587 section 6.1)."""
    return replace(each, parameters=(*each.parameters, ("sprop-stereo", "1")))


def _inactive(offered: Media, empty: Media, index: int) -> tuple[Media, Agreed]:
    """Accept a section that carries nothing: its payload types stand as they were offered."""
    answer = replace(empty, payload_types=offered.payload_types[:1])
    if answer.payload_types:
        answer = replace(answer, formats=(str(answer.payload_types[0].number),))
    return answer, Agreed(
        index=index, mid=offered.mid, kind=offered.kind, direction=Direction.INACTIVE
    )
