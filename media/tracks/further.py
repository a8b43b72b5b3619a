"""An encoder's tracks beside its main ones: pictures (`pictures.py`), sound (`sounds.py`).

In this module what is the same for both: which encoder sends what, and what the API shows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.lineup import AUDIO, SOURCE
from media.model import Codec, Kind, Packet, TrackFormat
from media.tracks.pictures import PictureTracks
from media.tracks.sounds import SoundTracks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from media.diagnosis.findings import Findings
    from media.grid import SegmentGrid
    from media.lineup import Lineup
    from media.meter import MediaMeter
    from media.realtime_source import RealtimeSource
    from media.run import Run
    from media.settling import TrackChange


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackView:
    """One of the encoder's tracks, as the API shows it."""

    number: int
    """Within its kind; 0 is the main one."""
    format: TrackFormat
    bitrate_bps: int
    language: str | None
    """BCP 47; None for pictures, and where nobody told it."""
    used_as: str | None
    """Rendition that it feeds; None where it is only encoded again, or not used."""


class FurtherTracks:
    """The further tracks of whoever publishes a show. All methods run on the event loop.

    `multitrack`: offer pictures as rungs; `languages`: of the audio tracks (BCP 47), where the
    encoder does not tell them; `on_air`: whether the encoder is; `now_ms`: UTC of the show clock;
    `realtime`: where pictures go beside their renditions.
    """

    def __init__(
        self,
        *,
        stream: str,
        multitrack: bool,
        languages: Sequence[str],
        grid: SegmentGrid,
        lineup: Lineup,
        findings: Findings,
        meter: MediaMeter,
        on_air: Callable[[], bool],
        now_ms: Callable[[], int],
        realtime: RealtimeSource,
    ) -> None:
        self._lineup = lineup
        self.pictures = PictureTracks(
            stream=stream,
            enabled=multitrack,
            grid=grid,
            lineup=lineup,
            findings=findings,
            meter=meter,
            on_air=on_air,
            now_ms=now_ms,
            realtime=realtime,
        )
        self.sounds = SoundTracks(
            stream=stream,
            configured=languages,
            lineup=lineup,
            findings=findings,
            on_air=on_air,
            now_ms=now_ms,
        )

    def begin(self) -> None:
        """Forget the run before."""
        self.pictures.begin()
        self.sounds.begin()

    def change(self, run: Run, change: TrackChange) -> None:
        """Note that a track was announced, changed or ended."""
        place = (change.kind, change.track)
        tracks = self._of(change.kind)
        if change.format is None:
            run.further.pop(place, None)
            tracks.drop(change.track)
        else:
            run.further[place] = change.format
            tracks.set_format(change.track, change.format)

    def push(self, run: Run, packet: Packet) -> None:
        """Take an access unit on the show clock."""
        run.mapped_further(packet)
        self._of(packet.kind).push(packet)

    def claim(self, run: Run, *, passthrough: bool) -> None:
        """Tell renditions made of tracks as they came what the encoder is set to.

        `passthrough`: the main pictures are the source rung.
        """
        if not run.declared:
            return
        for track in self.views(run, passthrough=passthrough):
            coded = track.format.kind is Kind.AUDIO and track.format.codec is not Codec.AAC
            bps = run.declared.get((track.format.kind, track.number))
            rendition = self._lineup.get(track.used_as) if track.used_as is not None else None
            if bps and rendition is not None and not coded:
                rendition.claim(bps)

    def _of(self, kind: Kind) -> PictureTracks | SoundTracks:
        return self.pictures if kind is Kind.VIDEO else self.sounds

    def views(self, run: Run, *, passthrough: bool) -> list[TrackView]:
        """Return all tracks of a run: pictures first, by their numbers.

        `passthrough`: the main pictures are the source rung.
        """
        main = {Kind.VIDEO: SOURCE if passthrough else None, Kind.AUDIO: AUDIO}
        found = []
        for kind in Kind:
            if kind in run.formats:
                found.append(self._view(run, kind, 0, run.formats[kind], main[kind]))
            for place in sorted(run.further):
                if place[0] is kind:
                    name = self._of(kind).used_as(place[1])
                    found.append(self._view(run, kind, place[1], run.further[place], name))
        return found

    def _view(
        self, run: Run, kind: Kind, number: int, track_format: TrackFormat, name: str | None
    ) -> TrackView:
        return TrackView(
            number=number,
            format=track_format,
            bitrate_bps=run.bitrates_by_track.get((kind, number), 0),
            language=self.sounds.language(number) if kind is Kind.AUDIO else None,
            used_as=name,
        )
