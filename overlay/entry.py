"""One entry of a cue log, and the bytes that every carrier repeats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from overlay.times import format_ms

DATA_BYTES = 1024
"""Budget of a cue's `data` as JSON: with its times and names, some 200 bytes, it stands in every
playlist of every viewer while the cue is live."""


class State(StrEnum):
    """What an entry says of its cue, from `effective_ms` on."""

    LIVE = "live"
    ENDED = "ended"
    RETRACTED = "retracted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Revision `rev` of cue `id`: valid from `effective_ms` until a higher revision is.

    Times are program date-time in milliseconds since 1970, UTC.
    """

    stream: str
    seq: int
    """Number in the stream's log: 1, 2, 3, without gaps."""
    id: str
    rev: int
    state: State
    type: str
    at_ms: int
    """When the cue begins; the same in every revision."""
    effective_ms: int
    end_ms: int | None
    """When the cue is over; None while nobody knows."""
    planned_end_ms: int | None
    """The end that the producer asked for; `end_ms` is earlier where another cue takes over."""
    data: dict[str, Any]
    issued_at_ms: int
    """Wall clock of this server when the entry was written."""

    @property
    def final(self) -> bool:
        """Whether the entry ends the cue instead of showing something."""
        return self.state is not State.LIVE

    @property
    def slot(self) -> str | None:
        """Name of the place that only one cue may hold at a time, or None."""
        return slot_of(self.type, self.data)

    def fields(self) -> dict[str, Any]:
        """Return what every carrier says."""
        return {
            "id": self.id,
            "rev": self.rev,
            "type": self.type,
            "state": self.state.value,
            "at": format_ms(self.at_ms),
            "end": None if self.end_ms is None else format_ms(self.end_ms),
            "data": self.data,
        }

    def in_band(self) -> bytes:
        """Return `fields` as compact UTF-8 JSON: the same bytes in DATERANGE and emsg."""
        return compact_json(self.fields()).encode()

    def event(self) -> dict[str, Any]:
        """Return what subscribers get: `fields`, the place in the log and the effective time."""
        return {**self.fields(), "seq": self.seq, "effective": format_ms(self.effective_ms)}


def slot_of(type_: str, data: dict[str, Any]) -> str | None:
    """Name the slot that a cue of this type holds alone: pins by their slot, one chapter."""
    if type_ == "pin":
        return f"pin {data.get('slot', 'main')}"
    return "chapter" if type_ == "chapter" else None


def compact_json(value: object) -> str:
    """Return JSON without spaces, characters as themselves. Raises `ValueError` on NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
