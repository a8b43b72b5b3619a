"""What streams need from the process: clocks, cues, workers, background tasks."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from media.slate.desk import recipe_for
from media.transcode.process import Transcoder
from media.transcode.slates import FilmCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings
    from media.clock import ShowClock
    from media.hls.seams import TimedMetadata
    from media.ladder import Encoders
    from media.meter import MediaMeter
    from media.show import Show
    from media.tap import PacketTap
    from media.transcode.sink import RungSink
    from vitrina.supervise import Supervisor

RUN_ID_BYTES = 4


class ProcessHost:
    """Implements `media.stream.Host` in the server process."""

    def __init__(
        self,
        *,
        settings: Settings,
        meter: MediaMeter,
        supervisor: Supervisor,
        metadata: Callable[[str, ShowClock], TimedMetadata],
        tap: Callable[[str], PacketTap],
    ) -> None:
        self.settings = settings
        self.meter = meter
        self._supervisor = supervisor
        self._metadata = metadata
        self._tap = tap
        self._films = FilmCache()

    def now_ns(self) -> int:
        """Read the monotonic clock."""
        return time.monotonic_ns()

    def utc_ms(self) -> int:
        """Read the wall clock."""
        return time.time_ns() // 1_000_000

    def new_run_id(self) -> str:
        """Return eight random hex digits: names of media never repeat over restarts."""
        return secrets.token_hex(RUN_ID_BYTES)

    def metadata(self, stream: str, clock: ShowClock) -> TimedMetadata:
        """Open the cues of a new show."""
        return self._metadata(stream, clock)

    def encoders(self, stream: str, sink: RungSink) -> Encoders:
        """Make the supervisor of a show's worker; nothing starts yet."""
        recipe = recipe_for(self.settings, stream)
        return Transcoder(
            stream=stream,
            settings=self.settings.ladder,
            limits=self.settings.limits,
            sink=sink,
            meter=self.meter,
            slate=self.settings.slate,
            slate_image=recipe.image if recipe is not None else None,
            films=self._films,
        )

    def tap(self, stream: str) -> PacketTap:
        """Return who listens to the source of a stream."""
        return self._tap(stream)

    def start(self, show: Show) -> None:
        """Run the show; when it fails it is started again with the same playlists."""
        self._supervisor.spawn(f"show:{show.stream}", show.run, restart=True)
