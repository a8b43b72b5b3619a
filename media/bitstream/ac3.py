"""AC-3 and E-AC-3 syncframe headers (ETSI TS 102 366, 4.4 and E.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

from media.bitstream.bits import BitReader
from media.bitstream.errors import BitstreamError

CODEC_STRING = "ac-3"
CODEC_STRING_ENHANCED = "ec-3"
HEADER_BYTES = 8
"""What `parse_header` looks at."""
SAMPLES_PER_FRAME = 1536
"""Of AC-3; E-AC-3 may send 256, 512 or 768."""

_SYNC = 0x0B77
_SWAPPED = 0x770B
_RATES = (48_000, 44_100, 32_000)
_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)
"""Full-bandwidth channels by acmod (table 4.3); 0 is two independent ones."""
_LAST_AC3, _FIRST_EAC3, _LAST_EAC3 = 10, 11, 16
_DEPENDENT, _RESERVED = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ac3Header:
    """One syncframe's header."""

    enhanced: bool
    sample_rate: int
    channels: int
    """Low-frequency effects included; of this substream alone."""
    samples_per_frame: int


def adds_channels(frame: bytes) -> bool:
    """Whether an E-AC-3 access unit begins with a dependent substream: it belongs to the last."""
    head = frame[:HEADER_BYTES]
    if len(head) < HEADER_BYTES or int.from_bytes(head[:2], "big") != _SYNC:
        return False
    return head[5] >> 3 > _LAST_AC3 and head[2] >> 6 == _DEPENDENT


def parse_header(frame: bytes) -> Ac3Header:
    """Parse the header of the first syncframe of an access unit."""
    if len(frame) < HEADER_BYTES:
        raise BitstreamError("The AC-3 frame ends before its header does.")
    sync = int.from_bytes(frame[:2], "big")
    if sync == _SWAPPED:
        raise BitstreamError("The AC-3 frame has its bytes swapped in pairs; send it big-endian.")
    if sync != _SYNC:
        raise BitstreamError("The AC-3 frame does not begin with its sync word.")
    # bsid lies at the same place in both, so that decoders can tell them apart.
    bsid = frame[5] >> 3
    if bsid <= _LAST_AC3:
        return _plain(frame, bsid)
    if _FIRST_EAC3 <= bsid <= _LAST_EAC3:
        return _enhanced(frame)
    raise BitstreamError(f"The AC-3 frame has bit stream id {bsid}; 0 to 16 are known.")


def _rate(code: int) -> int:
    if code >= len(_RATES):
        raise BitstreamError("The AC-3 header says a sample rate that does not exist.")
    return _RATES[code]


def _plain(frame: bytes, bsid: int) -> Ac3Header:
    reader = BitReader(frame[:HEADER_BYTES], "AC-3 header")
    reader.skip(32)
    # Ids 9 and 10 are read by decoders as half and a quarter of the rate.
    rate = _rate(reader.bits(2)) >> max(0, bsid - 8)
    if reader.bits(6) > 37:
        raise BitstreamError("The AC-3 header says a frame size that does not exist.")
    reader.skip(8)
    mode = reader.bits(3)
    if mode & 1 and mode != 1:
        reader.skip(2)
    if mode & 4:
        reader.skip(2)
    if mode == 2:
        reader.skip(2)
    return Ac3Header(
        enhanced=False,
        sample_rate=rate,
        channels=_CHANNELS[mode] + reader.bits(1),
        samples_per_frame=SAMPLES_PER_FRAME,
    )


def _enhanced(frame: bytes) -> Ac3Header:
    reader = BitReader(frame[:HEADER_BYTES], "E-AC-3 header")
    reader.skip(16)
    if reader.bits(2) == _RESERVED:
        raise BitstreamError("The E-AC-3 header says a stream type that is reserved.")
    reader.skip(3 + 11)
    code = reader.bits(2)
    if code == 3:
        rate, blocks = _rate(reader.bits(2)) // 2, 6
    else:
        rate, blocks = _rate(code), (1, 2, 3, 6)[reader.bits(2)]
    mode = reader.bits(3)
    return Ac3Header(
        enhanced=True,
        sample_rate=rate,
        channels=_CHANNELS[mode] + reader.bits(1),
        samples_per_frame=256 * blocks,
    )
