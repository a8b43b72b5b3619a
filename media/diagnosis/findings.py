"""What is and was wrong with a show, in sentences that its producer can act on.

Any part of the show may `report` and `clear`; `diagnosis.py` does so from measurements. The
sentences are in `sentences.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP_CLOSED = 50
"""Closed findings of a show that stay listed; the oldest go first."""
MAX_OPEN = 100
"""More codes than exist: a bound that holds whatever reports."""


class Severity(StrEnum):
    """How much a finding harms the show."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Change(StrEnum):
    """What happens to a finding."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


class Code(StrEnum):
    """Every finding there is; docs/findings.md explains each. Also the label of its metric."""

    KEYFRAME_INTERVAL = "keyframe_interval"
    KEYFRAME_IRREGULAR = "keyframe_irregular"
    NO_KEYFRAME = "no_keyframe"
    SOURCE_REENCODED = "source_reencoded"
    B_FRAMES = "b_frames"
    BITRATE_UNSTEADY = "bitrate_unsteady"
    UPLINK_SLOW = "uplink_slow"
    STANDS_LATE = "stands_late"
    FRAME_RATE_LOW = "frame_rate_low"
    AV_OFFSET = "av_offset"
    AUDIO_MISSING = "audio_missing"
    AUDIO_STOPPED = "audio_stopped"
    AUDIO_SILENT = "audio_silent"
    VIDEO_MISSING = "video_missing"
    VIDEO_STOPPED = "video_stopped"
    TIMESTAMPS_WRAP = "timestamps_wrap"
    TIMESTAMPS_ORDER = "timestamps_order"
    TIMESTAMPS_JUMP = "timestamps_jump"
    TIMESTAMPS_START = "timestamps_start"
    TIMESTAMPS_COMPOSITION = "timestamps_composition"
    CLOCK_DRIFT = "clock_drift"
    TRACKS_DRIFT = "tracks_drift"
    TOO_FAST = "too_fast"
    SOUND_REENCODED = "sound_reencoded"
    CODEC_SUPPORT = "codec_support"
    LADDER_PRESSURE = "ladder_pressure"
    PICTURES_DROPPED = "pictures_dropped"
    PICTURES_DAMAGED = "pictures_damaged"
    WORKER_RESTARTED = "worker_restarted"
    SAMPLE_RATE = "sample_rate"
    RESOLUTION_ODD = "resolution_odd"
    PORTRAIT = "portrait"
    RECONNECTS = "reconnects"
    KEY_CONTESTED = "key_contested"
    STANDBY = "standby"
    EXCESS = "excess"
    SLATE = "slate"
    SLATE_FAILED = "slate_failed"
    CODEC_CHANGED = "codec_changed"
    TRACKS_MISALIGNED = "tracks_misaligned"
    TRACKS_UNUSED = "tracks_unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One observation, open until it is cleared."""

    code: str
    severity: Severity
    text: str
    since_ms: int
    """UTC milliseconds."""
    until_ms: int | None = None
    """UTC milliseconds; None while it is open."""


class Findings:
    """The findings of one show: open ones, at most one per code, and the last closed ones.

    `now_ms`: UTC of the show clock; without it a finding closes at the newest time reported.
    `watch`: called with every finding that opens, is updated, or closes.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int] | None = None,
        watch: Callable[[Change, Finding], None] = lambda _change, _finding: None,
    ) -> None:
        self._open: dict[str, Finding] = {}
        self._closed: deque[Finding] = deque(maxlen=KEEP_CLOSED)
        self._now_ms = now_ms
        self._newest_ms = 0
        self._watch = watch
        self.revision = 0
        """Grows with every change."""

    def report(self, code: str, severity: Severity, text: str, *, now_ms: int) -> None:
        """Open a finding, or bring its text up to date."""
        self._newest_ms = max(self._newest_ms, now_ms)
        known = self._open.get(code)
        if known is not None and (known.severity, known.text) == (severity, text):
            return
        if known is None and len(self._open) >= MAX_OPEN:
            return
        since = known.since_ms if known else now_ms
        finding = Finding(code=code, severity=severity, text=text, since_ms=since)
        self._open[code] = finding
        self.revision += 1
        self._watch(Change.OPENED if known is None else Change.UPDATED, finding)

    def clear(self, code: str) -> None:
        """Close a finding; nothing happens where it is not open."""
        finding = self._open.pop(code, None)
        if finding is None:
            return
        now_ms = self._newest_ms if self._now_ms is None else self._now_ms()
        closed = replace(finding, until_ms=max(now_ms, finding.since_ms))
        self._closed.append(closed)
        self.revision += 1
        self._watch(Change.CLOSED, closed)

    def clear_all(self) -> None:
        """Close every finding: the show is over."""
        for code in list(self._open):
            self.clear(code)

    def is_open(self, code: str) -> bool:
        """Whether a finding of this code is open."""
        return code in self._open

    def open(self) -> list[Finding]:
        """Return the open findings, oldest first."""
        return sorted(self._open.values(), key=lambda f: f.since_ms)

    def closed(self) -> list[Finding]:
        """Return the closed findings that are kept, last closed first."""
        return list(reversed(self._closed))
