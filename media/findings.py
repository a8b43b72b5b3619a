"""What is wrong with a stream right now, in sentences that its producer can act on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding harms the show."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One observation, open until it is cleared."""

    code: str
    severity: Severity
    text: str
    since_ms: int
    """UTC milliseconds."""


class Findings:
    """The open findings of one show, at most one per code."""

    def __init__(self) -> None:
        self._open: dict[str, Finding] = {}

    def report(self, code: str, severity: Severity, text: str, *, now_ms: int) -> None:
        """Open a finding, or bring its text up to date."""
        known = self._open.get(code)
        since = known.since_ms if known else now_ms
        self._open[code] = Finding(code=code, severity=severity, text=text, since_ms=since)

    def clear(self, code: str) -> None:
        """Close a finding; nothing happens where it is not open."""
        self._open.pop(code, None)

    def open(self) -> list[Finding]:
        """Return the open findings, oldest first."""
        return sorted(self._open.values(), key=lambda f: f.since_ms)


def keyframe_interval(seconds: float, segment_s: float) -> str:
    """Say that the encoder's key frames are too far apart for the source rung."""
    return (
        f"The encoder sends a key frame only every {seconds:.1f} s: set the keyframe interval to "
        f"{segment_s:g} s (OBS: Settings ▸ Output ▸ Keyframe Interval). Until then the source "
        "picture is re-encoded."
    )


def no_keyframe(seconds: float) -> str:
    """Say that no key frame came for a while."""
    return (
        f"No key frame for {seconds:.0f} s: viewers who join cannot start the source rung. "
        "Set the keyframe interval of the encoder to 2 s."
    )
