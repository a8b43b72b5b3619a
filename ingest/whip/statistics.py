"""What is known of how well a publisher is received."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from media.model import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class KindStatistics:
    """Of all sound or all pictures since the session began; all but the jitter only grow."""

    packets: int = 0
    """Received, RTX not counted."""
    bytes: int = 0
    """Of their payloads."""
    lost: int = 0
    """Packets that were given up."""
    recovered: int = 0
    """Packets that were missing and came in time."""
    late: int = 0
    duplicates: int = 0
    nacks: int = 0
    """Packets asked for, repetitions counted."""
    key_requests: int = 0
    """PLI or FIR."""
    rtx: int = 0
    """Packets that came by RTX."""
    malformed: int = 0
    """Payloads that break their format."""
    dropped: int = 0
    """Access units seen in part."""
    unusable: int = 0
    """Whole ones that did not go on: before a key frame, or with unusable parameters."""
    jumps: int = 0
    """Times that timestamps jumped."""
    jitter_ns: int = 0
    """Interarrival jitter (RFC 3550 6.4.1), the largest of the streams."""

    def __add__(self, other: KindStatistics) -> KindStatistics:
        """Return the counts of both."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, value in values.items():
            values[name] = value + getattr(other, name)
        values["jitter_ns"] = max(self.jitter_ns, other.jitter_ns)
        return KindStatistics(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of one receiver."""

    kinds: dict[Kind, KindStatistics] = field(default_factory=dict)
    rtt_ns: int = 0
    """Round trip, from requests that were answered; 0 before the first."""
    bandwidth_bps: int = 0
    """What the publisher was told it may send (REMB); 0 where it reckons by itself."""
    malformed: int = 0
    """Datagrams that are no RTP or RTCP."""
    unrouted: int = 0
    """RTP packets that belong to no agreed stream."""
    flooded: int = 0
    """Datagrams dropped because there were more than `MAX_PACKETS_A_TICK`."""
    layer_changes: int = 0
    """Times that another simulcast layer became the main track."""
