"""One rendition of a stream: packets in, playlists and ready bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.hls import rules
from media.hls.blocking import (
    PlaylistRequestError,
    check_directives,
    is_satisfied,
    refuse_too_far,
)
from media.hls.playlist import PlaylistWriter, Rendered, Report
from media.hls.publisher import Publisher
from media.hls.segmenter import Segmenter
from media.hls.waiters import Waiters
from media.hls.window import PartRef, Resource, Window
from media.model import TICKS_PER_SECOND, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from config.settings import HlsSettings
    from media.hls.seams import Grid, ProgramClock, TimedMetadata
    from media.meter import MediaMeter
    from media.model import Packet, TrackFormat


class Rendition:
    """A media playlist with its init segments, segments and parts.

    Used from one event loop. Nothing is rendered before someone asks, and one rendering serves
    everyone who asks for the same state.
    """

    def __init__(
        self,
        *,
        stream: str,
        name: str,
        kind: Kind,
        settings: HlsSettings,
        clock: ProgramClock,
        grid: Grid,
        metadata: TimedMetadata,
        run_id: str,
        meter: MediaMeter,
        now_ns: Callable[[], int],
    ) -> None:
        """`run_id` makes names unique over restarts (letters, digits, `_`).

        `now_ns` is the monotonic clock of `Packet.arrived_ns`.
        """
        self.name = name
        self.kind = kind
        self._run_id = run_id
        self._settings = settings
        self._clock = clock
        self._metadata = metadata
        self._meter = meter
        self._now_ns = now_ns
        self._part_ns = settings.part_target_ms * 1_000_000
        self._target_s = rules.target_duration_s(settings.segment_ms)
        self._writer = PlaylistWriter(
            target_s=self._target_s,
            part_target_ms=settings.part_target_ms,
            part_hold_back=settings.part_hold_back,
        )
        self._window = Window(
            segments=settings.window_segments,
            target_s=self._target_s,
        )
        self._publisher = Publisher(
            stream=stream,
            name=name,
            kind=kind,
            run_id=run_id,
            window=self._window,
            clock=clock,
            metadata=metadata,
            meter=meter,
            now_ns=now_ns,
        )
        self._segmenter = Segmenter(
            kind=kind,
            grid=grid,
            target=rules.part_target(settings.part_target_ms),
            limit=rules.longest_segment(self._target_s),
            longest_gap=settings.window_segments * self._target_s * TICKS_PER_SECOND,
            sink=self._publisher,
        )
        self._siblings: Callable[[], Iterable[Rendition]] = tuple
        self._playlist_waiters: Waiters[tuple[int | None, int | None]] = Waiters()
        self._resource_waiters: Waiters[str] = Waiters()
        self._pushed_ns = 0
        self._revision_seen: int | None = None
        self._cache: dict[int, Rendered] = {}
        self._cache_key = (-1, -1)
        self.ended = False

    @property
    def format(self) -> TrackFormat | None:
        """The newest format, None before the first."""
        return self._publisher.format

    @property
    def format_pending(self) -> bool:
        """Whether the newest format counts only from the next segment on."""
        return self._publisher.format_pending

    @property
    def dropped(self) -> int:
        """Packets that found no place in the list."""
        return self._segmenter.dropped

    @property
    def edge(self) -> int | None:
        """Presentation end of the last published part, in ticks; None before the first."""
        return None if self._window.last_part is None else self._edge()

    @property
    def foreseen(self) -> int:
        """How much of what lies before `edge` was foreseen: the newest unit may end earlier."""
        return self._segmenter.foreseen

    @property
    def next_part(self) -> tuple[int, int, int] | None:
        """MSN, index and presentation start of the part being collected."""
        last = self._window.last
        if last is None or self.ended:
            return None
        boundary = self._segmenter.next_starts_segment()
        msn, part = (boundary.msn, 0) if boundary else (last.msn, len(last.parts))
        return msn, part, self._edge()

    def set_siblings(self, siblings: Callable[[], Iterable[Rendition]]) -> None:
        """Give access to the stream's renditions, for EXT-X-RENDITION-REPORT."""
        self._siblings = siblings

    def set_format(self, fmt: TrackFormat, *, declared_bps: int = 0) -> None:
        """Announce a format; its init segment counts from the next segment that gets a packet.

        `declared_bps`: what our own encoder never exceeds. Raises `ValueError` for a format
        that ISO BMFF has no sample entry for.
        """
        self._publisher.set_format(fmt, declared_bps)
        if not self._segmenter.collecting:
            self._publisher.take_format()
        self._segmenter.set_format(fmt)

    def claim(self, bps: int) -> None:
        """Note the bit rate that the publisher's encoder declares for what it sends."""
        self._publisher.bit_rate.claim(bps)

    def push(self, packet: Packet) -> None:
        """Add an access unit on the show clock, `dts` growing; cuts parts and segments."""
        if self.ended or self.format is None:
            return
        self._pushed_ns = self._now_ns()
        version = self._publisher.version
        self._segmenter.push(packet)
        if self._publisher.version != version:
            self._announce(version)

    def fill_gap(self, until: int) -> None:
        """List the time up to `until` (presentation ticks) as missing.

        Call it only for time that will not be delivered any more: what comes for it later is
        dropped, and video goes on at the next key frame.
        """
        if self.ended:
            return
        version = self._publisher.version
        self._segmenter.fill_gap(until)
        self._announce(version)

    def flush_due(self, now_ticks: int) -> None:
        """Publish the open part when nothing came for a PART-TARGET.

        `now_ticks`: the show clock's present; a part that reaches into the future waits.
        """
        silent = self._now_ns() - self._pushed_ns >= self._part_ns
        if self.ended or not silent or now_ticks < self._edge():
            return
        version = self._publisher.version
        self._segmenter.flush()
        self._announce(version)

    def end(self) -> None:
        """Close the open part and segment and end the playlist. Idempotent."""
        if self.ended:
            return
        self._segmenter.end()
        self._window.drop_empty()
        self.ended = True
        self._publisher.version += 1
        self._playlist_waiters.release(lambda _key: True)
        self._resource_waiters.release(lambda _key: True)

    def part_at(self, ticks: int) -> PartRef | None:
        """Return the first published or open part whose interval holds presentation `ticks`.

        None before the listed parts, and beyond the open part's longest extent.
        """
        for segment in self._window:
            at = ticks - segment.shift
            if not segment.start <= at < segment.end:
                continue
            for index, listed in enumerate(segment.parts):
                if listed.start <= at < listed.end:
                    return PartRef(msn=segment.msn, part=index)
        following = self.next_part
        if following is None:
            return None
        msn, part, start = following
        target = rules.part_target(self._settings.part_target_ms)
        return PartRef(msn=msn, part=part) if start <= ticks < start + target else None

    def bandwidth(self) -> tuple[int, int]:
        """Peak and average bits per second: measured, and declared as far as that is plausible."""
        return self._publisher.bandwidth()

    def resource(self, name: str) -> Resource | None:
        """Return an init segment, segment or part that is complete."""
        return self._window.resource(name)

    async def wait_resource(self, name: str) -> Resource | None:
        """Return a resource, holding the request for the hinted part; else None at once."""
        ready = self._window.resource(name)
        if ready is not None or self.ended or name != self._publisher.hinted:
            return ready
        began = self._now_ns()
        await self._resource_waiters.wait(name, self._settings.block_timeout_s)
        self._meter.playlist_held((self._now_ns() - began) / 1e9)
        return self._window.resource(name)

    async def playlist(
        self, *, msn: int | None = None, part: int | None = None, skip: bool = False
    ) -> Rendered:
        """Return the playlist that holds segment `msn`, or its part `part`, waiting for it.

        Raises `PlaylistRequestError`: 400 for directives that make no sense or run too far
        ahead, 503 when the wait takes too long (6.2.5.2), 404 when it ended without media.
        """
        if not self.ended:
            check_directives(msn, part)
            await self._hold(msn, part)
        if self._window.last_part is None:
            raise PlaylistRequestError(404, f"Rendition {self.name} ended without media.")
        return self._render(skip=skip)

    async def _hold(self, msn: int | None, part: int | None) -> None:
        """Wait until the playlist answers the directives."""
        began: int | None = None
        limit_s = self._settings.block_timeout_s
        if self._window.last_part is None and msn is not None:
            # Nothing tells yet whether the number makes sense.
            began = self._now_ns()
            await self._wait((None, None), limit_s)
        if msn is not None:
            refuse_too_far(
                self._window,
                msn,
                part,
                part_target_ms=self._settings.part_target_ms,
                last=self._window.last_part,
            )
        if not self.ended and not is_satisfied(self._window, msn, part):
            now = self._now_ns()
            began = now if began is None else began
            await self._wait((msn, part), limit_s - (now - began) / 1e9)
        if began is not None:
            self._meter.playlist_held((self._now_ns() - began) / 1e9)

    async def _wait(self, key: tuple[int | None, int | None], timeout_s: float) -> None:
        began = self._now_ns()
        if await self._playlist_waiters.wait(key, timeout_s):
            return
        self._meter.playlist_held((self._now_ns() - began) / 1e9)
        raise PlaylistRequestError(
            503, f"Rendition {self.name} has no new media for {self._settings.block_timeout_s:g} s."
        )

    def _announce(self, version: int) -> None:
        """Name the next part and let go of those who waited for this state."""
        if self._publisher.version == version:
            return
        self._publisher.hint(self._segmenter.next_starts_segment())
        hinted = self._publisher.hinted
        self._resource_waiters.release(lambda name: name != hinted)
        window = self._window
        self._playlist_waiters.release(lambda key: is_satisfied(window, *key))
        self._note_revision(self._metadata.revision)

    def _note_revision(self, revision: int) -> None:
        if revision != self._revision_seen:
            self._revision_seen = revision
            self._metadata.rendered(self.name, revision)

    def _render(self, *, skip: bool) -> Rendered:
        revision = self._metadata.revision
        key = (self._publisher.version, revision)
        if key != self._cache_key:
            self._cache.clear()
            self._cache_key = key
        edge = self._segmenter.edge
        skippable = self._writer.skippable(self._window) if skip else 0
        skipped = skippable if rules.skip_allowed(skippable, ended=self.ended) else 0
        rendered = self._cache.get(skipped)
        if rendered is None:
            first = self._window.listed[0]
            start_ms = self._clock.utc_ms(first.start + first.shift)
            boundary = self._segmenter.next_starts_segment()
            body = self._writer.render(
                self._window,
                edge=edge,
                date_ranges=self._metadata.date_ranges(start_ms, self._clock.utc_ms(self._edge())),
                reports=self._reports(),
                hints=None if self.ended else self._publisher.hints(boundary),
                skip=skipped,
            )
            etag = f'"{self._run_id}.{self.name}.{key[0]}.{revision}.{skipped}"'
            rendered = self._cache[skipped] = Rendered(body, etag)
            self._note_revision(revision)
        return rendered

    def _reports(self) -> list[Report]:
        """Every other rendition's last part (4.4.5.4)."""
        reports = []
        for other in self._siblings():
            last = other.last_part if other is not self else None
            if last is not None and not other.ended:
                reports.append(Report(name=other.name, last=last))
        return reports

    @property
    def last_part(self) -> PartRef | None:
        """The newest published part."""
        return self._window.last_part

    def _edge(self) -> int:
        return self._segmenter.edge + self._segmenter.shift
