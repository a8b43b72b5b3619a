"""Writes a session description: the inverse of `parse`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from webrtc.sdp.model import (
    Direction,
    Layer,
    Media,
    MediaKind,
    PayloadType,
    Rid,
    Session,
    Transport,
)


def serialise(session: Session) -> str:
    """Return the description's text, lines ended by CR LF (RFC 8866 section 5).

    The values must be such as `parse` returns: nothing is checked again here.
    """
    return "".join(f"{line}\r\n" for line in _session(session))


def parameters_text(parameters: Iterable[tuple[str, str | None]]) -> str:
    """Return `name=value;name`."""
    return ";".join(name if value is None else f"{name}={value}" for name, value in parameters)


def _session(session: Session) -> Iterator[str]:
    yield "v=0"
    yield f"o=- {session.id} {session.version} IN IP4 127.0.0.1"
    yield "s=-"
    yield "t=0 0"
    for mids in session.bundles:
        yield " ".join(("a=group:BUNDLE", *mids))
    if session.ice_lite:
        yield "a=ice-lite"
    if session.extmap_allow_mixed:
        yield "a=extmap-allow-mixed"
    if session.msid_semantic is not None:
        yield f"a=msid-semantic:{session.msid_semantic}"
    yield from _transport(session.transport)
    for media in session.media:
        yield from _media(media)


def _transport(transport: Transport) -> Iterator[str]:
    if transport.ufrag is not None:
        yield f"a=ice-ufrag:{transport.ufrag}"
    if transport.password is not None:
        yield f"a=ice-pwd:{transport.password}"
    if transport.options:
        yield f"a=ice-options:{' '.join(transport.options)}"
    for each in transport.fingerprints:
        yield f"a=fingerprint:{each.algorithm} {each.text}"
    if transport.setup is not None:
        yield f"a=setup:{transport.setup}"


def _media(media: Media) -> Iterator[str]:
    yield f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}"
    yield f"c=IN {'IP6' if ':' in media.address else 'IP4'} {media.address}"
    for candidate in media.candidates:
        yield f"a={candidate.text}"
    if media.end_of_candidates:
        yield "a=end-of-candidates"
    yield from _transport(media.transport)
    if media.mid is not None:
        yield f"a=mid:{media.mid}"
    for extension in media.extensions:
        direction = f"/{extension.direction}" if extension.direction else ""
        yield f"a=extmap:{extension.id}{direction} {extension.uri}"
    if media.kind is not MediaKind.APPLICATION or media.direction is not Direction.SENDRECV:
        yield f"a={media.direction}"
    for msid in media.msids:
        yield f"a=msid:{msid.stream}" + (f" {msid.track}" if msid.track is not None else "")
    flags = {
        "extmap-allow-mixed": media.extmap_allow_mixed,
        "bundle-only": media.bundle_only,
        "rtcp-mux": media.rtcp_mux,
        "rtcp-mux-only": media.rtcp_mux_only,
        "rtcp-rsize": media.rtcp_rsize,
    }
    yield from (f"a={name}" for name, on in flags.items() if on)
    for payload_type in media.payload_types:
        yield from _payload_type(payload_type)
    yield from _sources(media)
    for rid in media.rids:
        yield _rid(rid)
    if media.simulcast is not None:
        sides = (("send", media.simulcast.send), ("recv", media.simulcast.recv))
        yield "a=simulcast:" + " ".join(f"{way} {_streams(of)}" for way, of in sides if of)
    if media.sctp_port is not None:
        yield f"a=sctp-port:{media.sctp_port}"
    if media.max_message_size is not None:
        yield f"a=max-message-size:{media.max_message_size}"


def _payload_type(each: PayloadType) -> Iterator[str]:
    channels = f"/{each.channels}" if each.channels > 1 else ""
    yield f"a=rtpmap:{each.number} {each.encoding}/{each.clock_rate}{channels}"
    for feedback in each.feedback:
        yield f"a=rtcp-fb:{each.number} {feedback}"
    if each.parameters:
        yield f"a=fmtp:{each.number} {parameters_text(each.parameters)}"


def _sources(media: Media) -> Iterator[str]:
    for group in media.source_groups:
        yield f"a=ssrc-group:{group.semantics} {' '.join(map(str, group.ssrcs))}"
    for source in media.sources:
        if source.cname is not None:
            yield f"a=ssrc:{source.ssrc} cname:{source.cname}"
        if source.msid is not None:
            yield f"a=ssrc:{source.ssrc} msid:{source.msid}"
        if source.cname is None and source.msid is None:
            yield f"a=ssrc:{source.ssrc}"


def _rid(rid: Rid) -> str:
    types = ",".join(map(str, rid.payload_types))
    restrictions = (*((("pt", types),) if types else ()), *rid.restrictions)
    text = f"a=rid:{rid.id} {'send' if rid.sends else 'recv'}"
    return f"{text} {parameters_text(restrictions)}" if restrictions else text


def _streams(streams: Iterable[Iterable[Layer]]) -> str:
    return ";".join(
        ",".join(("~" if layer.paused else "") + layer.rid for layer in stream)
        for stream in streams
    )
