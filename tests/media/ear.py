"""A listener of a stream's feed without delay."""

from __future__ import annotations

from dataclasses import dataclass, field

from media.model import Packet, TrackFormat


@dataclass
class Ear:
    """A listener that writes down what it hears."""

    heard: list[object] = field(default_factory=list)

    def formats(self, rung: str, track_format: TrackFormat) -> None:
        self.heard.append((rung, track_format))

    def packet(self, rung: str, packet: Packet) -> None:
        self.heard.append((rung, packet))

    def gone(self, rung: str) -> None:
        self.heard.append(f"gone {rung}")

    def ended(self) -> None:
        self.heard.append("ended")

    def packets(self, rung: str) -> list[Packet]:
        pairs = [each for each in self.heard if isinstance(each, tuple)]
        return [item for name, item in pairs if name == rung and isinstance(item, Packet)]
