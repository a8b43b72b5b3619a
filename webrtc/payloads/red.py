"""Redundant audio (RFC 2198): a packet that holds the one before it as well."""

from __future__ import annotations

import struct

from webrtc.payloads.nals import DEFAULT_MAX_PAYLOAD

MAX_OFFSET = (1 << 14) - 1
"""Ticks that a redundant block may be older than its packet."""
MAX_BLOCK = (1 << 10) - 1
"""Bytes of a redundant block."""
_BLOCK = struct.Struct("!IB")
_MORE = 1 << 31


def with_redundancy(
    primary: bytes,
    before: bytes,
    *,
    offset: int,
    payload_type: int,
    max_payload: int = DEFAULT_MAX_PAYLOAD,
) -> bytes | None:
    """Return the payload of `primary` behind `before`, which is `offset` ticks older.

    Both are of `payload_type`. None where the format cannot say it (the older one is too old, too
    large or not older), or both do not fit into one payload.
    """
    if not 0 < offset <= MAX_OFFSET or not 0 < len(before) <= MAX_BLOCK:
        return None
    if _BLOCK.size + len(before) + len(primary) > max_payload:
        return None
    head = _BLOCK.pack(_MORE | payload_type << 24 | offset << 10 | len(before), payload_type)
    return b"".join((head, before, primary))
