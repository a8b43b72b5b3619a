"""What a request would add to a log: decided on a copy, so that a failed write changes nothing.

Pure: every rule about cues that depends on other cues is here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from overlay.cue import data_of, read_data
from overlay.entry import DATA_BYTES, Entry, State, compact_json, slot_of
from overlay.errors import Conflict, Invalid, NotFound, TooMany
from overlay.schedule import begin_ms, end_ms
from overlay.slots import clipped_end, consequences
from overlay.timeline import FAR_MS
from overlay.times import format_ms, parse_at

if TYPE_CHECKING:
    from overlay.cue import AnyCue, CuePatch
    from overlay.schedule import Moment
    from overlay.timeline import Timeline

MAX_REVISIONS = 200
MAX_TO_COME = 1000
"""Cues of a stream that are not over: a long show's script, held in memory and walked often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one stream's cues."""

    max_live: int
    max_ahead_ms: int


class Draft:
    """New entries of one request, numbered on from a copy of the timeline."""

    def __init__(
        self, timeline: Timeline, moment: Moment, *, limits: Limits, issued_at_ms: int
    ) -> None:
        self._timeline = timeline.fork()
        self._moment = moment
        self._limits = limits
        self._issued_at_ms = issued_at_ms
        self.entries: list[tuple[str, Entry]] = []
        """The verb of each entry (`rule` where it only follows) and the entry."""

    def fire(self, cue_id: str, cue: AnyCue) -> Entry:
        """Add a cue."""
        begins = begin_ms(parse_at(cue.at), self._moment, max_ahead_ms=self._limits.max_ahead_ms)
        planned = None if cue.duration is None else begins + round(cue.duration * 1000)
        data = data_of(cue.data)
        entry = Entry(
            stream=self._moment.stream,
            seq=0,
            id=cue_id,
            rev=1,
            state=State.LIVE,
            type=cue.type,
            at_ms=begins,
            effective_ms=begins,
            end_ms=planned,
            planned_end_ms=planned,
            data=data,
            issued_at_ms=self._issued_at_ms,
        )
        slot = slot_of(cue.type, data)
        if slot is not None:
            self._refuse_taken(slot, begins)
            entry = self._clip(entry, slot)
        entry = self._add("fire", entry)
        self._follow(slot, newcomer=entry)
        if self._timeline.to_come(self._moment.now_ms) > MAX_TO_COME:
            raise TooMany(
                f"{MAX_TO_COME} cues are live or scheduled on stream {entry.stream!r} already; "
                "schedule this one later"
            )
        self._refuse_crowd(entry)
        return entry

    def revise(self, cue_id: str, patch: CuePatch) -> Entry:
        """Add a revision with other data or another end."""
        current = self._running(cue_id, "changed")
        effective = max(self._moment.now_ms, current.at_ms)
        # The newest revision may already say that a coming cue ends this one.
        latest = self._latest(cue_id)
        planned = latest.planned_end_ms
        if "end" in patch.model_fields_set:
            planned = None
            if patch.end is not None:
                planned = end_ms(parse_at(patch.end), self._moment, effective_ms=effective)
        elif "duration" in patch.model_fields_set:
            planned = None
            if patch.duration is not None:
                planned = current.at_ms + round(patch.duration * 1000)
                if planned <= effective:
                    raise Invalid.of(
                        "duration",
                        f"would end the cue at {format_ms(planned)}, which has passed; "
                        "to end it at once, POST to its /end",
                    )
        data = current.data if patch.data is None else self._merged(current, patch.data)
        entry = replace(
            latest,
            rev=latest.rev + 1,
            state=State.LIVE,
            effective_ms=effective,
            end_ms=planned,
            planned_end_ms=planned,
            data=data,
            issued_at_ms=self._issued_at_ms,
        )
        slot = entry.slot
        if slot is not None:
            entry = self._clip(entry, slot)
        grows = _far(entry.end_ms) > _far(latest.end_ms)
        entry = self._add("revise", entry)
        if grows:
            # Else a short cue could be fired beside the others and then stretched over them.
            self._refuse_crowd(entry)
        return entry

    def end(self, cue_id: str) -> Entry:
        """End a cue at the present."""
        current = self._running(cue_id, "ended")
        now_ms = self._moment.now_ms
        if current.at_ms > now_ms:
            raise Conflict(
                f"cue {cue_id!r} begins at {format_ms(current.at_ms)} and has nothing to end yet; "
                "retract it instead"
            )
        return self._add(
            "end",
            replace(
                self._latest(cue_id),
                rev=self._latest(cue_id).rev + 1,
                state=State.ENDED,
                effective_ms=now_ms,
                end_ms=now_ms,
                planned_end_ms=now_ms,
                data=current.data,
                issued_at_ms=self._issued_at_ms,
            ),
        )

    def retract(self, cue_id: str) -> Entry:
        """Take a cue back: it ends at the present and is no chapter any more."""
        latest = self._latest(cue_id)
        if latest.state is State.RETRACTED:
            raise Conflict(f"cue {cue_id!r} is retracted already")
        slot = latest.slot
        entry = self._add(
            "retract",
            replace(
                latest,
                rev=latest.rev + 1,
                state=State.RETRACTED,
                effective_ms=self._moment.now_ms,
                end_ms=self._moment.now_ms,
                issued_at_ms=self._issued_at_ms,
            ),
        )
        self._follow(slot, newcomer=None)
        return entry

    def _latest(self, cue_id: str) -> Entry:
        latest = self._timeline.latest(cue_id)
        if latest is None:
            raise NotFound(f"stream {self._moment.stream!r} has no cue {cue_id[:80]!r}")
        return latest

    def _running(self, cue_id: str, verb: str) -> Entry:
        """Return the revision that holds now, or the first of a cue that lies ahead."""
        latest = self._latest(cue_id)
        now_ms = self._moment.now_ms
        if latest.state is State.RETRACTED:
            raise Conflict(f"cue {cue_id!r} is retracted and cannot be {verb}; fire a new one")
        holding = self._timeline.holding(cue_id, now_ms)
        if holding is None:
            holding = next(
                entry
                for entry in reversed(self._timeline.revisions(cue_id))
                if entry.state is State.LIVE
            )
        over = holding.final or (holding.end_ms is not None and holding.end_ms <= now_ms)
        if over:
            raise Conflict(
                f"cue {cue_id!r} was over at {format_ms(holding.end_ms or now_ms)} and cannot be "
                f"{verb}; fire a new one"
            )
        if latest.rev >= MAX_REVISIONS:
            raise Conflict(f"cue {cue_id!r} was changed {MAX_REVISIONS} times; fire a new one")
        return holding

    def _merged(self, current: Entry, change: dict[str, Any]) -> dict[str, Any]:
        merged = {**current.data, **change}
        merged = {key: value for key, value in merged.items() if value is not None}
        data = read_data(current.type, merged)
        if slot_of(current.type, data) != current.slot:
            raise Invalid.of("data.slot", "cannot change; end this pin and fire another")
        return data

    def _refuse_taken(self, slot: str, begins_ms: int) -> None:
        """Two cues planned for one slot and one moment are a mistake; at `now` the newer wins."""
        here = {entry.id for _, entry in self.entries}
        for other in self._timeline.in_slot(slot):
            if other.at_ms == begins_ms and (begins_ms > self._moment.now_ms or other.id in here):
                raise Conflict(
                    f"{slot} is taken at {format_ms(begins_ms)} by cue {other.id!r}; "
                    "choose another time, or retract that one"
                )

    def _refuse_crowd(self, entry: Entry) -> None:
        live = self._timeline.busiest(entry.at_ms, entry.end_ms)
        if live > self._limits.max_live:
            raise TooMany(
                f"{self._limits.max_live} cues may be live at once, and this one would be number "
                f"{live}; end one first"
            )

    def _clip(self, entry: Entry, slot: str) -> Entry:
        others = [other for other in self._timeline.in_slot(slot) if other.id != entry.id]
        return replace(entry, end_ms=clipped_end(others, entry))

    def _follow(self, slot: str | None, *, newcomer: Entry | None) -> None:
        if slot is None:
            return
        holders = self._timeline.in_slot(slot)
        for entry in consequences(holders, newcomer=newcomer, now_ms=self._moment.now_ms):
            self._add("rule", replace(entry, issued_at_ms=self._issued_at_ms))

    def _add(self, verb: str, entry: Entry) -> Entry:
        entry = replace(entry, seq=self._timeline.last_seq + 1)
        size = len(compact_json(entry.data).encode())
        if verb != "rule" and size > DATA_BYTES:
            raise Invalid.of(
                "data",
                f"takes {size} bytes as JSON and {DATA_BYTES} fit into the stream; "
                "shorten its texts or its path",
            )
        self._timeline.append(entry)
        self.entries.append((verb, entry))
        return entry


def _far(end_ms: int | None) -> int:
    return FAR_MS if end_ms is None else end_ms
