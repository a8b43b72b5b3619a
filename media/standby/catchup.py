"""Start an encoder's pictures now, though its newest key frame is older than what was shown.

Between two key frames nothing can be decoded, so a show that changes encoders would stand still
for up to a group of pictures. Here the pictures since the key frame go out with it, those that
are too old a quarter of a millisecond apart: a decoder takes them in its stride, a screen shows
at most one of them, and the next picture is the present one. Nothing is shown twice and nothing
is late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from media.model import TICKS_PER_SECOND, Kind, Packet

STEP = 24
"""Ticks between pictures that nobody is to see: two seconds of them take one refresh of a screen,
and every player's clock (microseconds at best) still tells them apart."""
STRETCH = TICKS_PER_SECOND // 2
"""A picture may last this much longer to close a hole."""


def catch_up(
    packets: Sequence[Packet], after_ns: int, *, wrap_ticks: int, stretch: bool = True
) -> list[Packet]:
    """Return packets that begin with a key frame so that they can start at a moment.

    `packets` are in decoding order and in the encoder's time (modulus `wrap_ticks`). Those that
    arrived before `after_ns` (monotonic) are past: of their sound the last one stays, their
    pictures follow one another from that moment on, and the last of them lasts until the first
    picture that is not past. The newest picture always keeps its time. Where none is past and
    `stretch`, the key frame itself begins at that moment if it is not far ahead: Chromium freezes
    the picture for three seconds at a hole of more than two pictures. Decoding times stay in
    order, and no picture is presented before its decoding. Packets of one track number follow
    those of the one before; pictures of all tracks move alike, so they stay aligned.
    """
    by_track = [
        [packet for packet in packets if packet.track == track]
        for track in sorted({packet.track for packet in packets})
    ]
    main = _pictures(by_track[0]) if by_track else []
    if not main:
        return list(packets)
    past = min(sum(p.arrived_ns < after_ns for p in main), len(main) - 1)
    hole = (main[past].arrived_ns - after_ns) * TICKS_PER_SECOND // 1_000_000_000
    if not 0 <= hole <= STRETCH or not (past or stretch):
        hole = 0
    starts_ns = main[past].arrived_ns - hole * 1_000_000_000 // TICKS_PER_SECOND
    moved: list[Packet] = []
    for of_track in by_track:
        moved += _moved(of_track, past, hole, starts_ns, wrap_ticks)
    return moved


def _moved(
    packets: Sequence[Packet], past: int, hole: int, starts_ns: int, wrap: int
) -> list[Packet]:
    """Return one track's packets with the past ones moved, or left out where they are sound."""
    pictures = _pictures(packets)
    past = min(past, len(pictures) - 1)
    if past > 0:
        pictures = [*squeezed(pictures, past, hole, starts_ns, wrap), *pictures[past:]]
    elif pictures and hole:
        pictures = [_earlier(pictures[0], hole, starts_ns), *pictures[1:]]
    remaining = iter(pictures)
    sounds = [packet for packet in packets if packet.kind is Kind.AUDIO]
    spare = max(0, sum(p.arrived_ns < starts_ns for p in sounds) - 1)
    unheard = {id(packet) for packet in sounds[:spare]}
    return [
        next(remaining) if packet.kind is Kind.VIDEO else packet
        for packet in packets
        if id(packet) not in unheard
    ]


def _pictures(packets: Sequence[Packet]) -> list[Packet]:
    return [packet for packet in packets if packet.kind is Kind.VIDEO]


def _earlier(picture: Packet, ticks: int, arrived_ns: int) -> Packet:
    return replace(
        picture,
        dts=picture.dts - ticks,
        pts=picture.pts - ticks,
        arrived_ns=arrived_ns,
    )


def squeezed(
    pictures: Sequence[Packet], past: int, hole: int, arrived_ns: int, wrap: int
) -> list[Packet]:
    """Return the first `past` pictures, `STEP` ticks apart, right before the one that follows.

    The last of them lasts `hole` ticks more; their times are those of `pictures`, modulus `wrap`,
    and below zero where the clock had just begun.
    """
    first = pictures[past]
    half = wrap // 2

    def ahead(ticks: int) -> int:
        """How far a time lies ahead of the first present picture's decoding time."""
        return (ticks - first.dts + half) % wrap - half

    shown = [ahead(picture.pts) for picture in pictures]
    present = min(shown[past:])
    # A reference picture may be decoded among the past ones and presented with those to come.
    order = sorted(at for at in shown[:past] if at < present)
    ranks = {at: rank for rank, at in enumerate(order)}
    result = []
    for number, picture in enumerate(pictures[:past]):
        dts = (number - past) * STEP - hole
        at = shown[number]
        if at in ranks:
            at = max(present - (len(order) - ranks[at]) * STEP - hole, dts)
        result.append(
            replace(
                picture,
                dts=first.dts + dts,
                pts=first.dts + at,
                arrived_ns=arrived_ns,
            )
        )
    return result
