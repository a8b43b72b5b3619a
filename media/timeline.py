"""The one place where an encoder's timestamps are believed or repaired.

A `Timeline` maps the packets of one run (one publisher, from connect to leave) onto the show
clock: it unwraps, keeps decoding times monotonic per track, keeps audio and video together
over jumps, and follows the encoder's clock drift against UTC. Every repair is counted by
reason. It never drops a packet and keeps no history but a few numbers per track.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from media.clock import TICKS_PER_MS, ShowClock
from media.model import TICKS_PER_SECOND, Kind, Packet

WRAP_24_BIT = 2**24 * TICKS_PER_MS
"""Encoders without extended timestamps fall back to zero after 4 h 39 min 37 s."""
BACKWARD_TOLERANCE = TICKS_PER_SECOND
"""A step back of less than this is an unordered packet, not a new clock."""
MAX_BEHIND = 3
"""More packets in a row than this behind the newest: the clock was set back."""
FORWARD_TOLERANCE = 2 * TICKS_PER_SECOND
"""A step ahead by more than this beyond the time that passed is a new clock."""
START_TOLERANCE = 5 * TICKS_PER_SECOND
"""Tracks whose first timestamps differ by more than this do not share a clock."""
MAX_COMPOSITION = 3 * TICKS_PER_SECOND
"""Reordering longer than 16 frames at 6 fps is a broken composition time."""
DRIFT_WINDOW = 10 * TICKS_PER_SECOND
DRIFT_TOLERANCE = 20 * TICKS_PER_MS
"""Queueing in the network moves the smallest delay of a window by a few milliseconds."""
SLEW_INTERVAL = TICKS_PER_SECOND
"""One millisecond each second at most: 1000 ppm, five times a bad crystal's error."""


class Repair(StrEnum):
    """Why a timestamp was changed."""

    WRAP = "wrap"
    NON_MONOTONIC = "non_monotonic"
    JUMP = "jump"
    AV_START = "av_start"
    COMPOSITION = "composition"
    DRIFT = "drift"


@dataclass(slots=True)
class _Track:
    offset: int
    source_last: int
    """Unwrapped source time of the last packet."""
    last: int
    """Show time of the last packet's dts."""
    arrived: int
    """Show time at which it arrived."""
    behind: int = 0
    """Packets in a row that had to be pushed forward."""


