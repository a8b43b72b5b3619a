"""What a viewer's path carries, by what the viewer says of it (sans-IO).

With transport-wide feedback: the trend of the delays (`delays`) and the losses, as in
draft-ietf-rmcat-gcc-02 sections 5 and 6, without its bandwidth probes. Without: the losses of
receiver reports, and REMB as an upper bound. What is sent bounds what can be measured, so the
estimate stays below one and a half times of it; whether more fits is found out by trying
(`choice`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from delivery.whep.delays import DelayTrend, Use
from webrtc.sequence import nearest
from webrtc.twcc import REFERENCE_TICKS, TICK_NS

if TYPE_CHECKING:
    from webrtc.twcc import TransportFeedback

MIN_BPS = 100_000
MAX_BPS = 100_000_000
START_BPS = 6_000_000
"""Taken for granted until the viewer has said something."""
REMEMBERED = 4096
"""Packets whose size and time of sending are kept for feedback; a power of two."""
_MS = 1_000_000
_SECOND_NS = 1_000_000_000
_MEASURE_NS = 500 * _MS
_ENOUGH_PACKETS = 20
_SILENCE_NS = 1_500 * _MS
_DECREASE = 0.85
_BACK_OFF_NS = 300 * _MS
"""Between two decreases: the first one must show before the next."""
_INCREASE_A_SECOND = 0.08
_HEADROOM = 1.5
_CARRIED = 0.85
"""Share of what arrives without loss or growing delays that the path is trusted with."""
_HIGH_LOSS, _LOW_LOSS = 0.10, 0.02
_REMB_NS = 8 * _SECOND_NS
"""A REMB that is not repeated says nothing any more."""


class BandwidthEstimator:
    """Estimates bits a second; `congested_ns` tells when it last had to give way."""

    def __init__(self, *, start_bps: int = START_BPS) -> None:
        self.congested_ns: int | None = None
        self.loss = 0.0
        """Share of packets lost, of the last report or half second of feedback."""
        self._estimate = float(start_bps)
        self._trend = DelayTrend()
        self._sent: list[tuple[int, int, int] | None] = [None] * REMEMBERED
        """(transport-wide sequence number unwrapped, bytes, when) by its low bits."""
        self._sequence = 0
        self._reference: int | None = None
        self._arrived: deque[tuple[int, int]] = deque()
        """(arrival, bytes) of the last half second."""
        self._arrived_bytes = 0
        self._newest = -1
        """The highest number that has arrived."""
        self._window_newest = -1
        self._window_arrived = 0
        self._window_ns: int | None = None
        self._told_ns: int | None = None
        self._heard_ns: int | None = None
        self._unheard_ns: int | None = None
        """When the first packet was sent that no feedback has followed."""
        self._remb: tuple[int, int] | None = None

    # ── in ───────────────────────────────────────────────────────────────────────────────────

    def sent(self, size: int, now_ns: int) -> int:
        """Count a packet of the transport; return its transport-wide sequence number, 16 bits."""
        sequence = self._sequence
        self._sequence = sequence + 1
        if self._unheard_ns is None:
            self._unheard_ns = now_ns
        self._sent[sequence & (REMEMBERED - 1)] = sequence, size, now_ns
        return sequence & 0xFFFF

    def feedback(self, report: TransportFeedback, now_ns: int) -> None:
        """Take the viewer's transport-wide feedback."""
        reference = report.reference_time
        if self._reference is not None:
            reference = nearest(reference & 0xFFFFFF, self._reference, 24)
        self._reference = reference
        base_ns = reference * REFERENCE_TICKS * TICK_NS
        base = nearest(report.base_sequence, self._sequence, 16)
        known = 0
        for step, ticks in report.arrivals:
            place = (base + step) & (REMEMBERED - 1)
            kept = self._sent[place]
            if kept is None or kept[0] != base + step:
                continue
            self._sent[place] = None  # each arrives once
            self._newest = max(self._newest, kept[0])
            known += 1
            arrived_ns = base_ns + ticks * TICK_NS
            self._trend.add(kept[2], arrived_ns)
            self._arrived.append((arrived_ns, kept[1]))
            self._arrived_bytes += kept[1]
        if not known:
            return  # nothing of ours: an invention, or from long ago
        self._heard_ns = now_ns
        self._unheard_ns = None
        newest_ns = self._arrived[-1][0]
        while self._arrived and (
            self._arrived[0][0] < newest_ns - _MEASURE_NS or len(self._arrived) > REMEMBERED
        ):
            self._arrived_bytes -= self._arrived.popleft()[1]
        self._count_losses(known, now_ns)
        self._follow(now_ns)

    def report(self, fraction_lost: int, now_ns: int) -> None:
        """Take a receiver report's share of lost packets, of 256, where there is no other."""
        if self._reference is None:
            self.loss = fraction_lost / 256
            self._by_loss(now_ns)
            self._grow(now_ns)

    def remb(self, bitrate: int, now_ns: int) -> None:
        """Take what the viewer itself estimates."""
        self._remb = bitrate, now_ns

    def tick(self, now_ns: int) -> None:
        """Give way while a viewer that told of every packet has fallen silent.

        Where nothing is sent, there is nothing to tell of.
        """
        if self._heard_ns is None or self._unheard_ns is None:
            return
        if now_ns >= self._unheard_ns + _SILENCE_NS:
            self._unheard_ns = now_ns
            self._give_way(self._estimate / 2, now_ns)

    # ── out ──────────────────────────────────────────────────────────────────────────────────

    def bps(self, now_ns: int) -> int:
        """Return the estimate."""
        estimate = self._estimate
        if self._reference is None and self._remb is not None:
            bitrate, heard_ns = self._remb
            if now_ns < heard_ns + _REMB_NS:
                estimate = min(estimate, bitrate)
        return round(min(max(estimate, MIN_BPS), MAX_BPS))

    @property
    def measured(self) -> bool:
        """Whether the viewer tells of every packet."""
        return self._reference is not None

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    @property
    def _arrived_bps(self) -> float | None:
        if len(self._arrived) < 10:
            return None
        span_ns = self._arrived[-1][0] - self._arrived[0][0]
        if span_ns < _MEASURE_NS // 4:
            return None
        return self._arrived_bytes * 8 * _SECOND_NS / span_ns

    def _count_losses(self, arrived: int, now_ns: int) -> None:
        """Count what has not come of what was sent before the newest that has.

        What comes late is told of in a later report, and makes up for it there.
        """
        if self._window_ns is None:
            self._window_ns = now_ns
        self._window_arrived += arrived
        sent = self._newest - self._window_newest
        if now_ns - self._window_ns >= _MEASURE_NS and sent >= _ENOUGH_PACKETS:
            self.loss = max(0.0, 1 - self._window_arrived / sent)
            self._window_arrived, self._window_newest = 0, self._newest
            self._window_ns = now_ns
            self._by_loss(now_ns)

    def _follow(self, now_ns: int) -> None:
        """Give way to a path that fills up, else grow slowly."""
        if self._trend.use is Use.OVER:
            arrived = self._arrived_bps
            self._give_way(_DECREASE * (arrived or self._estimate), now_ns)
            self._told_ns = now_ns
        elif self._trend.use is Use.NORMAL:
            self._grow(now_ns)
        else:
            self._told_ns = now_ns  # a queue empties: wait

    def _grow(self, now_ns: int) -> None:
        before, self._told_ns = self._told_ns, now_ns
        if before is None or self.loss > _LOW_LOSS:
            return
        past_s = min((now_ns - before) / _SECOND_NS, 1.0)
        grown = self._estimate * (1 + _INCREASE_A_SECOND) ** past_s + 1000 * past_s
        arrived = self._arrived_bps
        if arrived is not None:
            grown = min(grown, max(_HEADROOM * arrived + 10_000, self._estimate))
            # After a step up, and in silence, the path has carried more than the estimate says.
            grown = max(grown, _CARRIED * arrived)
        self._estimate = min(grown, float(MAX_BPS))

    def _by_loss(self, now_ns: int) -> None:
        if self.loss > _HIGH_LOSS:
            # What arrives shows what the path carries, however much more is lost.
            carried = _DECREASE * (self._arrived_bps or 0.0)
            self._give_way(max(self._estimate * (1 - 0.5 * self.loss), carried), now_ns)

    def _give_way(self, bps: float, now_ns: int) -> None:
        if self.congested_ns is not None and now_ns < self.congested_ns + _BACK_OFF_NS:
            return
        self.congested_ns = now_ns
        self._estimate = max(min(bps, self._estimate), float(MIN_BPS))
