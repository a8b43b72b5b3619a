"""A publication as a server reads it: our client against our session, joined without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.events import Event, FormatChanged, MetadataReceived
from media.model import Codec, Kind, Packet, TrackFormat
from restream.muxer import Muxer, RestartNeeded, Unsendable
from tests.ingest.rtmp.support import ASC, AVCC
from tests.ingest.rtmp.wire import Wire
from tests.restream.media import AAC, AVC, AVC_LARGER, HEVC, picture, sound

pytestmark = pytest.mark.unit

VIDEO = TrackFormat(codec=Codec.H264, config=AVCC, codec_string="avc1", width=640, height=360)
AUDIO = TrackFormat(
    codec=Codec.AAC, config=ASC, codec_string="mp4a.40.2", sample_rate=48000, channels=2
)
HOUR = 3600 * 90_000


class Publication:
    def __init__(self, *codecs: Codec) -> None:
        self.wire = Wire()
        self.wire.publish()
        self.muxer = Muxer(self.wire.client, frozenset(codecs))

    def heard(self) -> list[Event]:
        self.wire.run()
        heard, self.wire.heard = self.wire.heard, []
        return heard

    def packets(self) -> list[tuple[Kind, int, int]]:
        """Kind, dts and composition offset in milliseconds."""
        return [
            (e.kind, e.dts // 90, (e.pts - e.dts) // 90)
            for e in self.heard()
            if isinstance(e, Packet)
        ]


def test_times_start_at_zero_with_the_first_picture() -> None:
    publication = Publication()
    take = publication.muxer.take
    take((VIDEO, AUDIO))
    take(picture(HOUR, key=True, late=6000))
    take(sound(HOUR - 900))
    take(sound(HOUR + 1000))
    take(picture(HOUR + 3003, late=3000))
    assert publication.packets() == [
        (Kind.VIDEO, 0, 67),
        (Kind.AUDIO, 11, 0),
        (Kind.VIDEO, 33, 34),
    ]


def test_metadata_and_headers_come_first() -> None:
    publication = Publication()
    publication.muxer.take((VIDEO, AUDIO))
    publication.muxer.take(picture(5, key=True))
    metadata, video, audio, packet = publication.heard()
    assert isinstance(metadata, MetadataReceived)
    assert metadata.values == {
        "encoder": "Vitrina",
        "width": 640.0,
        "height": 360.0,
        "videocodecid": 7.0,
        "audiocodecid": 10.0,
        "audiosamplerate": 48000.0,
        "audiochannels": 2.0,
        "stereo": True,
    }
    assert isinstance(video, FormatChanged)
    assert isinstance(audio, FormatChanged)
    assert (video.track_format.config, audio.track_format.config) == (AVCC, ASC)
    assert isinstance(packet, Packet)


def test_new_parameters_of_the_same_codec_are_announced_ahead_of_their_packet() -> None:
    sent: list[tuple[object, ...]] = []

    class Client:
        def metadata(self, values):
            sent.append(("metadata", values["width"]))

        def video_config(self, codec, record, time_ms):
            sent.append((codec, record, time_ms))

        def audio_config(self, codec, record, time_ms):
            sent.append((codec, record, time_ms))

        def video(self, codec, payload, *, key, time_ms, offset_ms):
            sent.append((codec, time_ms))

    muxer = Muxer(Client(), frozenset())  # type: ignore[arg-type]
    muxer.take((AVC, AAC))
    muxer.take(picture(0, key=True))
    muxer.take((AVC_LARGER,))  # the sound is gone, too
    muxer.take(sound(1000))
    muxer.take(picture(90_000, key=True))
    assert sent == [
        ("metadata", 640.0),
        (Codec.H264, b"avcC1", 0),
        (Codec.AAC, b"\x11\x90", 0),
        (Codec.H264, 0),
        ("metadata", 1280.0),
        (Codec.H264, b"avcC2", 1000),
        (Codec.H264, 1000),
    ]


def test_another_codec_or_a_track_more_needs_another_connection() -> None:
    for first, then in (((AVC, AAC), (HEVC, AAC)), ((AVC,), (AVC, AAC)), ((AAC,), (AVC, AAC))):
        publication = Publication(Codec.HEVC)
        publication.muxer.take(first)
        publication.muxer.take(then)  # nothing was sent yet: no harm
        publication.muxer.take(first)
        item = picture(0, key=True) if first[0] is AVC else sound(0)
        publication.muxer.take(item)
        with pytest.raises(RestartNeeded):
            publication.muxer.take(then)


def test_what_the_target_does_not_take_is_named_with_the_mend() -> None:
    publication = Publication()
    with pytest.raises(Unsendable) as caught:
        publication.muxer.take((HEVC, AAC))
    assert str(caught.value) == (
        "The stream is HEVC, and the target does not say that it takes HEVC: push H.264 from the "
        "encoder, or add hevc to the codecs of the target if it does take it."
    )


def test_our_own_server_says_what_it_takes() -> None:
    publication = Publication()
    assert publication.wire.client.accepts == frozenset(Codec) - {Codec.VP8}


@pytest.mark.parametrize("codec", [Codec.HEVC, Codec.AV1, Codec.VP9])
def test_enhanced_codecs_are_announced_and_sent(codec: Codec) -> None:
    sent: list[str] = []

    class Client:
        def __getattr__(self, name):
            return lambda *args, **kwargs: sent.append(name)

    muxer = Muxer(Client(), frozenset({codec}))  # type: ignore[arg-type]
    muxer.take((TrackFormat(codec=codec, config=b"c", codec_string="x"),))
    muxer.take(picture(0, key=True, codec=codec, late=3000))
    assert sent == ["metadata", "video_config", "video"]


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(-HOUR, HOUR), st.integers(-(2**31), 2**31)),
        max_size=60,
    )
)
def test_times_never_go_back(steps: list[tuple[bool, int, int]]) -> None:
    times: dict[str, list[int]] = {"video": [], "audio": []}

    class Client:
        def __getattr__(self, name):
            return lambda *args, **kwargs: None

        def video(self, codec, payload, *, key, time_ms, offset_ms):
            offset_ms.to_bytes(3, "big", signed=True)
            times["video"].append(time_ms)

        def audio(self, codec, payload, *, time_ms):
            times["audio"].append(time_ms)

    muxer = Muxer(Client(), frozenset())  # type: ignore[arg-type]
    muxer.take((AVC, AAC))
    muxer.take(picture(0, key=True))
    for is_video, dts, late in steps:
        muxer.take(picture(dts, late=late) if is_video else sound(dts))
    for found in times.values():
        assert found == sorted(found)
        assert not found or found[0] >= 0
    assert times["video"][0] == 0
