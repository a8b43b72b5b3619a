"""The encoders of a stream, at most one in each role, and which of them feeds the show.

The one on air goes straight into the show; the other is measured and its packets since its newest
key frame are held, so that it can go on from there when the first one fails (`catchup.py`). A
move that nothing forces waits for the target's next key frame while the old encoder still feeds
the show. So does a takeover: the newer encoder of a role has its place at once, and the pictures
of the one before stay on air until it can begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from media.diagnosis import sentences
from media.diagnosis.findings import Code, Severity
from media.model import TICKS_PER_SECOND, Kind, Packet, Role, TrackFormat
from media.programme import Feeder
from media.settling import TrackChange
from media.standby.board import Board
from media.standby.catchup import catch_up
from media.standby.rule import ILL, Reason, StandbyRule, other
from media.standby.source import Source, SourceRefused
from media.standby.vitals import SECOND_NS, Assessment, Vitals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from media.meter import MediaMeter
    from media.show import Show
    from media.standby.rule import Move
    from media.standby.source import SourceView

log = structlog.get_logger(__name__)

TAKEN_OVER_TEXT = "Another encoder publishes this stream now."
NO_PICTURES_TEXT = (
    "No key frame came for 10 s, so the encoder before stays on air: check the picture, set the "
    "keyframe interval to 2 s and start again."
)
NOTE_NS = 60 * SECOND_NS
"""A switch that needs nobody's attention stays a finding for this long."""
KEY_PATIENCE_NS = 10 * SECOND_NS
"""A newer encoder without a key frame for so long goes, and not the one whose pictures are on."""


