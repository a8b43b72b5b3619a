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

from media.model import Kind, Packet

STEP = 24
"""Ticks between pictures that nobody is to see: two seconds of them take one refresh of a screen,
and every player's clock (microseconds at best) still tells them apart."""


def catch_up(packets: Sequence[Packet], after_ns: int, *, wrap_ticks: int) -> list[Packet]:
    """Return packets that begin with a key frame so that they can start at a moment.

    `packets` are in decoding order and in the encoder's time (modulus `wrap_ticks`); those that
    arrived before `after_ns` (monotonic) are past: their sound is left out, their pictures get
    times just before the first picture that is not, and its arrival. The newest picture of a track
    always keeps its time. Decoding times stay in order, and no picture is presented before its
    decoding. Packets of one track number follow those of the one before.
    """
    moved: list[Packet] = []
    for track in sorted({packet.track for packet in packets}):
        of_track = [packet for packet in packets if packet.track == track]
        moved += _catch_up(of_track, after_ns, wrap_ticks)
    return moved


def _catch_up(packets: Sequence[Packet], after_ns: int, wrap_ticks: int) -> list[Packet]:
    pictures = [packet for packet in packets if packet.kind is Kind.VIDEO]
    past = min(sum(p.arrived_ns < after_ns for p in pictures), len(pictures) - 1)
    if past <= 0:
        return list(packets)
    moved = iter(_squeezed(pictures, past, wrap_ticks))
    first = pictures[past]
    result: list[Packet] = []
    for packet in packets:
        if packet.kind is Kind.VIDEO:
            result.append(next(moved))
        elif packet.arrived_ns >= min(after_ns, first.arrived_ns):
            result.append(packet)
    return result


def _squeezed(pictures: Sequence[Packet], past: int, wrap: int) -> list[Packet]:
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
        dts = (number - past) * STEP
        at = shown[number]
        pts = max(present - (len(order) - ranks[at]) * STEP if at in ranks else at, dts)
        result.append(
            replace(
                picture,
                dts=(first.dts + dts) % wrap,
                pts=(first.dts + pts) % wrap,
                arrived_ns=first.arrived_ns,
            )
        )
    return [*result, *pictures[past:]]
