"""The encoders of a stream, at most one in each role, and which of them feeds the show.

The one on air goes straight into the show; the other is measured and its packets since its newest
key frame are held, so that it can go on from there when the first one fails (`catchup.py`). A
move that nothing forces waits for the target's next key frame while the old encoder still feeds
the show.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from media.diagnosis import sentences
from media.diagnosis.findings import Code, Severity
from media.model import TICKS_PER_SECOND, Kind, Packet, Role, TrackFormat
from media.settling import TrackChange
from media.standby.catchup import catch_up
from media.standby.rule import Reason, StandbyRule, other
from media.standby.source import Source, SourceRefused, SourceState, SourceView
from media.standby.vitals import SECOND_NS, Assessment, Vitals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from media.meter import MediaMeter
    from media.show import Show
    from media.standby.rule import Move

log = structlog.get_logger(__name__)

NOTE_NS = 60 * SECOND_NS
"""A switch that needs nobody's attention stays a finding for this long."""


class Switcher:
    """See the module's docstring. All methods run on the event loop.

    `show`: the stream's current show; `return_s`: `StandbyRule`; `now_ns`: monotonic clock.
    """

    def __init__(
        self,
        *,
        stream: str,
        show: Callable[[], Show],
        meter: MediaMeter,
        return_s: float | None,
        now_ns: Callable[[], int],
    ) -> None:
        self._stream = stream
        self._show = show
        self._meter = meter
        self._return_s = return_s
        self._now_ns = now_ns
        self._rule = StandbyRule(return_s=return_s)
        self._sources: dict[Role, Source] = {}
        self._on_air: Source | None = None
        self._pending: Move | None = None
        self._views: dict[Role, SourceView] = {}
        self._note_until_ns: int | None = None
        self._measured_ns = 0
        self._damaged = 0

    @property
    def on_air(self) -> Source | None:
        """The encoder that feeds the show."""
        return self._on_air

    def get(self, role: Role) -> Source | None:
        """Return the encoder that is connected in a role."""
        return self._sources.get(role)

    # ── encoders come and go ─────────────────────────────────────────────────────────────────

    def connect(self, *, role: Role, protocol: str, wrap_ticks: int) -> Source:
        """Take in an encoder; one in the same role is replaced."""
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
            self._on_air = source
            self._show().begin_run(protocol=protocol, wrap_ticks=wrap_ticks, contested=contested)
        self._pending = None
        self._look()
        return source

    def leave(self, source: Source) -> None:
        """Let go of an encoder; the other one, if there is one, goes on air at once."""
        if self._sources.get(source.role) is not source:
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

    def clear(self) -> None:
        """Forget every encoder: the show is over."""
        for role in self._sources:
            self._meter.source(self._stream, role.value, health=0.0, on_air=False)
        self._sources = {}
        self._views = {}
        self._on_air = self._pending = self._note_until_ns = None

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
        self.tick()

    @property
    def chosen(self) -> Role | None:
        """The role that was asked for, None for the rule's own."""
        return self._rule.chosen

    def tick(self) -> None:
        """Judge the encoders; move where that is due."""
        now_ns = self._now_ns()
        self._look_at_decoder()
        conditions = {role: source.judge(now_ns) for role, source in self._sources.items()}
        if self._on_air is not None:
            move = self._rule.decide(self._on_air.role, conditions)
            self._pending = move
            if move is not None and (move.at_once or not self._sources[move.role].pictures):
                self._go(move)
        self._look()
        self._measure(now_ns)
        if self._note_until_ns is not None and now_ns >= self._note_until_ns:
            self._note_until_ns = None
            self._show().findings.clear(Code.STANDBY)

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
        """Put the other encoder on air: by its held key frame, else from its next one."""
        old, new = self._on_air, self._sources[move.role]
        show = self._show()
        after_ns = show.clock.monotonic_ns(show.newest)
        held = new.hold.release(after_ns, pictures=new.pictures)
        if new.pictures:
            # Key frames of further tracks may be on their way: they have to stay beside it.
            alone = not new.further
            held = catch_up(held, after_ns, wrap_ticks=new.wrap_ticks, stretch=alone)
        self._pending = None
        self._on_air = new
        show.begin_run(protocol=new.protocol, wrap_ticks=new.wrap_ticks, switched=True)
        for track_format in new.formats.values():
            show.set_format(track_format)
        show.describe_sound(new.languages)
        for (kind, track), track_format in new.further.items():
            show.change_track(TrackChange(track=track, kind=kind, format=track_format))
        for packet in held:
            show.push(packet)
        self._meter.switched(self._stream, move.reason.value)
        self._note(move, old)
        self._look()
        self._measured_ns = 0
        self._measure(self._now_ns())

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
        if self._sources or self._views:  # else there may be no show to tell the time
            self._look()
        return [self._views[role] for role in Role if role in self._views]

    def _look(self) -> None:
        """Remember since when each encoder is in its state."""
        now_ns = self._now_ns()
        now_ms = self._show().clock.utc_ms(self._show().clock.now(now_ns))
        for role in Role:
            source, known = self._sources.get(role), self._views.get(role)
            if source is None:
                if known is not None and known.state is not SourceState.FAILED:
                    self._views[role] = replace(
                        known,
                        state=SourceState.FAILED,
                        health=0.0,
                        bitrate_bps=0,
                        since_ms=now_ms,
                    )
                continue
            state = self._state(source, now_ns)
            kept = known is not None and known.state is state
            self._views[role] = source.view(state, known.since_ms if known and kept else now_ms)

    def _state(self, source: Source, now_ns: int) -> SourceState:
        if source is self._on_air:
            return SourceState.ON_AIR
        return SourceState.FAILED if source.vitals.silent(now_ns) else SourceState.STANDBY

    def _measure(self, now_ns: int) -> None:
        if now_ns - self._measured_ns < SECOND_NS:
            return
        self._measured_ns = now_ns
        for role, source in self._sources.items():
            score = source.assessment.score
            self._meter.source(
                self._stream, role.value, health=score, on_air=source is self._on_air
            )


def _starts(source: Source, packet: Packet) -> bool:
    """Whether the encoder can go on air with this packet."""
    if packet.track:
        return False
    return packet.kind is Kind.VIDEO and packet.key if source.pictures else True
