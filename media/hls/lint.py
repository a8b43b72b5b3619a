"""The rule checker behind `vitrina lint`: fed with what a player fetched, it says what is wrong.

Sans-IO. It reads the draft on its own and shares no code with the playlist writer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from media.hls.lint_history import PlaylistHistory
from media.hls.lint_http import check_media_answer, check_playlist_answer
from media.hls.lint_multivariant import check_multivariant
from media.hls.lint_rules import Finding, Findings, Severity, check_document, error
from media.hls.lint_tags import Document, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Finding", "PlaylistLinter", "Severity"]

_MAX_FINDINGS = 1000
_MAX_RESOURCES = 65_536
_OK = 200


class PlaylistLinter:
    """Collects findings over successive observations of one stream.

    Feed it with the multivariant playlist first, then with media playlists and media in the
    order of fetching; URLs are absolute and without delivery directives or with them.
    """

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str, str], Finding] = {}
        self._counts: dict[tuple[str, str, str], int] = {}
        self._histories: dict[str, PlaylistHistory] = {}
        self._sizes: dict[str, int] = {}
        self._bandwidth: dict[str, float] = {}
        self._expected: set[str] = set()

    @property
    def findings(self) -> list[Finding]:
        """Everything found so far, errors first, each sentence once."""
        return sorted(self._findings.values(), key=lambda item: item.severity is Severity.WARNING)

    def times(self, finding: Finding) -> int:
        """How often a finding was made."""
        return self._counts.get((finding.url, finding.clause, finding.sentence), 0)

    def playlists(self, url: str, text: str) -> list[str]:
        """Return the URLs of the media playlists that a multivariant playlist names."""
        doc = parse(text)
        uris = [media.text("URI") for media in doc.media]
        uris += [variant.uri for variant in doc.variants]
        return list(dict.fromkeys(urljoin(url, uri) for uri in uris if uri))

    def observe_playlist(
        self,
        url: str,
        *,
        fetched_at: float,
        status: int,
        headers: Mapping[str, str],
        text: str,
        asked_gzip: bool = True,
    ) -> list[Finding]:
        """Check a fetched playlist of either kind; returns what is new.

        `fetched_at`: seconds on any steady clock; `text`: the decoded body.
        """
        parts = urlsplit(url)
        base = parts._replace(query="", fragment="").geturl()
        lower = {name.lower(): value for name, value in headers.items()}
        doc = parse(text) if status == _OK else None
        history = self._histories.get(base)
        known = history.last if history else None
        target = doc.target if doc else known.target if known else None
        found = list(
            check_playlist_answer(
                status,
                lower,
                target=target,
                blocking="_HLS_msn=" in parts.query,
                asked_gzip=asked_gzip,
            )
        )
        if doc is None:
            found.append(error("6.2", f"A playlist request was answered with status {status}."))
        elif doc.is_multivariant:
            found += check_multivariant(doc)
            self._learn_variants(base, doc)
        else:
            found += check_document(doc)
            history = self._histories.setdefault(base, PlaylistHistory())
            found += history.observe(doc, fetched_at)
            found += self._reports(base, doc)
        return self._add(base, found)

    def observe_resource(
        self, url: str, *, status: int, headers: Mapping[str, str], size: int
    ) -> list[Finding]:
        """Check a fetched init segment, segment or part of `size` bytes; returns what is new."""
        lower = {name.lower(): value for name, value in headers.items()}
        home, place, target = self._place(url)
        found = list(check_media_answer(status, lower, target=target, size=size))
        if status != _OK:
            if status >= 400 and home is not None and not self._is_gap(home, place):
                found.append(error("6.2.1", f"{_name(url)} is listed but answers {status}."))
            return self._add(home or url, found)
        if len(self._sizes) < _MAX_RESOURCES and self._sizes.setdefault(url, size) != size:
            found.append(error("6.2.1", f"{_name(url)} changed its size under one name."))
        if home is not None and place is not None:
            found += self._sum_of_parts(home, place[0])
            if place[1] == 0:
                found += self._bit_rate(home, place[0], size)
        return self._add(home or url, found)

    def finish(self) -> list[Finding]:
        """Compare the renditions with each other; returns what is new."""
        last = {url: history.last for url, history in self._histories.items()}
        docs = {url: doc for url, doc in last.items() if doc is not None}
        if not docs:
            return []
        first_url, first = next(iter(docs.items()))
        new = []
        for url, doc in docs.items():
            new += self._add(url, list(_alike(first, doc, _name(first_url))))
        return new

    def _learn_variants(self, base: str, doc: Document) -> None:
        for media in doc.media:
            if uri := media.text("URI"):
                self._expected.add(urljoin(base, uri))
        for variant in doc.variants:
            url = urljoin(base, variant.uri or "")
            self._expected.add(url)
            self._bandwidth[url] = variant.attributes.number("BANDWIDTH") or 0

    def _reports(self, base: str, doc: Document) -> Findings:
        """Every other media playlist is reported on, with MSN and part (4.4.5.4, 6.2.2)."""
        if doc.ended or doc.part_target is None:
            return
        reported = set()
        for report in doc.reports:
            uri = report.text("URI")
            if not uri or urlsplit(uri).scheme or uri.startswith("/"):
                yield error("4.4.5.4", f"The rendition report for {uri!r} is not relative.")
                continue
            reported.add(urljoin(base, uri))
            if report.number("LAST-MSN") is None or report.number("LAST-PART") is None:
                yield error("4.4.5.4", f"The report for {uri} lacks LAST-MSN or LAST-PART.")
        for url in sorted(self._expected - reported - {base}):
            ended = (history := self._histories.get(url)) and history.last and history.last.ended
            if not ended:
                yield error("6.2.2", f"There is no rendition report for {_name(url)}.")

    def _place(self, url: str) -> tuple[str | None, tuple[int, int] | None, float | None]:
        """Find the playlist that lists `url`, where, and its target duration."""
        for base, history in self._histories.items():
            relative = _relative(base, url)
            place = history.lookup(relative) or history.lookup(url)
            target = history.last.target if history.last else None
            if place is not None:
                return base, place, target
            last = history.last
            if last is not None and any(
                segment.map_uri and urljoin(base, segment.map_uri) == url
                for segment in last.segments
            ):
                return base, None, target
        return None, None, None

    def _is_gap(self, base: str, place: tuple[int, int] | None) -> bool:
        if place is None:
            return False
        segment = self._histories[base].segment(place[0])
        if segment is None:
            return True  # rolled off: it may be gone
        index = place[1] - 1
        return segment.gap if index < 0 else segment.parts[index].gap

    def _sum_of_parts(self, base: str, msn: int) -> Findings:
        """A segment is the concatenation of its parts (4.4.4.9)."""
        segment = self._histories[base].segment(msn)
        if segment is None or segment.uri is None or not segment.parts:
            return
        whole = self._sizes.get(urljoin(base, segment.uri))
        sizes = [self._sizes.get(urljoin(base, part.uri)) for part in segment.parts if not part.gap]
        known = [size for size in sizes if size is not None]
        if whole is None or len(known) != len(sizes):
            return
        if sum(known) != whole:
            yield error("4.4.4.9", f"Segment {msn} has {whole} bytes, its parts have {sum(known)}.")

    def _bit_rate(self, base: str, msn: int, size: int) -> Findings:
        """BANDWIDTH is the upper bound of the segments' bit rates (4.4.6.2)."""
        segment = self._histories[base].segment(msn)
        limit = self._bandwidth.get(base)
        if segment is None or not limit or not segment.duration or segment.duration < 0.5:
            return
        rate = size * 8 / segment.duration
        if rate > 1.1 * limit:
            yield error(
                "4.4.6.2",
                f"Segment {msn} has {rate / 1000:.0f} kb/s, BANDWIDTH says {limit / 1000:.0f}.",
            )

    def _add(self, url: str, found: list[Finding]) -> list[Finding]:
        new = []
        for finding in found:
            key = (url, finding.clause, finding.sentence)
            if key not in self._findings and len(self._findings) < _MAX_FINDINGS:
                self._findings[key] = replace(finding, url=url)
                new.append(self._findings[key])
            if key in self._findings:
                self._counts[key] = self._counts.get(key, 0) + 1
        return new


