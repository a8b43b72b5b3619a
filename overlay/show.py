"""What the cue service keeps of one stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from overlay.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlay.bucket import TokenBucket
    from overlay.entry import Entry
    from overlay.feed import CueFeed
    from overlay.meter import OverlayMeter
    from overlay.subscribers import Subscription

KEEP_ENTRIES = 2000
"""Entries of one stream in memory, beside those of cues that are not over."""


@dataclass(slots=True, kw_only=True)
class StreamCues:
    """Timeline, carriers and readers of one stream; the log is the truth, this its image."""

    name: str
    bucket: TokenBucket
    meter: OverlayMeter
    timeline: Timeline = field(default_factory=Timeline)
    feed: CueFeed | None = None
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held over a write; the bucket bounds who waits."""
    subscriptions: set[Subscription] = field(default_factory=set)
    forget_above: int = 0
    """Entries in memory from which on the next look for what is over pays."""
    last_state: tuple[int, int, dict[str, Any]] | None = None
    """Newest entry, moment and answer of the last look: many viewers ask for one present."""

    def apply(
        self, entries: Sequence[Entry], *, now_ms: int, accepted_s: float | None = None
    ) -> None:
        """Take over entries that the log holds."""
        entries = [entry for entry in entries if entry.seq > self.timeline.last_seq]
        if not entries:
            return
        for entry in entries:
            self.timeline.append(entry)
        if self.feed is not None:
            self.feed.added(entries, accepted_s=accepted_s)
        for subscription in list(self.subscriptions):
            if not subscription.offer(entries):
                self.subscriptions.discard(subscription)
                self.meter.subscriber_dropped(self.name)
        if len(self.timeline) > max(KEEP_ENTRIES, self.forget_above):
            self._forget(now_ms)

    def _forget(self, now_ms: int) -> None:
        # The shortest of these horizons that frees anything worth the walk.
        for hours in (24, 6, 1):
            self.timeline.forget_before(now_ms - hours * 3_600_000)
            if len(self.timeline) <= KEEP_ENTRIES // 2:
                break
        self.forget_above = len(self.timeline) * 3 // 2
        if self.feed is not None:
            self.feed.prune()
