"""What one publisher's packets tell of its encoder and its link, a second at a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from media.model import TICKS_PER_SECOND, Kind, Packet

if TYPE_CHECKING:
    from collections.abc import Mapping

RATE_LOOKS = 5
"""Seconds over which pictures are counted."""
LATE_LOOKS = 10
"""Seconds over which a delay is looked at for changes."""
STOPPED = TICKS_PER_SECOND
"""Pictures that pause for longer had stopped: that says nothing of the pace of key frames."""
STEADY_S = 4
"""A bit rate is judged over this many seconds: key frames weigh more than other pictures."""
STEADY_SPANS = 10
KEY_INTERVALS = 8
CAUGHT_UP = TICKS_PER_SECOND // 1000
"""Pictures closer than this were caught up with (`media.standby.catchup`)."""
STRETCHED = TICKS_PER_SECOND // 10
"""A run's first picture that lasts longer was begun earlier, to close a hole."""
TRUE_TIME = 0.8
"""Of pictures whose times had to be pushed forward, a second holds too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A run's last second. Seconds and bits a second; None where nothing tells."""

    age_s: float
    """Since the run's first packet arrived."""
    quiet_s: Mapping[Kind, float]
    """Since the newest packet of a kind arrived; kinds that never came are missing."""
    carried_bps: int
    """What the connection brought, of all kinds, by the time of arrival over 5 s."""
    spans_bps: tuple[int, ...]
    """Bit rates of pictures over spans of 4 s each, by the time of arrival, newest last."""
    audio_unit_bytes: float | None
    """Mean size of an access unit of sound."""
    picture_rate: float | None
    """Pictures in a second of media over the last 5 s, all of the same parameters."""
    best_picture_rate: float
    """The most it has been since the pictures' parameters changed, 0 until it is known."""
    key_intervals: tuple[float, ...]
    """Between the newest key frames, newest last."""
    since_key_s: float | None
    """Media time since the newest key frame, or since pictures came back after a stop."""
    reordered: bool
    """Pictures are shown in another order than they are decoded: there are B-frames."""
    late_s: float | None
    """Least delay between decoding time and arrival; grows while a link is too slow."""
    lates_s: tuple[float, ...]
    """The same of the last ten seconds, newest last."""
    av_offset_s: float | None
    """Newest sound minus newest picture, mean of the second."""
    loss: float = 0.0
    """Share of the packets that were lost on the way, over the last 5 s."""
    pictures_lost: float = 0.0
    """Pictures a second of which a part was lost, or that need one that was, over the last 5 s."""


@dataclass(slots=True)
class _Tally:
    units: int = 0
    size: int = 0


