"""The multivariant playlist, read by m3u8."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import m3u8
import pytest

from media.colour import Colour
from media.hls.multivariant import RenditionInfo, render_multivariant
from tests.media.hls.support import AUDIO_FORMAT, VIDEO_FORMAT

pytestmark = pytest.mark.unit


def info(name, height, peak, average=None, *, rate=Fraction(30000, 1001), sar=(1, 1)):
    fmt = replace(VIDEO_FORMAT, width=height * 16 // 9, height=height, frame_rate=rate, sar=sar)
    return RenditionInfo(name=name, format=fmt, peak_bps=peak, average_bps=average or peak)


AUDIO = RenditionInfo(name="audio", format=AUDIO_FORMAT, peak_bps=140_000, average_bps=128_000)


def test_source_first_then_descending_with_their_audio():
    text = render_multivariant(
        [
            info("360p", 360, 700_000),
            AUDIO,
            info("720p", 720, 2_800_000, 2_500_000),
            info("source", 720, 2_000_000),
            info("480p", 480, 1_200_000),
        ],
        chapters_uri="chapters.json",
    ).decode()
    playlist = m3u8.loads(text)
    assert [p.uri.split("/")[0] for p in playlist.playlists] == ["source", "720p", "480p", "360p"]
    stream = playlist.playlists[1].stream_info
    assert stream.bandwidth == 2_940_000
    assert stream.average_bandwidth == 2_628_000
    assert stream.codecs == "avc1.64001f,mp4a.40.2"
    assert stream.resolution == (1280, 720)
    assert "FRAME-RATE=29.970," in text
    assert stream.audio == "audio"
    (media,) = playlist.media
    assert (media.uri, media.default, media.autoselect, media.channels) == (
        "audio/index.m3u8",
        "YES",
        "YES",
        "2",
    )
    (data,) = playlist.session_data
    assert (data.data_id, data.uri) == ("com.apple.hls.chapters", "chapters.json")
    assert "INDEPENDENT" not in text


def test_video_alone_has_no_group():
    text = render_multivariant([info("source", 720, 1)], independent_segments=True).decode()
    assert "EXT-X-MEDIA:" not in text
    assert "AUDIO=" not in text
    assert m3u8.loads(text).is_independent_segments


def test_audio_alone_is_one_variant():
    playlist = m3u8.loads(render_multivariant([AUDIO]).decode())
    (variant,) = playlist.playlists
    assert variant.uri == "audio/index.m3u8"
    assert variant.stream_info.codecs == "mp4a.40.2"
    assert variant.stream_info.resolution is None
    assert not playlist.media


def test_sound_alone_in_two_languages_is_one_variant_with_a_choice():
    """As variants of their own, a player would change the language with its bandwidth."""
    german = replace(AUDIO, name="audio-de", peak_bps=150_000, language="de")
    text = render_multivariant([replace(AUDIO, language="en"), german]).decode()
    playlist = m3u8.loads(text)
    (variant,) = playlist.playlists
    assert variant.uri == "audio/index.m3u8"
    assert variant.stream_info.audio == "audio"
    assert (variant.stream_info.bandwidth, variant.stream_info.codecs) == (150_000, "mp4a.40.2")
    assert [(m.uri, m.language, m.default) for m in playlist.media] == [
        ("audio/index.m3u8", "en", "YES"),
        ("audio-de/index.m3u8", "de", "NO"),
    ]


def test_resolution_is_the_size_at_which_to_display():
    text = render_multivariant([info("source", 576, 1, sar=(64, 45))]).decode()
    assert "RESOLUTION=1456x576" in text


def test_nothing_to_offer_is_an_error():
    with pytest.raises(ValueError, match="at least one rendition"):
        render_multivariant([])


def test_video_range_is_said_of_every_variant_once_one_is_hdr():
    def ranges(*transfers):
        items = [
            replace(
                item, format=replace(item.format, colour=transfer and Colour(transfer=transfer))
            )
            for item, transfer in zip(
                [info("source", 1080, 6_000_000), info("720p", 720, 2_800_000)],
                transfers,
                strict=True,
            )
        ]
        playlist = m3u8.loads(render_multivariant([*items, AUDIO]).decode())
        return [p.stream_info.video_range for p in playlist.playlists]

    assert ranges(16, 1) == ["PQ", "SDR"]
    assert ranges(18, None) == ["HLG", "SDR"]
    assert ranges(18, 18) == ["HLG", "HLG"]
    assert ranges(14, None) == ranges(None, None) == [None, None]
