"""Reading and writing descriptions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc.sdp.models import sessions
from tests.webrtc.sdp.support import OFFERS, attempt, offer, text
from webrtc.sdp.errors import Refusal, SdpError
from webrtc.sdp.model import Direction, Layer, MediaKind, Session, Setup, Simulcast, Source
from webrtc.sdp.parse import MAX_BYTES, parse
from webrtc.sdp.write import serialise

pytestmark = pytest.mark.unit

HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
VIDEO = HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"


@given(sessions())
def test_what_is_written_reads_as_the_same(session: Session):
    assert parse(serialise(session)) == session


@pytest.mark.parametrize("name", [each.stem for each in OFFERS])
def test_offers_of_real_clients_survive_being_written_again(name: str):
    found = offer(name)
    assert found.media
    assert parse(serialise(found)) == found


def test_chromium_is_read_whole():
    found = offer("chromium-publish")
    assert found.id == 5228595038118931041
    assert found.version == 2
    assert found.bundles == (("0", "1"),)
    assert found.extmap_allow_mixed
    audio, video = found.media
    assert (audio.kind, audio.mid, audio.direction) == (MediaKind.AUDIO, "0", Direction.SENDONLY)
    assert audio.transport.ufrag == "EsAw"
    assert audio.transport.options == ("trickle",)
    assert audio.transport.setup is Setup.ACTPASS
    assert audio.transport.fingerprints[0].text.startswith("0F:74:31")
    assert audio.rtcp_mux
    assert audio.rtcp_rsize
    opus = audio.payload_types[0]
    assert (opus.encoding, opus.clock_rate, opus.channels) == ("opus", 48_000, 2)
    assert opus.parameter("useinbandfec") == "1"
    assert audio.payload_types[1].parameters == (("111/111", None),)
    h264 = video.payload_types[2]
    assert (h264.number, h264.parameter("profile-level-id")) == (103, "42001f")
    assert h264.feedback == ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
    assert video.source_groups[0].ssrcs == (1872905361, 3044173620)
    assert video.sources[0].cname == "z8aoN2l/L7oiSqrJ"
    assert video.msids[0].track == "5f3f1b0e-26a2-4c25-8b1f-8d1a1b1f3e6a"
    assert [each.id for each in video.extensions] == [14, 2, 13, 3, 5, 6, 7, 8, 4, 10, 11]


def test_only_usable_candidates_are_kept():
    (video,) = offer("chromium-simulcast").media
    assert [each.address for each in video.candidates] == ["198.51.100.121"]
    assert [each.id for each in video.rids] == ["h", "m", "l"]
    assert not video.end_of_candidates
    assert all(each.end_of_candidates for each in offer("aiortc-publish").media)


def test_attributes_of_the_session_hold_for_its_sections():
    found = parse(
        HEAD + "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:active\r\n"
        "a=sendonly\r\na=extmap:3 urn:x\r\na=end-of-candidates\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=setup:passive\r\na=recvonly\r\na=extmap:4 urn:y\r\n"
        "a=ice-ufrag:efgh\r\na=ice-pwd:9999999999999999999999\r\n"
    )
    audio, video = found.media
    assert found.transport_of(audio).ufrag == "abcd"
    assert found.transport_of(audio).setup is Setup.ACTIVE
    assert found.transport_of(video).ufrag == "efgh"
    assert found.transport_of(video).password == "9999999999999999999999"
    assert found.transport_of(video).setup is Setup.PASSIVE
    assert (audio.direction, video.direction) == (Direction.SENDONLY, Direction.RECVONLY)
    assert audio.extensions[0].id == 3
    assert [each.id for each in video.extensions] == [4]
    assert audio.end_of_candidates


def test_simulcast_with_alternatives_and_pauses():
    (video,) = parse(VIDEO + "a=simulcast:recv c send 1,~4;~2\r\n").media
    assert video.simulcast == Simulcast(
        send=((Layer(rid="1"), Layer(rid="4", paused=True)), (Layer(rid="2", paused=True),)),
        recv=((Layer(rid="c"),),),
    )


def test_feedback_for_all_payload_types():
    (video,) = parse(
        HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 VP8/90000\r\n"
        "a=rtpmap:97 VP9/90000\r\na=rtcp-fb:* NACK  pli\r\na=rtcp-fb:97 nack\r\n"
    ).media
    assert [each.feedback for each in video.payload_types] == [("nack pli",), ("nack", "nack pli")]


def test_unknown_lines_and_either_line_end_are_taken():
    (video,) = parse(
        "v=0\nb=AS:9\nk=x\na=unknown:1\nm=video 9 UDP/TLS/RTP/SAVPF 96\nb=TIAS:1\na=new\n"
        "a=ssrc:7 other:x\n\n"
    ).media
    assert video.payload_types == ()
    assert video.sources == (Source(ssrc=7),)


def test_secrets_do_not_show():
    assert "bP+XJMM" not in repr(offer("chromium-publish"))


PASSWORD = "a=ice-pwd:0123456789012345678901\r\n"
WRONG = {
    "": "A session description begins with the line v=0.",
    "v=1\r\n": "A session description begins with the line v=0.",
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n": "A session description begins with the line v=0.",
    HEAD + "hello\r\n": "Line 5 is not a letter, an equals sign and a value.",
    HEAD + "A=x\r\n": "Line 5 is not a letter, an equals sign and a value.",
    HEAD + "a=\0\r\n": "Line 5 holds a control character.",
    HEAD + "a=x\ra=y\r\n": "Line 5 holds a control character.",
    HEAD + "a=" + "x" * 5000: "Line 5 is longer than 4096 characters.",
    HEAD + "m=video x UDP/TLS/RTP/SAVPF 96\r\n": (
        "Line 5: An m= line is like m=video 9 UDP/TLS/RTP/SAVPF 96."
    ),
    HEAD + "m=video 70000 UDP/TLS/RTP/SAVPF 96\r\n": (
        "Line 5: An m= line is like m=video 9 UDP/TLS/RTP/SAVPF 96."
    ),
    HEAD + "m=video 9 UDP/TLS/RTP/SAVPF\r\n": (
        "Line 5: An m= line is like m=video 9 UDP/TLS/RTP/SAVPF 96."
    ),
    HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 96 96\r\n": "Line 5: A section lists a format twice.",
    HEAD + f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, range(129)))}\r\n": (
        "Line 5: A section has more than 128 formats."
    ),
    HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 17: (
        "Line 21: There are more than 16 m= sections."
    ),
    VIDEO + "a=mid:0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n": (
        "Two sections have the same a=mid."
    ),
    VIDEO + "a=mid:a b\r\n": ("Line 6: a=mid is a word of 1 to 64 characters without spaces."),
    VIDEO + "a=ice-ufrag:abc\r\n": "Line 6: a=ice-ufrag has 4 to 256 characters.",
    VIDEO + "a=ice-pwd:short\r\n": "Line 6: a=ice-pwd has 22 to 256 characters.",
    VIDEO + "a=setup:both\r\n": "Line 6: a=setup is actpass, active, passive or holdconn.",
    VIDEO + "a=fingerprint:sha-256 AA:BB\r\n": (
        "Line 6: A fingerprint of sha-256 is 32 hexadecimal pairs and colons."
    ),
    VIDEO + "a=fingerprint:sha-256\r\n": (
        "Line 6: a=fingerprint holds the name of a hash function and its value."
    ),
    HEAD + "a=group:BUNDLE 0 0\r\n": "Line 5: A group names a section twice.",
    VIDEO + "a=rtpmap:96 H264\r\n": ("Line 6: a=rtpmap is like 96 H264/90000 or 111 opus/48000/2."),
    VIDEO + "a=rtpmap:96 VP8/90000\r\na=rtpmap:96 VP9/90000\r\n": (
        "Line 7: Payload type 96 has two a=rtpmap lines."
    ),
    VIDEO + "a=fmtp:96 " + "x;" * 65: "Line 6: A format has more than 64 parameters.",
    VIDEO + "a=fmtp:96 a=1;b=2\r\n" * 33: ("Line 38: A format has more than 64 parameters."),
    VIDEO + "a=extmap:x urn:x\r\n": (
        "Line 6: a=extmap is like 1 urn:ietf:params:rtp-hdrext:sdes:mid."
    ),
    VIDEO + "a=extmap:1/both urn:x\r\n": (
        "Line 6: a=extmap is like 1 urn:ietf:params:rtp-hdrext:sdes:mid."
    ),
    VIDEO + "a=ssrc:4294967296 cname:x\r\n": "Line 6: a=ssrc begins with a number of 32 bits.",
    VIDEO + "a=ssrc-group:FID\r\n": "Line 6: a=ssrc-group is like FID 1111 2222.",
    VIDEO + "a=msid:\r\n": "Line 6: a=msid holds the stream's id and perhaps the track's.",
    VIDEO + "a=rid:h\r\n": "Line 6: a=rid is like h send, its name of letters, digits, - and _.",
    VIDEO + "a=rid:h send pt=128\r\n": (
        "Line 6: The list pt= in a=rid holds numbers from 0 to 127."
    ),
    VIDEO + "a=rid:h send\r\n" * 2: "Line 7: A section has two a=rid lines of one name.",
    VIDEO + "a=simulcast:h;m\r\n": "Line 6: a=simulcast is like send h;m;l.",
    VIDEO + "a=simulcast:send h;;l\r\n": ("Line 6: a=simulcast names nothing, which is no rid."),
    VIDEO + "a=simulcast:send " + ";".join(map(str, range(17))): (
        "Line 6: a=simulcast lists more than 16 layers."
    ),
    VIDEO + "a=simulcast:send 1\r\n" * 2: "Line 7: A section has two a=simulcast lines.",
    VIDEO + "".join(f"a=ssrc:{each} cname:x\r\n" for each in range(65)): (
        "Line 70: A section has more than 64 sources."
    ),
    VIDEO + "".join(f"a=candidate:1 1 udp 1 10.0.0.{n} 9 typ host\r\n" for n in range(65)): (
        "Line 70: There are more than 64 candidates."
    ),
    VIDEO + "".join(f"a=rtcp-fb:96 f{each}\r\n" for each in range(33)): (
        "Line 38: There are more than 32 a=rtcp-fb lines."
    ),
    VIDEO + "a=sctp-port:0\r\n": "Line 6: a=sctp-port is a number from 1 to 65535.",
    VIDEO + "a=max-message-size:x\r\n": "Line 6: a=max-message-size is a number of bytes.",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_broken_description_is_told_by_its_line(wrong: str):
    with pytest.raises(SdpError) as caught:
        parse(wrong)
    assert str(caught.value) == WRONG[wrong]
    assert caught.value.refusal is Refusal.MALFORMED


def test_size_and_encoding():
    with pytest.raises(SdpError, match="has 65537 bytes; 65536 are allowed") as caught:
        parse("v" * (MAX_BYTES + 1))
    assert caught.value.refusal is Refusal.TOO_LARGE
    with pytest.raises(SdpError, match=r"The session description is not UTF-8\."):
        parse(b"v=0\r\na=\xff\r\n")
    assert parse(text("obs-30").encode()) == offer("obs-30")


def within_bounds(session: Session):
    assert len(session.media) <= 16
    for each in session.media:
        assert len(each.payload_types) <= len(each.formats) <= 128
        assert len(each.candidates) <= 64
        assert len(each.sources) <= 64
        assert len(each.rids) <= 16


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_arbitrary_input_is_read_or_refused(data: bytes | str):
    session, refusal = attempt(parse, data)
    assert (session is None) == bool(refusal)
    assert len(refusal) < 300
    assert refusal.isprintable()
    if session is not None:
        within_bounds(session)


@given(st.data())
def test_mangled_offers_are_read_or_refused(data: st.DataObject):
    lines = text(data.draw(st.sampled_from([each.stem for each in OFFERS]))).split("\r\n")
    for _ in range(data.draw(st.integers(1, 6))):
        index = data.draw(st.integers(0, len(lines) - 1))
        line = lines[index]
        at = data.draw(st.integers(0, len(line)))
        lines[index] = line[:at] + data.draw(st.text(max_size=8)) + line[at + 1 :]
        lines.insert(index, lines[data.draw(st.integers(0, len(lines) - 1))])
    session, refusal = attempt(parse, "\r\n".join(lines))
    assert len(refusal) < 300
    if session is not None:
        within_bounds(session)
        assert parse(serialise(session)) == session
