"""Only one cue holds a slot at a time: what follows from that when a cue comes or goes.

A pin ends the pin before it in its slot, a chapter ends the chapter before it. What follows is
written to the log as entries of its own, so that every carrier says it and nobody has to know
the rule: an entry `ended` at the newcomer's time, or, when a newcomer that had not begun is
taken back, an entry `live` that gives the earlier cue its time back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from overlay.entry import State
from overlay.timeline import FAR_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlay.entry import Entry


def next_taker(holders: Sequence[Entry], at_ms: int, *, without: str = "") -> Entry | None:
    """Return the first cue of a slot that begins after a moment."""
    return min(
        (entry for entry in holders if entry.at_ms > at_ms and entry.id != without),
        key=lambda entry: entry.at_ms,
        default=None,
    )


def clipped_end(holders: Sequence[Entry], entry: Entry) -> int | None:
    """Return when a cue in a slot really ends: as planned, or when the next one begins."""
    taker = next_taker(holders, entry.at_ms, without=entry.id)
    if taker is None:
        return entry.planned_end_ms
    if entry.planned_end_ms is None:
        return taker.at_ms
    return min(entry.planned_end_ms, taker.at_ms)


def consequences(holders: Sequence[Entry], *, newcomer: Entry | None, now_ms: int) -> list[Entry]:
    """Return the entries that follow for the other cues of a slot, without `seq` (0).

    `holders`: the slot's cues at their highest revisions, with what just changed already in.
    `newcomer`: the cue that was just fired; it ends what holds the slot at its beginning.
    An earlier cue gets time back only where that time has not passed.
    """
    found = []
    for entry in holders:
        if newcomer is not None and entry.id == newcomer.id:
            continue
        end = clipped_end(holders, entry)
        if newcomer is not None and entry.at_ms == newcomer.at_ms:
            end = newcomer.at_ms
        current, wanted = _far(entry.end_ms), _far(end)
        if wanted < current:
            found.append(
                replace(
                    entry,
                    seq=0,
                    rev=entry.rev + 1,
                    state=State.ENDED,
                    effective_ms=wanted,
                    end_ms=wanted,
                )
            )
        elif newcomer is None and wanted > current > now_ms and current > entry.at_ms:
            found.append(
                replace(
                    entry,
                    seq=0,
                    rev=entry.rev + 1,
                    state=State.LIVE,
                    effective_ms=max(current, entry.at_ms),
                    end_ms=end,
                )
            )
    return found


def _far(end_ms: int | None) -> int:
    return FAR_MS if end_ms is None else end_ms
