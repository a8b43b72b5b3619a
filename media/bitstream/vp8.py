"""VP8: the uncompressed data chunk at the beginning of a frame (RFC 6386 9.1)."""

from __future__ import annotations

from media.bitstream.errors import BitstreamError
from media.model import Codec, TrackFormat

CODEC_STRING = "vp08.00.10.08"
"""VP-ISOBMFF 1.0: profile 0, level 1 (VP8 has no levels), 8 bits."""
_START_CODE = b"\x9d\x01\x2a"
KEY_HEADER_BYTES = 10
"""What of a key frame `describe_key_frame` looks at."""


def is_key(frame: bytes) -> bool:
    """Whether a frame is a key frame; raises `BitstreamError` where its start code is not there."""
    if not frame:
        raise BitstreamError("The VP8 frame is empty.")
    if frame[0] & 1:
        return False
    if len(frame) < KEY_HEADER_BYTES or frame[3:6] != _START_CODE:
        raise BitstreamError("The VP8 key frame lacks its start code.")
    return True


def dimensions(key_frame: bytes) -> tuple[int, int]:
    """Return (width, height) of a key frame in pixels; its scaling bits are for renderers."""
    if not is_key(key_frame):
        raise BitstreamError("The VP8 frame is not a key frame.")
    width = int.from_bytes(key_frame[6:8], "little") & 0x3FFF
    height = int.from_bytes(key_frame[8:10], "little") & 0x3FFF
    if not width or not height:
        raise BitstreamError(f"The VP8 key frame says {width}x{height}, which is no picture.")
    return width, height


def describe_key_frame(key_frame: bytes) -> TrackFormat:
    """Return the format that a key frame tells: VP8 has no configuration beside it."""
    width, height = dimensions(key_frame)
    return TrackFormat(
        codec=Codec.VP8, config=b"", codec_string=CODEC_STRING, width=width, height=height
    )
