"""Hypothesis strategies for whole descriptions and fragments."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from webrtc.sdp.candidates import Candidate, CandidateType
from webrtc.sdp.fragment import Fragment, FragmentSection
from webrtc.sdp.model import (
    DIGEST_BYTES,
    Direction,
    Fingerprint,
    HeaderExtension,
    Layer,
    Media,
    MediaKind,
    Msid,
    PayloadType,
    Rid,
    Session,
    Setup,
    Simulcast,
    Source,
    SourceGroup,
    Transport,
)

WORD = string.ascii_letters + string.digits
words = st.text(WORD + "-_", min_size=1, max_size=12)
lower = st.text(string.ascii_lowercase + "-", min_size=1, max_size=12)
values = st.text(WORD + "-+/=,:", max_size=12)
ssrcs = st.integers(0, 2**32 - 1)
ports = st.integers(1, 65535)
directions = st.sampled_from(Direction)
ipv4 = st.integers(1, 0xDFFFFFFF).map(lambda each: str(IPv4Address(each)))
ipv6 = st.integers(1, 2**127).map(lambda each: str(IPv6Address(each)))


def tuples(each, most=3, unique_by=None):
    return st.lists(each, max_size=most, unique_by=unique_by).map(tuple)


def maybe(each):
    return st.none() | each


@st.composite
def candidates(draw):
    related = draw(maybe(ipv4 | ipv6))
    return Candidate(
        foundation=draw(st.text(WORD + "+/", min_size=1, max_size=32)),
        priority=draw(st.integers(1, 2**32 - 1)),
        address=draw(ipv4 | ipv6),
        port=draw(ports),
        type=draw(st.sampled_from(CandidateType)),
        related_address=related,
        related_port=None if related is None else draw(st.integers(0, 65535)),
    )


@st.composite
def fingerprints(draw):
    name, size = draw(st.sampled_from(sorted(DIGEST_BYTES.items())))
    return Fingerprint(algorithm=name, digest=draw(st.binary(min_size=size, max_size=size)))


transports = st.builds(
    Transport,
    ufrag=maybe(st.text(WORD + "+/", min_size=4, max_size=256)),
    password=maybe(st.text(WORD + "+/", min_size=22, max_size=256)),
    options=tuples(words),
    fingerprints=tuples(fingerprints()),
    setup=maybe(st.sampled_from(Setup)),
)
parameters = tuples(st.tuples(lower, maybe(values)))
layers = st.lists(
    st.lists(st.builds(Layer, rid=words, paused=st.booleans()), min_size=1, max_size=2).map(tuple),
    min_size=1,
    max_size=3,
).map(tuple)
simulcasts = (
    st.builds(Simulcast, send=layers)
    | st.builds(Simulcast, recv=layers)
    | st.builds(Simulcast, send=layers, recv=layers)
)
rids = st.builds(
    Rid,
    id=words,
    sends=st.booleans(),
    payload_types=tuples(st.integers(0, 127), unique_by=lambda each: each),
    restrictions=tuples(st.tuples(lower.filter(lambda each: each != "pt"), maybe(values))),
)


@st.composite
def payload_types(draw, number):
    return PayloadType(
        number=number,
        encoding=draw(words),
        clock_rate=draw(st.integers(1, 10_000_000)),
        channels=draw(st.integers(1, 255)),
        parameters=draw(parameters),
        feedback=draw(tuples(lower, unique_by=lambda each: each)),
    )


@st.composite
def media(draw, mid):
    numbers = draw(st.lists(st.integers(0, 127), min_size=1, max_size=5, unique=True))
    return Media(
        kind=draw(st.sampled_from(MediaKind)),
        port=draw(st.integers(0, 65535)),
        protocol=draw(st.sampled_from(["UDP/TLS/RTP/SAVPF", "UDP/DTLS/SCTP"])),
        formats=tuple(map(str, numbers)),
        address=draw(ipv4 | ipv6),
        mid=mid,
        direction=draw(directions),
        bundle_only=draw(st.booleans()),
        transport=draw(transports),
        payload_types=tuple(draw(payload_types(each)) for each in numbers if draw(st.booleans())),
        extensions=draw(
            tuples(
                st.builds(
                    HeaderExtension,
                    id=st.integers(1, 14) | st.integers(16, 255),
                    uri=words,
                    direction=maybe(directions),
                )
            )
        ),
        extmap_allow_mixed=draw(st.booleans()),
        rtcp_mux=draw(st.booleans()),
        rtcp_mux_only=draw(st.booleans()),
        rtcp_rsize=draw(st.booleans()),
        msids=draw(tuples(st.builds(Msid, stream=words, track=maybe(words)))),
        sources=draw(
            tuples(
                st.builds(Source, ssrc=ssrcs, cname=maybe(values), msid=maybe(values)),
                unique_by=lambda each: each.ssrc,
            )
        ),
        source_groups=draw(
            tuples(
                st.builds(
                    SourceGroup,
                    semantics=words,
                    ssrcs=st.lists(ssrcs, min_size=1, max_size=3).map(tuple),
                )
            )
        ),
        rids=draw(tuples(rids, unique_by=lambda each: (each.id, each.sends))),
        simulcast=draw(maybe(simulcasts)),
        candidates=draw(tuples(candidates(), unique_by=lambda each: each)),
        end_of_candidates=draw(st.booleans()),
        sctp_port=draw(maybe(ports)),
        max_message_size=draw(maybe(st.integers(0, 2**64 - 1))),
    )


@st.composite
def sessions(draw):
    mids = draw(st.lists(maybe(words), max_size=3, unique=True))
    named = [each for each in mids if each is not None]
    # What stands at the session for its sections would come back at the sections, too.
    return Session(
        media=tuple(draw(media(each)) for each in mids),
        id=draw(st.integers(0, 2**64 - 1)),
        version=draw(st.integers(0, 2**64 - 1)),
        bundles=draw(st.sampled_from([(), (tuple(named),)])),
        transport=draw(transports),
        ice_lite=draw(st.booleans()),
        extmap_allow_mixed=draw(st.booleans()),
        msid_semantic=draw(maybe(words)),
    )


@st.composite
def fragments(draw):
    mids = draw(st.lists(words, max_size=3, unique=True))
    return Fragment(
        ufrag=draw(maybe(st.text(WORD + "+/", min_size=4, max_size=256))),
        password=draw(maybe(st.text(WORD + "+/", min_size=22, max_size=256))),
        sections=tuple(
            FragmentSection(
                mid=each,
                candidates=draw(tuples(candidates(), unique_by=lambda each: each)),
                end_of_candidates=draw(st.booleans()),
            )
            for each in mids
        ),
    )
