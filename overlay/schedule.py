"""When things happen: from the words of a request to program date-time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlay.errors import Conflict, Invalid
from overlay.times import At, format_ms

if TYPE_CHECKING:
    from overlay.seams import LiveStream

SEEN_BACK_MS = 3_600_000
"""How far back a cue may reach: further than any viewer's window, but not into another show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The present of a stream, as program date-time."""

    stream: str
    now_ms: int
    """While live: the first millisecond that no rendition has published; else the wall clock."""
    live: bool


def present(name: str, stream: LiveStream, *, wall_ms: int) -> Moment:
    """Return the present of a stream."""
    edge = stream.edge()
    if not stream.live or stream.clock is None or edge is None:
        return Moment(stream=name, now_ms=wall_ms, live=stream.live)
    now_ms = stream.clock.utc_ms(edge)
    # Floored, the millisecond may begin in a part that is out already.
    if stream.clock.ticks(now_ms) < edge:
        now_ms += 1
    return Moment(stream=name, now_ms=now_ms, live=True)


def begin_ms(at: At, moment: Moment, *, max_ahead_ms: int) -> int:
    """Return when a cue begins. Raises `Conflict` and `Invalid`."""
    if not moment.live and (at.utc_ms is None or at.utc_ms <= moment.now_ms):
        raise Conflict(
            f"stream {moment.stream!r} is not live, so there is no moment that "
            '"now", "+SECONDS", "seen:" or a time in the past could mean; '
            "start the encoder, or give a time in the future"
        )
    begins = moment.now_ms + at.ahead_ms if at.utc_ms is None else at.utc_ms
    if begins > moment.now_ms + max_ahead_ms:
        raise Invalid.of(
            "at", f"lies more than {max_ahead_ms // 1000} seconds ahead, the limit of this server"
        )
    if begins < moment.now_ms - SEEN_BACK_MS:
        raise Invalid.of("at", f"lies more than {SEEN_BACK_MS // 1000} seconds back")
    return begins


def end_ms(at: At, moment: Moment, *, effective_ms: int) -> int:
    """Return when a changed cue ends. Raises `Invalid` for a time that has passed."""
    ends = moment.now_ms + at.ahead_ms if at.utc_ms is None else at.utc_ms
    if ends <= effective_ms:
        raise Invalid.of(
            "end",
            f"must lie after {format_ms(effective_ms)}, when the change takes effect; "
            "to end the cue at once, POST to its /end",
        )
    return ends
