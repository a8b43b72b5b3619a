"""AAC: AudioSpecificConfig (ISO 14496-3 1.6.2.1) and the refusal of ADTS."""

from __future__ import annotations

from dataclasses import dataclass

from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError

SAMPLE_RATES = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip
"""Indexed by samplingFrequencyIndex (ISO 14496-3 table 1.18)."""

LOW_COMPLEXITY = 2
SBR = 5
PARAMETRIC_STEREO = 29

_WHAT = "AudioSpecificConfig"
_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 13: 24, 14: 8}
_EXPLICIT_RATE = 15
_SYNC_SBR, _SYNC_PS = 0x2B7, 0x548


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig:
    """An AudioSpecificConfig as a player hears it: SBR and parametric stereo applied."""

    object_type: int
    """2 LC, 5 HE, 29 HE v2."""
    sample_rate: int
    channels: int
    samples_per_frame: int

    @property
    def codec_string(self) -> str:
        """RFC 6381 form."""
        return f"mp4a.40.{self.object_type}"


def parse_asc(config: bytes) -> AudioConfig:
    """Parse an AudioSpecificConfig of AAC-LC, HE-AAC or HE-AAC v2."""
    if config[:1] == b"\xff" and config[1:2] and config[1] & 0xF6 == 0xF0:
        raise BitstreamError(
            "The AAC configuration is an ADTS header; send an AudioSpecificConfig."
        )
    reader = BitReader(config, _WHAT)
    object_type = _object_type(reader)
    core_rate = rate = _sample_rate(reader)
    channel_config = reader.bits(4)
    extension = 0
    if object_type in (SBR, PARAMETRIC_STEREO):
        extension = object_type
        rate = _sample_rate(reader)
        object_type = _object_type(reader)
    if object_type != LOW_COMPLEXITY:
        raise BitstreamError(f"AAC object type {object_type} is not accepted; send AAC-LC.")
    frame_length = 960 if reader.flag() else 1024
    if reader.flag():
        reader.skip(14)
    reader.skip(1)
    channels = _CHANNELS.get(channel_config, 0)
    if channel_config == 0:
        channels = _program_config_channels(reader)
    if not channels:
        raise BitstreamError(
            f"The AudioSpecificConfig says channel configuration {channel_config}, "
            "which is reserved."
        )
    if not extension:
        extension, rate = _sync_extension(reader, core_rate)
    if extension == PARAMETRIC_STEREO and channels == 1:
        channels = 2
    return AudioConfig(
        object_type=extension or object_type,
        sample_rate=rate,
        channels=channels,
        samples_per_frame=frame_length * rate // core_rate,
    )


def _object_type(reader: BitReader) -> int:
    kind = reader.bits(5)
    return 32 + reader.bits(6) if kind == 31 else kind


def _sample_rate(reader: BitReader) -> int:
    index = reader.bits(4)
    rate = reader.bits(24) if index == _EXPLICIT_RATE else 0
    if index < len(SAMPLE_RATES):
        rate = SAMPLE_RATES[index]
    if not 7350 <= rate <= 96000:
        raise BitstreamError(
            f"The AudioSpecificConfig says sample rate index {index} and {rate} Hz; "
            "7350 to 96000 Hz are accepted."
        )
    return rate


def _program_config_channels(reader: BitReader) -> int:
    """Count the channels of a program_config_element() (ISO 14496-3 4.5.1.2)."""
    reader.skip(10)
    paired = reader.bits(4) + reader.bits(4) + reader.bits(4)
    low_frequency = reader.bits(2)
    associated, coupling = reader.bits(3), reader.bits(4)
    for width in (4, 4, 3):
        if reader.flag():
            reader.skip(width)
    channels = low_frequency
    for _ in range(paired):
        channels += 2 if reader.flag() else 1
        reader.skip(4)
    reader.skip(4 * low_frequency + 4 * associated + 5 * coupling)
    reader.align()
    reader.skip(8 * reader.bits(8))
    return channels


def _sync_extension(reader: BitReader, rate: int) -> tuple[int, int]:
    """Find backward-compatible SBR and PS signalling; return (extension type, output rate)."""
    if reader.remaining < 16 or reader.bits(11) != _SYNC_SBR:
        return 0, rate
    if _object_type(reader) != SBR or not reader.flag():
        return 0, rate
    rate = _sample_rate(reader)
    if reader.remaining >= 12 and reader.bits(11) == _SYNC_PS and reader.flag():
        return PARAMETRIC_STEREO, rate
    return SBR, rate
