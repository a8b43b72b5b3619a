"""Audio configurations and frame headers against encoders and hand-known bytes."""

from __future__ import annotations

import pytest

from media.bitstream import BitstreamError, ac3, describe, flac, mp3, opus
from media.model import Codec
from tests.media.bitstream import clips

pytestmark = pytest.mark.component


@pytest.mark.parametrize(
    ("rate", "layout", "channels"),
    [(48_000, "stereo", 2), (44_100, "mono", 1), (22_050, "stereo", 2), (96_000, "5.1", 6)],
)
def test_aac_of_the_encoder(rate: int, layout: str, channels: int) -> None:
    fmt = clips.audio("aac", rate=rate, layout=layout, seconds=0.2).fmt
    assert (fmt.codec_string, fmt.sample_rate, fmt.channels) == ("mp4a.40.2", rate, channels)
    assert fmt.samples_per_frame == 1024


@pytest.mark.parametrize(("layout", "channels"), [("quad", 4), ("7.0", 7), ("2.1", 3)])
def test_aac_with_a_program_configuration_element(layout: str, channels: int) -> None:
    fmt = clips.audio("aac", layout=layout, seconds=0.1).fmt
    assert fmt.config[1] & 0x78 == 0
    assert (fmt.channels, fmt.sample_rate) == (channels, 48_000)


@pytest.mark.parametrize(
    ("config", "string", "rate", "channels", "samples"),
    [
        ("1190", "mp4a.40.2", 48_000, 2, 1024),
        ("1210", "mp4a.40.2", 44_100, 2, 1024),
        ("1194", "mp4a.40.2", 48_000, 2, 960),
        ("2b8a0800", "mp4a.40.5", 44_100, 1, 2048),
        ("eb8a0800", "mp4a.40.29", 44_100, 2, 2048),
        # Backward compatible: AAC-LC at 22.05 kHz, SBR to 44.1 kHz signalled behind it.
        ("139056e5a0", "mp4a.40.5", 44_100, 2, 2048),
        ("138856e5a54880", "mp4a.40.29", 44_100, 2, 2048),
        # 13076 Hz written out.
        ("1780198a08", "mp4a.40.2", 13_076, 1, 1024),
    ],
)
def test_aac_of_known_bytes(
    config: str, string: str, rate: int, channels: int, samples: int
) -> None:
    fmt = describe(Codec.AAC, bytes.fromhex(config))
    assert (fmt.codec_string, fmt.sample_rate, fmt.channels) == (string, rate, channels)
    assert fmt.samples_per_frame == samples


def test_adts_is_refused_with_advice() -> None:
    payload = clips.audio("aac").raw[3]
    with pytest.raises(BitstreamError, match=r"is an ADTS header; send an AudioSpecificConfig\.$"):
        describe(Codec.AAC, clips.adts(payload))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("0a10", "AAC object type 1 is not accepted; send AAC-LC."),
        ("f94040", "AAC object type 42 is not accepted; send AAC-LC."),
        ("11", "The AudioSpecificConfig ends before its last field."),
        ("11c8", "The AudioSpecificConfig says channel configuration 9, which is reserved."),
    ],
)
def test_aac_that_no_viewer_plays(config: str, sentence: str) -> None:
    with pytest.raises(BitstreamError) as caught:
        describe(Codec.AAC, bytes.fromhex(config))
    assert str(caught.value) == sentence


def test_empty_opus_head_is_stereo() -> None:
    fmt = describe(Codec.OPUS, b"")
    assert (fmt.codec_string, fmt.sample_rate, fmt.channels) == ("Opus", 48_000, 2)
    assert describe(Codec.OPUS, fmt.config) == fmt


@pytest.mark.parametrize("layout", ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "7.1"])
def test_default_opus_heads_map_channels_as_ffmpeg_does(layout: str) -> None:
    told = opus.parse_head(clips.audio("opus", layout=layout, seconds=0.1).fmt.config)
    made = opus.parse_head(opus.default_head(told.channels))
    assert (made.family, made.mapping) == (told.family, told.mapping)
    assert opus.default_head(0) == opus.default_head(9) == opus.DEFAULT_HEAD


