"""What WHEP reports beside `webrtc.meter`; `vitrina.telemetry` turns it into metrics."""

from __future__ import annotations

from typing import Protocol

from webrtc.meter import RtpMeter


class WhepMeter(RtpMeter, Protocol):
    """Viewers of a stream, about once a second; counts are since the last time. Never raises."""

    def whep_dropped(self, stream: str, pictures: int) -> None:
        """Pictures were given up: a viewer's path did not take them in time."""

    def whep_switched(self, stream: str, count: int) -> None:
        """Viewers were given another rung."""

    def whep_keys_asked(self, stream: str, count: int) -> None:
        """The encoder was asked for key pictures."""
