"""What codec configurations and access units say, read from plain bytes.

Everything here is sans-IO, bounded in memory and time, and fails only with `BitstreamError`.
"""

from media.bitstream.errors import BitstreamError
from media.bitstream.formats import colour_of, describe

__all__ = ["BitstreamError", "colour_of", "describe"]
