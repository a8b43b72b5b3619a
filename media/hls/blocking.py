"""Delivery directives: what a playlist request may ask, and whether it has to wait; sans-IO.

draft-pantos-hls-rfc8216bis 6.2.5.1 and 6.2.5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.hls import rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from media.hls.window import PartRef, Window

_MAX_DIGITS = 15


class PlaylistRequestError(Exception):
    """A playlist request is refused; `status` is for HTTP, `detail` for the reader."""

    def __init__(self, status: int, detail: str) -> None:
        """Keep both; `detail` is one sentence."""
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """`_HLS_msn`, `_HLS_part` and `_HLS_skip` of a request."""

    msn: int | None = None
    part: int | None = None
    skip: bool = False


def parse_directives(query: Mapping[str, str]) -> Directives:
    """Read the directives out of a query string's pairs; others are ignored.

    Raises `PlaylistRequestError` 400 for values that are no decimal-integer.
    """
    skip = query.get("_HLS_skip")
    directives = Directives(
        msn=_integer(query, "_HLS_msn"),
        part=_integer(query, "_HLS_part"),
        # v2 may also skip date ranges; we do not offer that, so it counts as YES.
        skip=skip in {"YES", "v2"},
    )
    check_directives(directives.msn, directives.part)
    return directives


def check_directives(msn: int | None, part: int | None) -> None:
    """`_HLS_part` needs `_HLS_msn`, and neither is negative (6.2.5.2)."""
    if part is not None and msn is None:
        raise PlaylistRequestError(400, "_HLS_part needs _HLS_msn.")
    if (msn is not None and msn < 0) or (part is not None and part < 0):
        raise PlaylistRequestError(400, "_HLS_msn and _HLS_part are not negative.")


def is_satisfied(window: Window, msn: int | None, part: int | None) -> bool:
    """Whether the playlist already holds what was asked for (6.2.5.2).

    A part beyond the last one of a finished segment is part 0 of the next segment.
    """
    last = window.last_part
    closed = window.last_closed_msn
    if closed is None:
        return False
    if msn is None:
        return last is not None
    if part is None:
        return closed >= msn
    segment = window.segment(msn)
    if segment is None:
        return msn <= closed
    if len(segment.parts) > part:
        return True
    if not segment.closed:
        return False
    return _parts_gone(window, msn) or (last is not None and last.msn > msn)


def refuse_too_far(
    window: Window, msn: int, part: int | None, *, part_target_ms: int, last: PartRef | None
) -> None:
    """Raise 400 for a request that runs too far ahead of the playlist (6.2.5.2)."""
    closed = window.last_closed_msn
    if closed is None:
        return
    if rules.msn_too_far(msn, closed):
        raise PlaylistRequestError(
            400, f"_HLS_msn {msn} is more than two after the last segment, {closed}."
        )
    if part is None or msn <= closed:
        return
    known = last.part if last is not None and last.msn == msn else -1
    limit = rules.advance_part_limit(part_target_ms)
    if part - known > limit:
        raise PlaylistRequestError(
            400, f"_HLS_part {part} is more than {limit:.0f} after the last part, {known}."
        )


def _parts_gone(window: Window, msn: int) -> bool:
    """Whether the parts of `msn` are no longer known: it is long finished."""
    segment = window.segment(msn)
    return segment is not None and segment.closed and segment.has_media and not segment.parts


def _integer(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        raise PlaylistRequestError(400, f"{name} is not a decimal integer.")
    return int(text)
