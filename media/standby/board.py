"""What is known of a stream's encoders from outside: the state of each, and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from media.model import Role
from media.standby.source import SourceState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from media.standby.source import Source, SourceView


class Board:
    """Remembers the encoders of a show, those too that left."""

    def __init__(self) -> None:
        self._views: dict[Role, SourceView] = {}

    def __bool__(self) -> bool:
        return bool(self._views)

    def clear(self) -> None:
        """Forget every encoder: the show is over."""
        self._views = {}

    def views(self) -> list[SourceView]:
        """Return the encoders, the primary first, as they were when last noted."""
        return [self._views[role] for role in Role if role in self._views]

    def note(
        self, sources: Mapping[Role, Source], on_air: Source | None, *, now_ns: int, now_ms: int
    ) -> None:
        """Take note of who is connected; `now_ns` monotonic, `now_ms` UTC of the show clock."""
        for role in Role:
            source, known = sources.get(role), self._views.get(role)
            if source is not None:
                state = _state(source, on_air, now_ns)
                kept = known is not None and known.state is state
                since_ms = known.since_ms if known is not None and kept else now_ms
                self._views[role] = source.view(state, since_ms)
            elif known is not None and known.state is not SourceState.FAILED:
                self._views[role] = replace(
                    known,
                    state=SourceState.FAILED,
                    health=0.0,
                    bitrate_bps=0,
                    since_ms=now_ms,
                )


def _state(source: Source, on_air: Source | None, now_ns: int) -> SourceState:
    if source is on_air:
        return SourceState.ON_AIR
    return SourceState.FAILED if source.vitals.silent(now_ns) else SourceState.STANDBY
