"""The server's state machine by whole conversations, without a socket."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.amf0 import UNDEFINED, decode
from ingest.rtmp.chunks import ChunkLimits, ChunkReader, Message
from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.events import (
    Event,
    FormatChanged,
    MetadataReceived,
    PublishEnded,
    PublishRequested,
    TrackEnded,
    TrackIgnored,
)
from ingest.rtmp.session import ServerSession, State
from ingest.rtmp.strangers import EARLY_BYTES, EARLY_MESSAGES, TURN_COST
from media.bitstream import describe
from media.colour import Colour
from media.model import Codec, Kind, Packet
from tests.ingest.rtmp.support import (
    AAC_CONFIG,
    AAC_FRAME,
    ASC,
    AVC_CONFIG,
    AVC_KEY,
    AVCC,
    CONNECT,
    CREATE,
    HANDSHAKE,
    amf,
    header,
    only,
    publish,
    whole,
)

pytestmark = pytest.mark.unit

LIMITS = ChunkLimits(max_message_bytes=2**20, max_partial_bytes=2**21, max_chunk_streams=64)


class Talk:
    """A session and a reader for what it answers."""

    def __init__(self) -> None:
        self.session = ServerSession(limits=LIMITS, describe=describe)
        self.answers = ChunkReader(LIMITS)
        self.now_ns = 0
        self._greeted = False

    def send(self, data: bytes) -> list[Event]:
        self.now_ns += 1000
        self.session.receive_data(data, self.now_ns)
        return self.events()

    def events(self) -> list[Event]:
        found = []
        while (event := self.session.next_event()) is not None:
            found.append(event)
        return found

    def read(self) -> list[Message]:
        data = self.session.data_to_send()
        if not self._greeted:
            data = data[3073:]
            self._greeted = True
        self.answers.receive_data(data)
        messages = []
        while (message := self.answers.next_message()) is not None:
            messages.append(message)
        return messages

    def commands(self) -> list[list[object]]:
        return [list(decode(m.payload)) for m in self.read() if m.type == 20]


@pytest.fixture
def talk() -> Talk:
    """After connect, its answers read."""
    talk = Talk()
    assert talk.send(HANDSHAKE + CONNECT) == []
    talk.read()
    return talk


@pytest.fixture
def live(talk: Talk) -> Talk:
    """Publishing, the answers read."""
    talk.send(CREATE + publish("key"))
    talk.session.accept_publish()
    talk.read()
    return talk


def media(type_id: int, body: bytes, time: int = 0) -> bytes:
    return whole(4 if type_id == 8 else 6, type_id, body, time=time, stream=1)


def test_connect_is_answered_in_order_and_with_enhanced_capabilities() -> None:
    talk = Talk()
    talk.send(HANDSHAKE + CONNECT)
    window, bandwidth, size, result = talk.read()
    assert (window.type, window.payload) == (5, struct.pack(">I", 2_500_000))
    assert (bandwidth.type, bandwidth.payload) == (6, struct.pack(">IB", 2_500_000, 2))
    assert (size.type, size.payload) == (1, struct.pack(">I", 65536))
    name, transaction, _properties, info = decode(result.payload)
    assert (name, transaction) == ("_result", 1.0)
    assert isinstance(info, dict)
    assert info["code"] == "NetConnection.Connect.Success"
    assert info["objectEncoding"] == 0
    video, audio = (
        ["avc1", "hvc1", "av01", "vp09"],
        ["mp4a", "Opus", "fLaC", "ac-3", "ec-3", ".mp3"],
    )
    assert info["fourCcList"] == video + audio
    assert info["videoFourCcInfoMap"] == dict.fromkeys(video, 1 + 4)
    assert info["audioFourCcInfoMap"] == dict.fromkeys(audio, 1) | {"mp4a": 1 + 4}
    assert info["capsEx"] == 1 + 2 + 4 + 8


@pytest.mark.parametrize("caps", [None, 0, 2 + 4, -1, float("nan"), 2.0**40, "1"])
def test_who_does_not_know_the_request_is_not_asked_to_reconnect(caps: object) -> None:
    talk = Talk()
    told = {} if caps is None else {"capsEx": caps}
    talk.send(HANDSHAKE + whole(3, 20, amf("connect", 1, {"app": "live", **told})))
    talk.send(CREATE + publish("key"))
    talk.session.accept_publish()
    talk.read()
    assert not talk.session.request_reconnect("Come again.")
    assert talk.read() == []


def test_who_knows_the_request_is_asked_to_reconnect_and_heard_until_it_leaves() -> None:
    talk = Talk()
    talk.send(HANDSHAKE + whole(3, 20, amf("connect", 1, {"app": "live", "capsEx": 1 + 2})))
    assert not talk.session.request_reconnect("Come again.")
    talk.send(CREATE + publish("key"))
    talk.session.accept_publish()
    talk.read()
    assert talk.session.request_reconnect("Come again.")
    (message,) = talk.read()
    assert message.stream_id == 0
    assert decode(message.payload) == [
        "onStatus",
        0.0,
        None,
        {
            "level": "status",
            "code": "NetConnection.Connect.ReconnectRequest",
            "description": "Come again.",
        },
    ]
    assert len(talk.send(media(9, AVC_CONFIG) + media(9, AVC_KEY))) == 2


def test_nothing_says_start_ahead_of_the_key_check(talk: Talk) -> None:
    calls = (
        whole(3, 20, amf("releaseStream", 2, None, "key"))
        + whole(3, 20, amf("FCPublish", 3, None, "key"))
        + CREATE
    )
    assert talk.send(calls) == []
    assert talk.commands() == [
        ["_result", 2.0, None, UNDEFINED],
        ["_result", 3.0, None, UNDEFINED],
        [
            "onFCPublish",
            3.0,
            None,
            {"level": "status", "description": "Publish to be answered on the stream."},
        ],
        ["_result", 4.0, None, 1.0],
    ]
    (event,) = talk.send(publish("key?tok=1"))
    assert isinstance(event, PublishRequested)
    assert (event.key, event.query) == ("key", {"tok": "1"})
    assert "key" not in repr(event).replace("PublishRequested", "")
    assert talk.session.data_to_send() == b""
    talk.session.accept_publish()
    begin, status = talk.read()
    assert (begin.type, begin.payload) == (4, struct.pack(">HI", 0, 1))
    assert status.stream_id == 1
    assert decode(status.payload)[0] == "onStatus"
    assert decode(status.payload)[3]["code"] == "NetStream.Publish.Start"  # type: ignore[index,call-overload]


def test_a_refused_key_is_a_bad_name(talk: Talk) -> None:
    talk.send(CREATE + publish("wrong"))
    talk.read()
    talk.session.refuse_publish("No such key.")
    ((_, _, _, info),) = talk.commands()
    assert info == {
        "level": "error",
        "code": "NetStream.Publish.BadName",
        "description": "No such key.",
    }
    assert talk.send(media(9, AVC_CONFIG)) == []


def test_what_follows_publish_waits_for_the_key_check(talk: Talk) -> None:
    rest = media(9, AVC_CONFIG) + media(9, AVC_KEY, 5)
    assert [type(e) for e in talk.send(CREATE + publish("key") + rest)] == [PublishRequested]
    assert talk.events() == []
    talk.session.accept_publish()
    assert [type(e) for e in talk.events()] == [FormatChanged, Packet]


@pytest.mark.parametrize(
    ("app", "tc_url", "name", "key", "query"),
    [
        ("live", "rtmp://h/live", "KEY", "KEY", {}),
        ("live", "rtmp://h/live?a=1", "KEY?b=2", "KEY", {"a": "1", "b": "2"}),
        ("live?a=1", "", "K%20Y?a=%32", "K Y", {"a": "2"}),
        ("live/KEY", "", "", "KEY", {}),
        ("KEY", "", "?clientConfigId=7", "KEY", {"clientConfigId": "7"}),
        ("live/KEY/", "", "?x", "KEY", {"x": ""}),
        ("'live'", "'rtmp://h/live'", "'KEY'", "KEY", {}),
        ("", "rtmp://[bad", "", "", {}),
        ("live?key=KEY", "rtmp://h/live?key=KEY", "any", "KEY", {}),
        ("live", "rtmp://h/live", "any?key=K%20Y&a=1", "K Y", {"a": "1"}),
        ("live?key=KEY", "", "?clientConfigId=7", "KEY", {"clientConfigId": "7"}),
        ("live?key=", "", "KEY", "KEY", {}),
        ("live/KEY?user=u&response=r&opaque=o", "", "", "KEY", {}),
    ],
)
def test_where_the_key_is(
    app: str, tc_url: str, name: str, key: str, query: dict[str, str]
) -> None:
    talk = Talk()
    talk.send(HANDSHAKE + whole(3, 20, amf("connect", 1, {"app": app, "tcurl": tc_url})))
    (event,) = talk.send(CREATE + publish(name))
    assert isinstance(event, PublishRequested)
    assert (event.key, event.query) == (key, query)


def test_publish_without_create_stream_and_the_amf3_command_type(talk: Talk) -> None:
    payload = b"\0" + amf("publish", 0, None, "key", "live")
    (event,) = talk.send(whole(3, 17, payload, stream=0))
    assert isinstance(event, PublishRequested)


def test_unknown_calls_get_an_empty_result(talk: Talk) -> None:
    talk.send(whole(3, 20, amf("_checkbw", 9, None)) + whole(3, 20, amf("noTransaction", 0, None)))
    assert talk.commands() == [["_result", 9.0, None, None]]


def test_fc_publish_after_create_stream_is_fine(talk: Talk) -> None:
    talk.send(CREATE + whole(3, 20, amf("FCPublish", 5, None, "key")))
    assert [c[0] for c in talk.commands()] == ["_result", "_result", "onFCPublish"]


def test_stream_ids_are_allocated_and_bounded(talk: Talk) -> None:
    talk.send(CREATE + CREATE + whole(3, 20, amf("deleteStream", 0, None, 1)) + CREATE)
    assert [c[3] for c in talk.commands()] == [1.0, 2.0, 1.0]
    with pytest.raises(RtmpError, match="created 16 streams"):
        talk.send(CREATE * 20)


def test_pings_are_answered_and_sent(live: Talk) -> None:
    live.send(header(1, 30, length=6, type_id=4) + struct.pack(">HI", 6, 1234))
    live.session.ping(77)
    pong, ping = live.read()
    assert (pong.type, pong.payload) == (4, struct.pack(">HI", 7, 1234))
    assert (ping.type, ping.payload) == (4, struct.pack(">HI", 6, 77))
    assert live.send(whole(2, 4, struct.pack(">HI", 31, 0))) == []


def test_acknowledgements_follow_the_window(live: Talk) -> None:
    live.send(whole(2, 5, struct.pack(">I", 1000)))
    live.read()
    live.send(media(8, AAC_CONFIG))
    (first,) = live.read()
    acknowledged = live.session.received
    assert (first.type, first.payload) == (3, struct.pack(">I", acknowledged))
    live.send(media(8, b"\xaf\x01" + bytes(700)))
    assert live.read() == []
    live.send(media(8, b"\xaf\x01" + bytes(400)))
    (second,) = live.read()
    assert second.payload == struct.pack(">I", live.session.received)
    assert live.session.received - acknowledged >= 1000


def test_formats_and_packets_in_90_khz(live: Talk) -> None:
    events = live.send(
        media(9, AVC_CONFIG)
        + media(8, AAC_CONFIG)
        + media(9, b"\x17\x01\x00\x00\x21" + AVC_KEY[5:], 1000)
        + media(8, AAC_FRAME, 1003)
    )
    avc, aac, video, audio = events
    assert isinstance(avc, FormatChanged)
    assert (avc.track, avc.track_format.config, avc.track_format.width) == (0, AVCC, 320)
    assert isinstance(aac, FormatChanged)
    assert (aac.track_format.config, aac.track_format.sample_rate) == (ASC, 44100)
    assert video == Packet(
        track=0,
        codec=Codec.H264,
        dts=90_000,
        pts=90_000 + 33 * 90,
        key=True,
        payload=b"\0\0\0\x05\x65abcd",
        arrived_ns=live.now_ns,
    )
    assert audio == Packet(
        track=0,
        codec=Codec.AAC,
        dts=1003 * 90,
        pts=1003 * 90,
        key=True,
        payload=b"sound",
        arrived_ns=live.now_ns,
    )


def test_arrival_is_that_of_the_last_byte(live: Talk) -> None:
    live.send(media(8, AAC_CONFIG))
    data = media(8, AAC_FRAME)
    assert live.send(data[:-1]) == []
    (packet,) = live.send(data[-1:])
    assert isinstance(packet, Packet)
    assert packet.arrived_ns == live.now_ns


def test_a_nanosecond_offset_moves_the_presentation_time(live: Talk) -> None:
    live.send(media(8, b"\x90Opus"))
    (packet,) = live.send(media(8, b"\x97\x02\x07\xa1\x20\x01Opusp", 10))
    assert isinstance(packet, Packet)
    assert (packet.dts, packet.pts) == (945, 945)


@pytest.mark.parametrize("rate", [(30, 1), (60, 1), (24_000, 1001), (60_000, 1001)])
def test_nanoseconds_make_frame_times_exact(live: Talk, rate: tuple[int, int]) -> None:
    live.send(media(9, AVC_CONFIG))
    for number in range(100):
        ns = number * 1_000_000_000 * rate[1] // rate[0]
        modifier = b"\x97\x02" + (ns % 1_000_000).to_bytes(3, "big") + b"\x03"
        (packet,) = live.send(media(9, modifier + b"avc1" + AVC_KEY[5:], ns // 1_000_000))
        assert isinstance(packet, Packet)
        assert packet.dts == packet.pts
        # The nearest tick; the encoder itself cut off less than a nanosecond.
        assert abs(packet.pts - number * 90_000 * rate[1] / rate[0]) <= 0.5001


def test_nanoseconds_leave_the_decoding_time_of_reordered_pictures(live: Talk) -> None:
    live.send(media(9, AVC_CONFIG))
    body = b"\x97\x02" + (500_000).to_bytes(3, "big") + b"\x01avc1\0\0\x21" + AVC_KEY[5:]
    (packet,) = live.send(media(9, body, 100))
    assert isinstance(packet, Packet)
    assert (packet.dts, packet.pts) == (9000, 9000 + 33 * 90 + 45)


def test_an_identical_configuration_is_ignored_and_another_announced(live: Talk) -> None:
    other = AVC_CONFIG[:-1] + b"\xc9"
    assert len(live.send(media(9, AVC_CONFIG))) == 1
    assert live.send(media(9, AVC_CONFIG)) == []
    (event,) = live.send(media(9, other))
    assert isinstance(event, FormatChanged)
    assert event.track_format.config == other[5:]


def test_media_that_nothing_can_decode_is_dropped_and_counted(live: Talk) -> None:
    inter = b"\x27\x01\0\0\0" + b"\0\0\0\x05\x41\x9abcd"
    assert live.send(media(9, AVC_KEY) + media(8, AAC_FRAME)) == []
    (event,) = live.send(media(9, AVC_CONFIG) + media(9, inter))
    assert isinstance(event, FormatChanged)
    assert live.session.dropped == 3
    assert len(live.send(media(9, AVC_KEY) + media(9, inter))) == 2


@pytest.mark.parametrize("size", [1, 2])
def test_short_nal_lengths_become_four_bytes(live: Talk, size: int) -> None:
    record = AVCC[:4] + bytes((0xFC | size - 1,)) + AVCC[5:]
    body = b"".join(len(n).to_bytes(size, "big") + n for n in (b"\x65abc", b"", b"\x65d"))
    event, packet = live.send(media(9, b"\x17\0\0\0\0" + record) + media(9, AVC_KEY[:5] + body))
    assert isinstance(event, FormatChanged)
    assert event.track_format.config == AVCC[:4] + b"\xff" + AVCC[5:]
    assert isinstance(packet, Packet)
    assert packet.payload == b"\0\0\0\x04\x65abc" + b"\0\0\0\0" + b"\0\0\0\x02\x65d"


def test_short_nal_lengths_that_overrun_are_refused(live: Talk) -> None:
    record = AVCC[:4] + b"\xfc" + AVCC[5:]
    with pytest.raises(RtmpError, match="A NAL unit is longer than its access unit"):
        live.send(media(9, b"\x17\0\0\0\0" + record) + media(9, AVC_KEY[:5] + b"\x09ab"))


def test_av1_loses_its_temporal_delimiter(live: Talk) -> None:
    av1c = bytes.fromhex("81000c000a0b0200000521e7f66017c002")
    event, packet = live.send(
        media(9, b"\x90av01" + av1c) + media(9, b"\x91av01\x12\x00\x32\x01\x10")
    )
    assert isinstance(event, FormatChanged)
    assert isinstance(packet, Packet)
    assert packet.payload == b"\x32\x01\x10"


def test_mp3_is_announced_by_its_first_frame(live: Talk) -> None:
    frame = b"\xff\xfb\x90\x64" + bytes(400)
    event, packet = live.send(media(8, b"\x2f" + frame))
    assert isinstance(event, FormatChanged)
    assert (event.track_format.codec, event.track_format.sample_rate) == (Codec.MP3, 44100)
    assert isinstance(packet, Packet)
    assert packet.payload == frame
    louder = b"\x2f\xff\xfb\xa0\x64"
    assert [type(e) for e in live.send(media(8, louder + bytes(400)))] == [Packet]
    slower = b"\x2f\xff\xfb\x94\x64"
    assert [type(e) for e in live.send(media(8, slower + bytes(400)))] == [FormatChanged, Packet]


def test_other_tracks_are_handed_on_with_their_number(live: Talk) -> None:
    data = media(9, b"\x96\x00avc1\x02" + AVCC) + media(9, b"\x96\x03avc1\x02" + AVC_KEY[5:])
    event, packet = live.send(data)
    assert isinstance(event, FormatChanged)
    assert isinstance(packet, Packet)
    assert (event.track, packet.track) == (2, 2)


def test_an_unsupported_codec_ends_track_0_but_not_another(live: Talk) -> None:
    extra = media(8, b"\x95\x01samr\x01x")
    (event,) = live.send(extra + extra)
    assert isinstance(event, TrackIgnored)
    assert (event.track, event.kind) == (1, Kind.AUDIO)
    assert "0x73616d72" in event.text
    with pytest.raises(RtmpError) as caught:
        live.send(media(8, b"\xb2spx"))
    assert caught.value.fault is Fault.CODEC
    assert str(caught.value) == (
        "The encoder sends Speex, which is not accepted: "
        "set H.264, HEVC, AV1 or VP9 video and AAC, Opus, MP3, FLAC, AC-3 or E-AC-3 audio."
    )


def test_ac3_is_announced_by_its_frames(live: Talk) -> None:
    assert live.send(media(8, b"\x90ac-3")) == []
    stereo = b"\x91ac-3\x0b\x77\0\0\x0c\x40\x40\0"
    changed, packet = live.send(media(8, stereo))
    assert isinstance(changed, FormatChanged)
    assert (changed.track_format.sample_rate, changed.track_format.channels) == (48_000, 2)
    assert isinstance(packet, Packet)
    assert packet.payload == stereo[5:]
    assert [type(e) for e in live.send(media(8, stereo))] == [Packet]
    surround = b"\x91ac-3\x0b\x77\0\0\x0c\x40\xe1\0"
    changed, _ = live.send(media(8, surround))
    assert isinstance(changed, FormatChanged)
    assert changed.track_format.channels == 6


def test_channels_complete_an_empty_opus_head(live: Talk) -> None:
    (first,) = live.send(media(8, b"\x90Opus"))
    assert isinstance(first, FormatChanged)
    assert first.track_format.channels == 2
    surround = b"\x94Opus\x01\x06\x00\x00\x00\x3f"
    (changed,) = live.send(media(8, surround))
    assert isinstance(changed, FormatChanged)
    assert changed.track_format.channels == 6
    assert live.send(media(8, surround) + media(8, b"\x90Opus")) == []
    assert live.send(media(8, b"\x94Opus\x00\x00")) == []


def test_colour_metadata_completes_a_picture_that_says_nothing(live: Talk) -> None:
    def metadata(*values: object) -> bytes:
        return media(9, b"\xd4avc1" + amf("colorInfo", *values))

    hlg = {"colorPrimaries": 9, "transferCharacteristics": 18, "matrixCoefficients": 9}
    assert live.send(metadata({"colorConfig": hlg})) == []
    (first,) = live.send(media(9, AVC_CONFIG))
    assert isinstance(first, FormatChanged)
    assert first.track_format.colour == Colour(primaries=9, transfer=18, matrix=9)
    assert live.send(metadata({"colorConfig": hlg}) + media(9, AVC_CONFIG)) == []
    (reset,) = live.send(metadata(None))
    assert isinstance(reset, FormatChanged)
    assert reset.track_format == describe(Codec.H264, AVCC)


@pytest.mark.parametrize("broken", [b"\x02\x00\x09colorInfo\x03\x00", b"\x02\xff", b"\x7f"])
def test_broken_colour_metadata_costs_no_connection(live: Talk, broken: bytes) -> None:
    before = live.session.dropped
    assert live.send(media(9, b"\xd4avc1" + broken)) == []
    assert live.session.dropped == before + 1
    (first,) = live.send(media(9, AVC_CONFIG))
    assert isinstance(first, FormatChanged)


def test_a_dependent_substream_of_eac3_announces_nothing(live: Talk) -> None:
    # Independent 5.1, then a dependent pair, as 7.1 is sent; bsid 16.
    main = b"\x91ec-3\x0b\x77\x00\x63\x3f\x80\0\0"
    added = b"\x91ec-3\x0b\x77\x40\x63\x34\x80\0\0"
    data = media(8, main) + media(8, added) + media(8, main)
    assert [type(e) for e in live.send(data)] == [FormatChanged, Packet, Packet, Packet]


def test_a_broken_configuration_is_the_encoders_fault(live: Talk) -> None:
    with pytest.raises(RtmpError) as caught:
        live.send(media(9, b"\x17\0\0\0\0" + AVCC[:9]))
    assert caught.value.fault is Fault.MEDIA


def test_an_ended_track_is_said_once(live: Talk) -> None:
    live.send(media(9, AVC_CONFIG))
    end = media(9, b"\x17\x02\0\0\0")
    assert live.send(end + end) == [TrackEnded(0, Kind.VIDEO)]


def test_aggregates_are_split_and_keep_their_distances(live: Talk) -> None:
    live.send(media(9, AVC_CONFIG) + media(8, AAC_CONFIG))

    def member(type_id: int, time: int, body: bytes) -> bytes:
        head = bytes((type_id,)) + len(body).to_bytes(3, "big")
        times = (time & 0xFFFFFF).to_bytes(3, "big") + bytes((time >> 24,))
        return head + times + b"\0\0\0" + body + struct.pack(">I", len(body) + 11)

    body = member(9, 0x1000010, AVC_KEY) + member(8, 0x1000030, AAC_FRAME)
    packets = live.send(whole(6, 22, body, time=500, stream=1))
    assert [(p.codec, p.dts) for p in packets if isinstance(p, Packet)] == [
        (Codec.H264, 500 * 90),
        (Codec.AAC, 532 * 90),
    ]
    with pytest.raises(RtmpError, match="An aggregate message is cut short"):
        live.send(whole(6, 22, body[:20], stream=1))


def test_an_aggregate_of_aggregates_is_refused(live: Talk) -> None:
    inner = b"\x16\0\0\0\0\0\0\0\0\0\0" + bytes(4)
    with pytest.raises(RtmpError, match="holds another one"):
        live.send(whole(6, 22, inner, stream=1))


def test_metadata_in_both_forms(live: Talk) -> None:
    plain = whole(4, 18, amf("onMetaData", {"encoder": "x"}), stream=1)
    wrapped = whole(4, 18, amf("@setDataFrame", "onMetaData", {"encoder": "x"}), stream=1)
    assert live.send(plain + wrapped) == [MetadataReceived({"encoder": "x"})] * 2


def test_time_codes_and_other_data_are_dropped(live: Talk) -> None:
    data = whole(4, 18, b"\0\0\0\0") + whole(4, 18, b"") + whole(4, 18, amf("onCuePoint", {}))
    assert live.send(data) == []


@pytest.mark.parametrize("broken", [b"\x08\0\0\0\x01\0\x05width", b"\x63", b"\x0a\xff\xff\xff\xff"])
def test_broken_metadata_costs_no_connection(live: Talk, broken: bytes) -> None:
    """The encoder would send it again with every connection, and never be on air."""
    assert live.send(whole(4, 18, amf("@setDataFrame", "onMetaData") + broken, stream=1)) == []
    assert live.session.dropped == 1
    assert live.send(whole(4, 18, amf("onMetaData", {"encoder": "x"}), stream=1))


def test_goodbye_and_a_second_publication(live: Talk) -> None:
    bye = whole(3, 20, amf("FCUnpublish", 6, None, "key"))
    delete = whole(3, 20, amf("deleteStream", 7, None, 1))
    assert live.send(bye + delete) == [PublishEnded()]
    assert live.send(media(9, AVC_CONFIG)) == []
    assert [type(e) for e in live.send(CREATE + publish("key"))] == [PublishRequested]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (CONNECT, "The client sent connect twice."),
        (media(9, AVC_CONFIG), "The client sent media before it published a stream."),
        (whole(3, 20, amf("play", 0, None, "x")), "Playing over RTMP is not offered"),
        (whole(3, 20, amf(5, "connect")), "A command has no name."),
        (whole(3, 20, b"\x04"), "0x04 is no AMF0 marker."),
        (header(0, 3, length=65537, type_id=20), "A message of 65537 bytes is larger than 65536."),
        (whole(2, 4, b"\0"), "A user control message is shorter than 2 bytes."),
    ],
)
def test_what_a_stranger_must_not_do(talk: Talk, data: bytes, text: str) -> None:
    with pytest.raises(RtmpError) as caught:
        talk.send(data)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("data", [CREATE, publish("k"), whole(3, 20, amf("FCPublish", 3, None))])
def test_nothing_goes_ahead_of_connect(data: bytes) -> None:
    with pytest.raises(RtmpError, match="before connect"):
        Talk().send(HANDSHAKE + data)


def test_publishing_twice_is_refused(live: Talk) -> None:
    with pytest.raises(RtmpError, match="published twice on one connection"):
        live.send(publish("key"))


def test_strangers_may_not_send_for_ever(talk: Talk) -> None:
    shared_object = whole(3, 19, bytes(60_000))

    def flood() -> None:
        for _ in range(EARLY_BYTES // len(shared_object) + 1):
            talk.send(shared_object)

    with pytest.raises(RtmpError, match="bytes without publishing"):
        flood()


def test_strangers_may_not_send_a_message_a_byte(talk: Talk) -> None:
    acknowledgement = header(0, 3, type_id=3)
    talk.send(acknowledgement + header(3, 3) * (EARLY_MESSAGES - 2))
    with pytest.raises(RtmpError, match=f"{EARLY_MESSAGES} messages without publishing"):
        talk.send(header(3, 3))


def test_a_turn_ends_where_parsing_took_its_share(live: Talk) -> None:
    live.session.begin_turn()
    flood = header(0, 3, type_id=3) + header(3, 3) * (2 * TURN_COST)
    assert live.send(flood + media(9, AVC_CONFIG)) == []
    assert live.session.turn_over
    assert live.events() == []
    turns = 1
    found: list[Event] = []
    while live.session.turn_over:
        live.session.begin_turn()
        found += live.events()
        turns += 1
    assert turns == 3
    assert [type(event) for event in found] == [FormatChanged]


def test_amf_costs_more_of_a_turn_than_media(live: Talk) -> None:
    live.send(media(9, AVC_CONFIG))
    live.session.begin_turn()
    assert len(live.send(media(9, AVC_KEY + bytes(60_000)))) == 1
    assert not live.session.turn_over
    live.send(whole(3, 20, amf("x", 0, None) + b"\5" * 4000) * 3)
    assert live.session.turn_over


def test_a_large_message_is_welcome_after_the_key_check(live: Talk) -> None:
    live.send(media(9, AVC_CONFIG))
    (packet,) = live.send(media(9, AVC_KEY[:5] + bytes(200_000)))
    assert isinstance(packet, Packet)
    assert len(packet.payload) == 200_000


def test_failing_tells_a_publisher_why(live: Talk) -> None:
    live.session.fail("Too large.")
    ((_, _, _, info),) = live.commands()
    assert info == {
        "level": "error",
        "code": "NetStream.Publish.Rejected",
        "description": "Too large.",
    }
    assert live.session.state is State.FAILED


commands = st.sampled_from(
    ["connect", "createStream", "publish", "FCPublish", "FCUnpublish", "deleteStream", "x"]
).map(lambda name: whole(3, 20, amf(name, 1, {"app": "a"}, "k")))
bodies = st.builds(
    lambda type_id, body: whole(5, type_id, body, stream=1),
    st.sampled_from([3, 4, 5, 6, 8, 9, 15, 17, 18, 20, 22]),
    st.binary(max_size=60),
)


@given(st.lists(commands | bodies | st.binary(max_size=30), max_size=12), st.booleans())
def test_any_order_of_anything_raises_only_the_typed_error(
    parts: list[bytes], accept: bool
) -> None:
    talk = Talk()
    talk.send(HANDSHAKE)
    with only(*Fault):
        for part in parts:
            talk.send(part)
            if talk.session.state is State.AUTHORIZING and accept:
                talk.session.accept_publish()


def test_a_turn_ends_among_chunks_of_a_byte(live: Talk) -> None:
    live.send(whole(2, 1, (1).to_bytes(4, "big")))
    live.session.begin_turn()
    chunks = header(0, 3, length=30_000, type_id=19) + b"\xc3".join([b"\0"] * 30_000)
    assert live.send(chunks) == []
    turns = 1
    while live.session.turn_over:
        live.session.begin_turn()
        live.events()
        turns += 1
    assert turns > 30_000 // TURN_COST


def test_a_flood_of_large_pictures_takes_turns(live: Talk) -> None:
    live.session.begin_turn()
    picture = media(9, b"\x27\1\0\0\0" + bytes(60_000))
    assert live.send(picture * 16) == []
    turns = 1
    while live.session.turn_over:
        live.session.begin_turn()
        live.events()
        turns += 1
    assert turns >= 16 * 60_000 // (TURN_COST * 128)
