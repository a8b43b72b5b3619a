"""What the overlay reports; `vitrina.telemetry` turns it into metrics."""

from __future__ import annotations

from typing import Protocol


class OverlayMeter(Protocol):
    """Receives measurements. Every method is cheap, never blocks and never raises."""

    def cue_written(self, stream: str, type: str, verb: str) -> None:  # noqa: A002
        """An entry joined the log.

        `verb`: `fire`, `revise`, `end`, `retract`, or `rule` where the entry follows from
        another one (a new pin ends the old).
        """

    def cue_listed(self, stream: str, seconds: float) -> None:
        """An entry stands in the playlists of all renditions, this long after it was accepted."""

    def cue_refused(self, reason: str) -> None:
        """An operation was refused; `reason` is the `reason` of a `CueError`."""

    def subscriber_dropped(self, stream: str) -> None:
        """A cue stream was closed because its reader fell behind by a full queue."""
