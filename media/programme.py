"""Who is on air: the encoder, or what stands in for it, for pictures and sound each.

While an encoder sends nothing, the pictures are those of the slate and the sound is silence (or
the slate's own); both go the way of an encoder's packets, so every rendition shows them. An
encoder that comes waits beside the slate until its first key frame; there it takes over, and
the slate ends at exactly that moment. So no rendition has a hole as long as there is a slate.
What a link held back comes too late for that; its pictures go out with the first one that is in
time, so close together that nobody sees them (`media.standby.catchup`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from media.hls.segmenter import TOLERANCE
from media.lineup import AUDIO
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat
from media.slate.reel import Reel, still
from media.slate.silence import sound_of
from media.standby.catchup import squeezed
from media.standby.hold import KeyHold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from media.grid import SegmentGrid
    from media.lineup import Lineup
    from media.packager import Packager
    from media.run import Run
    from media.slate.desk import SlateDesk
    from media.slate.loop import SlateLoop, SlateUnit

VIDEO_WAIT = TICKS_PER_SECOND // 2
"""Sound waits this long for pictures to be announced before it goes on air alone."""
KEY_WAIT = 4 * TICKS_PER_SECOND
"""Sound waits this long for the announced pictures' first key frame."""
HESITATION = TICKS_PER_SECOND
"""An encoder whose link hiccups is back within this; then the slate stands in for it."""
TAKEOVER = TICKS_PER_SECOND // 2
"""An encoder that takes over from another sends its first key frame within this."""
HOLE = TICKS_PER_SECOND // 10
"""Shorter ones are a picture that lasts longer."""
ORDER_AHEAD = 3 * TICKS_PER_SECOND // 10
"""The slate is made before it is needed: that takes the worker a fifth of a second."""
LAG = 3 * TICKS_PER_SECOND // 20
"""The slate stays this far behind: an encoder's first key frame is known late (`media.settling`).

Not as far as that: viewers hold a second of media, and wait for the slate's first part.
"""
LATE = 5 * TICKS_PER_SECOND
"""A link that has not caught up with the slate by then is as fast as it will be."""
SOUND_WAIT = 3 * TICKS_PER_SECOND // 10
"""Under the slate silence waits for an encoder's sound that is at most this far behind it."""
CATCH_UP = 3 * TICKS_PER_SECOND
"""A slate that comes late begins at most this far in the past."""
WRAP = 2**62
"""Show times do not wrap."""
SLOW_PICTURES = 3
"""An encoder of few pictures a second has stopped only after as many are missing."""


class Feeder(StrEnum):
    """Where what viewers see comes from."""

    ENCODER = "encoder"
    SLATE = "slate"


