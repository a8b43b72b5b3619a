"""What WHEP reports; `vitrina.telemetry` turns it into metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewersReport:
    """How a stream's viewers stand, once a second; counts are since the last report."""

    viewers: int
    rtts_s: tuple[float, ...] = ()
    jitters_s: tuple[float, ...] = ()
    bandwidths_bps: tuple[int, ...] = ()
    lost: int = 0
    nacked: int = 0
    resent: int = 0
    plis: int = 0
    dropped: int = 0
    """Pictures given up because a viewer's path did not take them in time."""
    switches: int = 0
    """Changes of a viewer's rung."""
    keys_asked: int = 0
    """Key pictures asked of the encoder."""


class WhepMeter(Protocol):
    """Never raises."""

    def whep(self, stream: str, report: ViewersReport) -> None:
        """Take a second's report of a stream that has viewers, and one when the last has left."""
