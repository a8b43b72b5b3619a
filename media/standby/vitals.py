"""How well one encoder sends, judged by what arrives of it and by its own usual.

Nothing is decoded and no absolute rate is wanted: a still picture costs few bits, and an encoder
on a poor line sends what it can. What counts is what changes against the last half minute, and
whether pictures keep coming at all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, median

from media.model import TICKS_PER_SECOND, Kind, Packet
from media.timeline import FORWARD_TOLERANCE

SECOND_NS = 1_000_000_000
HISTORY = 30
"""Seconds of which the usual is the median."""
RECENT = 3
"""Seconds that are compared with it: some encoders send a GOP at a time."""
MIN_USUAL = 5
"""Seconds without which there is no usual."""
SILENCE_NS = 800_000_000
"""No picture for this long is a failure: viewers hold about a second."""
MAX_SILENCE_NS = 3 * SECOND_NS
"""The same for an encoder that sends a picture now and then."""
LOOKS = 40
"""What the decoder says is asked four times a second; ten seconds count."""
KEY_AGE_S = 10.0
"""A key frame older than this keeps viewers from joining and a switch from happening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """An encoder's health at a moment."""

    score: float
    """1 is perfect, 0 is silent."""
    complaint: str | None = None
    """What takes most away from the score, as the end of a sentence about "it"."""


@dataclass(slots=True, kw_only=True)
class _Second:
    size: int = 0
    pictures: int = 0
    sounds: int = 0
    irregular: int = 0
    advance: int = 0
    """Ticks by which the encoder's clock moved on."""
    gap_ns: int = 0
    """Longest time without a picture, or without sound where there are no pictures."""


@dataclass(slots=True)
class _Last:
    dts: int
    arrived_ns: int