class Programme:
    """See the module's docstring. All methods run on the event loop, times are show ticks."""

    def __init__(
        self,
        *,
        packager: Packager,
        lineup: Lineup,
        grid: SegmentGrid,
        desk: SlateDesk,
        now_ns: Callable[[], int],
        on_live: Callable[[], None],
    ) -> None:
        """`on_live`: called when a publisher's media goes on air for the first time."""
        self._packager = packager
        self._lineup = lineup
        self._grid = grid
        self._desk = desk
        self._now_ns = now_ns
        self._on_live = on_live
        self._run: Run | None = None
        self._on: dict[Kind, Feeder] = {}
        self._reels: dict[Kind, Reel] = {}
        self._loop: SlateLoop | None = None
        """What the pictures on air are."""
        self._ends: dict[Kind, int] = {}
        """Where the newest access unit of each kind ends."""
        self._sound_from = 0
        """Where the encoder's sound takes over from what stood in for it."""
        self._late_since: int | None = None
        """When the first key frame came that lay before what the slate had played."""
        self._held = False
        """The encoder's sound is back: silence goes no further."""
        self._missed = KeyHold()
        """The encoder's pictures since a key frame that lay before what the slate had played."""
        self.ahead = False
        """The stream was opened ahead of its encoder: there is a slate from the beginning."""

    @property
    def feeder(self) -> Feeder | None:
        """Who feeds the pictures; where there are none, the sound."""
        return self._on.get(Kind.VIDEO) or self._on.get(Kind.AUDIO)

    @property
    def sound_feeder(self) -> Feeder | None:
        """Who feeds the sound."""
        return self._on.get(Kind.AUDIO)

    @property
    def newest(self) -> int:
        """Where the newest access unit of all ends."""
        return max(self._ends.values(), default=0)

    # ── the encoder ──────────────────────────────────────────────────────────────────────────

    def begin(self, run: Run, now: int) -> None:
        """Note that `run` publishes: it goes on air with its first key frame."""
        self._run = run
        if self._on.get(Kind.VIDEO) is Feeder.ENCODER:
            self._desk.discard()
            self._order(now)
        self._leave()

    def end(self, now: int) -> None:
        """Note that nobody publishes."""
        self._run = None
        if self._on.get(Kind.VIDEO) is Feeder.ENCODER:
            self._desk.discard()
        self._leave()
        self._order(now)

    def _leave(self) -> None:
        if self._on.get(Kind.VIDEO) is not Feeder.SLATE:
            self._packager.begin()
        self._on = {kind: f for kind, f in self._on.items() if f is Feeder.SLATE}
        self._late_since = None
        self._held = False
        self._missed.clear()

    def set_format(self, run: Run, track_format: TrackFormat) -> None:
        """Note a track's parameters; they take effect at its next key frame."""
        kind = track_format.kind
        run.set_format(track_format)
        if kind is Kind.VIDEO:
            self._missed.clear()
        if self._on.get(kind) is not Feeder.ENCODER:
            return
        if kind is Kind.VIDEO or self._packager.accepts_sound(track_format):
            self._packager.announce(track_format)

    def drop_track(self, run: Run, kind: Kind) -> None:
        """Note that the encoder ended a track."""
        run.formats.pop(kind, None)
        if self._on.get(kind) is Feeder.ENCODER:
            del self._on[kind]
            if kind is Kind.VIDEO:
                self._packager.withdraw(kind)

    def take(self, run: Run, packet: Packet) -> None:
        """Take one access unit of `run`; it is dropped while something else has to be on air."""
        kind = packet.kind
        if kind is Kind.VIDEO:
            if not self._admits_picture(run, packet):
                for picture in self._caught_up(packet):
                    self.take(run, picture)
                return
            if self._desk.ordered:
                self._desk.discard()
        elif not self._admits_sound(run, packet):
            return
        self._ends[kind] = max(self._ends.get(kind, 0), packet.pts + run.interval(packet))
        self._packager.take(packet)
        if not run.started:
            run.started = True
            self._on_live()

    def _admits_picture(self, run: Run, packet: Packet) -> bool:
        if self._on.get(Kind.VIDEO) is Feeder.ENCODER:
            if packet.key:
                self._bring_sound(run, packet)
            return True
        announced = run.formats.get(Kind.VIDEO)
        if announced is None or not packet.key:
            return False
        self._bridge(packet.pts)
        reel = self._reels.get(Kind.VIDEO)
        if reel is not None:
            if self._played(packet, reel):
                self._late_since = self._late_since or run.heard
                return False
            self._play(packet.dts, end=packet.pts)
        elif run.behind and packet.pts < max(self._ends.get(Kind.VIDEO, 0), self._earliest()):
            self._late_since = self._late_since or run.heard
            return False
        self._stop(Kind.VIDEO)
        self._on[Kind.VIDEO] = Feeder.ENCODER
        self._packager.begin()
        self._packager.announce(announced)
        self._bring_sound(run, packet)
        return True

    def _played(self, packet: Packet, reel: Reel) -> bool:
        """Whether the slate has gone further than a picture."""
        last = self._grid.last
        begun = last is not None and packet.pts <= last.start
        return begun or (reel.last is not None and packet.dts <= reel.last)

    def _caught_up(self, packet: Packet) -> list[Packet]:
        """Keep a picture that cannot be on air; return those that can be with it."""
        reel = self._reels.get(Kind.VIDEO)
        if reel is None:
            return []
        self._missed.add(packet, pictures=True)
        if packet.key or self._played(packet, reel):
            return []
        held = self._missed.release(packet.arrived_ns, pictures=True)
        past = squeezed(held, len(held) - 1, 0, packet.arrived_ns, WRAP) if len(held) > 1 else []
        if past and not self._played(past[0], reel):
            return [*past, packet]
        for picture in held:
            self._missed.add(picture, pictures=True)
        return []

    def _bridge(self, until: int) -> None:
        """Fill what an encoder that took over left empty before its first key frame."""
        loop, end = self._desk.loop, self._ends.get(Kind.VIDEO)
        if Kind.VIDEO in self._on or loop is None or end is None or until - end < HOLE:
            return
        at = max(end, self._earliest())
        if at < until - CATCH_UP:
            return
        self._show(loop, at=at)
        self._stand_in_for_sound(until)

    def _bring_sound(self, run: Run, key: Packet) -> None:
        """Let the encoder's sound, where there is any, go on air with a key frame."""
        announced = run.formats.get(Kind.AUDIO)
        if announced is None or self._on.get(Kind.AUDIO) is Feeder.ENCODER:
            return
        if Kind.AUDIO in self._reels:
            if key.pts - run.sound_heard > HESITATION:
                return
            self._play_sound(key.pts - TOLERANCE)
            self._sound_from = self._reels[Kind.AUDIO].next - TOLERANCE
        self._stop(Kind.AUDIO)
        self._on[Kind.AUDIO] = Feeder.ENCODER
        self._packager.announce(announced)

    def _admits_sound(self, run: Run, packet: Packet) -> bool:
        announced = run.formats.get(Kind.AUDIO)
        if announced is None:
            return False
        if self._on.get(Kind.AUDIO) is Feeder.ENCODER:
            if self._packager.accepts_sound(announced):
                return packet.dts >= self._sound_from
            # Other parameters begin with the next key frame; until then silence stands in.
            del self._on[Kind.AUDIO]
            return False
        if self._on.get(Kind.VIDEO) is not Feeder.ENCODER and not self._alone(run, packet.dts):
            return False
        if not self._packager.accepts_sound(announced):
            return False
        reel = self._reels.get(Kind.AUDIO)
        if reel is not None and packet.dts < reel.next - TOLERANCE:
            self._held = not self._too_late(reel.next - packet.dts)
            if not self._held:
                self._late_since = self._late_since or run.heard
            return False
        self._held = False
        self._play_sound(packet.dts - TOLERANCE)
        self._stop(Kind.AUDIO)
        self._on[Kind.AUDIO] = Feeder.ENCODER
        self._packager.announce(announced)
        return True

    def _too_late(self, behind: int) -> bool:
        """Whether sound would leave the slate's pictures without any for too long."""
        return self._on.get(Kind.VIDEO) is Feeder.SLATE and behind > SOUND_WAIT

    def _alone(self, run: Run, dts: int) -> bool:
        """Whether it is clear that no picture will come with this sound."""
        assert run.first is not None
        return dts - run.first >= (KEY_WAIT if Kind.VIDEO in run.formats else VIDEO_WAIT)

    # ── what stands in ───────────────────────────────────────────────────────────────────────

    def tick(self, now: int) -> None:
        """Put on air what has to stand in; play what is due."""
        self._stand_in_for_pictures(now)
        self._stand_in_for_sound(now)
        self._play(now - LAG)

    def late(self, now: int) -> bool:
        """Whether an encoder's key frames have come too late for a while; true once for each."""
        if self._late_since is None or now - self._late_since < LATE:
            return False
        self._late_since = None
        return True

    def waits_for_slate(self, now: int, patience: int) -> bool:
        """Whether a slate is about to come on air."""
        return self._desk.waits(now, patience)

    def _order(self, now: int) -> None:
        video = self._packager.newest_pictures
        if video is not None or self.ahead or self._shows_pictures():
            self._desk.order(now, video, self._sound_format())

    def _shows_pictures(self) -> bool:
        return any(r.kind is Kind.VIDEO for r in self._lineup.renditions.values())

    def _sound_format(self) -> TrackFormat | None:
        rendition = self._lineup.get(AUDIO)
        return rendition.format if rendition is not None else None

    def _stand_in_for_pictures(self, now: int) -> None:
        if self._on.get(Kind.VIDEO) is Feeder.SLATE:
            if self._desk.loop is not None and self._desk.loop is not self._loop:
                self._show(self._desk.loop, at=self._reels[Kind.VIDEO].next)
            return
        if not self._desk.enabled or not (self.ahead or self._shows_pictures()):
            return
        run = self._run
        patience = 0
        if run is not None and not run.started:
            patience = TAKEOVER
        elif run is not None and Kind.VIDEO in run.formats:
            patience = max(HESITATION, SLOW_PICTURES * run.picture_interval)
        on_air = run is not None and self._on.get(Kind.VIDEO) is Feeder.ENCODER
        heard = run.picture_heard if run is not None and on_air else 0
        silence = now - max(heard, self._ends.get(Kind.VIDEO, 0))
        if silence >= patience - ORDER_AHEAD:
            self._order(now)
        if silence < patience or self._desk.loop is None:
            return
        end = self._ends.get(Kind.VIDEO, now - LAG)
        self._show(self._desk.loop, at=max(end, self._earliest(), now - CATCH_UP))

    def _earliest(self) -> int:
        """Where other pictures may begin: nothing that is listed can be changed."""
        last = self._grid.last
        return max(self._lineup.edge() or 0, last.start + 1 if last is not None else 0)

    def _show(self, loop: SlateLoop, *, at: int) -> None:
        self._loop = loop
        units = still(loop.pictures, self._packager.segment)
        self._reels[Kind.VIDEO] = Reel(loop.video.codec, units, start=at)
        self._on[Kind.VIDEO] = Feeder.SLATE
        self._packager.begin()
        if loop.audio is not None and self._lineup.get(AUDIO) is None and self.ahead:
            self._packager.announce(loop.audio)
        self._packager.announce(loop.video)
        if self._on.get(Kind.AUDIO) is Feeder.SLATE:
            self._change_sound()
        self._play(at + 1)

    def _stand_in_for_sound(self, now: int) -> None:
        if self._on.get(Kind.AUDIO) is Feeder.SLATE:
            if Kind.VIDEO not in self._on and self._shows_pictures():
                self._stop(Kind.AUDIO)
            return
        if not self._misses_sound(now):
            return
        units = self._sound_units()
        if not units:
            return
        rendition = self._lineup.get(AUDIO)
        edge = rendition.edge if rendition is not None else None
        at = max(self._ends.get(Kind.AUDIO, 0), edge or 0, now - CATCH_UP)
        pictures = self._reels.get(Kind.VIDEO)
        if edge is None and pictures is not None:
            at = max(at, pictures.next)
        self._reels[Kind.AUDIO] = Reel(Codec.AAC, units, start=at)
        self._on[Kind.AUDIO] = Feeder.SLATE
        self._held = False

    def _misses_sound(self, now: int) -> bool:
        run = self._run
        pictures = self._on.get(Kind.VIDEO)
        if pictures is None and (not self._desk.enabled or self._shows_pictures()):
            return False
        if run is None or self._refused(run):
            return True
        heard = max(run.sound_heard, self._ends.get(Kind.AUDIO, 0))
        lost = now - heard >= HESITATION
        if self._on.get(Kind.AUDIO) is Feeder.ENCODER:
            return lost
        return lost or pictures is Feeder.SLATE or Kind.AUDIO not in run.formats

    def _refused(self, run: Run) -> bool:
        """Whether the encoder's sound has parameters that wait for a key frame."""
        announced = run.formats.get(Kind.AUDIO)
        return announced is not None and not self._packager.accepts_sound(announced)

    def _sound_units(self) -> Sequence[SlateUnit]:
        """Return what is heard in place of the encoder's sound, in the rendition's format."""
        loop = self._loop if self._on.get(Kind.VIDEO) is Feeder.SLATE else None
        known = self._sound_format()
        if known is None:
            return loop.sounds if loop is not None and self.ahead else ()
        return sound_of(loop, known)

    def _change_sound(self) -> None:
        """Go on with other stand-in sound where the one before ends."""
        units = self._sound_units()
        if units:
            self._reels[Kind.AUDIO] = Reel(Codec.AAC, units, start=self._reels[Kind.AUDIO].next)

    def _stop(self, kind: Kind) -> None:
        self._late_since = None
        self._reels.pop(kind, None)
        self._on.pop(kind, None)
        if kind is Kind.VIDEO:
            self._missed.clear()
            self._loop = None
            if self._on.get(Kind.AUDIO) is Feeder.SLATE:
                self._change_sound()
        else:
            self._held = False

    def _play(self, until: int, *, end: int | None = None) -> None:
        """Send what is due before `until`, pictures before the sound of their time.

        `end`: where other pictures take over.
        """
        pictures = self._reels.get(Kind.VIDEO)
        if pictures is not None:
            for packet in pictures.due(until, now_ns=self._now_ns(), end=end):
                self._play_sound(packet.dts)
                self._ends[Kind.VIDEO] = packet.pts + packet.duration
                self._packager.take(packet)
        elif self._on.get(Kind.VIDEO) is Feeder.ENCODER:
            until = min(until, self._ends.get(Kind.VIDEO, until))
        self._play_sound(until)

    def _play_sound(self, until: int) -> None:
        reel = self._reels.get(Kind.AUDIO)
        if reel is None or self._held:
            return
        for packet in reel.due(until, now_ns=self._now_ns()):
            self._ends[Kind.AUDIO] = reel.next
            self._packager.fill(packet)
