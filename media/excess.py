"""Whether an encoder sends more than it may: bits and pictures a second, by arrival.

A link that hiccups delivers several seconds at once, and a file is pushed with a lead: so the
rule is a leaky bucket, not a rate per window. It drains at the limit and holds `excess_s`
seconds' worth of it; who stays below the limit on the whole never fills it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.model import Kind

if TYPE_CHECKING:
    from media.limits import Limits
    from media.model import Packet

DRIFT = 1.01
"""An encoder at exactly the frame rate of the limit, whose clock is fast: no bucket may fill."""
_NS = 1_000_000_000


class Bucket:
    """Amounts over time against a rate; constant memory and time."""

    def __init__(self, *, rate: float, seconds: float) -> None:
        """`rate` a second, of which `seconds`' worth may be ahead."""
        self._rate = rate
        self._room = rate * seconds
        self._level = 0.0
        self._at_ns: int | None = None
        self._since_ns = 0
        self._sum = 0.0

    def add(self, amount: float, now_ns: int) -> float | None:
        """Pour in `amount`; return the rate measured since the bucket was empty where it runs over.

        `now_ns` is monotonic; what seems to run backwards stands still.
        """
        if self._at_ns is not None and now_ns > self._at_ns:
            self._level -= self._rate * (now_ns - self._at_ns) / _NS
        if self._at_ns is None or self._level <= 0:
            self._level = self._sum = 0.0
            self._since_ns = now_ns
        self._at_ns = max(now_ns, self._at_ns or now_ns)
        self._level += amount
        self._sum += amount
        if self._level <= self._room:
            return None
        self._level = self._room
        return self._sum / max(1.0, (self._at_ns - self._since_ns) / _NS)

    @property
    def calm(self) -> bool:
        """Whether less than half of the room is used."""
        return self._level < self._room / 2


class ExcessWatch:
    """One publisher's bits and pictures against its limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bits = Bucket(rate=limits.max_bitrate_kbps * 1000, seconds=limits.excess_s)
        self._pictures: dict[int, Bucket] = {}

    @property
    def calm(self) -> bool:
        """Whether the excess is over."""
        return self._bits.calm and all(bucket.calm for bucket in self._pictures.values())

    def add(self, packet: Packet) -> str | None:
        """Count a packet; return a sentence for the producer where a limit is exceeded."""
        bits = self._bits.add(len(packet.payload) * 8, packet.arrived_ns)
        if bits is not None:
            return (
                f"The encoder sends {bits / 1e6:.1f} Mbit/s; this stream accepts at most "
                f"{self._limits.max_bitrate_kbps / 1000:g} Mbit/s: lower the bitrate (OBS: "
                "Settings ▸ Output ▸ Bitrate)."
            )
        if packet.kind is not Kind.VIDEO:
            return None
        # Tracks are bounded by limits.max_tracks ahead of this.
        bucket = self._pictures.get(packet.track)
        if bucket is None:
            bucket = self._pictures[packet.track] = Bucket(
                rate=self._limits.max_frame_rate * DRIFT, seconds=self._limits.excess_s
            )
        pictures = bucket.add(1, packet.arrived_ns)
        if pictures is None:
            return None
        return (
            f"The encoder sends {pictures:.0f} pictures a second; this stream accepts at most "
            f"{self._limits.max_frame_rate}: lower the frame rate (OBS: Settings ▸ Video ▸ FPS)."
        )
