"""The renditions of a show, who feeds them, and how each comes back after a hole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from media.handover import Handover
from media.hls.segmenter import TOLERANCE
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from media.grid import SegmentGrid
    from media.hls.rendition import Rendition

SOURCE = "source"
"""The encoder's own pictures, untouched."""
AUDIO = "audio"
PATIENCE_IDLE = TICKS_PER_SECOND // 2
PATIENCE_SOURCE = 3 * TICKS_PER_SECOND // 2
PATIENCE_RUNG = 3 * TICKS_PER_SECOND
"""How long after a boundary a rendition may still deliver what lies before it, in ticks."""

LONGEST_FORESEEN = TICKS_PER_SECOND // 8
"""A picture of more than this that is cut short hides the next segment's beginning."""


class Lineup:
    """Renditions by name; a rendition once listed stays until the show ends.

    `make` builds an empty rendition.
    """

    def __init__(self, grid: SegmentGrid, make: Callable[[str, Kind], Rendition]) -> None:
        self.renditions: dict[str, Rendition] = {}
        self._grid = grid
        self._make = make
        self._fed: set[str] = set()
        self._coded: set[str] = set()
        """Those of `_fed` that the worker makes."""
        self._waiting: set[str] = set()
        self._handovers: dict[str, Handover] = {}
        """Renditions whose packets as they came wait for the worker's last ones."""
        self._coded_ends: dict[str, int] = {}
        """Until when the worker has fed each rendition."""
        self._pauses: dict[str, int] = {}
        """Until when each rendition that the worker leaves out was fed when it began to."""
        self._chosen: dict[str, TrackFormat] = {}
        """What viewers of each rendition chose it by."""
        self._ready = asyncio.Event()

    def get(self, name: str) -> Rendition | None:
        """Return a rendition that exists."""
        return self.renditions.get(name)

    def open(self, name: str, kind: Kind) -> Rendition:
        """Return the rendition, new if need be."""
        rendition = self.renditions.get(name)
        if rendition is None:
            rendition = self.renditions[name] = self._make(name, kind)
            rendition.set_siblings(self.renditions.values)
        return rendition

    def feed(self, *, encoder: Iterable[str], worker: Iterable[str], since: int) -> None:
        """Say which renditions get packets as they come, and which the worker feeds.

        It counts from the boundary at `since` (ticks): what the worker still makes of the time
        before that comes later than the first packets after it.
        """
        passed, coded = set(encoder), set(worker)
        for name in passed & self._coded:
            end = self._coded_ends.get(name)
            kind = self.renditions[name].kind
            if end is not None and not Handover.reached(kind, end, since):
                self._handovers.setdefault(name, Handover(kind=kind, since=since))
        for name in [n for n in self._handovers if n not in passed]:
            self._finish(name)
        self._coded = coded
        self._fed = coded | passed
        self._waiting &= self._fed

    def feed_also(self, name: str) -> None:
        """Take packets as they come for one more rendition, until the next `feed`."""
        self._fed.add(name)

    def hold(self, names: Iterable[str]) -> None:
        """Take nothing for these until a key frame starts a segment they have not begun."""
        for name in names:
            if (handover := self._handovers.get(name)) is not None:
                handover.needs_key = True
            else:
                self._waiting.add(name)

    def waits(self, name: str) -> bool:
        """Whether the rendition needs a key frame on a boundary."""
        return name in self._waiting and name not in self._handovers

    def set_format(self, name: str, track_format: TrackFormat) -> None:
        """Tell a rendition the format of packets as they came."""
        handover = self._handovers.get(name)
        if handover is not None:
            handover.hold(track_format)
        else:
            self._choose(name, track_format)
            self.renditions[name].set_format(track_format)

    def set_coded_format(self, name: str, track_format: TrackFormat, *, declared_bps: int) -> None:
        """Tell a rendition the worker's format; `declared_bps` counts until it is measured."""
        self._choose(name, track_format)
        self.renditions[name].set_format(track_format, declared_bps=declared_bps)

    def _choose(self, name: str, track_format: TrackFormat) -> None:
        known = self._chosen.get(name)
        if known is None or (plays(known, track_format) and plays(track_format, known)):
            self._chosen[name] = track_format

    def push(self, name: str, packet: Packet) -> None:
        """Pass on a packet as it came, unless its rendition is not fed or waits for a key frame."""
        handover = self._handovers.get(name)
        if handover is None:
            self._pass_on(name, packet)
        elif not handover.hold(packet):
            self._finish(name)

    def push_coded(self, name: str, packet: Packet) -> None:
        """Pass on a packet that the worker made; same conditions."""
        handover = self._handovers.get(name)
        if handover is None and name not in self._coded:
            return
        end = packet.pts + packet.duration
        self._coded_ends[name] = end
        self._pass_on(name, packet)
        if handover is not None and Handover.reached(handover.kind, end, handover.since):
            self._finish(name)

    def _finish(self, name: str) -> None:
        """Let go of what waited for the worker's last packets."""
        handover = self._handovers.pop(name)
        if handover.needs_key:
            self._waiting.add(name)
        for item in handover.items:
            if isinstance(item, Packet):
                self._pass_on(name, item)
            else:
                self.set_format(name, item)

    def _pass_on(self, name: str, packet: Packet) -> None:
        rendition = self.renditions.get(name)
        if rendition is None or name not in self._fed:
            return
        if name in self._waiting:
            if not self._may_resume(rendition, packet):
                return
            self._waiting.discard(name)
        elif rendition.format_pending and not self._begins_segment(rendition, packet):
            return
        rendition.push(packet)

    def _may_resume(self, rendition: Rendition, packet: Packet) -> bool:
        if not packet.key:
            return False
        edge = rendition.edge
        if edge is None:
            return True
        start = self._grid.segment_at(packet.pts).start
        if packet.pts < edge - _slack(rendition):
            return False
        needs_start = rendition.kind is Kind.VIDEO or rendition.format_pending
        if needs_start and not self._begins_segment(rendition, packet):
            return False
        rendition.fill_gap(start)
        return True

    def _begins_segment(self, rendition: Rendition, packet: Packet) -> bool:
        """Whether the packet lies in a segment that the rendition has not begun."""
        edge = rendition.edge
        return edge is None or self._grid.segment_at(packet.pts).start >= edge - _slack(rendition)

    def fill_holes(
        self, now: int, *, on_air: bool, silent: bool, paused: Collection[str] = ()
    ) -> None:
        """List as gaps what did not come in time.

        `silent`: nothing more is expected for now, so open parts are published as they are.
        While an encoder only hesitates they stay open: a short part breaks the 85 % rule.
        `paused`: renditions that the worker leaves out, so that there is nothing to wait for.
        """
        last = self._grid.last
        coded = self._coded.intersection(paused)
        self._pauses = {n: self._pauses.get(n, self._coded_ends.get(n, 0)) for n in coded}
        for name in [n for n, h in self._handovers.items() if h.overdue(now)]:
            self._finish(name)
        for name, rendition in self.renditions.items():
            if silent:
                rendition.flush_due(now)
            edge = rendition.edge
            if last is None or edge is None or edge >= last.start:
                continue
            # Not the newest boundary: with patience for more than a segment it is never due.
            due = self._grid.segment_at(now - self._patience(name, edge, on_air=on_air) - 1).start
            if edge < due:
                rendition.fill_gap(due)
                self._waiting.add(name)

    def _patience(self, name: str, edge: int, *, on_air: bool) -> int:
        if not on_air or name not in self._fed or name in self._waiting:
            return PATIENCE_IDLE
        if name in self._pauses:
            return PATIENCE_IDLE if self._is_dry(name, edge) else PATIENCE_SOURCE
        coded = name in self._coded or name in self._handovers
        return PATIENCE_RUNG if coded else PATIENCE_SOURCE

    def _is_dry(self, name: str, edge: int) -> bool:
        """Whether a paused rung has delivered all: it ends with a segment, late as it may be."""
        try:
            last = self._grid.segment_at(self._pauses[name] - 1)
        except LookupError:
            return True
        following = self._grid.after(last.msn)
        return following is not None and edge >= following.start - TOLERANCE

    def flush(self, now: int) -> None:
        """Publish open parts that nothing was added to for a PART-TARGET."""
        for rendition in self.renditions.values():
            rendition.flush_due(now)

    def end(self) -> None:
        """End every playlist."""
        for rendition in self.renditions.values():
            rendition.end()
        self._ready.set()

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def edge(self) -> int | None:
        """First moment (ticks) that no rendition has published."""
        return max((r.edge for r in self.renditions.values() if r.edge is not None), default=None)

    def place(self, ticks: int) -> dict[str, tuple[int, int]]:
        """Return for each rendition the media sequence number and part that hold a moment."""
        found = ((name, r.part_at(ticks)) for name, r in self.renditions.items())
        return {name: (ref.msn, ref.part) for name, ref in found if ref is not None}

    def listed(self) -> Sequence[Rendition]:
        """Return the renditions that can be played: source, then by height, sound last."""
        playable = [r for r in self.renditions.values() if r.format and r.edge is not None]
        return sorted(playable, key=_order)

    def offered(self, name: str) -> TrackFormat | None:
        """Return what a player has to decode to stay with a rendition, None before any format.

        A slate is H.264 in any show: who comes then has to know what follows it.
        """
        rendition = self.renditions.get(name)
        current = rendition.format if rendition is not None else None
        chosen = self._chosen.get(name)
        if chosen is None or current is None or plays(current, chosen):
            return current
        return chosen if plays(chosen, current) else current

    def offers(self) -> Sequence[tuple[Rendition, TrackFormat]]:
        """Return the renditions that can be played, each with the format to choose it by.

        That is `offered`; but where no pictures would then be left for everybody, what plays now.
        """
        listed = [(r, r.format) for r in self.listed() if r.format is not None]
        stays = [(r, self.offered(r.name) or now) for r, now in listed]
        return stays if any(plays_everywhere(f) for _, f in stays) else listed

    def check_ready(self, *, deadline_passed: bool) -> None:
        """Let those go who wait for the ladder to be known."""
        if deadline_passed or len(self.listed()) == len(self.renditions) > 0:
            self._ready.set()

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the ladder is known; False where that takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True


