"""What a stream's worker makes, as the stream takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from media.model import Packet, TrackFormat
    from media.slate.loop import SlateLoop


class RungSink(Protocol):
    """The stream: receives what the worker makes. Called on the event loop; must not block."""

    def rung_format(self, rung: str, fmt: TrackFormat) -> None:
        """Packets of `rung` follow in this format; also again after a restart."""

    def rung_packet(self, rung: str, packet: Packet) -> None:
        """One access unit: show clock, duration set, `arrived_ns` of its source picture."""

    def worker_lost(self, reason: str) -> None:
        """No rung produces anything until the next boundary after a restart."""

    def slate_made(self, serial: int, loop: SlateLoop) -> None:
        """Take the answer to the order of this serial."""

    def slate_failed(self, serial: int, text: str) -> None:
        """Note that the order of this serial cannot be met; the text is for the producer."""
