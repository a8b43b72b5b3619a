"""Answers to viewers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.webrtc.sdp.support import HIGH, LOCAL, SOURCES, VIEWERS, offer
from webrtc.sdp.errors import Refusal, SdpError
from webrtc.sdp.model import Direction, MediaKind, Setup
from webrtc.sdp.negotiate import ABS_SEND_TIME, MID, RID, TRANSPORT_CC, Answer
from webrtc.sdp.parse import parse
from webrtc.sdp.whep import Programme, answer_viewer

pytestmark = pytest.mark.unit


def answer(name: str, *changes: tuple[str, str], programme: Programme = HIGH) -> Answer:
    return answer_viewer(offer(name, *changes), LOCAL, programme, SOURCES)


@pytest.mark.parametrize("name", VIEWERS)
def test_every_answer_sends_picture_and_sound(name: str):
    asked = offer(name)
    found = answer(name)
    said = parse(found.text)
    assert said == found.session
    assert said.bundles == asked.bundles
    for ours, theirs in zip(said.media, asked.media, strict=True):
        assert (ours.kind, ours.mid) == (theirs.kind, theirs.mid)
        assert ours.transport.setup is Setup.PASSIVE
        if ours.kind is not MediaKind.APPLICATION:
            assert ours.direction is Direction.SENDONLY
            assert ours.rtcp_mux
            assert ours.msids[0].stream == "show"
            assert {each.cname for each in ours.sources} == {"vitrina"}
    video, audio = found.section(MediaKind.VIDEO), found.section(MediaKind.AUDIO)
    assert video.ssrcs == (11, 12)
    assert audio.ssrcs == (13,)
    assert (video.codec, audio.codec) == ("h264", "opus")
    assert video.extension(MID)
    assert video.extension(TRANSPORT_CC)
    assert video.extension(ABS_SEND_TIME)
    assert video.extension(RID) is None


def test_chromium():
    found = answer("chromium-view")
    video, audio, data = found.sections
    assert (video.payload_type.number, video.rtx_payload_type) == (127, 125)
    assert (data.kind, data.sctp_port, data.max_message_size) == ("application", 5000, 262_144)
    said = found.text.split("\r\n")
    assert "m=application 40000 UDP/DTLS/SCTP webrtc-datachannel" in said
    assert "a=sctp-port:5000" in said
    assert "a=max-message-size:65536" in said
    assert "a=ssrc-group:FID 11 12" in said
    assert "a=ssrc:11 cname:vitrina" in said
    assert "a=msid:show show-video" in said
    assert (
        "a=fmtp:127 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f" in said
    )
    assert "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1" in said
    assert audio.direction is Direction.SENDONLY
    assert audio.red_payload_type == 63
    assert "a=rtpmap:63 red/48000/2" in said
    assert "a=fmtp:63 111/111" in said
    assert any(each.startswith("m=audio") and each.endswith(" 111 63") for each in said)


def test_a_browser_without_high_gets_what_it_lists():
    baseline = replace(HIGH, profile_level_id="42c01f")
    assert answer("chromium-view", programme=baseline).sections[0].payload_type.number == 109
    main = replace(HIGH, profile_level_id="4d0028")
    assert answer("chromium-view", programme=main).sections[0].payload_type.number == 117
    assert answer("safari-view").sections[0].payload_type.number == 96
    assert answer("safari-view", programme=baseline).sections[0].payload_type.number == 98


def test_without_rtx_there_is_one_source():
    found = answer("safari-view", ("rtx/90000", "rtz/90000"))
    assert found.sections[0].ssrcs == (11,)
    assert found.sections[0].rtx_payload_type is None
    assert "FID" not in found.text


@pytest.mark.parametrize("blocks", ["0/8", "111/8", "111=111"])
def test_packets_of_anything_but_opus_are_not_redundant(blocks: str):
    found = answer("chromium-view", ("fmtp:63 111/111", f"fmtp:63 {blocks}"))
    assert found.sections[1].red_payload_type is None
    assert "red/48000" not in found.text


def test_what_the_stream_lacks_stays_inactive():
    found = answer("chromium-view", programme=replace(HIGH, audio=False))
    assert found.sections[1].direction is Direction.INACTIVE
    assert found.session.media[1].direction is Direction.INACTIVE
    assert found.session.media[1].port == 40_000
    assert found.section(MediaKind.AUDIO) is None
    sound = answer("chromium-view", programme=replace(HIGH, profile_level_id=None))
    assert sound.section(MediaKind.VIDEO) is None
    assert sound.section(MediaKind.AUDIO).ssrcs == (13,)


def test_a_second_video_stays_inactive():
    found = answer("safari-view", ("m=audio", "m=video"), ("opus/48000/2", "H264/90000"))
    assert [each.direction for each in found.sections] == [
        Direction.SENDONLY,
        Direction.INACTIVE,
    ]


DATA = "UDP/DTLS/SCTP webrtc-datachannel"
WANTED = "it wants m=application 9 UDP/DTLS/SCTP webrtc-datachannel."
REFUSED = {
    "profile": (
        [("packetization-mode=1", "packetization-mode=0")],
        HIGH,
        (
            "The video section (mid 0) offers VP8, H264, AV1, VP9; H264 is sent, in packetization"
            " mode 1, with profile-level-id 640028, and none of the offered formats plays it."
        ),
    ),
    "sound": (
        [("opus/48000/2", "speex/48000")],
        HIGH,
        "The audio section (mid 1) offers speex, G722, PCMU, PCMA; Opus is sent.",
    ),
    "sends": (
        [("a=recvonly", "a=sendonly")],
        HIGH,
        "The video section (mid 0) is a=sendonly: a viewer offers a=recvonly.",
    ),
    "nothing": (
        [],
        Programme(profile_level_id=None, audio=False),
        "The offer receives nothing that this stream has.",
    ),
    "no data": (
        [],
        replace(HIGH, data=False),
        "A viewer may offer no data channel section.",
    ),
    "old data": (
        [(DATA, "DTLS/SCTP 5000")],
        HIGH,
        f"The application section (mid 2) is no data channel: {WANTED}",
    ),
    "port": (
        [("a=sctp-port:5000\r\n", "")],
        HIGH,
        "The application section (mid 2) has no a=sctp-port.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_offer_that_cannot_be_served_is_told_why(case: str):
    changes, programme, sentence = REFUSED[case]
    with pytest.raises(SdpError) as caught:
        answer("chromium-view", *changes, programme=programme)
    assert str(caught.value) == sentence
    assert caught.value.refusal is Refusal.UNPROCESSABLE
