"""What realtime viewers hear of a stream: rungs, their newest GOP, and sound as Opus."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from media.bitstream import describe
from media.model import TICKS_PER_SECOND, Codec, Packet, TrackFormat
from media.realtime import MAX_GOP_TICKS, RealtimeFeed
from media.realtime_source import CODED, RealtimeSource
from tests.media.ear import Ear

pytestmark = pytest.mark.unit

H264 = TrackFormat(codec=Codec.H264, config=b"", codec_string="avc1.42c01f", width=640, height=360)
HEVC = replace(H264, codec=Codec.HEVC, codec_string="hvc1")
AAC = describe(Codec.AAC, bytes([0x11, 0x90]))
MP3 = TrackFormat(codec=Codec.MP3, config=b"", codec_string="mp4a.40.34", sample_rate=44_100)
OPUS = describe(Codec.OPUS, b"")
SURROUND = replace(OPUS, channels=6)
FRAME = 3000
TWENTY_MS = b"\xfc\xff\xfe"
"""An Opus packet of 20 ms of silence."""


def picture(number: int, *, key: bool = False, pts: int | None = None, size: int = 10) -> Packet:
    return Packet(
        track=0,
        codec=Codec.H264,
        dts=number * FRAME,
        pts=number * FRAME if pts is None else pts,
        key=key,
        payload=bytes(size),
        arrived_ns=0,
    )


def sound(pts: int, codec: Codec = Codec.OPUS, payload: bytes = TWENTY_MS) -> Packet:
    return Packet(track=0, codec=codec, dts=pts, pts=pts, key=True, payload=payload, arrived_ns=0)


@dataclass
class Encoder:
    """The worker's Opus encoder, as the show sees it."""

    tracks: list[TrackFormat | None] = field(default_factory=list)
    heard: list[Packet] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    now_ns: int = 0

    def listen(self, sound: TrackFormat | None) -> None:
        self.tracks.append(sound)

    def hear(self, packet: Packet) -> None:
        self.heard.append(packet)

    def want_key(self, rung: str) -> None:
        self.keys.append(rung)


@pytest.fixture
def feed() -> RealtimeFeed:
    return RealtimeFeed()


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def source(feed: RealtimeFeed, encoder: Encoder) -> RealtimeSource:
    return RealtimeSource(feed, encoder, lambda: encoder.now_ns)


@pytest.fixture
def ear(feed: RealtimeFeed) -> Ear:
    ear = Ear()
    feed.add(ear)
    return ear


# ── the feed ─────────────────────────────────────────────────────────────────────────────────


def test_a_listener_hears_formats_packets_and_ends_in_order(feed: RealtimeFeed, ear: Ear) -> None:
    key, after = picture(0, key=True), picture(1)
    feed.set_format("source", H264)
    feed.set_format("source", H264)
    feed.push("source", key)
    feed.push("nothing", after)
    feed.push("source", after)
    feed.close("source")
    feed.close("source")
    feed.end()
    assert ear.heard == [
        ("source", H264), ("source", key), ("source", after), "gone source", "ended",
    ]  # fmt: skip
    assert feed.rungs() == {}


def test_who_comes_later_begins_at_the_newest_key_frame_of_every_rung(feed: RealtimeFeed) -> None:
    pictures = [picture(number, key=number % 30 == 0) for number in range(75)]
    for rung in ("source", "360p"):
        feed.set_format(rung, H264)
        for each in pictures:
            feed.push(rung, each)
    feed.set_format("opus", OPUS)
    feed.push("opus", sound(0))
    ear = Ear()
    feed.add(ear)
    assert ear.packets("source") == ear.packets("360p") == pictures[60:]
    assert ear.heard[0] == ("source", H264)
    assert ear.heard[-1] == ("opus", OPUS), "sound begins with what comes"
    assert feed.rungs() == {"source": H264, "360p": H264, "opus": OPUS}


