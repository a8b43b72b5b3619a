"""Packets of an encoder that stands by: from its newest key frame on, within bounds."""

from __future__ import annotations

from media.model import Kind, Packet

MAX_BYTES = 24 * 2**20
"""Ten seconds at 19 Mb/s."""
MAX_NS = 10_000_000_000
"""A key frame that lies further back is not worth starting from."""
SOUND_NS = 1_000_000_000
"""Kept of an encoder without pictures."""


class KeyHold:
    """Keeps what a decoder needs to go on from the newest key frame.

    When a bound is reached all of it goes, and the next key frame starts anew: a part of a group
    of pictures is of no use. `dropped` counts the packets given up so.
    """

    def __init__(self) -> None:
        self._packets: list[Packet] = []
        self._bytes = 0
        self.dropped = 0

    @property
    def since_ns(self) -> int | None:
        """When the first packet held arrived, None where nothing is held."""
        return self._packets[0].arrived_ns if self._packets else None

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    def add(self, packet: Packet, *, pictures: bool) -> None:
        """Keep a packet; `pictures`: the encoder sends them, so one of theirs comes first."""
        if pictures and packet.kind is Kind.VIDEO and packet.key:
            self.clear()
        elif pictures and not self._packets:
            return
        self._packets.append(packet)
        self._bytes += len(packet.payload)
        if not pictures:
            self._forget_before(packet.arrived_ns - SOUND_NS)
        if self._bytes > MAX_BYTES or packet.arrived_ns - self._packets[0].arrived_ns > MAX_NS:
            self.dropped += len(self._packets)
            self.clear()

    def _forget_before(self, moment_ns: int) -> None:
        first = 0
        while self._packets[first].arrived_ns < moment_ns:
            self._bytes -= len(self._packets[first].payload)
            first += 1
        del self._packets[:first]

    def clear(self) -> None:
        """Forget everything: the format changed, or the packets are on air."""
        self._packets = []
        self._bytes = 0

    def release(self, after_ns: int, *, pictures: bool) -> list[Packet]:
        """Hand over what can be shown after a moment, and keep nothing.

        With pictures all that is held, or nothing where its key frame is older.
        """
        packets = self._packets
        self.clear()
        if pictures:
            return packets if packets and packets[0].arrived_ns >= after_ns else []
        return [packet for packet in packets if packet.arrived_ns >= after_ns]
