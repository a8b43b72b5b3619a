"""What of a viewer's pictures is missing, by its transport-wide feedback (sans-IO).

For viewers that ask for nothing again: the feedback tells of every packet, so those that later ones
have left behind are lost. How far packets overtake each other is learnt, and waited for.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from webrtc.sequence import nearest

if TYPE_CHECKING:
    from webrtc.twcc import TransportFeedback

REMEMBERED = 4096
"""Packets of the transport that are looked for; a power of two."""
_MS = 1_000_000
LEAST_NS = 5 * _MS
MOST_NS = 80 * _MS
"""So much later sent packets must have arrived before one counts as lost."""
MAX_LOST = 512
"""Packets that are looked for after they were lost."""
_FORGET = 0.98
"""What is left, a report later, of how far packets were seen to overtake each other."""


class _Packet:
    """Of RTP, however often it is sent; `sequence` is None where it is none of pictures."""

    __slots__ = ("arrived", "sequence", "underway")

    def __init__(self, sequence: int | None) -> None:
        self.sequence = sequence
        self.arrived = False
        self.underway = 0


class _Sent:
    """Of the transport."""

    __slots__ = ("number", "packet", "sent_ns")

    def __init__(self, number: int, packet: _Packet, sent_ns: int) -> None:
        self.number = number
        self.packet = packet
        self.sent_ns = sent_ns


class Missing:
    """Remembers which packet of the pictures each packet of the transport carried."""

    def __init__(self) -> None:
        self.late_ns = 0.0
        """How much later a packet may have been sent that overtakes another."""
        self._sent: list[_Sent | None] = [None] * REMEMBERED
        self._waiting: deque[_Sent] = deque()
        self._lost: dict[int, _Packet] = {}
        """By sequence number: those to be sent again."""
        self._newest = -1
        self._reached_ns: int | None = None
        """When the newest packet was sent that has arrived."""

    def __len__(self) -> int:
        """Packets of the transport that are remembered because they have not arrived."""
        return sum(each is not None for each in self._sent)

    def sent(self, number: int, sequence: int | None, now_ns: int, *, again: bool = False) -> None:
        """Note that a packet was sent: `number` is the transport's, 16 bits.

        `sequence`: of the packet of pictures that it is, or brings `again`; None for all others.
        """
        self._newest = nearest(number, self._newest + 1, 16)
        before = None if sequence is None else self._lost.get(sequence)
        packet = before if again and before is not None else _Packet(sequence)
        if before is not None and sequence is not None and not again:
            del self._lost[sequence]  # from a turn of the numbers ago
        packet.underway += 1
        sent = _Sent(self._newest, packet, now_ns)
        self._sent[self._newest & (REMEMBERED - 1)] = sent
        self._waiting.append(sent)
        if len(self._waiting) > REMEMBERED:
            self._waiting.popleft().packet.underway -= 1

    def feedback(self, report: TransportFeedback) -> list[int]:
        """Return the sequence numbers of pictures' packets that the viewer has not got."""
        base = nearest(report.base_sequence, self._newest, 16)
        self.late_ns *= _FORGET
        for step, _ in report.arrivals:
            place = (base + step) & (REMEMBERED - 1)
            sent = self._sent[place]
            if sent is None or sent.number != base + step:
                continue
            self._sent[place] = None  # each arrives once
            sent.packet.arrived = True
            reached_ns = self._reached_ns
            if reached_ns is None or sent.sent_ns > reached_ns:
                self._reached_ns = sent.sent_ns
            else:
                self.late_ns = max(self.late_ns, float(reached_ns - sent.sent_ns))
        if self._reached_ns is None:
            return []
        # Half of it: what then comes twice costs less than every loss being noticed later.
        overdue_ns = self._reached_ns - min(LEAST_NS + self.late_ns / 2, MOST_NS)
        lost: list[int] = []
        waiting = self._waiting
        while waiting and waiting[0].sent_ns < overdue_ns:
            packet = waiting.popleft().packet
            packet.underway -= 1
            sequence = packet.sequence
            if sequence is None or packet.underway:
                continue
            if packet.arrived:
                self._lost.pop(sequence, None)
                continue
            self._lost[sequence] = packet
            if len(self._lost) > MAX_LOST:
                del self._lost[next(iter(self._lost))]
            lost.append(sequence)
        return lost
