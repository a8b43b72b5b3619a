"""Program date-time as text, and the four forms of `at`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_PLUS = re.compile(r"\+(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)

TIME_SENTENCE = "a time is RFC 3339 with a zone, like 2026-01-31T18:30:00.250Z"
AT_SENTENCE = 'at is "now", "+SECONDS", "seen:TIME" or TIME; ' + TIME_SENTENCE


def format_ms(utc_ms: int) -> str:
    """Return RFC 3339 with milliseconds and `Z`."""
    moment = _EPOCH + timedelta(milliseconds=utc_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{utc_ms % 1000:03d}Z"


def parse_ms(text: str) -> int:
    """Read RFC 3339 (section 5.6), floored to milliseconds. Raises `ValueError` with a sentence."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(TIME_SENTENCE)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC
        )
    except ValueError as err:
        raise ValueError(f"there is no such moment; {TIME_SENTENCE}") from err
    ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    ms += int((fraction or "0").ljust(3, "0")[:3])
    if zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 23 or minutes > 59:
            raise ValueError(f"there is no such zone; {TIME_SENTENCE}")
        offset = (hours * 60 + minutes) * 60_000
        ms += offset if zone[0] == "-" else -offset
    if not 0 <= ms < 253_402_300_800_000:
        raise ValueError(f"there is no such moment; {TIME_SENTENCE}")
    return ms


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """When a cue begins: `ahead_ms` after the edge, or at a program date-time."""

    ahead_ms: int = 0
    utc_ms: int | None = None
    seen: bool = False
    """The producer names the moment of a picture that it has already been shown."""

    @property
    def now(self) -> bool:
        """Whether the moment is that of the request."""
        return self.utc_ms is None and not self.ahead_ms


def parse_at(text: str) -> At:
    """Read one of the four forms. Raises `ValueError` with a sentence."""
    if text == "now":
        return At()
    plus = _PLUS.fullmatch(text)
    if plus is not None:
        return At(ahead_ms=round(float(plus[1]) * 1000))
    try:
        if text.startswith("seen:"):
            return At(utc_ms=parse_ms(text[5:]), seen=True)
        return At(utc_ms=parse_ms(text))
    except ValueError as err:
        raise ValueError(AT_SENTENCE) from err
