"""The sending side's memory: packets for those who lost them, key pictures for those who ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from webrtc.header import HeaderWriter

_MS = 1_000_000
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """Bounds of one viewer's stream."""

    max_packets: int = 2048
    max_bytes: int = 4 * 2**20
    """Of payload; it is shared between viewers, so this bounds what one of them keeps alive."""
    max_age_ns: int = 2 * _SECOND_NS
    max_resends: int = 3
    """Of one packet."""
    min_interval_ns: int = 10 * _MS
    """Between two of one packet: a NACK repeated sooner crossed the resent packet on its way."""
    bytes_per_second: int = 250_000
    """Of payload sent again; twice that after a pause of two seconds and more."""


@dataclass(slots=True)
class HistoryCounters:
    """What became of the sequence numbers that were asked for."""

    resent: int = 0
    unknown: int = 0
    """Never sent, or not remembered any more."""
    too_often: int = 0
    too_soon: int = 0
    throttled: int = 0
    """Over `bytes_per_second`."""


class _Sent:
    __slots__ = ("marker", "payload", "resends", "resent_ns", "sent_ns", "timestamp")

    def __init__(self, payload: bytes, marker: bool, timestamp: int, sent_ns: int) -> None:
        self.payload = payload
        self.marker = marker
        self.timestamp = timestamp
        self.sent_ns = sent_ns
        self.resends = 0
        self.resent_ns: int | None = None


class SentHistory:
    """Remembers what one stream sent to one viewer and answers its NACKs.

    `media` writes the stream's packets; `rtx`, where the viewer took RTX, the retransmissions
    (RFC 4588), else they go out as they were. Payloads are referred to, never copied. Times are
    nanoseconds of one steady clock.
    """

    def __init__(
        self,
        media: HeaderWriter,
        rtx: HeaderWriter | None = None,
        *,
        rtx_sequence: int = 0,
        limits: HistoryLimits | None = None,
    ) -> None:
        """`rtx_sequence` is the first sequence number of the RTX stream, 16 random bits."""
        self.limits = limits or HistoryLimits()
        self.counters = HistoryCounters()
        self.held_bytes = 0
        self._media = media
        self._rtx = rtx
        self._rtx_sequence = rtx_sequence & 0xFFFF
        self._sent: OrderedDict[int, _Sent] = OrderedDict()
        self._allowance = 2.0 * self.limits.bytes_per_second
        self._allowed_ns: int | None = None

    @property
    def held(self) -> int:
        """How many packets are remembered."""
        return len(self._sent)

    def add(
        self, payload: bytes, *, marker: bool, sequence: int, timestamp: int, now_ns: int
    ) -> None:
        """Remember a packet that was sent; `sequence` has 16 bits."""
        before = self._sent.pop(sequence, None)
        if before is not None:
            self.held_bytes -= len(before.payload)
        self._sent[sequence] = _Sent(payload, marker, timestamp, now_ns)
        self.held_bytes += len(payload)
        limits = self.limits
        oldest_ns = now_ns - limits.max_age_ns
        while self._sent and (
            len(self._sent) > limits.max_packets
            or self.held_bytes > limits.max_bytes
            or next(iter(self._sent.values())).sent_ns < oldest_ns
        ):
            _, gone = self._sent.popitem(last=False)
            self.held_bytes -= len(gone.payload)

    def holds(self, sequence: int, now_ns: int) -> bool:
        """Tell whether a packet may still be sent again, however soon after the last time."""
        sent = self._sent.get(sequence)
        if sent is None or sent.sent_ns < now_ns - self.limits.max_age_ns:
            return False
        return sent.resends < self.limits.max_resends

    def answer(
        self,
        lost: Iterable[int],
        now_ns: int,
        *,
        send_time: int = 0,
        transport_sequence: Callable[[], int] | None = None,
    ) -> list[bytes]:
        """Return the packets to send for a NACK's sequence numbers.

        `transport_sequence` counts on the transport's own number for each, where negotiated.
        """
        packets = []
        for sequence in lost:
            sent = self._take(sequence, now_ns)
            if sent is None:
                continue
            number = transport_sequence() if transport_sequence is not None else 0
            if self._rtx is None:
                packet = self._media.write(
                    sent.payload,
                    marker=sent.marker,
                    sequence=sequence,
                    timestamp=sent.timestamp,
                    transport_sequence=number,
                    send_time=send_time,
                )
            else:
                packet = self._rtx.write_rtx(
                    sent.payload,
                    original_sequence=sequence,
                    marker=sent.marker,
                    sequence=self._rtx_sequence,
                    timestamp=sent.timestamp,
                    transport_sequence=number,
                    send_time=send_time,
                )
                self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            packets.append(packet)
        return packets

    def _take(self, sequence: int, now_ns: int) -> _Sent | None:
        """Return the packet if it may be sent again now, and count that it is."""
        limits, counters = self.limits, self.counters
        sent = self._sent.get(sequence)
        if sent is None or sent.sent_ns < now_ns - limits.max_age_ns:
            counters.unknown += 1
            return None
        if sent.resends >= limits.max_resends:
            counters.too_often += 1
            return None
        if sent.resent_ns is not None and now_ns < sent.resent_ns + limits.min_interval_ns:
            counters.too_soon += 1
            return None
        rate = limits.bytes_per_second
        if self._allowed_ns is not None:
            self._allowance += (now_ns - self._allowed_ns) * rate / _SECOND_NS
            self._allowance = min(self._allowance, 2.0 * rate)
        self._allowed_ns = now_ns
        if self._allowance < len(sent.payload):
            counters.throttled += 1
            return None
        self._allowance -= len(sent.payload)
        sent.resends += 1
        sent.resent_ns = now_ns
        counters.resent += 1
        return sent


class KeyframeRequests:
    """Asks the encoder for one key picture an interval, however many viewers ask for one."""

    MAX_VIEWERS = 4096
    """Whose FIR numbers are remembered; of more, a repeated FIR passes for a new one."""

    def __init__(self, interval_ns: int = _SECOND_NS) -> None:
        self.interval_ns = interval_ns
        self.asked = 0
        self.received = 0
        self._asked_ns: int | None = None
        self._pending = False
        self._numbers: OrderedDict[tuple[str, int], int] = OrderedDict()

    def picture_loss(self) -> None:
        """Take a viewer's PLI."""
        self.received += 1
        self._pending = True

    def full_intra(self, viewer: str, ssrc: int, number: int) -> None:
        """Take an entry of a viewer's FIR; a repeated number is no new request (RFC 5104 4.3.1.2).

        `ssrc` is whose number it is: the FIR's sender's.
        """
        self.received += 1
        before = self._numbers.pop((viewer, ssrc), None)
        self._numbers[viewer, ssrc] = number
        if len(self._numbers) > self.MAX_VIEWERS:
            self._numbers.popitem(last=False)
        if before != number:
            self._pending = True

    def key_picture(self) -> None:
        """Note that a key picture went out to everybody: who asked before it has been served."""
        self._pending = False

    def due(self, now_ns: int) -> bool:
        """Tell whether to ask the encoder now, and count that it is asked."""
        wake = self.wake_ns(now_ns)
        if wake is None or now_ns < wake:
            return False
        self._asked_ns = now_ns
        self._pending = False
        self.asked += 1
        return True

    def wake_ns(self, now_ns: int) -> int | None:
        """Return when the encoder is to be asked next; None while nobody waits."""
        if not self._pending:
            return None
        return now_ns if self._asked_ns is None else max(now_ns, self._asked_ns + self.interval_ns)
