"""What the producer API answers, as JSON-ready objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from overlay.entry import State
from overlay.times import format_ms

if TYPE_CHECKING:
    from overlay.entry import Entry
    from overlay.feed import CueFeed
    from overlay.seams import LiveStream


def state_word(latest: Entry, now_ms: int) -> str:
    """Say what a cue is doing at a moment, from its highest revision."""
    if latest.state is State.RETRACTED:
        return "retracted"
    if latest.end_ms is not None and latest.end_ms <= now_ms:
        return "ended"
    return "scheduled" if now_ms < latest.at_ms else "live"


def answer(
    entry: Entry, *, now_ms: int, stream: LiveStream | None, feed: CueFeed | None
) -> dict[str, Any]:
    """Return the answer to a write, or the cue as `GET` shows it."""
    return {
        **entry.fields(),
        "seq": entry.seq,
        "state": state_word(entry, now_ms),
        "placement": placement(entry, stream=stream, feed=feed),
    }


def placement(
    entry: Entry, *, stream: LiveStream | None, feed: CueFeed | None
) -> dict[str, Any] | None:
    """Say which part of each rendition carries the entry; None while it lies ahead of all.

    A rendition that has published the entry's moment already carries it in its next part.
    """
    if stream is None or stream.clock is None:
        return None
    ticks = stream.clock.ticks(entry.effective_ms)
    places = stream.place(ticks)
    if feed is not None:
        carried = feed.placement(entry)
        for rendition in list(places):
            until = feed.carried_until(rendition)
            if rendition in carried or until is None or until <= ticks:
                continue
            open_part = stream.place(until).get(rendition)
            if open_part is not None:
                places[rendition] = open_part
        places |= carried
    if not places:
        return None
    return {
        "media_time": format_ms(entry.effective_ms),
        "rendition_sequence": {
            rendition: {"msn": msn, "part": part} for rendition, (msn, part) in places.items()
        },
    }
