"""What WebRTC sessions report; `vitrina.telemetry` turns it into metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class SessionMeter(Protocol):
    """Sessions of one protocol, `whip` or `whep`. Never raises."""

    def session_opened(self, protocol: str) -> None:
        """An offer was answered."""

    def session_connected(self, protocol: str, setup_s: float) -> None:
        """The peer connected, so long after its offer."""

    def session_closed(self, protocol: str, reason: str) -> None:
        """It ended; `reason` is a word of `webrtc.session.End`."""

    def session_refused(self, protocol: str, status: int) -> None:
        """An offer was refused with this HTTP status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpCounts:
    """What was counted since the last report."""

    packets: int = 0
    """RTP packets that carried media for the first time."""
    lost: int = 0
    """Packets that never came, or came too late."""
    nacks: int = 0
    """Packets asked for again."""
    key_requests: int = 0
    """PLI and FIR."""
    rtx: int = 0
    """Packets sent again."""


class RtpMeter(Protocol):
    """RTP of one session, reported about once a second. Never raises.

    `kind`: `audio` or `video`. With `whip` we receive, with `whep` the viewer does.
    """

    def rtp_counted(self, stream: str, protocol: str, kind: str, counts: RtpCounts) -> None:
        """Packets of one kind."""

    def rtp_jitter(self, stream: str, protocol: str, kind: str, seconds: float) -> None:
        """Interarrival jitter (RFC 3550 section 6.4.1)."""

    def rtp_discarded(self, stream: str, protocol: str, reason: str, count: int) -> None:
        """Datagrams that were dropped, `reason` a fixed word.

        `undecipherable`, `malformed`, `unrouted` (of no agreed stream), `flooded` (too many),
        `strange` (not from the peer), `unsent`; `throttled`: asked for again more than is sent.
        """

    def rtp_path(
        self, stream: str, protocol: str, *, rtt_s: float | None, bandwidth_bps: float | None
    ) -> None:
        """Round trip and estimated bandwidth, as far as they are known."""
