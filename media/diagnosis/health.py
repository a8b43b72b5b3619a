"""A show's health: collects its measurements once a second and has the rules judge them."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from media.diagnosis.diagnosis import Diagnosis, Measurements
from media.diagnosis.judgements import RECONNECT_MINUTES, RULES
from media.lineup import fits_hls
from media.model import TICKS_PER_SECOND, Kind
from media.packager import safe_segment

if TYPE_CHECKING:
    from config.settings import HlsSettings, LadderSettings
    from media.clock import ShowClock
    from media.diagnosis.findings import Findings
    from media.ladder import Ladder
    from media.packager import Packager
    from media.run import Run
    from media.timeline import Repair

LOOK = TICKS_PER_SECOND
RECONNECTS_KEPT = 1000


class Health:
    """Feeds a show's findings. Times are show ticks; all methods run on the event loop."""

    def __init__(
        self,
        *,
        findings: Findings,
        clock: ShowClock,
        hls: HlsSettings,
        settings: LadderSettings,
        ladder: Ladder,
        packager: Packager,
    ) -> None:
        self._diagnosis = Diagnosis(findings, RULES)
        self._clock = clock
        self._segment_s = hls.segment_ms / 1000
        self._longest_s = safe_segment(hls.segment_ms) / TICKS_PER_SECOND
        self._passthrough_wanted = settings.passthrough
        self._ladder = ladder
        self._packager = packager
        self._due = 0
        self._repairs: Counter[str] = Counter()
        self._began: deque[int] = deque(maxlen=RECONNECTS_KEPT)
        self._contested: deque[int] = deque(maxlen=RECONNECTS_KEPT)
        self._refused: deque[int] = deque(maxlen=RECONNECTS_KEPT)
        self._runs = 0
        self._dropped = 0
        self._damaged = 0
        self._restarts = 0

    def began(self, now: int, *, contested: bool = False) -> None:
        """Note that a publisher came; all but the first are reconnects.

        `contested`: it took the show from one that was still sending.
        """
        self._runs += 1
        if self._runs > 1:
            (self._contested if contested else self._began).append(now)

    def rival_refused(self, now: int) -> None:
        """Note that an encoder was refused that fought with the one on air."""
        self._refused.append(now)

    def left(self) -> None:
        """Note that the publisher is gone."""
        self._repairs.clear()
        self._diagnosis.publisher_left()

    def repaired(self, reason: Repair) -> None:
        """Count a repaired timestamp."""
        self._repairs[reason.value] += 1

    def look(self, now: int, run: Run | None) -> None:
        """Judge the last second, once a second."""
        if now < self._due:
            return
        self._due = now + LOOK
        self._diagnosis.look(self._measure(now, run))

    def _measure(self, now: int, run: Run | None) -> Measurements:
        oldest = now - RECONNECT_MINUTES * 60 * TICKS_PER_SECOND
        for moments in (self._began, self._contested, self._refused):
            while moments and moments[0] < oldest:
                moments.popleft()
        formats = run.formats if run is not None else {}
        timeline = run.timeline if run is not None else None
        strain = self._ladder.encoders.strain
        repairs, self._repairs = self._repairs, Counter()
        video = formats.get(Kind.VIDEO)
        measured = Measurements(
            now_ms=self._clock.utc_ms(now),
            segment_s=self._segment_s,
            longest_s=self._longest_s,
            video=video,
            audio=formats.get(Kind.AUDIO),
            passthrough_wanted=self._passthrough_wanted and (video is None or fits_hls(video)),
            passthrough=self._packager.passthrough,
            long_gop=self._packager.long_gop,
            rungs=self._ladder.rungs,
            lead_s=timeline.lead / TICKS_PER_SECOND if timeline is not None else 0.0,
            repairs=repairs,
            drift_ppm=timeline.drift_ppm if timeline is not None else None,
            tracks_apart=timeline is not None and timeline.tracks_apart,
            relief=strain.relief,
            pictures_dropped=strain.dropped - self._dropped,
            pictures_damaged=strain.damaged - self._damaged,
            worker_restarts=self._ladder.restarts - self._restarts,
            reconnects=len(self._began),
            takeovers=len(self._contested),
            rivals_refused=len(self._refused),
            observed=run.observer.look(now) if run is not None else None,
            protocol=run.protocol if run is not None else "",
        )
        self._dropped, self._damaged = strain.dropped, strain.damaged
        self._restarts = self._ladder.restarts
        return measured
