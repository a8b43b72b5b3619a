"""What of a peer was not used or not sent: counted on the way, reported as differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webrtc.meter import RtpMeter
    from webrtc.peer import Peer


def of_peer(peer: Peer) -> dict[str, int]:
    """Return what a peer's transport has dropped so far, by reason."""
    return {
        "undecipherable": peer.undecipherable,
        "flooded": peer.flooded,
        "strange": peer.strange,
        "unsent": peer.unsent,
    }


class Discards:
    """Remembers what has been reported of one session."""

    def __init__(self, meter: RtpMeter, stream: str, protocol: str) -> None:
        self._meter, self._stream, self._protocol = meter, stream, protocol
        self._told: dict[str, int] = {}

    def report(self, counted: Mapping[str, int]) -> None:
        """Report what is new; `counted`: since the session's begin, by reason (a fixed word)."""
        for reason, now in counted.items():
            if more := now - self._told.get(reason, 0):
                self._told[reason] = now
                self._meter.rtp_discarded(self._stream, self._protocol, reason, more)
