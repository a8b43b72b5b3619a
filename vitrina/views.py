"""Streams as delivery sees them (`delivery.seams`)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from delivery.seams import NotLive, SourceUnavailable
from media.hls.multivariant import RenditionInfo, render_multivariant
from media.model import Kind, Role
from media.standby.source import SourceRefused
from media.stream import OpenRefused, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from media.diagnosis.findings import Finding
    from media.hls.rendition import Rendition
    from media.model import TrackFormat
    from media.registry import Registry
    from media.show import Show
    from media.standby.source import SourceView
    from media.stream import Stream
    from media.tracks.further import TrackView

READY_WAIT_S = 6.0
"""How long a first viewer is held while the ladder comes up."""
CACHE_S = 1.0
"""Bit rates in the multivariant playlist follow the measurement this often."""
HEADROOM = 1.2
"""BANDWIDTH is an upper bound (4.4.6.2), and later segments may be larger than those measured."""
_IDLE = {
    State.IDLE: "The stream has not started yet.",
    State.ENDED: "The show is over.",
}


class Directory:
    """All streams (`delivery.seams.Directory`)."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._views: dict[str, View] = {}

    def get(self, name: str) -> View | None:
        """Return one by its playback name."""
        stream = self._registry.get(name)
        if stream is None:
            self._views.pop(name, None)
            return None
        view = self._views.get(name)
        if view is None or view.stream is not stream:
            view = self._views[name] = View(stream)
        return view

    def all(self) -> list[View]:
        """Return every stream, by name."""
        views = (self.get(stream.name) for stream in self._registry.all())
        return [view for view in views if view is not None]


class View:
    """One stream (`delivery.seams.StreamView`)."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._multivariant: tuple[Show, int, float, bytes] | None = None

    @property
    def name(self) -> str:
        """Playback name."""
        return self.stream.name

    @property
    def state(self) -> str:
        """`idle`, `live`, `reconnecting` or `ended`."""
        return self.stream.state.value

    async def multivariant(self) -> bytes:
        """Return the multivariant playlist, held until the ladder is known."""
        show = self.stream.show
        if show is None or (not show.on_air and self.stream.state is State.IDLE):
            raise NotLive(_IDLE.get(self.stream.state, "The stream is not live."))
        await show.lineup.wait_ready(READY_WAIT_S)
        listed = show.lineup.offers()
        if not listed:
            raise NotLive("The encoder has connected, but no picture or sound has arrived yet.")
        now = time.monotonic()
        cached = self._multivariant
        if cached and cached[0] is show and cached[1] == len(listed) and now < cached[2] + CACHE_S:
            return cached[3]
        chapters = f"/live/{self.name}/chapters.json"
        body = render_multivariant([_info(r, f, show) for r, f in listed], chapters_uri=chapters)
        self._multivariant = (show, len(listed), now, body)
        return body

    def open_ahead(self) -> None:
        """Start a show with its slate; raises `delivery.seams.SourceUnavailable`."""
        try:
            self.stream.open_ahead()
        except OpenRefused as err:
            raise SourceUnavailable(str(err)) from None

    def end(self) -> None:
        """End the show now."""
        self.stream.end("The show was ended by its producer.")

    def choose_source(self, role: str) -> None:
        """Put an encoder on air; raises `delivery.seams.SourceUnavailable`."""
        try:
            self.stream.switcher.choose(None if role == "auto" else Role(role))
        except SourceRefused as err:
            raise SourceUnavailable(str(err)) from None

    def yield_to_next(self, role: str) -> None:
        """Let the next encoder of a role take over from the one on air, for good."""
        self.stream.yield_to_next(Role(role))

    def rendition(self, name: str) -> Rendition | None:
        """Return one rendition of the current show."""
        show = self.stream.show
        return show.lineup.get(name) if show is not None else None

    def summary(self) -> Mapping[str, object]:
        """Return what `GET /api/v1/streams/S` answers, without viewers."""
        show = self.stream.show
        tracks = show.tracks() if show is not None else []
        return {
            "name": self.name,
            "state": self.state,
            "on_air": show.feeder if show is not None else None,
            "protocol": self.stream.protocol,
            "bitrate_bps": sum(track.bitrate_bps for track in tracks),
            "tracks": [_track(track) for track in tracks],
            "findings": self.findings(),
            "sources": [_source(each) for each in self.stream.switcher.views()],
            "source": chosen.value if (chosen := self.stream.switcher.chosen) else "auto",
            "renditions": [_rendition(r, show) for r in show.lineup.listed()] if show else [],
        }

    def findings(self) -> list[Mapping[str, object]]:
        """Return open findings, oldest first, then those that were closed, newest first."""
        show = self.stream.show
        if show is None:
            return []
        return [_finding(f) for f in (*show.findings.open(), *show.findings.closed())]


def _finding(finding: Finding) -> Mapping[str, object]:
    until = finding.until_ms
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "text": finding.text,
        "since": _time(finding.since_ms),
        "until": None if until is None else _time(until),
    }


def _time(utc_ms: int) -> str:
    moment = datetime.fromtimestamp(utc_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _source(source: SourceView) -> dict[str, object]:
    return {
        "role": source.role.value,
        "protocol": source.protocol,
        "state": source.state.value,
        "health": source.health,
        "bitrate_bps": source.bitrate_bps,
        "since": _time(source.since_ms),
    }


def _info(rendition: Rendition, track_format: TrackFormat, show: Show) -> RenditionInfo:
    peak, average = rendition.bandwidth()
    return RenditionInfo(
        name=rendition.name,
        format=track_format,
        peak_bps=round(peak * HEADROOM),
        average_bps=average,
        frame_rate=show.frame_rate if rendition.kind is Kind.VIDEO else None,
        language=show.language_of(rendition.name) if rendition.kind is Kind.AUDIO else None,
    )


def _track(track: TrackView) -> dict[str, object]:
    track_format = track.format
    entry: dict[str, object] = {
        "track": track.number,
        "kind": track_format.kind.value,
        "codec": track_format.codec.value,
        "codec_string": track_format.codec_string,
        "bitrate_bps": track.bitrate_bps,
        "used_as": track.used_as,
    }
    if track_format.kind is Kind.VIDEO:
        entry |= {"width": track_format.width, "height": track_format.height}
    else:
        entry |= {
            "sample_rate": track_format.sample_rate,
            "channels": track_format.channels,
            "language": track.language,
        }
    return entry


def _rendition(rendition: Rendition, show: Show) -> dict[str, object]:
    peak, average = rendition.bandwidth()
    track_format = rendition.format
    assert track_format is not None
    return {
        "name": rendition.name,
        "codec_string": track_format.codec_string,
        "width": track_format.width,
        "height": track_format.height,
        "peak_bps": peak,
        "average_bps": average,
        "speed": show.speeds.get(rendition.name),
    }
