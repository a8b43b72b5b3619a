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
from media.drift import MAX_SLOPE, WINDOW, Drift
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
MAX_AHEAD = 10 * TICKS_PER_SECOND
"""Nobody reads an encoder further ahead of real time than this: its clock is wrong."""
MAX_LATE = 30 * TICKS_PER_SECOND
"""A link that is later than this has been given up: the encoder's clock stood still."""
ROOM = TICKS_PER_SECOND // 10
"""A track that was stopped there goes on this much before it: not every packet is a jump."""
LONG_CALM = 300 * TICKS_PER_SECOND
"""So long a time tells how fast two tracks drift apart."""
FOLLOW = 2 * TICKS_PER_SECOND
"""A clock that was set moves every track of it within this."""
CALM = 50 * TICKS_PER_MS
"""A link with more queueing than this says nothing of how far tracks are apart."""
DRIFT_TOLERANCE = 10 * TICKS_PER_MS
"""A drift below this is left alone: estimates tremble by a few milliseconds."""
SLEW_INTERVAL = 2 * TICKS_PER_SECOND
"""One millisecond each two seconds at most: 500 ppm, less than a cent of pitch."""
APART = 25 * TICKS_PER_MS
"""Tracks further apart than this since their start have clocks of their own (ITU-R BT.1359:
sound that is 45 ms ahead or 125 ms behind is noticed), and have to stay below 40 ms."""
TOGETHER = 10 * TICKS_PER_MS
"""... and are moved until they are this close again."""
_NEVER = 2**62


class Repair(StrEnum):
    """Why a timestamp was changed."""

    WRAP = "wrap"
    NON_MONOTONIC = "non_monotonic"
    JUMP = "jump"
    AV_START = "av_start"
    COMPOSITION = "composition"
    DRIFT = "drift"
    TRACK_DRIFT = "track_drift"


