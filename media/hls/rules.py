"""Rules of draft-pantos-hls-rfc8216bis that the segmenter and the playlists obey.

One small function a rule; clauses are of draft -22. Durations are show-clock ticks (90 kHz)
unless a name says otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from media.model import TICKS_PER_SECOND

VERSION_FULL = 6
VERSION_DELTA = 9

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def target_duration_s(segment_ms: int) -> int:
    """TARGETDURATION: a whole number of seconds that never changes (4.4.3.1)."""
    return max(1, int(segment_ms / 1000 + 0.5))


def longest_segment(target_s: int) -> int:
    """Length that a segment must stay below so that EXTINF rounds to TARGETDURATION (4.4.3.1)."""
    return target_s * TICKS_PER_SECOND + TICKS_PER_SECOND // 2


def part_target(part_target_ms: int) -> int:
    """PART-TARGET in ticks; every part's DURATION is at most this (4.4.4.9)."""
    return part_target_ms * TICKS_PER_SECOND // 1000


def hold_back_s(target_s: int) -> float:
    """HOLD-BACK: at least three target durations (4.4.3.8)."""
    return 3.0 * target_s


def can_skip_until_s(target_s: int) -> float:
    """CAN-SKIP-UNTIL: at least six target durations (4.4.3.8)."""
    return 6.0 * target_s


def part_hold_back_s(part_target_ms: int, multiple: float) -> float:
    """PART-HOLD-BACK: at least twice, better three times PART-TARGET (4.4.3.8)."""
    return multiple * part_target_ms / 1000


def skip_boundary(end: int, target_s: int) -> int:
    """Moment before which a delta update leaves segments out (6.2.5.1).

    `end` is that of the last whole segment, not of the parts after it.
    """
    return end - int(can_skip_until_s(target_s)) * TICKS_PER_SECOND


def parts_listed_from(edge: int, target_s: int) -> int:
    """PART tags go when further than three target durations from the end (6.2.2)."""
    return edge - 3 * target_s * TICKS_PER_SECOND


def parts_kept_from(edge: int, target_s: int) -> int:
    """Parts stay available for three target durations after their tags went (6.2.2).

    A segment's parts all go with its first one, hence one target duration more.
    """
    return edge - 7 * target_s * TICKS_PER_SECOND


def removed_segment_kept_for(duration: int, longest_playlist: int) -> int:
    """A removed segment stays for its own length and that of the longest playlist (6.2.2)."""
    return duration + longest_playlist


def advance_part_limit(part_target_ms: int) -> float:
    """How far `_HLS_part` may run ahead of the last part (6.2.5.2)."""
    return 3000 / part_target_ms if part_target_ms < 1000 else 3.0


def msn_too_far(msn: int, last_msn: int) -> bool:
    """`_HLS_msn` beyond the last segment of the playlist plus two is refused (6.2.5.2)."""
    return msn > last_msn + 2


def skip_allowed(skipped: int, *, ended: bool) -> bool:
    """A delta update skips something, and ENDLIST ends delta updates (6.2.5.1)."""
    return skipped > 0 and not ended


def seconds(ticks: int) -> str:
    """Ticks as decimal-floating-point seconds, finer than a tick (4.2)."""
    return f"{ticks / TICKS_PER_SECOND:.5f}"


def decimal(value: float) -> str:
    """A decimal-floating-point attribute without trailing zeros (4.2)."""
    text = f"{value:.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def date_time(utc_ms: int) -> str:
    """ISO 8601 with milliseconds and `Z` for EXT-X-PROGRAM-DATE-TIME (4.4.4.6)."""
    moment = _EPOCH + timedelta(milliseconds=utc_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{utc_ms % 1000:03d}Z"
