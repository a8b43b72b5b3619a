"""Entries of a cue log."""

from __future__ import annotations

from overlay.entry import Entry, State


def entry(seq: int, *, effective_ms: int) -> Entry:
    return Entry(
        stream="shop",
        seq=seq,
        id=f"c_{seq}",
        rev=1,
        state=State.LIVE,
        type="pin",
        at_ms=effective_ms,
        effective_ms=effective_ms,
        end_ms=None,
        planned_end_ms=None,
        data={"sku": "über"},
        issued_at_ms=effective_ms,
    )
