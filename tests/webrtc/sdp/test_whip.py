"""Answers to publishers."""

from __future__ import annotations

import pytest

from tests.webrtc.sdp.support import LOCAL, PUBLISHERS, offer
from webrtc.sdp.errors import Refusal, SdpError
from webrtc.sdp.model import Direction, Layer, MediaKind, Setup
from webrtc.sdp.negotiate import AUDIO_LEVEL, MID, RID, TRANSPORT_CC, Answer
from webrtc.sdp.parse import parse
from webrtc.sdp.whip import PublishPolicy, answer_publisher

pytestmark = pytest.mark.unit


def answer(name: str, *changes: tuple[str, str], **policy) -> Answer:
    return answer_publisher(offer(name, *changes), LOCAL, PublishPolicy(**policy))


def lines(found: Answer) -> list[str]:
    return found.text.split("\r\n")


@pytest.mark.parametrize("name", PUBLISHERS)
def test_every_answer_is_one_that_a_publisher_may_expect(name: str):
    asked = offer(name)
    found = answer_publisher(asked, LOCAL, PublishPolicy())
    said = parse(found.text)
    assert said == found.session
    assert len(said.media) == len(asked.media) == len(found.sections)
    assert said.bundles == (tuple(each.mid for each in asked.media),)
    for index, (ours, theirs) in enumerate(zip(said.media, asked.media, strict=True)):
        assert (ours.kind, ours.mid, ours.protocol) == (theirs.kind, theirs.mid, theirs.protocol)
        assert ours.direction is Direction.RECVONLY
        assert (ours.port, ours.address) == (40_000, "203.0.113.5")
        assert not ours.bundle_only
        assert ours.rtcp_mux
        assert ours.rtcp_mux_only == theirs.rtcp_mux_only
        assert ours.rtcp_rsize == theirs.rtcp_rsize
        assert ours.transport.setup is Setup.PASSIVE
        assert (ours.transport.ufrag, ours.transport.password) == (LOCAL.ufrag, LOCAL.password)
        assert ours.transport.fingerprints == (LOCAL.fingerprint,)
        assert ours.candidates == (LOCAL.candidates if index == 0 else ())
        assert ours.end_of_candidates == (index == 0)
        offered = {each.number: each for each in theirs.payload_types}
        assert 1 <= len(ours.payload_types) <= 2
        for each in ours.payload_types:
            assert each.encoding == offered[each.number].encoding
            assert set(each.feedback) <= set(offered[each.number].feedback)
        extensions = {(each.id, each.uri) for each in theirs.extensions}
        assert {(each.id, each.uri) for each in ours.extensions} <= extensions
        sent = [each.id for each in theirs.rids if each.sends]
        assert [each.id for each in ours.rids if not each.sends] == sent


def test_chromium():
    found = answer("chromium-publish")
    audio, video = found.sections
    assert (audio.codec, audio.extension(AUDIO_LEVEL), audio.ssrcs) == ("opus", 1, (2607947206,))
    assert (video.codec, video.payload_type.number, video.rtx_payload_type) == ("h264", 103, 104)
    assert (video.extension(MID), video.extension(TRANSPORT_CC)) == (4, 3)
    assert video.source_groups[0].ssrcs == video.ssrcs
    assert video.feedback == ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
    said = lines(found)
    assert "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1" in said
    wanted = "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"
    assert wanted in said
    assert "a=fmtp:104 apt=103" in said
    assert "a=extmap-allow-mixed" in said
    assert "m=video 40000 UDP/TLS/RTP/SAVPF 103 104" in said
    assert found.peer.ufrag == "EsAw"
    assert not found.peer.ice_lite
    assert found.section(MediaKind.VIDEO) is video
    assert found.section(MediaKind.APPLICATION) is None


def test_obs_gets_every_layer_listed():
    found = answer("obs-32-simulcast")
    video = found.sections[1]
    assert video.rids == ("0", "1", "2")
    assert video.extension(RID) == 2
    said = lines(found)
    assert [each for each in said if each.startswith("a=rid")] == [
        "a=rid:0 recv",
        "a=rid:1 recv",
        "a=rid:2 recv",
    ]
    assert "a=simulcast:recv 0;1;2" in said
    assert found.peer.candidates == ()
    assert found.peer.ufrag == "jbJT"
    plain = answer("obs-30")  # whose ICE and DTLS attributes are the session's
    assert plain.peer.ufrag == "jbJT"
    assert plain.sections[1].rids == ()
    assert "simulcast" not in plain.text
    assert (
        "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
        in lines(plain)
    )


def test_paused_layers_and_alternatives():
    found = answer("chromium-simulcast", ("send h;m;l", "send h,m;~l"))
    assert found.sections[0].rids == ("h", "l")
    assert found.session.media[0].simulcast.recv == ((Layer(rid="h"),), (Layer(rid="l"),))


