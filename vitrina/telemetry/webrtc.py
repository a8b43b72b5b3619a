"""The metrics of WebRTC, both ways: a part of `vitrina.telemetry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitrina.telemetry.families import Families
    from webrtc.meter import RtpCounts

_SETUP_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_JITTER_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
_RTT_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
_BANDWIDTH_BUCKETS = (1e5, 3e5, 6e5, 1e6, 1.5e6, 2.5e6, 4e6, 6e6, 1e7, 2e7, 5e7)


class WebRtcMetrics:
    """Implements the meters of `webrtc.meter` and `delivery.whep.meter`."""

    def __init__(self, f: Families) -> None:
        self._sessions = f.gauge(
            "webrtc_sessions", "Sessions from their answer to their end.", "protocol"
        )
        self._setup = f.histogram(
            "webrtc_setup_seconds",
            "Offer to connected peer.",
            "protocol",
            buckets=_SETUP_BUCKETS,
        )
        self._closed = f.counter(
            "webrtc_sessions_closed_total", "Sessions that ended, by reason.", "protocol", "reason"
        )
        self._refused = f.counter(
            "webrtc_refused_total", "Offers refused, by HTTP status.", "protocol", "status"
        )
        kinds = ("stream", "protocol", "kind")
        self._packets = f.counter(
            "webrtc_packets_total", "RTP packets with media, first time sent.", *kinds
        )
        self._lost = f.counter(
            "webrtc_lost_packets_total", "RTP packets that never came, or too late.", *kinds
        )
        self._nacks = f.counter(
            "webrtc_nacks_total", "RTP packets that the receiver asked for again.", *kinds
        )
        self._key_requests = f.counter(
            "webrtc_key_requests_total", "PLI and FIR of the receiver.", *kinds
        )
        self._rtx = f.counter("webrtc_rtx_packets_total", "RTP packets sent again.", *kinds)
        self._discarded = f.counter(
            "webrtc_discarded_total",
            "Datagrams dropped: undecipherable, malformed, unrouted (of no agreed stream), flooded "
            "(too many), strange (not from the peer), unsent, throttled (asked for too often).",
            "stream",
            "protocol",
            "reason",
        )
        self._jitter = f.histogram(
            "webrtc_jitter_seconds",
            "Interarrival jitter, once a second.",
            *kinds,
            buckets=_JITTER_BUCKETS,
        )
        self._rtt = f.histogram(
            "webrtc_rtt_seconds",
            "Round trip to the peer, once a second.",
            "stream",
            "protocol",
            buckets=_RTT_BUCKETS,
        )
        self._bandwidth = f.histogram(
            "webrtc_bandwidth_bps",
            "Estimated bandwidth of the path, bits a second, once a second.",
            "stream",
            "protocol",
            buckets=_BANDWIDTH_BUCKETS,
        )

        self._dropped = f.counter(
            "whep_dropped_pictures_total",
            "Pictures given up because a viewer's path did not take them in time.",
            "stream",
        )
        self._switches = f.counter(
            "whep_rung_switches_total", "Changes of a viewer's rung.", "stream"
        )
        self._keys_asked = f.counter(
            "whep_keys_asked_total", "Key pictures asked of the encoder for viewers.", "stream"
        )

    # webrtc.meter.SessionMeter

    def session_opened(self, protocol: str) -> None:
        """An offer was answered."""
        self._sessions(protocol).inc()

    def session_connected(self, protocol: str, setup_s: float) -> None:
        """The peer connected."""
        self._setup(protocol).observe(setup_s)

    def session_closed(self, protocol: str, reason: str) -> None:
        """A session ended."""
        self._sessions(protocol).dec()
        self._closed(protocol, reason).inc()

    def session_refused(self, protocol: str, status: int) -> None:
        """An offer was refused."""
        self._refused(protocol, str(status)).inc()

    # webrtc.meter.RtpMeter

    def rtp_counted(self, stream: str, protocol: str, kind: str, counts: RtpCounts) -> None:
        """Packets of one kind, since the last report."""
        labels = (stream, protocol, kind)
        for counter, count in (
            (self._packets, counts.packets),
            # A viewer's count of them is a balance (RFC 3550 6.4.1): late ones come off again.
            (self._lost, counts.lost),
            (self._nacks, counts.nacks),
            (self._key_requests, counts.key_requests),
            (self._rtx, counts.rtx),
        ):
            counter(*labels).inc(max(count, 0))

    def rtp_jitter(self, stream: str, protocol: str, kind: str, seconds: float) -> None:
        """Interarrival jitter."""
        self._jitter(stream, protocol, kind).observe(seconds)

    def rtp_discarded(self, stream: str, protocol: str, reason: str, count: int) -> None:
        """Datagrams were dropped."""
        self._discarded(stream, protocol, reason).inc(count)

    def rtp_path(
        self, stream: str, protocol: str, *, rtt_s: float | None, bandwidth_bps: float | None
    ) -> None:
        """Round trip and estimated bandwidth."""
        if rtt_s is not None:
            self._rtt(stream, protocol).observe(rtt_s)
        if bandwidth_bps is not None:
            self._bandwidth(stream, protocol).observe(bandwidth_bps)

    # delivery.whep.meter.WhepMeter

    def whep_dropped(self, stream: str, pictures: int) -> None:
        """Pictures were given up."""
        self._dropped(stream).inc(pictures)

    def whep_switched(self, stream: str, count: int) -> None:
        """Viewers were given another rung."""
        self._switches(stream).inc(count)

    def whep_keys_asked(self, stream: str, count: int) -> None:
        """The encoder was asked for key pictures."""
        self._keys_asked(stream).inc(count)
