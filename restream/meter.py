"""What pushing on reports; `vitrina.telemetry` turns it into metrics."""

from __future__ import annotations

from typing import Protocol


class RestreamMeter(Protocol):
    """Receives measurements; `target` is its name. Never blocks, never raises."""

    def restream_state(self, stream: str, target: str, state: int) -> None:
        """Set `restream.model.State.number`."""

    def restream_sent(self, stream: str, target: str, size: int) -> None:
        """Count bytes handed to the network."""

    def restream_dropped(self, stream: str, target: str, count: int) -> None:
        """Count access units given up because the target did not take them."""

    def restream_reconnected(self, stream: str, target: str) -> None:
        """Count a connection that was made again."""

    def restream_delay(self, stream: str, target: str, seconds: float) -> None:
        """Set how long the newest access units waited here."""

    def restream_forget(self, stream: str, target: str) -> None:
        """Drop the series of a target that is gone."""
