"""The one error that foreign payloads may cause."""

from __future__ import annotations


class PayloadError(Exception):
    """An RTP payload, or a unit to be sent, that its payload format does not allow.

    The text is for whoever looks after the peer. A depacketizer stays usable after it: the access
    unit under way is dropped and counted, and the next one begins anew.
    """
