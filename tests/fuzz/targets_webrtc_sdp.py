"""Session descriptions: what a publisher or a viewer can post, and trickle."""

from __future__ import annotations

from tests.fuzz.harness import Target, target
from tests.webrtc.sdp.support import HIGH, LOCAL, SOURCES, serialise_fragment
from webrtc.sdp.errors import Refusal, SdpError
from webrtc.sdp.fragment import parse_fragment
from webrtc.sdp.model import Session
from webrtc.sdp.negotiate import Answer
from webrtc.sdp.parse import parse
from webrtc.sdp.whep import answer_viewer
from webrtc.sdp.whip import PublishPolicy, answer_publisher
from webrtc.sdp.write import serialise

_SENTENCE = 600


def _check(error: SdpError) -> None:
    text = str(error)
    assert text.isascii()
    assert text.isprintable()
    assert 10 < len(text) <= _SENTENCE
    assert error.refusal in Refusal


@target("sdp_parse", max_bytes=8192)
def reading(data: bytes) -> None:
    """Any bytes are read within bounds, and read the same when written again, or are refused."""
    try:
        session = parse(data)
    except SdpError as error:
        _check(error)
        return
    assert parse(serialise(session)) == session


def _check_answer(answer: Answer, offer: Session) -> None:
    assert parse(answer.text) == answer.session
    assert len(answer.session.media) == len(offer.media)
    for ours, theirs in zip(answer.session.media, offer.media, strict=True):
        assert (ours.port == 0) == theirs.rejected
        assert set(ours.formats) <= set(theirs.formats)
    assert answer.peer.fingerprints
    assert all(each.strong for each in answer.peer.fingerprints)
    # A short section is answered with our whole transport.
    assert len(answer.text) <= 2048 * (1 + len(offer.media)) + 4 * len(serialise(offer))


@target("sdp_answer", max_bytes=8192)
def answering(data: bytes) -> None:
    """Every offer that can be read gets an answer that reads as was meant, or a sentence."""
    flags, body = data[:1] or b"\0", data[1:]
    try:
        offer = parse(body)
    except SdpError:
        return
    several = flags[0] & 1
    policy = PublishPolicy(data=bool(several), max_video=1 + 3 * several)
    try:
        _check_answer(answer_publisher(offer, LOCAL, policy), offer)
    except SdpError as error:
        _check(error)
    try:
        _check_answer(answer_viewer(offer, LOCAL, HIGH, SOURCES), offer)
    except SdpError as error:
        _check(error)


@target("sdp_fragment")
def trickling(data: bytes) -> None:
    """A fragment is read within bounds, and the same when written again, or is refused."""
    try:
        fragment = parse_fragment(data)
    except SdpError as error:
        _check(error)
        return
    assert parse_fragment(serialise_fragment(fragment)) == fragment
    assert not fragment.restarts(fragment.ufrag or "", fragment.password or "")


TARGETS: list[Target] = [reading, answering, trickling]