@dataclass(slots=True, kw_only=True)
class Observer:
    """Counts packets on the show clock; `look` once a second. Times in ticks."""

    _first_arrived: int | None = None
    _arrived: dict[Kind, int] = field(default_factory=dict)
    _newest: dict[Kind, int] = field(default_factory=dict)
    _tallies: dict[Kind, _Tally] = field(default_factory=dict)
    _late: int | None = None
    _lates: deque[float] = field(default_factory=lambda: deque(maxlen=LATE_LOOKS))
    _offsets: int = 0
    _offset_count: int = 0
    _reordered: bool = False
    _alone: bool = True
    """No picture has followed the run's first one."""
    _last_key: int | None = None
    _key_since: int | None = None
    """`_last_key`, or when pictures came back after a stop."""
    _keys: deque[float] = field(default_factory=lambda: deque(maxlen=KEY_INTERVALS))
    _looked: int | None = None
    _looked_picture: int | None = None
    _pictures: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=RATE_LOOKS))
    """Pictures and the ticks of media that they cover, of each look."""
    _sizes: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=RATE_LOOKS))
    """Bytes and ticks between two looks."""
    _span: tuple[int, int] = (0, 0)
    _spans: deque[int] = field(default_factory=lambda: deque(maxlen=STEADY_SPANS))
    _best: float = 0.0
    _lost: tuple[int, int, int] = (0, 0, 0)
    """Since the last look: packets lost, packets in all, pictures lost."""
    _losses: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=RATE_LOOKS))

    def note_loss(self, *, lost: int, packets: int, pictures: int) -> None:
        """Take what was lost on the way since the last call: of `packets`, `lost` were."""
        before = self._lost
        self._lost = before[0] + lost, before[1] + packets, before[2] + pictures

    def note(self, packet: Packet, arrived: int) -> None:
        """Take a packet on the show clock and the show time of its arrival."""
        kind = packet.kind
        if self._first_arrived is None:
            self._first_arrived = self._looked = arrived
        tally = self._tallies.get(kind)
        if tally is None:
            tally = self._tallies[kind] = _Tally()
        tally.units += 1
        tally.size += len(packet.payload)
        before = self._newest.get(kind)
        self._arrived[kind] = arrived
        self._newest[kind] = packet.dts
        if kind is Kind.VIDEO and before is not None and packet.dts - before > STOPPED:
            self._last_key, self._key_since = None, packet.pts
        late = arrived - packet.dts
        if self._late is None or late < self._late:
            self._late = late
        if kind is Kind.VIDEO:
            if before is not None and self._moved(packet.dts - before):
                self._last_key = None
            self._note_picture(packet)

    def _moved(self, step: int) -> bool:
        """Whether the key frame before was moved to join a run to the one that it follows."""
        second, self._alone = self._alone, False
        return step < CAUGHT_UP or (second and step > STRETCHED)

    def _note_picture(self, packet: Packet) -> None:
        if packet.pts != packet.dts:
            self._reordered = True
        sound = self._newest.get(Kind.AUDIO)
        if sound is not None:
            self._offsets += sound - packet.dts
            self._offset_count += 1
        if packet.key:
            if self._last_key is not None and packet.pts > self._last_key:
                self._keys.append((packet.pts - self._last_key) / TICKS_PER_SECOND)
            self._last_key = self._key_since = packet.pts

    def pictures_changed(self) -> None:
        """Forget pace and size: of other pictures, or of the same in another place, they differ."""
        self._last_key = self._key_since = self._looked_picture = None
        self._keys.clear()
        self._pictures.clear()
        self._spans.clear()
        self._span = 0, 0
        self._best = 0.0
        self._lates.clear()

    def look(self, now: int) -> Observed | None:
        """Return what came since the last look; None before the first packet."""
        if self._first_arrived is None or self._looked is None:
            return None
        pictures = self._tallies.get(Kind.VIDEO, _Tally())
        sound = self._tallies.get(Kind.AUDIO, _Tally())
        passed = max(1, now - self._looked)
        self._looked = now
        self._sizes.append((pictures.size + sound.size, passed))
        self._add_span(pictures.size, passed)
        rate = self._picture_rate(pictures.units)
        self._losses.append(self._lost)
        self._lost = 0, 0, 0
        lost, packets, lost_pictures = (sum(each) for each in zip(*self._losses, strict=True))
        newest = self._newest.get(Kind.VIDEO)
        late_s = self._late / TICKS_PER_SECOND if self._late is not None else None
        if late_s is not None:
            self._lates.append(late_s)
        observed = Observed(
            age_s=(now - self._first_arrived) / TICKS_PER_SECOND,
            quiet_s={k: (now - a) / TICKS_PER_SECOND for k, a in self._arrived.items()},
            carried_bps=_bps(sum(s for s, _ in self._sizes), sum(t for _, t in self._sizes)),
            spans_bps=tuple(self._spans),
            audio_unit_bytes=sound.size / sound.units if sound.units else None,
            picture_rate=rate,
            best_picture_rate=self._best,
            key_intervals=tuple(self._keys),
            since_key_s=(newest - self._key_since) / TICKS_PER_SECOND
            if newest is not None and self._key_since is not None
            else None,
            reordered=self._reordered,
            late_s=late_s,
            lates_s=tuple(self._lates),
            av_offset_s=self._offsets / self._offset_count / TICKS_PER_SECOND
            if self._offset_count
            else None,
            loss=lost / max(1, packets),
            pictures_lost=lost_pictures / len(self._losses),
        )
        self._tallies.clear()
        self._late = None
        self._offsets = self._offset_count = 0
        self._reordered = False
        return observed

    def _add_span(self, size: int, passed: int) -> None:
        total, ticks = self._span[0] + size, self._span[1] + passed
        if ticks < STEADY_S * TICKS_PER_SECOND:
            self._span = total, ticks
        else:
            self._spans.append(_bps(total, ticks))
            self._span = 0, 0

    def _picture_rate(self, pictures: int) -> float | None:
        newest = self._newest.get(Kind.VIDEO)
        if newest is None:
            return None
        if self._looked_picture is not None:
            self._pictures.append((pictures, newest - self._looked_picture))
        self._looked_picture = newest
        covered = sum(ticks for _, ticks in self._pictures)
        if len(self._pictures) < RATE_LOOKS or covered < TICKS_PER_SECOND:
            return None
        rate = sum(count for count, _ in self._pictures) * TICKS_PER_SECOND / covered
        if covered >= TRUE_TIME * sum(ticks for _, ticks in self._sizes):
            self._best = max(self._best, rate)
        return rate


def _bps(size: int, ticks: int) -> int:
    return size * 8 * TICKS_PER_SECOND // max(1, ticks)
