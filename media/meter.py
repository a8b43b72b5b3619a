"""What the media packages report; `vitrina.telemetry` turns it into metrics."""

from __future__ import annotations

from typing import Protocol


class MediaMeter(Protocol):
    """Receives measurements. Every method is cheap, never blocks and never raises."""

    def media_in(self, stream: str, protocol: str, kind: str, frames: int, size: int) -> None:
        """`frames` access units of `kind`, `size` bytes in all, entered the stream."""

    def repaired(self, stream: str, reason: str, count: int = 1) -> None:
        """Count source timestamps repaired for `reason`."""

    def keyframe_interval(self, stream: str, seconds: float) -> None:
        """Time between the last two key frames of the source video."""

    def av_offset(self, stream: str, seconds: float) -> None:
        """Newest audio minus newest video on the show clock, in seconds."""

    def part_published(
        self, stream: str, rendition: str, jitter_s: float, latencies_s: list[float]
    ) -> None:
        """Note a part that became servable.

        `jitter_s`: deviation of the publish interval from the previous part's duration;
        `latencies_s`: for each access unit in the part, arrival to servable.
        """

    def gap(self, stream: str, rendition: str) -> None:
        """Count a segment listed as EXT-X-GAP."""

    def discontinuity(self, stream: str) -> None:
        """EXT-X-DISCONTINUITY was placed in every rendition."""

    def playlist_held(self, seconds: float) -> None:
        """Note how long a blocking playlist or part request waited."""

    def rung(
        self, stream: str, rung: str, *, frames: int, speed: float, queue_age_s: float
    ) -> None:
        """Report one rung's encoder.

        Frames since the last report, ratio of media time to busy time, and age of the oldest
        frame waiting for it.
        """

    def dropped(self, stream: str, place: str, count: int) -> None:
        """Count pictures given up: `pipe` to the worker, `decoder` (damaged), `rung` queue."""

    def worker_restarted(self, stream: str, reason: str) -> None:
        """Count a new start of the transcode worker because of `reason`."""

    def slate(self, stream: str, seconds: float) -> None:
        """Count time for which viewers saw the slate."""

    def pressure(self, stream: str, step: int) -> None:
        """Set the step of the ladder's pressure rule; 0 is full quality."""

    def switched(self, stream: str, reason: str) -> None:
        """Count a switch to the stream's other encoder, made because of `reason`."""

    def taken_over(self, stream: str, role: str) -> None:
        """Count a takeover: a newer encoder came while the one of its role was sending well."""

    def source(self, stream: str, role: str, *, health: float, on_air: bool) -> None:
        """Report one encoder's health, 0 to 1, and whether it feeds the show."""

    def finding(self, stream: str, code: str, change: str) -> None:
        """Note that a finding was `opened`, `updated` or `closed`."""

    def forget(self, stream: str) -> None:
        """Drop the series of a stream that is gone."""


class NoMeter:
    """A `MediaMeter` that measures nothing, for tests and tools."""

    def __getattr__(self, name: str) -> object:
        return _ignore


def _ignore(*_args: object, **_kwargs: object) -> None:
    return None