@dataclass(slots=True)
class Vitals:
    """Measures one encoder's run; `wrap_ticks`: modulus of its clock, `start_ns`: its connect."""

    wrap_ticks: int
    start_ns: int
    heard_ns: int = 0
    """When its newest packet arrived; 0 before the first."""
    begun_ns: int | None = None
    """When its first packet arrived."""
    key_ns: int | None = None
    """When its newest key frame arrived."""
    _last: dict[Kind, _Last] = field(default_factory=dict)
    _now: _Second = field(default_factory=_Second)
    _now_ns: int = 0
    """Start of the second that is being measured."""
    _past: deque[_Second] = field(default_factory=lambda: deque(maxlen=HISTORY + RECENT))
    _lead: int = 0
    _damage: deque[int] = field(default_factory=lambda: deque(maxlen=LOOKS))

    @property
    def lead_s(self) -> float:
        """Seconds by which the encoder runs ahead of real time."""
        return self._lead / TICKS_PER_SECOND

    @property
    def bitrate_bps(self) -> int:
        """Bits in the last whole second."""
        return self._past[-1].size * 8 if self._past else 0

    def take(self, packet: Packet) -> None:
        """Measure a packet in the encoder's time."""
        self.advance(packet.arrived_ns)
        if self.begun_ns is None:
            self.begun_ns = packet.arrived_ns
        now, kind = self._now, packet.kind
        now.size += len(packet.payload)
        if kind is Kind.VIDEO:
            now.pictures += 1
            if packet.key:
                self.key_ns = packet.arrived_ns
        else:
            now.sounds += 1
        last = self._last.get(kind)
        if last is None:
            self._last[kind] = _Last(packet.dts, packet.arrived_ns)
        else:
            self._step(last, packet, leads=kind is self._main)
        self.heard_ns = packet.arrived_ns

    def forget(self, kind: Kind) -> None:
        """Expect no more packets of a kind: the encoder ended the track."""
        self._last.pop(kind, None)

    def _step(self, last: _Last, packet: Packet, *, leads: bool) -> None:
        """Note how far the encoder's clock went since the packet before of the same kind."""
        half = self.wrap_ticks // 2
        step = (packet.dts - last.dts + half) % self.wrap_ticks - half
        gap_ns = max(0, packet.arrived_ns - last.arrived_ns)
        passed = gap_ns * TICKS_PER_SECOND // SECOND_NS
        if 0 < step <= passed + FORWARD_TOLERANCE:
            if leads:
                self._now.advance += step
                # An encoder that was late is on time again, not ahead.
                self._lead = max(0, self._lead + step - passed)
        else:
            self._now.irregular += 1
            self._lead = 0
        if leads:
            self._now.gap_ns = max(self._now.gap_ns, gap_ns)
        last.dts, last.arrived_ns = packet.dts, packet.arrived_ns

    @property
    def _main(self) -> Kind:
        """The kind that viewers miss first."""
        return Kind.VIDEO if Kind.VIDEO in self._last else Kind.AUDIO

    def advance(self, now_ns: int) -> None:
        """Let time pass up to `now_ns`."""
        if not self._now_ns:
            self._now_ns = now_ns
        whole = (now_ns - self._now_ns) // SECOND_NS
        if whole <= 0:
            return
        self._now_ns += whole * SECOND_NS
        self._past.append(self._now)
        for _ in range(min(whole - 1, HISTORY + RECENT)):
            self._past.append(_Second())
        self._now = _Second()

    def decoded(self, damaged: int) -> None:
        """Note how much could not be decoded since the last look, while on air.

        Nobody decodes an encoder that stands by: one that was left for this keeps its score until
        it connects again.
        """
        self._damage.append(damaged)

    def silent(self, now_ns: int) -> bool:
        """Whether pictures (or sound, where there are none) stopped coming."""
        silence_ns = self.silence_ns(now_ns)
        return silence_ns > SILENCE_NS and silence_ns > self._patience_ns()

    def silence_ns(self, now_ns: int) -> int:
        """Time since the newest picture, or since the newest sound where there are none."""
        last = self._last.get(self._main)
        return now_ns - (last.arrived_ns if last is not None else self.start_ns)

    def _patience_ns(self) -> int:
        gaps = [second.gap_ns for second in self._past if second.gap_ns]
        usual = int(2 * median(gaps)) if gaps else 0
        return min(max(SILENCE_NS, usual), MAX_SILENCE_NS)

    def assess(self, now_ns: int) -> Assessment:
        """Judge the encoder at this moment: the product of what each measurement leaves over."""
        self.advance(now_ns)
        if self.silent(now_ns):
            seconds = self.silence_ns(now_ns) / SECOND_NS
            what = "picture" if self._main is Kind.VIDEO else "sound"
            return Assessment(score=0.0, complaint=f"sent no {what} for {seconds:.1f} s")
        factors = [
            self._regular(),
            self._intact(),
            *self._against_usual(),
            self._key_frames(now_ns),
        ]
        score = 1.0
        for factor, _ in factors:
            score *= factor
        worst, complaint = min(factors, key=lambda each: each[0])
        return Assessment(score=score, complaint=complaint if worst < 1 else None)

    def _against_usual(self) -> list[tuple[float, str]]:
        """Bit rate, frame rate, pace and sound of the last seconds against those before."""
        past = list(self._past)
        before, recent = past[:-RECENT], past[-RECENT:]
        if len(before) < MIN_USUAL:
            return []
        size = _ratio([s.size for s in recent], [s.size for s in before])
        pictures = _ratio([s.pictures for s in recent], [s.pictures for s in before])
        sounds = _ratio([s.sounds for s in recent], [s.sounds for s in before])
        pace = fmean(s.advance for s in recent) / TICKS_PER_SECOND
        return [
            (_above(size, 0.5), f"sends only {size:.0%} of its usual bitrate"),
            (_above(pictures, 0.8), f"sends only {pictures:.0%} of its usual pictures"),
            (0.3 + 0.7 * _above(sounds, 0.5), "lost its sound"),
            (_above(pace, 0.85), f"falls behind: {pace:.2f} s of media a second"),
        ]

    def _regular(self) -> tuple[float, str]:
        """Timestamps that had to be repaired in the last ten seconds."""
        count = self._now.irregular + sum(s.irregular for s in list(self._past)[-10:])
        return max(0.0, 1 - 0.1 * count), f"sent {count} wrong timestamps in ten seconds"

    def _intact(self) -> tuple[float, str]:
        """What the decoder refused."""
        count = sum(self._damage)
        return max(0.0, 1 - 0.02 * count), f"sent {count} damaged frames in ten seconds"

    def _key_frames(self, now_ns: int) -> tuple[float, str]:
        if Kind.VIDEO not in self._last:
            return 1.0, ""
        age_s = (now_ns - (self.key_ns or self.start_ns)) / SECOND_NS
        factor = max(0.4, min(1.0, KEY_AGE_S / max(age_s, 0.1)))
        return factor, f"sent no key frame for {age_s:.0f} s"


def _ratio(recent: list[int], before: list[int]) -> float:
    """Mean of the last seconds to the median of those before; 1 where there was nothing."""
    usual = median(before)
    return fmean(recent) / usual if usual else 1.0


def _above(value: float, enough: float) -> float:
    """1 from `enough` on, less in proportion below it."""
    return min(1.0, value / enough)
