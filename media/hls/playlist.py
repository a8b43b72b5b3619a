"""Writes media playlists (draft-pantos-hls-rfc8216bis 4.4.3 to 4.4.5); sans-IO."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.hls import rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from media.hls.window import PartRef, Segment, Window

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_GZIP_LEVEL = 4


class Rendered:
    """One rendering of a playlist, shared by everyone who asked for that state."""

    __slots__ = ("_gzip", "body", "etag")

    def __init__(self, body: bytes, etag: str) -> None:
        """`etag` is a strong entity tag with its quotes (RFC 9110 8.8.3)."""
        self.body = body
        self.etag = etag
        self._gzip: bytes | None = None

    @property
    def gzip_body(self) -> bytes:
        """The body, compressed once."""
        if self._gzip is None:
            self._gzip = gzip.compress(self.body, compresslevel=_GZIP_LEVEL, mtime=0)
        return self._gzip


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where another rendition stands (EXT-X-RENDITION-REPORT)."""

    name: str
    last: PartRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Names of what comes next (EXT-X-PRELOAD-HINT); `init` only where it will be new."""

    part: str
    init: str | None = None


class PlaylistWriter:
    """Renders the playlists of one rendition; what is constant is formatted once."""

    def __init__(self, *, target_s: int, part_target_ms: int, part_hold_back: float) -> None:
        """Take TARGETDURATION, PART-TARGET and PART-HOLD-BACK as a multiple of it."""
        self._target_s = target_s
        hold_back = rules.part_hold_back_s(part_target_ms, part_hold_back)
        self._control = (
            f"#EXT-X-TARGETDURATION:{target_s}\n"
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES"
            f",PART-HOLD-BACK={rules.decimal(hold_back)}"
            f",HOLD-BACK={rules.decimal(rules.hold_back_s(target_s))}"
            f",CAN-SKIP-UNTIL={rules.decimal(rules.can_skip_until_s(target_s))}\n"
            f"#EXT-X-PART-INF:PART-TARGET={rules.decimal(part_target_ms / 1000)}\n"
        )

    def skippable(self, window: Window) -> int:
        """Count the segments that a delta update may leave out."""
        end = max((segment.end for segment in window if segment.closed), default=0)
        boundary = rules.skip_boundary(end, self._target_s)
        count = 0
        for segment in window:
            if not segment.closed or segment.end > boundary:
                break
            count += 1
        return count

    def render(
        self,
        window: Window,
        *,
        edge: int,
        date_ranges: Sequence[str],
        reports: Sequence[Report],
        hints: Hints | None,
        skip: int,
    ) -> bytes:
        """Write the playlist; `skip` segments are left out, `hints` None means ENDLIST."""
        version = rules.VERSION_DELTA if skip else rules.VERSION_FULL
        out = [f"#EXTM3U\n#EXT-X-VERSION:{version}\n"]
        if all_independent(window):
            out.append("#EXT-X-INDEPENDENT-SEGMENTS\n")
        out.append(self._control)
        out.append(
            f"#EXT-X-MEDIA-SEQUENCE:{window.listed[0].msn}\n"
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{window.discontinuity_sequence}\n"
        )
        out += [f"{line}\n" for line in date_ranges]
        if skip:
            out.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skip}\n")
        parts_from = rules.parts_listed_from(edge, self._target_s)
        init = None
        for index, segment in enumerate(window):
            if index >= skip and (segment.closed or segment.parts):
                new_map = segment.discontinuity or init is not segment.init
                _segment(out, segment, new_map=new_map, parts=segment.start >= parts_from)
            init = segment.init
        _tail(out, reports, hints)
        return "".join(out).encode()


def all_independent(window: Window) -> bool:
    """EXT-X-INDEPENDENT-SEGMENTS: every listed segment starts with a key frame (4.3.5.1)."""
    return all(segment.independent for segment in window if segment.has_media)


def part_line(
    *, name: str, start: int, end: int, independent: bool = False, gap: bool = False
) -> str:
    """Write an EXT-X-PART tag (4.4.4.9)."""
    flags = ",INDEPENDENT=YES" if independent else ",GAP=YES" if gap else ""
    return f'#EXT-X-PART:DURATION={rules.seconds(end - start)},URI="{name}"{flags}\n'


def _segment(out: list[str], segment: Segment, *, new_map: bool, parts: bool) -> None:
    """Write a segment; what applies to it stands before its first PART (4.4.4.9)."""
    if segment.discontinuity:
        out.append("#EXT-X-DISCONTINUITY\n")
    if new_map:
        out.append(f'#EXT-X-MAP:URI="{segment.init.name}"\n')
    out.append(segment.text)
    if parts or not segment.closed:
        out += [part.line for part in segment.parts]
    if segment.closed:
        gap = "#EXT-X-GAP\n" if segment.gap else ""
        duration = rules.seconds(segment.end - segment.start)
        out.append(f"{gap}#EXTINF:{duration},\n{segment.name}\n")


def _tail(out: list[str], reports: Sequence[Report], hints: Hints | None) -> None:
    if hints is None:
        out.append("#EXT-X-ENDLIST\n")
        return
    if hints.init is not None:
        out.append(f'#EXT-X-PRELOAD-HINT:TYPE=MAP,URI="{hints.init}"\n')
    out.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{hints.part}"\n')
    out += [
        f'#EXT-X-RENDITION-REPORT:URI="../{report.name}/index.m3u8"'
        f",LAST-MSN={report.last.msn},LAST-PART={report.last.part}\n"
        for report in reports
    ]