class Timeline:
    """Maps one run's packets to the show clock.

    `floor`: no packet may lie before this show time (end of what earlier runs published);
    `wrap_ticks`: modulus of the source clock; `repaired`: called with each repair; `late`: ticks
    by which the first packet's arrival was delayed (`media.settling`).
    """

    def __init__(
        self,
        *,
        clock: ShowClock,
        wrap_ticks: int,
        floor: int,
        repaired: Callable[[Repair], None],
        late: int = 0,
    ) -> None:
        self._late = late
        self._clock = clock
        self._wrap = wrap_ticks
        self._floor = floor
        self._repaired = repaired
        self._tracks: dict[tuple[Kind, int], _Track] = {}
        self._has_video = False
        self._offset: int | None = None
        self._slew = 0
        self._drift = _Drift()

    @property
    def lead(self) -> int:
        """How far the furthest track lies ahead of the newest arrival, in ticks; may be negative.

        Not of that track's own arrival: it may be silent while the other one catches up.
        """
        tracks = self._tracks.values()
        furthest = max((track.last for track in tracks), default=0)
        return furthest - max((track.arrived for track in tracks), default=0)

    @property
    def drift_ppm(self) -> float | None:
        """How fast the encoder's clock runs against arrival, None until it is known."""
        return None

    @property
    def tracks_apart(self) -> bool:
        """Whether sound is moved because its clock differs from the pictures'."""
        return False

    def map(self, packet: Packet) -> Packet:
        """Return the packet on the show clock: dts strictly rising per track, pts ≥ dts."""
        arrived = self._clock.now(packet.arrived_ns)
        composition = self._composition(packet.pts - packet.dts)
        kind = packet.kind
        key = (kind, packet.track)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = self._start(packet.dts, arrived)
            self._has_video = self._has_video or kind is Kind.VIDEO
            dts = max(track.last, self._floor)
        else:
            dts = self._next(track, packet.dts, arrived)
        track.last = dts
        track.arrived = arrived
        if kind is Kind.VIDEO or not self._has_video:
            self._follow_drift(dts, arrived)
        return Packet(
            track=packet.track,
            codec=packet.codec,
            dts=dts,
            pts=dts + composition,
            key=packet.key,
            payload=packet.payload,
            arrived_ns=packet.arrived_ns,
            duration=packet.duration,
        )

    def _composition(self, offset: int) -> int:
        wrapped = (offset + self._wrap // 2) % self._wrap - self._wrap // 2
        clamped = min(max(wrapped, 0), MAX_COMPOSITION)
        if clamped != wrapped:
            self._repaired(Repair.COMPOSITION)
        return clamped

    def _start(self, source: int, arrived: int) -> _Track:
        """Place a track's first packet: on the run's offset where that is plausible."""
        expected = max(arrived - self._late, self._floor)
        if self._offset is None:
            self._offset = _whole_ms(expected - source)
            return _Track(self._offset, source, source + self._offset, arrived)
        newest = max(self._tracks.values(), key=lambda t: t.arrived)
        source = self._unwrap(source, newest.source_last)
        offset = self._offset
        if abs(source + offset - expected) > START_TOLERANCE:
            self._repaired(Repair.AV_START)
            offset = _whole_ms(expected - source)
        return _Track(offset, source, source + offset, arrived)

    def _next(self, track: _Track, source: int, arrived: int) -> int:
        unwrapped = self._unwrap(source, track.source_last)
        passed = max(0, arrived - track.arrived)
        for offset, reason in self._candidates(track):
            if _plausible(unwrapped + offset + self._slew - track.last, passed):
                if reason is not None:
                    self._repaired(reason)
                break
        else:
            self._repaired(Repair.JUMP)
            offset = self._anchor(track, unwrapped, arrived)
        track.offset = offset
        track.source_last = unwrapped
        dts = unwrapped + offset + self._slew
        if dts > track.last:
            track.behind = 0
            return dts
        track.behind += 1
        if track.behind > MAX_BEHIND:
            self._repaired(Repair.JUMP)
            track.offset = self._anchor(track, unwrapped, arrived)
            return max(unwrapped + track.offset + self._slew, track.last + 1)
        self._repaired(Repair.NON_MONOTONIC)
        return track.last + 1

    def _candidates(self, track: _Track) -> list[tuple[int, Repair | None]]:
        """Offsets to try, in order: as before; the jump another track made; a 24-bit wrap."""
        candidates: list[tuple[int, Repair | None]] = [(track.offset, None)]
        if self._offset is not None and self._offset != track.offset:
            candidates.append((self._offset, Repair.JUMP))
        candidates.append((track.offset + WRAP_24_BIT, Repair.WRAP))
        return candidates

    def _anchor(self, track: _Track, source: int, arrived: int) -> int:
        """Offset that continues the show where this packet arrived, for the other tracks too."""
        behind = arrived - track.arrived
        target = max(track.last + max(behind, TICKS_PER_MS), self._floor)
        self._offset = _whole_ms(target - source - self._slew)
        return self._offset

    def _unwrap(self, source: int, near: int) -> int:
        """Choose the representative of `source` modulo the wrap that lies nearest to `near`."""
        half = self._wrap // 2
        distance = (source - near + half) % self._wrap - half
        unwrapped = near + distance
        if distance > 0 and source % self._wrap < near % self._wrap:
            self._repaired(Repair.WRAP)
        return unwrapped

    def _follow_drift(self, dts: int, arrived: int) -> None:
        """Slew all tracks together by whole milliseconds while the encoder's clock drifts."""
        step = self._drift.observe(
            delay=arrived - dts + self._slew, slew=self._slew, arrived=arrived
        )
        if step:
            self._slew += step * TICKS_PER_MS
            self._repaired(Repair.DRIFT)


def _whole_ms(ticks: int) -> int:
    """Round up to a millisecond: then RTMP times keep an exact UTC millisecond."""
    return -(-ticks // TICKS_PER_MS) * TICKS_PER_MS


def _plausible(step: int, passed: int) -> bool:
    """Whether a decoding-time step fits the time that passed between the arrivals."""
    return -BACKWARD_TOLERANCE < step <= passed + FORWARD_TOLERANCE


class _Drift:
    """Estimates drift from the smallest delay of each window, without its own correction."""

    def __init__(self) -> None:
        self._baseline: int | None = None
        self._smallest: int | None = None
        self._window_end: int | None = None
        self._wanted = 0
        self._next_step = 0

    def observe(self, *, delay: int, slew: int, arrived: int) -> int:
        """Return -1, 0 or 1: milliseconds by which to move the mapping now.

        `delay`: arrival minus decoding time before the correction `slew`, in ticks.
        """
        if self._window_end is None:
            self._window_end = arrived + DRIFT_WINDOW
        if self._smallest is None or delay < self._smallest:
            self._smallest = delay
        if arrived >= self._window_end:
            self._close_window(self._smallest)
            self._window_end = arrived + DRIFT_WINDOW
            self._smallest = None
        if abs(self._wanted - slew) < DRIFT_TOLERANCE or arrived < self._next_step:
            return 0
        self._next_step = arrived + SLEW_INTERVAL
        return 1 if self._wanted > slew else -1

    def _close_window(self, smallest: int) -> None:
        if self._baseline is None:
            self._baseline = smallest
            return
        drift = smallest - self._baseline
        # An hour at 500 ppm is 1.8 s. A step beyond two seconds between windows is no drift: the
        # encoder pushes a file, or its link is full.
        if abs(drift - self._wanted) < 2 * TICKS_PER_SECOND:
            self._wanted = drift
        else:
            self._baseline = smallest - self._wanted