def test_nobody_begins_with_the_last_pictures_of_a_rung_that_pauses(feed: RealtimeFeed) -> None:
    for rung in ("source", "360p"):
        feed.set_format(rung, H264)
    for number in range(100):
        feed.push("source", picture(number, key=number == 0))
        if number < 30:
            feed.push("360p", picture(number, key=number == 0))
    ear = Ear()
    feed.add(ear)
    assert len(ear.packets("source")) == 100
    assert ear.packets("360p") == []
    assert ("360p", H264) in ear.heard


def test_a_gop_is_not_kept_beyond_its_bounds(feed: RealtimeFeed) -> None:
    feed.set_format("source", H264)
    last = MAX_GOP_TICKS // FRAME
    for number in range(last + 2):
        feed.push("source", picture(number, key=number == 0))
    late = Ear()
    feed.add(late)
    assert late.packets("source") == []
    feed.push("source", picture(last + 2, key=True))
    later = Ear()
    feed.add(later)
    assert later.packets("source") == [picture(last + 2, key=True)]
    feed.push("source", picture(last + 3, size=17 * 2**20))
    latest = Ear()
    feed.add(latest)
    assert latest.packets("source") == []


def test_another_format_begins_with_a_key_frame_of_its_own(feed: RealtimeFeed) -> None:
    feed.set_format("source", H264)
    feed.push("source", picture(0, key=True))
    feed.set_format("source", replace(H264, width=320, height=180))
    ear = Ear()
    feed.add(ear)
    assert ear.packets("source") == []


def test_b_frames_are_known_once_one_came(feed: RealtimeFeed) -> None:
    feed.set_format("source", H264)
    assert not feed.reorders("nothing")
    # Encoders that could have B-frames delay every picture alike.
    for number in range(60):
        feed.push("source", picture(number, key=number == 0, pts=(number + 2) * FRAME))
    assert not feed.reorders("source")
    feed.push("source", picture(60, pts=60 * FRAME))
    assert feed.reorders("source")
    feed.set_format("source", replace(H264, width=320))
    assert not feed.reorders("source")


def test_a_listener_that_fails_is_dropped_and_the_others_hear_on(
    feed: RealtimeFeed, ear: Ear
) -> None:
    class Deaf(Ear):
        def packet(self, rung: str, packet: Packet) -> None:
            raise RuntimeError(rung)

    deaf = Deaf()
    feed.add(deaf)
    feed.set_format("source", H264)
    feed.push("source", picture(0, key=True))
    feed.push("source", picture(1))
    assert len(ear.packets("source")) == 2
    assert deaf.heard == [("source", H264)]
    feed.remove(ear)
    assert not feed.listening


# ── a show's side ────────────────────────────────────────────────────────────────────────────


def test_pictures_that_are_not_h264_are_no_rung(source: RealtimeSource, ear: Ear) -> None:
    source.formats([HEVC, AAC])
    source.packet(replace(picture(0, key=True), codec=Codec.HEVC))
    source.rung_format("720p", H264)
    source.rung_packet("720p", picture(0, key=True))
    assert ear.heard == [("opus", CODED), ("720p", H264), ("720p", picture(0, key=True))]
    source.formats([H264, AAC])  # the slate in its place
    source.packet(picture(1, key=True))
    source.formats([HEVC, AAC])
    assert ear.heard[3:] == [("source", H264), ("source", picture(1, key=True)), "gone source"]


def test_rungs_go_with_the_plan_and_with_the_worker(source: RealtimeSource, ear: Ear) -> None:
    for rung in ("720p", "360p"):
        source.rung_format(rung, H264)
    source.rung_format("audio", AAC)
    source.keep(["720p", "240p"])
    source.rung_packet("360p", picture(0, key=True))
    assert ear.heard == [("720p", H264), ("360p", H264), "gone 360p"]
    source.keep([])
    source.rung_format("720p", H264)
    assert ear.heard[3:] == ["gone 720p", ("720p", H264)]