class Switcher:
    """See the module's docstring. All methods run on the event loop.

    `show`: the stream's current show; `return_s`: `StandbyRule`; `now_ns`: monotonic clock;
    `dismiss`: told which encoder is no longer wanted, with a sentence for it.
    """

    def __init__(
        self,
        *,
        stream: str,
        show: Callable[[], Show],
        meter: MediaMeter,
        return_s: float | None,
        now_ns: Callable[[], int],
        dismiss: Callable[[Source, str], None],
    ) -> None:
        self._stream = stream
        self._show = show
        self._meter = meter
        self._return_s = return_s
        self._now_ns = now_ns
        self._dismiss = dismiss
        self._rule = StandbyRule(return_s=return_s)
        self._sources: dict[Role, Source] = {}
        self._on_air: Source | None = None
        self._outgoing: Source | None = None
        """The one on air while a newer encoder has its place and cannot begin yet."""
        self._pending: Move | None = None
        self._board = Board()
        self._note_until_ns: int | None = None
        self._measured_ns = 0
        self._damaged = 0

    @property
    def on_air(self) -> Source | None:
        """The encoder that feeds the show."""
        return self._on_air

    @property
    def outgoing(self) -> Source | None:
        """The encoder on air that a newer one of its role waits to follow."""
        return self._outgoing

    def get(self, role: Role) -> Source | None:
        """Return the encoder that is connected in a role; of two the newer one."""
        return self._sources.get(role)

    @property
    def _shown(self) -> dict[Role, Source]:
        """Of each role the encoder that viewers see, or would see."""
        outgoing = self._outgoing
        return self._sources if outgoing is None else {**self._sources, outgoing.role: outgoing}

    @property
    def _successor(self) -> Source | None:
        """The encoder that has the place of the one on air."""
        if self._on_air is None:
            return None
        source = self._sources.get(self._on_air.role)
        return source if source is not self._on_air else None

    # ── encoders come and go ─────────────────────────────────────────────────────────────────

    def connect(self, *, role: Role, protocol: str, wrap_ticks: int) -> Source:
        """Take in an encoder; one in the same role is replaced.

        It is `outgoing` afterwards where its pictures stay on air; `dismiss` tells their end.
        """
        if self._pending is not None and self._pending.role is role:
            if self._pending.at_once:
                self._switch(self._pending)  # it was about to; what it holds would go with it
            self._pending = None
        old = self._sources.get(role)
        now_ns = self._now_ns()
        contested = old is not None and bool(old.formats) and not old.vitals.silent(now_ns)
        source = self._sources[role] = Source(
            role=role,
            protocol=protocol,
            wrap_ticks=wrap_ticks,
            vitals=Vitals(wrap_ticks=wrap_ticks, start_ns=now_ns),
        )
        if self._on_air is None or self._on_air is old:
            if old is not None and self._is_seen(old, now_ns):
                self._outgoing = old
            else:
                self._on_air = source
                show = self._show()
                show.begin_run(protocol=protocol, wrap_ticks=wrap_ticks, contested=contested)
        self._look()
        return source

    def leave(self, source: Source) -> None:
        """Let go of an encoder; the other one, if there is one, goes on air at once.

        One that left before it could follow the `outgoing` one leaves that one its place.
        """
        if source is self._outgoing:
            self._outgoing = None
            source.assessment = Assessment(score=0.0, complaint="closed its connection")
            self.tick()
            return
        if self._sources.get(source.role) is not source:
            return
        if source is self._successor and self._outgoing is not None:
            self._keep_outgoing()
            return
        del self._sources[source.role]
        self._rule.gone(source.role)
        self._meter.source(self._stream, source.role.value, health=0.0, on_air=False)
        if source is self._on_air:
            source.assessment = Assessment(score=0.0, complaint="closed its connection")
        if not self._sources:
            self._on_air = self._pending = None
            self._show().findings.clear(Code.STANDBY)
            self._show().end_run()
        self.tick()

    def _is_seen(self, source: Source, now_ns: int) -> bool:
        """Whether the encoder on air sends pictures, and viewers see them, or are about to."""
        sends = source.sends_pictures and not source.vitals.silent(now_ns)
        return sends and self._show().feeder is not Feeder.SLATE

    def is_well(self, role: Role) -> bool:
        """Whether the encoder of a role (of two the one on air) sends what can be shown."""
        source, now_ns = self._shown.get(role), self._now_ns()
        if source is None or not source.formats or source.vitals.silent(now_ns):
            return False
        shows = source.sends_pictures or not source.pictures
        return shows and source.vitals.assess(now_ns).score >= ILL

    def _keep_outgoing(self) -> None:
        """Give the one on air its place back."""
        assert self._outgoing is not None
        self._sources[self._outgoing.role] = self._outgoing
        self._outgoing = None
        self._look()

    def clear(self) -> None:
        """Forget every encoder: the show is over."""
        for role in self._sources:
            self._meter.source(self._stream, role.value, health=0.0, on_air=False)
        self._sources = {}
        self._board.clear()
        self._on_air = self._outgoing = self._pending = self._note_until_ns = None

    # ── what they send ───────────────────────────────────────────────────────────────────────

    def set_format(self, source: Source, track_format: TrackFormat) -> None:
        """Note an encoder's track; packets held of the format before are of no use."""
        if source.formats.get(track_format.kind) != track_format:
            source.formats[track_format.kind] = track_format
            source.hold.clear()
        if source is self._on_air:
            self._show().set_format(track_format)

    def change_track(self, source: Source, change: TrackChange) -> None:
        """Note that an encoder announced or ended a track beside its main ones."""
        place = (change.kind, change.track)
        if change.format is None:
            source.further.pop(place, None)
        else:
            source.further[place] = change.format
        if source is self._on_air:
            self._show().change_track(change)

    def describe_sound(self, source: Source, languages: Mapping[int, str]) -> None:
        """Note the languages of an encoder's audio tracks."""
        source.languages = languages
        if source is self._on_air:
            self._show().describe_sound(languages)

    def declare_rates(self, source: Source, rates: Mapping[tuple[Kind, int], int]) -> None:
        """Note the bits a second that an encoder is set to, by a track's kind and number."""
        source.rates = rates
        if source is self._on_air:
            self._show().declare_rates(rates)

    def note_loss(self, source: Source, *, lost: int, packets: int, pictures: int) -> None:
        """Note what was lost of an encoder on the way."""
        if source is self._on_air:
            self._show().note_loss(lost=lost, packets=packets, pictures=pictures)

    def drop_track(self, source: Source, kind: Kind) -> None:
        """Note that an encoder ended a track."""
        source.formats.pop(kind, None)
        source.vitals.forget(kind)
        source.hold.clear()
        if source is self._on_air:
            self._show().drop_track(kind)

    def push(self, source: Source, packet: Packet) -> None:
        """Take one access unit in the encoder's time."""
        if packet.track == 0:
            source.vitals.take(packet)
        if source is self._on_air:
            self._show().push(packet)
            return
        dropped = source.hold.dropped
        source.hold.add(packet, pictures=source.pictures)
        if source.hold.dropped > dropped:
            self._meter.dropped(self._stream, "standby", source.hold.dropped - dropped)
        if self._on_air is not None and self._on_air.vitals.silent(packet.arrived_ns):
            self.tick()
        if source is self._successor and source.pictures and _starts(source, packet):
            self._follow(source)
        pending = self._pending
        if pending is None or pending.role is not source.role:
            return
        if pending.at_once:
            self._go(pending)
        elif _starts(source, packet):
            self._switch(pending)

    def lead_s(self, source: Source) -> float:
        """Seconds by which an encoder runs ahead of real time."""
        if source is self._on_air:
            return self._show().lead / TICKS_PER_SECOND
        return source.vitals.lead_s

    # ── deciding ─────────────────────────────────────────────────────────────────────────────

    def choose(self, role: Role | None) -> None:
        """Put a role on air at its next key frame, or go back to the rule (None).

        Raises `SourceRefused` where no encoder sends in that role.
        """
        if role is not None:
            source = self._sources.get(role)
            if source is None:
                raise SourceRefused(
                    f"No {role.value} encoder is connected: start it, with its own stream key."
                )
            if source.vitals.silent(self._now_ns()):
                raise SourceRefused(
                    f"The {role.value} encoder is connected but sends nothing: check it first."
                )
        self._rule.choose(role)
        log.info("source chosen", stream=self._stream, role=role.value if role else "auto")
        if self._sources:  # else there may be no show to tell the time
            self.tick()

    @property
    def chosen(self) -> Role | None:
        """The role that was asked for, None for the rule's own."""
        return self._rule.chosen

    def tick(self) -> None:
        """Judge the encoders; move where that is due."""
        now_ns = self._now_ns()
        self._look_at_decoder()
        conditions = {role: source.judge(now_ns) for role, source in self._shown.items()}
        if self._on_air is not None:
            if self._outgoing is None and self._successor is not None:
                del conditions[self._on_air.role]  # the one on air is gone
            move = self._rule.decide(self._on_air.role, conditions)
            self._pending = move
            if move is not None and (move.at_once or not self._sources[move.role].pictures):
                self._go(move)
            self._await_successor(now_ns)
        self._look()
        self._measure(now_ns)
        if self._note_until_ns is not None and now_ns >= self._note_until_ns:
            self._note_until_ns = None
            self._show().findings.clear(Code.STANDBY)

    def _await_successor(self, now_ns: int) -> None:
        """End the wait for a newer encoder's first key frame where that is of no use."""
        new, old = self._successor, self._outgoing
        if new is None or (self._pending is not None and self._pending.at_once):
            return
        if old is None or not self._is_seen(old, now_ns) or new.sound_alone:
            self._follow(new)
        elif now_ns - new.vitals.start_ns >= KEY_PATIENCE_NS:
            log.info("newcomer without pictures", stream=self._stream, role=new.role.value)
            self._keep_outgoing()
            self._dismiss(new, NO_PICTURES_TEXT)

    def _follow(self, new: Source) -> None:
        """Let a newer encoder begin in place of the one before."""
        old = self._outgoing
        contested = old is not None and not old.vitals.silent(self._now_ns())
        self._feed(new, contested=contested)
        self._look()

    def _look_at_decoder(self) -> None:
        """Charge what the decoder refused to the encoder on air."""
        damaged = self._show().ladder.encoders.strain.damaged
        if self._on_air is not None:
            # A new show counts from zero.
            self._on_air.vitals.decoded(max(0, damaged - self._damaged))
        self._damaged = damaged

    def _go(self, move: Move) -> None:
        """Switch at once; where a key frame is held, with the first picture not shown before.

        Were it with an earlier one, each switch would add some delay.
        """
        new = self._sources[move.role]
        shown_ns = self._show().clock.monotonic_ns(self._show().newest)
        held = new.pictures and new.hold.since_ns is not None
        if held and new.hold.picture_ns < shown_ns and not new.vitals.silent(self._now_ns()):
            self._pending = move
        else:
            self._switch(move)

    def _switch(self, move: Move) -> None:
        """Put the other encoder on air."""
        old, new = self._on_air, self._sources[move.role]
        self._feed(new, switched=True)
        self._meter.switched(self._stream, move.reason.value)
        self._note(move, old)
        self._look()
        self._measured_ns = 0
        self._measure(self._now_ns())

    def _feed(self, new: Source, *, switched: bool = False, contested: bool = False) -> None:
        """Feed the show from an encoder: by its held key frame, else from its next one."""
        show = self._show()
        after_ns = show.clock.monotonic_ns(show.newest)
        held = new.hold.release(after_ns, pictures=new.pictures)
        if new.pictures:
            # Key frames of further tracks may be on their way: they have to stay beside it.
            alone = not new.further
            held = catch_up(held, after_ns, wrap_ticks=new.wrap_ticks, stretch=alone)
        self._pending = None
        self._on_air = new
        show.begin_run(
            protocol=new.protocol,
            wrap_ticks=new.wrap_ticks,
            switched=switched,
            contested=contested,
        )
        for track_format in new.formats.values():
            show.set_format(track_format)
        show.describe_sound(new.languages)
        show.declare_rates(new.rates)
        for (kind, track), track_format in new.further.items():
            show.change_track(TrackChange(track=track, kind=kind, format=track_format))
        for packet in held:
            show.push(packet)
        old, self._outgoing = self._outgoing, None
        if old is not None:
            self._dismiss(old, TAKEN_OVER_TEXT)

    def _note(self, move: Move, old: Source | None) -> None:
        """Tell the producer which encoder is on air, and why."""
        complaint = old.assessment.complaint if old is not None else None
        text = sentences.standby(
            on_air=move.role.value,
            other=other(move.role).value,
            reason=move.reason.value,
            complaint=complaint,
            return_s=self._return_s if move.role is not self._rule.preferred else None,
        )
        show = self._show()
        wanted = move.reason in (Reason.RETURNED, Reason.REQUESTED)
        log.info(
            "encoder switched", stream=self._stream, role=move.role.value, reason=move.reason.value
        )
        show.findings.clear(Code.STANDBY)  # each switch is one, with its own time
        severity = Severity.INFO if wanted else Severity.WARNING
        now_ms = show.clock.utc_ms(show.now)
        show.findings.report(Code.STANDBY, severity, text, now_ms=now_ms)
        lasts = move.role is not self._rule.preferred
        self._note_until_ns = None if lasts else self._now_ns() + NOTE_NS

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def views(self) -> list[SourceView]:
        """Return the encoders of the show, the primary first; those that left while on air too."""
        if self._sources or self._board:  # else there may be no show to tell the time
            self._look()
        return self._board.views()

    def _look(self) -> None:
        """Remember since when each encoder is in its state."""
        now_ns = self._now_ns()
        now_ms = self._show().clock.utc_ms(self._show().clock.now(now_ns))
        self._board.note(self._shown, self._on_air, now_ns=now_ns, now_ms=now_ms)

    def _measure(self, now_ns: int) -> None:
        if now_ns - self._measured_ns < SECOND_NS:
            return
        self._measured_ns = now_ns
        for role, source in self._shown.items():
            score = source.assessment.score
            self._meter.source(
                self._stream, role.value, health=score, on_air=source is self._on_air
            )


def _starts(source: Source, packet: Packet) -> bool:
    """Whether the encoder can go on air with this packet."""
    if packet.track:
        return False
    return packet.kind is Kind.VIDEO and packet.key if source.pictures else True