@pytest.mark.parametrize("duration", ["2.5", "5", "10", "20", "40", "60", "80", "120"])
@pytest.mark.parametrize("mode", ["voip", "audio", "lowdelay"])
def test_opus_packet_durations(duration: str, mode: str) -> None:
    options = (("frame_duration", duration), ("application", mode), ("b", "24000"))
    clip = clips.audio("opus", seconds=0.5, options=options)
    expected = int(float(duration) * 48)
    assert {opus.packet_samples(raw) for raw in clip.raw} == {expected}


def test_opus_surround_head() -> None:
    fmt = clips.audio("opus", layout="5.1", seconds=0.1).fmt
    assert fmt.channels == 6
    assert len(opus.parse_head(fmt.config).mapping) == 8


@pytest.mark.parametrize(
    ("rate", "layout", "samples"),
    [(48_000, "stereo", 1152), (44_100, "mono", 1152), (22_050, "stereo", 576)],
)
def test_mp3_headers(rate: int, layout: str, samples: int) -> None:
    clip = clips.audio("mp3", rate=rate, layout=layout)
    assert clip.fmt.codec_string == "mp4a.40.34"
    assert clip.fmt.config == b""
    assert clip.fmt.sample_rate == rate
    assert clip.fmt.channels == (1 if layout == "mono" else 2)
    assert clip.fmt.samples_per_frame == samples
    assert [mp3.parse_header(raw).frame_bytes for raw in clip.raw] == [len(r) for r in clip.raw]


@pytest.mark.parametrize(
    ("rate", "layout", "channels"), [(48_000, "stereo", 2), (44_100, "mono", 1), (96_000, "5.1", 6)]
)
def test_flac_streaminfo_in_its_three_wrappings(rate: int, layout: str, channels: int) -> None:
    clip = clips.audio("flac", rate=rate, layout=layout)
    bare = clip.raw_config
    assert len(bare) == 34
    for config in (bare, b"\x80\0\0\x22" + bare, b"fLaC\x80\0\0\x22" + bare):
        fmt = describe(Codec.FLAC, config)
        assert (fmt.codec_string, fmt.sample_rate, fmt.channels) == ("fLaC", rate, channels)
        assert fmt.samples_per_frame == int.from_bytes(bare[:2], "big") > 1000
        assert describe(Codec.FLAC, fmt.config) == fmt
    # The checksum and length that an encoder tells at its end make no other format.
    ended = bare[:4] + b"\0\0\x10\0\x20\0" + bare[10:13] + bytes((bare[13] | 3,)) + b"\7" * 20
    assert describe(Codec.FLAC, ended) == describe(Codec.FLAC, bare)
    assert flac.parse_streaminfo(bare).bit_depth == 16


@pytest.mark.parametrize("kind", ["ac3", "eac3"])
@pytest.mark.parametrize(
    ("rate", "layout", "channels"),
    [
        (48_000, "stereo", 2),
        (44_100, "mono", 1),
        (32_000, "5.1", 6),
        (48_000, "3.0", 3),
        (48_000, "4.0", 4),
        (48_000, "quad", 4),
        (48_000, "5.0", 5),
    ],
)
def test_ac3_headers(kind: str, rate: int, layout: str, channels: int) -> None:
    clip = clips.audio(kind, rate=rate, layout=layout, seconds=0.2)
    assert clip.fmt.codec_string == {"ac3": "ac-3", "eac3": "ec-3"}[kind]
    assert (clip.fmt.sample_rate, clip.fmt.channels) == (rate, channels)
    assert clip.fmt.config == b""
    headers = {ac3.parse_header(raw) for raw in clip.raw}
    assert [h.samples_per_frame for h in headers] == [1536]
    assert not any(ac3.adds_channels(raw) for raw in clip.raw)


def test_eac3_of_known_bits() -> None:
    # strmtyp 1, substream 0, frmsiz 99; fscod 3 fscod2 1 (22.05 kHz), acmod 7, lfe, bsid 16.
    frame = int("00001011 01110111 01000000 01100011 11011111 10000000".replace(" ", ""), 2)
    unit = frame.to_bytes(6, "big") + b"\0\0"
    header = ac3.parse_header(unit)
    assert (header.sample_rate, header.channels, header.samples_per_frame) == (22_050, 6, 1536)
    assert ac3.adds_channels(unit)