def test_rids_choose_the_payload_type():
    changes = [(f"a=rid:{each} send", f"a=rid:{each} send pt=96,98") for each in "hml"]
    found = answer("chromium-simulcast", *changes)
    assert found.sections[0].codec == "vp9"
    assert "a=rid:h recv" in lines(found)


def test_a_bundled_section_at_port_0_is_accepted():
    found = answer("gstreamer-whipclientsink")
    video, audio = found.sections
    assert (video.codec, audio.codec) == ("h264", "opus")
    assert video.payload_type.parameter("sprop-parameter-sets").endswith("aO48sA==")
    assert "a=fmtp:96 packetization-mode=1;profile-level-id=64001f" in lines(found)
    assert "m=audio 40000 UDP/TLS/RTP/SAVPF 98" in lines(found)
    assert "a=group:BUNDLE video0 audio1" in lines(found)


def test_a_section_that_the_offer_switches_off_stays_off():
    found = answer("obs-30", ("m=audio 9", "m=audio 0"), ("BUNDLE 0 1", "BUNDLE 1"))
    assert [each.index for each in found.sections] == [1]
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 111" in lines(found)
    assert found.session.media[1].candidates == LOCAL.candidates


def test_only_strong_fingerprints_are_handed_on():
    found = answer("aiortc-publish")
    assert [each.algorithm for each in found.peer.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    assert found.peer.end_of_candidates
    assert [each.address for each in found.peer.candidates] == ["192.0.2.10", "2001:db8::10"]


@pytest.mark.parametrize(
    ("order", "codec", "number"),
    [
        (("AV1", "H264"), "av1", 45),
        (("VP9",), "vp9", 98),
        (("VP8", "H264"), "vp8", 96),
        (("H265", "VP8"), "vp8", 96),
    ],
)
def test_the_order_of_codecs_is_ours(order: tuple[str, ...], codec: str, number: int):
    found = answer("chromium-publish", video=order)
    assert found.sections[1].codec == codec
    assert found.sections[1].payload_type.number == number


def test_hevc_and_its_parameters():
    found = answer("safari-publish", video=("H265",))
    assert "a=fmtp:104 profile-id=1;tier-flag=0;level-id=93;tx-mode=SRST" in lines(found)
    with pytest.raises(SdpError, match="offers H264, H265"):
        answer("safari-publish", ("tx-mode=SRST", "tx-mode=MRST"), video=("H265",))
    with pytest.raises(SdpError, match="taken are H265"):
        answer("safari-publish", ("tx-mode=SRST", "sprop-max-don-diff=1"), video=("H265",))


def test_packetization_mode_0_is_taken_where_there_is_no_other():
    found = answer("obs-30", ("packetization-mode=1;", "packetization-mode=0;"))
    assert found.sections[1].payload_type.parameter("packetization-mode") == "0"
    assert (
        "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"
        in lines(found)
    )
    bare = answer(
        "obs-30", ("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1", "x=1")
    )
    assert not any(each.startswith("a=fmtp:96") for each in lines(bare))
    later = answer(
        "chromium-publish", ("103 level-asymmetry-allowed=1;packetization-mode=1", "103 a=1")
    )
    assert later.sections[1].payload_type.number == 109


def test_odd_values_are_not_echoed():
    found = answer("obs-30", ("level-asymmetry-allowed=1", "level-asymmetry-allowed=1 x"))
    assert "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f" in lines(found)


def test_mux_only_is_answered_and_a_direction_is_turned():
    found = answer(
        "obs-30",
        ("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n"),
        ("a=extmap:1 ", "a=extmap:1/sendonly "),
    )
    assert lines(found).count("a=rtcp-mux-only") == 2
    assert "a=extmap:1/recvonly urn:ietf:params:rtp-hdrext:sdes:mid" in lines(found)


def test_an_active_client_and_a_lite_one():
    found = answer(
        "obs-30", ("setup:actpass", "setup:active"), ("s=-\r\n", "s=-\r\na=ice-lite\r\n")
    )
    assert lines(found).count("a=setup:passive") == 2
    assert found.peer.ice_lite


def test_a_data_channel_where_the_policy_has_one():
    data = (
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=sctp-port:5000\r\n"
        "a=setup:actpass\r\n"
    )
    changes = [("BUNDLE 0 1", "BUNDLE 0 1 2"), ("m=audio", data + "m=audio")]
    found = answer("obs-30", *changes, data=True)
    assert found.sections[0].sctp_port == 5000
    assert found.sections[0].max_message_size == 65_536
    assert "a=max-message-size:65536" in lines(found)
    with pytest.raises(SdpError, match=r"^A publisher may offer no data channel section\.$"):
        answer("obs-30", *changes)


OFFERED = "VP8, H264, AV1, VP9"
REFUSED = {
    "codec": (
        [("H264/90000", "H263/90000")],
        "The video section (mid 1) offers H263; taken are H264, H265, AV1, VP9, VP8.",
    ),
    "profile": (
        [("42e01f", "99e01f")],
        (
            "The video section (mid 1) offers H264 with profile-level-id 99e01f; taken are H264,"
            " H265, AV1, VP9, VP8."
        ),
    ),
    "interleaved": (
        [("packetization-mode=1", "packetization-mode=2")],
        (
            "The video section (mid 1) offers H264 in packetization mode 2; taken are H264, H265,"
            " AV1, VP9, VP8."
        ),
    ),
    "mono": (
        [("opus/48000/2", "opus/48000")],
        "The audio section (mid 0) offers opus/48000/1; taken are opus.",
    ),
    "direction": (
        [("a=sendonly", "a=recvonly")],
        "The audio section (mid 0) is a=recvonly: a publisher offers a=sendonly.",
    ),
    "bundle": (
        [("a=group:BUNDLE 0 1\r\n", "")],
        "The offer does not bundle all its m= sections: a=group:BUNDLE names each one's a=mid.",
    ),
    "half a bundle": (
        [("BUNDLE 0 1", "BUNDLE 0")],
        "The offer does not bundle all its m= sections: a=group:BUNDLE names each one's a=mid.",
    ),
    "mux": (
        [("a=rtcp-mux\r\n", "")],
        "The audio section (mid 0) does not offer a=rtcp-mux: RTP and RTCP share one port here.",
    ),
    "protocol": (
        [("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 RTP/AVP")],
        "The video section (mid 1) speaks RTP/AVP; only UDP/TLS/RTP/SAVPF is taken.",
    ),
    "credentials": (
        [("a=ice-ufrag:jbJT\r\n", "")],
        "The offer lacks a=ice-ufrag or a=ice-pwd.",
    ),
    "weak": (
        [
            ("fingerprint:sha-256", "fingerprint:sha-1"),
            (":98:14:8D:1A:BB:EA:33:0C:A4:60:A8:8E", ""),
        ],
        "The offer's only a=fingerprint is sha-1; SHA-256 or better is due.",
    ),
    "no fingerprint": (
        [("fingerprint:sha-256", "fingerprint:sha-9")],
        "The offer has no a=fingerprint of SHA-256 or better: media is taken encrypted only.",
    ),
    "passive": (
        [("setup:actpass", "setup:passive")],
        (
            "The offer says a=setup:passive; it must be actpass or active, because this server"
            " waits for the DTLS connection."
        ),
    ),
    "two videos": (
        [("m=audio", "m=video")],
        "The offer has 2 video sections; at most 1 can be published.",
    ),
    "text": (
        [("m=audio", "m=text")],
        "The offer has a section that is neither audio, video nor data.",
    ),
    "nothing": (
        [("m=audio 9", "m=audio 0"), ("m=video 9", "m=video 0")],
        "The offer has no m= section that is switched on.",
    ),
    "no media": (
        [("m=audio", "m=text"), ("m=video", "m=message")],
        "The offer has neither an audio nor a video section.",
    ),
    "layers without names": (
        [("a=rid:1 send\r\n", "")],
        "The video section (mid 1) lists 3 simulcast layers, but has usable a=rid lines for 2.",
    ),
    "layers without an extension": (
        [("sdes:rtp-stream-id", "other")],
        (
            "The video section (mid 1) has simulcast layers without a=extmap of"
            " urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id, by which they are told apart."
        ),
    ),
    "too many layers": (
        [
            ("send 0;1;2", "send 0;1;2;3;4"),
            ("a=rid:2 send", "a=rid:2 send\r\na=rid:3 send\r\na=rid:4 send"),
        ],
        "The video section (mid 1) has 5 simulcast layers; at most 4 are taken.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_offer_is_refused_whole_with_the_reason(case: str):
    changes, sentence = REFUSED[case]
    with pytest.raises(SdpError) as caught:
        answer("obs-32-simulcast", *changes)
    assert str(caught.value) == sentence
    assert caught.value.refusal is Refusal.UNPROCESSABLE


def test_one_extension_id_means_one_thing_in_the_bundle():
    with pytest.raises(SdpError) as caught:
        answer("obs-30", ("a=extmap:2 ", "a=extmap:1 "))
    assert str(caught.value) == "The header extension id 1 stands for two extensions."


def test_what_is_offered_is_named_without_its_helpers():
    with pytest.raises(SdpError) as caught:
        answer("chromium-publish", video=("H265",))
    assert str(caught.value) == f"The video section (mid 1) offers {OFFERED}; taken are H265."