def test_opus_passes_as_it_came(source: RealtimeSource, encoder: Encoder, ear: Ear) -> None:
    source.formats([H264, OPUS])
    packets = [sound(pts) for pts in (0, 1800, 3600, 9000)]
    for packet in packets:
        source.packet(packet)
    source.packet(packets[-1])
    assert ear.packets("opus") == packets
    assert encoder.tracks == []


@pytest.mark.parametrize("track_format", [AAC, MP3, SURROUND], ids=lambda f: f.codec_string)
def test_other_sound_is_encoded_while_somebody_listens(
    source: RealtimeSource, encoder: Encoder, feed: RealtimeFeed, track_format: TrackFormat
) -> None:
    source.formats([track_format])
    assert feed.rungs() == {"opus": CODED}
    packets = [sound(number * 1920, track_format.codec) for number in range(4)]
    source.packet(packets[0])
    assert encoder.tracks == []
    ear = Ear()
    feed.add(ear)
    source.packet(packets[1])
    source.packet(packets[2])
    assert encoder.tracks == [track_format]
    assert encoder.heard == packets[1:3]
    source.rung_format("opus", CODED)
    source.rung_packet("opus", sound(1920))
    assert ear.packets("opus") == [sound(1920)]
    feed.remove(ear)
    source.packet(packets[3])
    assert encoder.tracks == [track_format, None]
    assert encoder.heard == packets[1:3]


def test_sound_goes_on_through_the_slate(
    source: RealtimeSource, encoder: Encoder, ear: Ear
) -> None:
    source.formats([H264, OPUS])
    source.packet(sound(0))
    # The encoder is gone: silence as the show's renditions have it, encoded.
    for number in range(4):
        source.sound(sound(1800 + number * 1920, Codec.AAC), AAC)
    assert encoder.tracks == [AAC]
    for pts in (1000, 1575, 3375, 5175):
        source.rung_packet("opus", replace(sound(pts), duration=1800))
    # It is back; what the worker still had of the silence comes too late.
    source.packet(sound(7000))
    source.rung_packet("opus", replace(sound(6975), duration=1800))
    source.packet(sound(8800))
    heard = [packet.pts for packet in ear.packets("opus")]
    assert heard == [0, 1575, 3375, 5175, 7000, 8800]


def test_sound_that_changes_is_encoded_as_what_it_is(
    source: RealtimeSource, encoder: Encoder, ear: Ear
) -> None:
    source.formats([AAC])
    source.packet(sound(0, Codec.AAC))
    source.formats([MP3])
    source.packet(sound(1920, Codec.MP3))
    source.formats([OPUS])
    source.packet(sound(TICKS_PER_SECOND))
    assert encoder.tracks == [AAC, MP3]
    assert [packet.codec for packet in encoder.heard] == [Codec.AAC, Codec.MP3]
    assert ear.heard == [("opus", CODED), ("opus", sound(TICKS_PER_SECOND))]
    source.ended()
    assert ear.heard[-1] == "ended"


def test_however_many_ask_a_rung_makes_one_key_frame_a_second(
    source: RealtimeSource, encoder: Encoder
) -> None:
    assert not source.request_key("720p")
    assert encoder.keys == []
    source.rung_format("720p", H264)
    for _ in range(100):
        assert source.request_key("720p")
    assert encoder.keys == ["720p"]
    encoder.now_ns = 900_000_000
    source.request_key("720p")
    source.tick()
    assert encoder.keys == ["720p"]
    encoder.now_ns = 1_000_000_000
    source.tick()
    source.tick()
    assert encoder.keys == ["720p"] * 2
    encoder.now_ns += 500_000_000
    source.request_key("720p")
    source.rung_packet("720p", picture(60, key=True))
    encoder.now_ns += 500_000_000
    source.tick()
    assert encoder.keys == ["720p"] * 2, "the segment's own came"
