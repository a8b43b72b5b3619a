"""What a connection may cost until a key vouches for it, and what one turn may cost."""

from __future__ import annotations

from ingest.rtmp.chunks import ChunkLimits
from ingest.rtmp.errors import Fault, RtmpError

EARLY_LIMITS = ChunkLimits(max_message_bytes=65536, max_partial_bytes=65536, max_chunk_streams=8)
"""Until a key was accepted; encoders need less than 1 kB and four chunk streams."""
EARLY_BYTES = 524_288
"""All that may be received until a key was accepted, so that strangers cost no parsing time."""
EARLY_MESSAGES = 256
"""As for the bytes: a header of one byte makes an empty message, and each costs parsing time.
Encoders send fewer than twenty."""
TURN_COST = 1024
"""What one turn may parse: a chunk costs 1, a member of an aggregate too, AMF 1 per 8 bytes,
media 1 per 128: without that a flood of pictures would be read on and on.
About 5 ms of empty messages."""
EARLY_TURN_COST = 128
"""The same for strangers, of whom there may be hundreds at once."""


class Allowance:
    """Bytes and messages that are left to a connection that does not publish."""

    def __init__(self) -> None:
        self._bytes = EARLY_BYTES
        self._messages = EARLY_MESSAGES

    def spend_bytes(self, size: int) -> None:
        """Raise `RtmpError` (protocol) where they are used up."""
        self._bytes -= size
        if self._bytes < 0:
            raise RtmpError(
                Fault.PROTOCOL, f"The client sent {EARLY_BYTES} bytes without publishing."
            )

    def spend_message(self) -> None:
        """Raise `RtmpError` (protocol) where they are used up."""
        self._messages -= 1
        if self._messages < 0:
            raise RtmpError(
                Fault.PROTOCOL, f"The client sent {EARLY_MESSAGES} messages without publishing."
            )