@dataclass(slots=True)
class _Track:
    offset: int
    source_last: int
    """Unwrapped source time of the last packet."""
    last: int
    """Show time of the last packet's dts."""
    arrived: int
    """Show time at which it arrived."""
    believed: tuple[int, int] = (0, 0)
    """Show time and arrival of the last packet that was not pushed forward."""
    behind: int = 0
    """Packets in a row that had to be pushed forward."""
    skew: int = 0
    """Correction of this track alone, beyond that of all."""
    least: int = _NEVER
    """Least uncorrected delay since the window began."""
    least_before: int = _NEVER
    """The same of the window before."""
    usual: int | None = None
    """Its least delay against the reference track's when both started."""
    apart: int = 0
    """How far it has drifted from there, without `skew`."""
    begun: tuple[int, int] = (0, 0)
    """When `usual` was taken, and `apart` then."""
    known: tuple[int, int] = (0, 0)
    """When the link was calm last, and `apart` then."""
    moving: bool = False
    """It is being moved to where it belongs."""

    def excess(self, delay: int) -> int:
        """Return how far an uncorrected delay lies above the least of late."""
        return delay - min(self.least, self.least_before)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """One track's clock was set; others may be on the same one."""

    before: int
    """The offset that was left."""
    offset: int
    excess: int
    """How late the track was by then beyond its least delay."""
    until: int


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
        self._reference: _Track | None = None
        """Main video, else the first track: the one whose drift all follow."""
        self._reference_kind: Kind | None = None
        self._offset: int | None = None
        self._move: _Move | None = None
        self._slew = 0
        self._drift = Drift()
        self._window_end = 0
        self._next_step = 0
        self.early = False
        """The newest packet was moved to the floor: others were shown and heard at its own time."""

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
        return self._drift.ppm

    @property
    def tracks_apart(self) -> bool:
        """Whether a track is moved because its clock differs from the pictures'."""
        return any(track.skew for track in self._tracks.values())

    def map(self, packet: Packet) -> Packet:
        """Return the packet on the show clock: dts strictly rising per track, pts ≥ dts."""
        arrived = self._clock.now(packet.arrived_ns)
        composition = self._composition(packet.pts - packet.dts)
        kind = packet.kind
        key = (kind, packet.track)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = self._start(packet.dts, arrived)
            self._refer_to(track, kind, arrived)
            dts = max(track.last, self._floor)
            self.early = dts > track.last
        else:
            dts = self._next(track, packet.dts, arrived)
        track.last = dts
        track.arrived = arrived
        delay = arrived - dts + self._slew + track.skew
        if delay < track.least and not self.early:
            track.least = delay
        if not track.behind:
            track.believed = dts, arrived
        if arrived >= self._next_step:
            self._follow_drift(arrived)
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
        expected = max(arrived - self._late, self._floor) - self._slew
        if self._offset is None:
            offset = self._offset = _whole_ms(expected - source)
        else:
            newest = max(self._tracks.values(), key=lambda t: t.arrived)
            source = self._unwrap(source, newest.source_last)
            offset = self._offset
            if abs(source + offset - expected) > START_TOLERANCE:
                self._repaired(Repair.AV_START)
                offset = _whole_ms(expected - source)
        return _Track(offset, source, source + offset + self._slew, arrived)

    def _next(self, track: _Track, source: int, arrived: int) -> int:
        unwrapped = self._unwrap(source, track.source_last)
        passed = max(0, arrived - track.arrived)
        correction = self._slew + track.skew
        for offset, reason in self._candidates(track):
            dts = unwrapped + offset + correction
            if _plausible(dts - track.last, passed) and self._in_reach(dts, arrived):
                if reason is not None:
                    self._repaired(reason)
                break
        else:
            self._repaired(Repair.JUMP)
            offset = self._anchor(track, unwrapped, arrived)
        if self._follows(track, unwrapped + correction, arrived):
            assert self._move is not None
            self._repaired(Repair.JUMP)
            offset = self._move.offset
        track.offset = offset
        track.source_last = unwrapped
        dts = unwrapped + offset + correction
        self.early = self._floor - BACKWARD_TOLERANCE < dts < self._floor
        if dts > track.last:
            track.behind = 0
            return dts
        if self.early:
            return track.last + 1
        track.behind += 1
        if track.behind > MAX_BEHIND:
            self._repaired(Repair.JUMP)
            before = track.offset
            track.offset = self._anchor(track, unwrapped, arrived)
            dts = max(unwrapped + track.offset + correction, track.last + 1)
            self._move = _Move(
                before=before,
                offset=track.offset,
                excess=track.excess(arrived - dts + correction),
                until=arrived + FOLLOW,
            )
            track.believed = dts, arrived
            return dts
        self._repaired(Repair.NON_MONOTONIC)
        return track.last + 1

    def _follows(self, track: _Track, source: int, arrived: int) -> bool:
        """Whether a track was on the clock that another one has shown to be set back.

        Then it is as late as that one on the offset that both had left for the new one.
        """
        move = self._move
        if move is None or arrived > move.until or track.offset != move.before:
            return False
        dts = source + move.offset
        if dts <= track.last or not self._in_reach(dts, arrived):
            return False
        stays, goes = (
            abs(track.excess(arrived - source - offset + self._slew + track.skew) - move.excess)
            for offset in (track.offset, move.offset)
        )
        return goes < stays

    def _in_reach(self, dts: int, arrived: int) -> bool:
        """Whether a decoding time lies where an encoder can be; runs begin after the floor."""
        return arrived - MAX_LATE <= dts <= max(arrived, self._floor) + MAX_AHEAD

    def _candidates(self, track: _Track) -> list[tuple[int, Repair | None]]:
        """Offsets to try, in order: as before; the jump another track made; a 24-bit wrap."""
        candidates: list[tuple[int, Repair | None]] = [(track.offset, None)]
        if self._offset is not None and self._offset != track.offset:
            candidates.append((self._offset, Repair.JUMP))
        candidates.append((track.offset + WRAP_24_BIT, Repair.WRAP))
        return candidates

    def _anchor(self, track: _Track, source: int, arrived: int) -> int:
        """Offset that continues the show where this packet arrived, for the other tracks too."""
        believed, then = track.believed
        target = max(believed + arrived - then, track.last + TICKS_PER_MS)
        if target - arrived < -MAX_LATE:
            target = arrived
        latest = max(arrived, self._floor) + MAX_AHEAD - ROOM
        target = min(max(target, self._floor), latest)
        offset = _whole_ms(target - source - self._slew - track.skew)
        # The other tracks may take it over; their own corrections stay theirs.
        self._offset = offset
        for other in self._tracks.values():
            other.usual = None
        return offset

    def _unwrap(self, source: int, near: int) -> int:
        """Choose the representative of `source` modulo the wrap that lies nearest to `near`."""
        half = self._wrap // 2
        distance = (source - near + half) % self._wrap - half
        unwrapped = near + distance
        # Below zero lie pictures that were moved before the beginning of their clock.
        if distance > 0 and near >= 0 and source % self._wrap < near % self._wrap:
            self._repaired(Repair.WRAP)
        return unwrapped

    def _refer_to(self, track: _Track, kind: Kind, arrived: int) -> None:
        """Make a run's first track, or its first pictures, the reference."""
        if self._reference is None:
            self._window_end = arrived + WINDOW
        elif self._reference_kind is kind or kind is Kind.AUDIO:
            return
        self._reference, self._reference_kind = track, kind
        self._drift = Drift(corrected=self._slew)

    def _follow_drift(self, arrived: int) -> None:
        """Move all tracks together by a millisecond at most while the encoder's clock drifts.

        A track that drifts apart from the others is moved along as slowly.
        """
        self._next_step = arrived + SLEW_INTERVAL
        if arrived >= self._window_end:
            self._window_end = arrived + WINDOW
            self._close_window(arrived)
        if step := _step(self._drift.wanted(arrived) - self._slew, DRIFT_TOLERANCE):
            self._slew += step
            self._repaired(Repair.DRIFT)
        for track in self._tracks.values():
            missing = track.apart - track.skew
            track.moving = abs(missing) > (TOGETHER if track.moving else APART)
            if track.moving:
                track.skew += _step(missing, TOGETHER)
                self._repaired(Repair.TRACK_DRIFT)

    def _close_window(self, arrived: int) -> None:
        """Take the least delays of the last window."""
        reference = self._reference
        assert reference is not None
        least = reference.least
        for track in self._tracks.values():
            track.least_before = track.least
        reference.least = _NEVER
        queueing = self._drift.add(arrived, least) if least != _NEVER else 0
        for (kind, _), track in self._tracks.items():
            # Pictures of all tracks come of one clock, and have to stay together.
            if kind is self._reference_kind or _NEVER in (track.least, least):
                continue
            between, track.least = track.least - least, _NEVER
            if queueing > CALM:
                track.apart = _extrapolated(track, arrived)
                continue
            if track.usual is None:
                track.usual = between - track.apart
                track.begun = arrived, track.apart
            track.apart = between - track.usual
            track.known = arrived, track.apart


def _extrapolated(track: _Track, at: int) -> int:
    """Return how far a track is apart if it goes on drifting as it did while the link was calm."""
    (begun, before), (known, apart) = track.begun, track.known
    if track.usual is None or known - begun < LONG_CALM:
        return track.apart
    slope = min(max((apart - before) / (known - begun), -MAX_SLOPE), MAX_SLOPE)
    return apart + round(slope * (at - known))


def _step(missing: int, tolerance: int) -> int:
    """Return the millisecond by which to move, 0 within the tolerance."""
    if abs(missing) < tolerance:
        return 0
    return TICKS_PER_MS if missing > 0 else -TICKS_PER_MS


def _whole_ms(ticks: int) -> int:
    """Round up to a millisecond: then RTMP times keep an exact UTC millisecond."""
    return -(-ticks // TICKS_PER_MS) * TICKS_PER_MS


def _plausible(step: int, passed: int) -> bool:
    """Whether a decoding-time step fits the time that passed between the arrivals."""
    return -BACKWARD_TOLERANCE < step <= passed + FORWARD_TOLERANCE
