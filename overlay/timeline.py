"""One stream's log, projected onto program date-time. Pure and in memory.

At moment t the revision of a cue that holds is the highest one whose effective time is not after
t; the cue is active when that revision is live and t lies in [at, end).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from overlay.entry import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlay.entry import Entry

FAR_MS = 253_402_300_800_000
"""Later than every program date-time."""


class Timeline:
    """All cues of a stream that still matter."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """`entries`: in the order of the log; the oldest may have been left out."""
        self._entries: list[Entry] = []
        self._cues: dict[str, list[Entry]] = {}
        self._seq = 0
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last_seq(self) -> int:
        """Number of the newest entry; 0 for an empty log."""
        return self._seq

    def append(self, entry: Entry) -> None:
        """Add the next entry of the log. Raises `ValueError` where it does not follow."""
        if self._seq and entry.seq != self._seq + 1:
            raise ValueError(f"entry {entry.seq} does not follow entry {self._seq}")
        self._seq = entry.seq
        self._entries.append(entry)
        self._cues.setdefault(entry.id, []).append(entry)

    def fork(self) -> Timeline:
        """Return a copy that grows on its own."""
        copy = Timeline()
        copy._seq = self._seq
        copy._entries = list(self._entries)
        copy._cues = {cue_id: list(revisions) for cue_id, revisions in self._cues.items()}
        return copy

    def entries(self, after: int = 0) -> list[Entry]:
        """Return the entries held with `seq > after`, oldest first."""
        return self._entries[bisect_right(self._entries, after, key=lambda entry: entry.seq) :]

    def revisions(self, cue_id: str) -> list[Entry]:
        """Return the revisions of a cue, oldest first; none for an unknown one."""
        return list(self._cues.get(cue_id, ()))

    def latest(self, cue_id: str) -> Entry | None:
        """Return the highest revision of a cue."""
        revisions = self._cues.get(cue_id)
        return revisions[-1] if revisions else None

    def cues(self) -> Iterator[Entry]:
        """Yield the highest revision of every cue, in the order the cues were fired."""
        for revisions in self._cues.values():
            yield revisions[-1]

    def holding(self, cue_id: str, at_ms: int) -> Entry | None:
        """Return the revision that holds at a moment; None before the first one's time."""
        for entry in reversed(self._cues.get(cue_id, ())):
            if entry.effective_ms <= at_ms:
                return entry
        return None

    def active(self, at_ms: int) -> list[Entry]:
        """Return what a viewer sees at a moment, by time of beginning."""
        found = []
        for cue_id in self._cues:
            entry = self.holding(cue_id, at_ms)
            if (
                entry is not None
                and entry.state is State.LIVE
                and entry.at_ms <= at_ms < _end(entry)
            ):
                found.append(entry)
        return sorted(found, key=lambda entry: (entry.at_ms, entry.seq))

    def chapters(self) -> list[Entry]:
        """Return every chapter that was not taken back, by time of beginning.

        Only those of a length: a chapter that another one replaced at its very beginning, or
        that was ended before it began, is left out.
        """
        return sorted(
            (
                entry
                for entry in self.cues()
                if entry.type == "chapter"
                and entry.state is not State.RETRACTED
                and _end(entry) > entry.at_ms
            ),
            key=lambda entry: (entry.at_ms, entry.seq),
        )

    def in_slot(self, slot: str) -> list[Entry]:
        """Return the highest revisions of the cues that hold or held a slot, by beginning.

        Those taken back are left out.
        """
        return sorted(
            (
                entry
                for entry in self.cues()
                if entry.state is not State.RETRACTED and entry.slot == slot
            ),
            key=lambda entry: (entry.at_ms, entry.seq),
        )

    def busiest(self, start_ms: int, end_ms: int | None) -> int:
        """Return how many cues are live at once, at most, within [start, end)."""
        until = FAR_MS if end_ms is None else end_ms
        steps: list[tuple[int, int]] = []
        for entry in self.cues():
            begins, ends = max(entry.at_ms, start_ms), min(_end(entry), until)
            if entry.state is not State.RETRACTED and begins < ends:
                # At one moment the end of a cue comes before the beginning of the next.
                steps += [(begins, 1), (ends, -1)]
        most = live = 0
        for _, step in sorted(steps):
            live += step
            most = max(most, live)
        return most

    def to_come(self, now_ms: int) -> int:
        """Return how many cues are not over yet: live or scheduled."""
        return sum(
            entry.state is not State.RETRACTED and _end(entry) > now_ms for entry in self.cues()
        )

    def valid_until(self, entry: Entry) -> int:
        """Return when a revision is over: its end, or the time of a higher revision."""
        until = entry.effective_ms if entry.final else _end(entry)
        for later in self._cues[entry.id]:
            if later.rev > entry.rev:
                until = min(until, later.effective_ms)
        return max(until, entry.effective_ms)

    def moot(self, entry: Entry) -> bool:
        """Whether a higher revision holds before this one's time comes: it never will.

        A scheduled cue that was taken back is the case; the carriers leave such a revision out.
        """
        return any(
            later.rev > entry.rev and later.effective_ms < entry.effective_ms
            for later in self._cues[entry.id]
        )

    def successor(self, entry: Entry) -> Entry | None:
        """Return the next revision of the same cue."""
        for later in self._cues[entry.id]:
            if later.rev == entry.rev + 1:
                return later
        return None

    def forget_before(self, moment_ms: int) -> None:
        """Drop from memory the cues that were over before a moment; the log keeps them."""
        over = {
            cue_id
            for cue_id, revisions in self._cues.items()
            if max(self.valid_until(entry) for entry in revisions) < moment_ms
        }
        if over:
            self._entries = [entry for entry in self._entries if entry.id not in over]
            for cue_id in over:
                del self._cues[cue_id]


def _end(entry: Entry) -> int:
    return FAR_MS if entry.end_ms is None else entry.end_ms
