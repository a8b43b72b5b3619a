"""Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

TICK_NS = 250_000
REFERENCE_TICKS = 256
"""The reference time counts 64 ms."""
MAX_DELTA = 0x7FFF
"""Ticks between two arrivals of one feedback, 8.19 s."""
_RUN = 0x1FFF


class RtcpError(Exception):
    """The peer's RTCP breaks its format; the text holds none of the peer's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFeedback:
    """When which packets of a transport arrived; those between them did not.

    Only arrivals are kept: a few bytes may claim that 65,535 packets were lost.
    """

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    """16 bits: the first packet that is told of."""
    status_count: int
    """How many packets from there are told of, 65,535 at most."""
    reference_time: int
    """Signed 24 bits, in 64 ms of the receiver's clock."""
    feedback_count: int
    """8 bits, one more each time."""
    arrivals: tuple[tuple[int, int], ...]
    """(steps after `base_sequence`, ascending; ticks of 250 us after the reference time)."""

    @classmethod
    def parse(cls, sender_ssrc: int, media_ssrc: int, fci: bytes) -> TransportFeedback:
        """Read the feedback control information, at a cost of its length. Raises `RtcpError`."""
        if len(fci) < 8:
            raise RtcpError("The transport-wide feedback is shorter than its header.")
        base, count, time = struct.unpack_from("!HHI", fci)
        received, pos = _read_statuses(fci, count)
        ticks = 0
        arrivals = []
        for index, large in received:
            stop = pos + (2 if large else 1)
            if stop > len(fci):
                raise RtcpError("The transport-wide feedback ends inside its arrival times.")
            ticks += int.from_bytes(fci[pos:stop], "big", signed=large)
            arrivals.append((index, ticks))
            pos = stop
        reference = time >> 8
        return cls(
            sender_ssrc=sender_ssrc,
            media_ssrc=media_ssrc,
            base_sequence=base,
            status_count=count,
            reference_time=reference - ((reference & 0x800000) << 1),
            feedback_count=time & 0xFF,
            arrivals=tuple(arrivals),
        )

    def serialise(self) -> bytes:
        """Return the feedback control information in whole words.

        Raises `ValueError` where two arrivals are farther apart than `MAX_DELTA`.
        """
        symbols: dict[int, int] = {}
        deltas = []
        before = 0
        for index, ticks in self.arrivals:
            delta = ticks - before
            before = ticks
            if not -MAX_DELTA - 1 <= delta <= MAX_DELTA:
                raise ValueError("Two arrivals are too far apart for one feedback.")
            small = 0 <= delta <= 0xFF
            symbols[index] = 1 if small else 2
            deltas.append(delta.to_bytes(1 if small else 2, "big", signed=not small))
        time = (self.reference_time & 0xFFFFFF) << 8 | self.feedback_count
        parts = [struct.pack("!HHI", self.base_sequence, self.status_count, time)]
        parts += _write_statuses([symbols.get(at, 0) for at in range(self.status_count)])
        data = b"".join(parts + deltas)
        return data + bytes(-len(data) % 4)


def _read_statuses(fci: bytes, count: int) -> tuple[list[tuple[int, bool]], int]:
    """Return [(steps after the base, whether its delta is large)] and where the deltas begin."""
    received: list[tuple[int, bool]] = []
    pos = 8
    index = 0
    while index < count:
        if pos + 2 > len(fci):
            raise RtcpError("The transport-wide feedback ends inside its packet statuses.")
        chunk = fci[pos] << 8 | fci[pos + 1]
        pos += 2
        if chunk < 0x8000:
            run = min(chunk & _RUN, count - index)
            symbol = chunk >> 13
            if symbol:
                _check(symbol)
                if len(received) + run > len(fci):
                    raise RtcpError("The transport-wide feedback ends inside its arrival times.")
                received += [(at, symbol == 2) for at in range(index, index + run)]
            index += run
            continue
        width = 2 if chunk & 0x4000 else 1
        for shift in range(14 - width, -1, -width):
            if index == count:
                break
            if symbol := chunk >> shift & (3 if width == 2 else 1):
                _check(symbol)
                received.append((index, symbol == 2))
            index += 1
    return received, pos


def _check(symbol: int) -> None:
    if symbol == 3:
        raise RtcpError("The transport-wide feedback holds the reserved packet status.")


def _write_statuses(symbols: list[int]) -> list[bytes]:
    """Return the chunks: runs where they are longer than a vector, else vectors."""
    chunks = []
    pos = 0
    end = len(symbols)
    while pos < end:
        symbol = symbols[pos]
        run = 1
        while pos + run < end and run < _RUN and symbols[pos + run] == symbol:
            run += 1
        if run >= 14 or pos + run == end:
            chunks.append(symbol << 13 | run)
            pos += run
            continue
        part = symbols[pos : pos + 14]
        if 2 in part:
            part = part[:7]
            chunk = 0xC000
            for at, each in enumerate(part):
                chunk |= each << (12 - 2 * at)
        else:
            chunk = 0x8000
            for at, each in enumerate(part):
                chunk |= each << (13 - at)
        chunks.append(chunk)
        pos += len(part)
    return [chunk.to_bytes(2, "big") for chunk in chunks]