def _alike(first: Document, doc: Document, name: str) -> Findings:
    """What all renditions share (6.2.4)."""
    if doc.target != first.target:
        yield error("6.2.4", f"TARGETDURATION is {doc.target}, that of {name} {first.target}.")
    if doc.part_target != first.part_target:
        yield error("6.2.4", f"PART-TARGET is {doc.part_target}, that of {name} not.")
    if doc.control != first.control:
        yield error("6.2.4", f"EXT-X-SERVER-CONTROL differs from that of {name}.")
    if ("PROGRAM-DATE-TIME" in doc.tags) != ("PROGRAM-DATE-TIME" in first.tags):
        yield error("6.2.4", f"Only one of this playlist and {name} has program date-time.")
    edges = [_edge_ms(doc), _edge_ms(first)]
    if None not in edges and abs((edges[0] or 0) - (edges[1] or 0)) > 1500 * (doc.target or 2):
        yield error("6.2.4", f"The end of the playlist is far from that of {name}.")


def _edge_ms(doc: Document) -> float | None:
    for segment in reversed(doc.segments):
        if segment.pdt_ms is not None:
            return segment.pdt_ms + segment.length * 1000
    return None


def _relative(base: str, url: str) -> str:
    folder = base.rsplit("/", 1)[0] + "/"
    return url[len(folder) :] if url.startswith(folder) else url


def _name(url: str) -> str:
    return "/".join(urlsplit(url).path.split("/")[-2:])
