"""Packets of an encoder that stands by: what a decoder needs to go on from any recent moment."""

from __future__ import annotations

from collections import deque

from media.model import Kind, Packet

MAX_BYTES = 24 * 2**20
"""Five seconds at 38 Mb/s."""
MAX_NS = 10_000_000_000
"""A key frame that lies further back is not worth starting from."""
MAX_AGE_NS = 4_000_000_000
"""What lies between an older key frame and the present is too much to decode at once."""
LATE_NS = 1_500_000_000
"""A failure may be known this late; the show goes on from the moment of the failure."""
SOUND_NS = LATE_NS
"""Kept of an encoder without pictures."""


class KeyHold:
    """Keeps groups of packets, each from a key frame to the next.

    A group goes when the next one began `LATE_NS` ago. When a bound is reached the oldest group
    goes at once, the last one too: the next key frame starts anew, for a part of a group is of no
    use. `dropped` counts the packets given up for a bound.
    """

    def __init__(self) -> None:
        self._groups: deque[list[Packet]] = deque()
        self._bytes = 0
        self.dropped = 0
        self.picture_ns = 0
        """When the newest picture held arrived."""

    @property
    def since_ns(self) -> int | None:
        """When the first packet held arrived, None where nothing is held."""
        return self._groups[0][0].arrived_ns if self._groups else None

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    def add(self, packet: Packet, *, pictures: bool) -> None:
        """Keep a packet; `pictures`: the encoder sends them, so one of theirs comes first."""
        picture = packet.kind is Kind.VIDEO and packet.track == 0
        starts = picture and packet.key if pictures else not self._groups
        if starts:
            self._groups.append(self._keys_ahead())
        elif not self._groups:
            return
        self._groups[-1].append(packet)
        if picture:
            self.picture_ns = packet.arrived_ns
        self._bytes += len(packet.payload)
        if not pictures:
            self._forget_before(packet.arrived_ns - SOUND_NS)
        while len(self._groups) > 1 and self._groups[1][0].arrived_ns < packet.arrived_ns - LATE_NS:
            self._forget_group()
        while self._groups and (
            self._bytes > MAX_BYTES or packet.arrived_ns - self._groups[0][0].arrived_ns > MAX_NS
        ):
            self.dropped += self._forget_group()

    def _keys_ahead(self) -> list[Packet]:
        """Take back the further tracks' key frames that came just before the main one's."""
        keys: list[Packet] = []
        group = self._groups[-1] if self._groups else []
        for number in range(len(group) - 1, 0, -1):
            packet = group[number]
            if packet.kind is Kind.VIDEO and packet.track == 0:
                break
            if packet.kind is Kind.VIDEO and packet.key:
                keys.insert(0, group.pop(number))
        return keys

    def _forget_group(self) -> int:
        group = self._groups.popleft()
        self._bytes -= sum(len(packet.payload) for packet in group)
        return len(group)

    def _forget_before(self, moment_ns: int) -> None:
        group = self._groups[0]
        first = 0
        while group[first].arrived_ns < moment_ns:
            self._bytes -= len(group[first].payload)
            first += 1
        del group[:first]

    def clear(self) -> None:
        """Forget everything: the format changed, or the packets are on air."""
        self._groups.clear()
        self._bytes = 0

    def release(self, after_ns: int, *, pictures: bool) -> list[Packet]:
        """Hand over what is needed to go on at a moment, and keep nothing.

        With pictures from the newest key frame on that came before, or from the first one after
        it; nothing where all came more than `MAX_AGE_NS` before.
        """
        groups = list(self._groups)
        self.clear()
        while len(groups) > 1 and groups[1][0].arrived_ns <= after_ns:
            del groups[0]
        if pictures and groups and groups[0][0].arrived_ns < after_ns - MAX_AGE_NS:
            del groups[0]
        packets = [packet for group in groups for packet in group]
        if pictures:
            return packets
        return [packet for packet in packets if packet.arrived_ns >= after_ns]
