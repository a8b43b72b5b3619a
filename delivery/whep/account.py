"""What one viewer adds to the metrics (sans-IO)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webrtc.discards import Discards, of_peer
from webrtc.meter import RtpCounts

if TYPE_CHECKING:
    from delivery.whep.meter import WhepMeter
    from delivery.whep.outgoing import Outgoing
    from delivery.whep.viewer import Viewer
    from webrtc.peer import Peer

PROTOCOL = "whep"


class Account:
    """Remembers what has been reported of a viewer."""

    def __init__(self, stream: str, viewer: Viewer, peer: Peer, meter: WhepMeter) -> None:
        self._stream, self._viewer, self._peer = stream, viewer, peer
        self._meter, self._discards = meter, Discards(meter, stream, PROTOCOL)
        self._told: dict[str, RtpCounts] = {}
        self._dropped = self._switches = 0

    def report(self, now_ns: int) -> None:
        """Report what is new, and how the path stands."""
        viewer, stream, meter = self._viewer, self._stream, self._meter
        for kind, each in (("video", viewer.video), ("audio", viewer.audio)):
            if each is None:
                continue
            now, before = _counts(each), self._told.get(kind, RtpCounts())
            self._told[kind] = now
            meter.rtp_counted(stream, PROTOCOL, kind, _since(now, before))
            if each.jitter_ns is not None:
                meter.rtp_jitter(stream, PROTOCOL, kind, each.jitter_ns / 1e9)
        rtt_s = None if viewer.rtt_ns is None else viewer.rtt_ns / 1e9
        bandwidth = float(viewer.estimator.bps(now_ns)) if viewer.video is not None else None
        meter.rtp_path(stream, PROTOCOL, rtt_s=rtt_s, bandwidth_bps=bandwidth)
        counters = viewer.counters
        if dropped := counters.dropped - self._dropped:
            self._dropped = counters.dropped
            meter.whep_dropped(stream, dropped)
        if switches := counters.switches - self._switches:
            self._switches = counters.switches
            meter.whep_switched(stream, switches)
        lost = of_peer(self._peer)
        lost["flooded"] += counters.flooded
        throttled = sum(each.history.counters.throttled for each in viewer.streams)
        self._discards.report({**lost, "malformed": counters.malformed, "throttled": throttled})


def _counts(each: Outgoing) -> RtpCounts:
    return RtpCounts(
        packets=each.packets,
        lost=each.lost,
        nacks=each.nacked,
        key_requests=each.key_requests,
        rtx=each.history.counters.resent,
    )


def _since(now: RtpCounts, before: RtpCounts) -> RtpCounts:
    return RtpCounts(
        packets=now.packets - before.packets,
        lost=now.lost - before.lost,
        nacks=now.nacks - before.nacks,
        key_requests=now.key_requests - before.key_requests,
        rtx=now.rtx - before.rtx,
    )
