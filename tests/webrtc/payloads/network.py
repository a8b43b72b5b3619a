"""Packets on their way from a packetizer to a depacketizer, some of them lost."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Protocol

from webrtc.payloads.assembly import AccessUnit, Depacketizer


class Packetizer(Protocol):
    def packetize(self, unit: bytes) -> list[tuple[bytes, bool]]: ...


def packets(
    packetizer: Packetizer, units: Sequence[bytes], *, ticks: int = 3000
) -> list[tuple[bytes, bool, int]]:
    """Return (payload, marker, timestamp) of all units."""
    return [
        (payload, marker, 90_000 + index * ticks)
        for index, unit in enumerate(units)
        for payload, marker in packetizer.packetize(unit)
    ]


def deliver(
    depacketizer: Depacketizer,
    sent: Sequence[tuple[bytes, bool, int]],
    *,
    lost: Container[int] = (),
    told: bool = True,
    first: int = 65_530,
) -> list[AccessUnit]:
    """Feed all but the lost; `told`: the loss is announced before the next packet comes."""
    units: list[AccessUnit] = []
    for index, (payload, marker, timestamp) in enumerate(sent):
        if index in lost:
            if told:
                depacketizer.lost()
            continue
        units += depacketizer.feed(payload, marker, timestamp, first + index)
    return units
