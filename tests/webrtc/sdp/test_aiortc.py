"""What aiortc, which shares no line with us, reads in our answers, and offers itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.sdp import SessionDescription

from tests.webrtc.sdp.support import HIGH, LOCAL, PUBLISHERS, SOURCES, VIEWERS, offer
from webrtc.sdp.candidates import Candidate
from webrtc.sdp.model import MediaKind
from webrtc.sdp.negotiate import MID, Answer
from webrtc.sdp.parse import parse
from webrtc.sdp.whep import answer_viewer
from webrtc.sdp.whip import PublishPolicy, answer_publisher

pytestmark = pytest.mark.component

NEAR = replace(
    LOCAL,
    candidates=(Candidate(foundation="1", priority=2130706431, address="127.0.0.1", port=9),),
)


def answers() -> list[Answer]:
    publishing = [answer_publisher(offer(name), LOCAL, PublishPolicy()) for name in PUBLISHERS]
    return publishing + [answer_viewer(offer(name), LOCAL, HIGH, SOURCES) for name in VIEWERS]


@pytest.mark.parametrize("answer", answers(), ids=PUBLISHERS + VIEWERS)
def test_our_answers_read_as_meant(answer: Answer):
    read = SessionDescription.parse(answer.text)
    assert [each.items for each in read.group] == [list(answer.session.bundles[0])]
    assert len(read.media) == len(answer.session.media)
    for theirs, ours in zip(read.media, answer.session.media, strict=True):
        assert (theirs.kind, theirs.rtp.muxId) == (ours.kind, ours.mid)
        assert (theirs.ice.usernameFragment, theirs.ice.password) == (LOCAL.ufrag, LOCAL.password)
        assert theirs.dtls.role == "server"
        assert [each.value for each in theirs.dtls.fingerprints] == [LOCAL.fingerprint.text]
        assert [(each.ip, each.port, each.priority) for each in theirs.ice_candidates] == [
            (each.address, each.port, each.priority) for each in ours.candidates
        ]
        assert theirs.ice_candidates_complete == ours.end_of_candidates
        if ours.kind is MediaKind.APPLICATION:
            assert theirs.sctp_port == 5000
            assert theirs.sctpCapabilities.maxMessageSize == 65_536
            continue
        assert theirs.direction == ours.direction
        assert theirs.rtcp_mux
        assert theirs.msid == (
            f"{ours.msids[0].stream} {ours.msids[0].track}" if ours.msids else None
        )
        assert [(each.id, each.uri) for each in theirs.rtp.headerExtensions] == [
            (each.id, each.uri) for each in ours.extensions
        ]
        assert [(each.payloadType, each.clockRate) for each in theirs.rtp.codecs] == [
            (each.number, each.clock_rate) for each in ours.payload_types
        ]
        assert [(each.ssrc, each.cname) for each in theirs.ssrc] == [
            (each.ssrc, each.cname) for each in ours.sources
        ]


async def test_a_publisher_offers_and_takes_the_answer():
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
        connection.addTransceiver(VideoStreamTrack(), direction="sendonly")
        await connection.setLocalDescription(await connection.createOffer())
        asked = parse(connection.localDescription.sdp)
        answer = answer_publisher(asked, NEAR, PublishPolicy())
        audio, video = answer.sections
        assert (audio.codec, video.codec) == ("opus", "h264")
        assert video.rtx_payload_type is not None
        assert video.extension(MID) == audio.extension(MID) is not None
        assert answer.peer.candidates == asked.media[0].candidates != ()
        assert answer.peer.end_of_candidates
        assert len(answer.peer.fingerprints) == 3
        await connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        assert connection.signalingState == "stable"
        assert [each.currentDirection for each in connection.getTransceivers()] == ["sendonly"] * 2
    finally:
        await connection.close()


async def test_a_viewer_offers_and_takes_the_answer():
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")
        connection.createDataChannel("cues")
        await connection.setLocalDescription(await connection.createOffer())
        programme = replace(HIGH, profile_level_id="42c01f")
        answer = answer_viewer(parse(connection.localDescription.sdp), NEAR, programme, SOURCES)
        assert answer.section(MediaKind.VIDEO).ssrcs == (SOURCES.video, SOURCES.video_rtx)
        assert answer.section(MediaKind.APPLICATION).max_message_size == 262_144
        await connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        assert connection.signalingState == "stable"
        assert [each.currentDirection for each in connection.getTransceivers()] == ["recvonly"] * 2
        assert connection.sctp is not None
    finally:
        await connection.close()
