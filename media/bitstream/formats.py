"""From a codec's configuration to the `TrackFormat` that the rest of the server reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bitstream import aac, ac3, av1, flac, h264, hevc, hevc_sps, mp3, opus, vp8, vp9
from media.bitstream.errors import BitstreamError
from media.model import Codec, TrackFormat

if TYPE_CHECKING:
    from media.bitstream.picture import PictureFormat
    from media.colour import Colour

IN_BAND = frozenset({Codec.MP3, Codec.AC3, Codec.EAC3})
"""Codecs without a configuration: the header of every frame says it all."""
MAX_CONFIG_BYTES = 65_536
"""The largest configuration that is looked at; real ones have under 1 kB."""


def describe(codec: Codec, config: bytes) -> TrackFormat:
    """Parse a codec's configuration into a complete `TrackFormat`.

    `config` is what `TrackFormat.config` documents; for Opus it may be empty (stereo), for the
    codecs of `IN_BAND` it is a frame and for VP8 a key frame (the header is enough), for VP9 the
    FullBox header may be missing. A vpcC has no picture size: complete the format with
    `vp9.with_dimensions` and the first key frame.
    Raises `BitstreamError` with a sentence for the producer.
    """
    if codec is Codec.VP8:
        return vp8.describe_key_frame(config)
    if len(config) > MAX_CONFIG_BYTES and codec not in IN_BAND:
        raise BitstreamError(
            f"The {codec} configuration has {len(config)} bytes; "
            f"at most {MAX_CONFIG_BYTES} are accepted."
        )
    if codec is Codec.VP9:
        return _vp9_format(config)
    if codec.kind == "audio":
        return _audio_format(codec, config)
    picture = _picture(codec, config)
    return TrackFormat(
        codec=codec,
        config=config,
        codec_string=picture.codec_string,
        width=picture.width,
        height=picture.height,
        sar=picture.sar,
        frame_rate=picture.frame_rate,
        bit_depth=max(picture.bit_depth, picture.bit_depth_chroma),
        chroma=picture.chroma,
        colour=_told(picture.colour),
    )


def colour_of(codec: Codec, config: bytes) -> Colour | None:
    """Return the colour description of a video configuration, None where it has none."""
    if codec is Codec.VP8:
        return None
    colour = vp9.parse_vpcc(config).colour if codec is Codec.VP9 else _picture(codec, config).colour
    return _told(colour)


def _told(colour: Colour | None) -> Colour | None:
    return colour if colour is not None and (colour.known or colour.full_range) else None


def _picture(codec: Codec, config: bytes) -> PictureFormat:
    if codec is Codec.H264:
        return h264.parse_sps(h264.parse_avcc(config).sps[0])
    if codec is Codec.HEVC:
        return hevc_sps.parse_sps(hevc.parse_hvcc(config).sps[0])
    if codec is Codec.AV1:
        return av1.parse_av1c(config).picture
    raise ValueError(f"{codec} has no picture.")


def _vp9_format(config: bytes) -> TrackFormat:
    parsed = vp9.parse_vpcc(config)
    return TrackFormat(
        codec=Codec.VP9,
        config=parsed.record,
        codec_string=parsed.codec_string(),
        bit_depth=parsed.bit_depth,
        chroma=parsed.chroma,
        colour=_told(parsed.colour),
    )


def _audio_format(codec: Codec, config: bytes) -> TrackFormat:
    if codec is Codec.AAC:
        audio = aac.parse_asc(config)
        return TrackFormat(
            codec=codec,
            config=config,
            codec_string=audio.codec_string,
            sample_rate=audio.sample_rate,
            channels=audio.channels,
            samples_per_frame=audio.samples_per_frame,
        )
    if codec is Codec.OPUS:
        head = opus.parse_head(config)
        return TrackFormat(
            codec=codec,
            config=config or opus.DEFAULT_HEAD,
            codec_string="Opus",
            sample_rate=opus.SAMPLE_RATE,
            channels=head.channels,
        )
    if codec is Codec.FLAC:
        info = flac.parse_streaminfo(config)
        return TrackFormat(
            codec=codec,
            config=info.block,
            codec_string=flac.CODEC_STRING,
            sample_rate=info.sample_rate,
            channels=info.channels,
            samples_per_frame=info.samples_per_frame,
        )
    if codec in (Codec.AC3, Codec.EAC3):
        return _ac3_format(codec, config)
    header = mp3.parse_header(config)
    return TrackFormat(
        codec=codec,
        config=b"",
        codec_string=mp3.CODEC_STRING,
        sample_rate=header.sample_rate,
        channels=header.channels,
        samples_per_frame=header.samples_per_frame,
    )


def _ac3_format(codec: Codec, frame: bytes) -> TrackFormat:
    header = ac3.parse_header(frame)
    if header.enhanced is not (codec is Codec.EAC3):
        found, announced = ("E-AC-3", "AC-3") if header.enhanced else ("AC-3", "E-AC-3")
        raise BitstreamError(f"The audio was announced as {announced} but is {found}.")
    return TrackFormat(
        codec=codec,
        config=b"",
        codec_string=ac3.CODEC_STRING_ENHANCED if header.enhanced else ac3.CODEC_STRING,
        sample_rate=header.sample_rate,
        channels=header.channels,
        # An E-AC-3 encoder may vary it from frame to frame.
        samples_per_frame=0 if header.enhanced else header.samples_per_frame,
    )