def _slack(rendition: Rendition) -> int:
    """How far a segment may begin before the edge.

    RTMP carries no durations: a part is published before its last picture turns out to be short.
    """
    if rendition.kind is not Kind.VIDEO:
        return TOLERANCE
    return max(TOLERANCE, min(rendition.foreseen, LONGEST_FORESEEN))


def _order(rendition: Rendition) -> tuple[bool, int]:
    height = rendition.format.height if rendition.format else 0
    return (rendition.name != SOURCE, -height)


def fits_hls(pictures: TrackFormat) -> bool:
    """Whether pictures can be listed as they came: no HLS player takes VP8."""
    return pictures.codec is not Codec.VP8


def plays_everywhere(pictures: TrackFormat) -> bool:
    """Whether every player decodes these: 8-bit 4:2:0 H.264."""
    return pictures.codec is Codec.H264 and (pictures.bit_depth, pictures.chroma) == (8, "4:2:0")


def plays(chosen: TrackFormat, other: TrackFormat) -> bool:
    """Whether a player that chose `chosen` decodes `other`: who decodes 10 bits decodes 8, too."""
    if plays_everywhere(other):
        return True
    alike = (other.codec, other.chroma) == (chosen.codec, chosen.chroma)
    return alike and other.bit_depth <= chosen.bit_depth
