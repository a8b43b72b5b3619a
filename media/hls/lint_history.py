"""What the linter says of one media playlist over time (rfc8216bis 6.2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from media.hls.lint_rules import EPSILON, Finding, Findings, error, warning
from media.hls.lint_tags import to_ms

if TYPE_CHECKING:
    from media.hls.lint_tags import Document, SegmentTags

_MAX_KNOWN = 4096


class PlaylistHistory:
    """What a media playlist has promised so far. Bounded: `_MAX_KNOWN` segments and URIs."""

    def __init__(self) -> None:
        self.last: Document | None = None
        self._fetched_at = 0.0
        self._changed_at = 0.0
        self._segments: OrderedDict[int, SegmentTags] = OrderedDict()
        self._uris: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._ranges: OrderedDict[str, dict[str, str]] = OrderedDict()

    def observe(self, doc: Document, fetched_at: float) -> list[Finding]:
        """Compare `doc`, fetched at `fetched_at` seconds, with what came before."""
        found = list(self._segments_agree(doc))
        last = self.last
        if last is not None:
            found += self._constants(last, doc)
            found += self._sequence(last, doc)
            found += self._window(last, doc)
            found += self._hint_was_true(last, doc)
            found += self._ranges_stay(last, doc)
            found += self._moves_on(last, doc, fetched_at)
        if last is None or _position(doc) != _position(last):
            self._changed_at = fetched_at
        self._fetched_at = fetched_at
        self._remember(doc)
        self.last = doc
        return found

    def _constants(self, last: Document, doc: Document) -> Findings:
        """TARGETDURATION, PART-TARGET and SERVER-CONTROL never change (4.4.3, 6.2.1)."""
        if doc.target != last.target:
            yield error("4.4.3.1", f"TARGETDURATION went from {last.target} to {doc.target}.")
        if doc.part_target != last.part_target and not doc.ended:
            yield error(
                "4.4.3.7", f"PART-TARGET went from {last.part_target} to {doc.part_target}."
            )
        if doc.control != last.control and not doc.ended:
            yield error("4.4.3.8", "EXT-X-SERVER-CONTROL changed.")
        if last.ended and not doc.ended:
            yield error("4.4.3.4", "EXT-X-ENDLIST went away.")

    def _sequence(self, last: Document, doc: Document) -> Findings:
        """Sequence numbers grow with what rolls off the list (4.4.3.2, 4.4.3.3, 6.2.2)."""
        if doc.first_msn < last.first_msn:
            yield error(
                "6.2.2", f"MEDIA-SEQUENCE went back from {last.first_msn} to {doc.first_msn}."
            )
            return
        if _position(doc) < _position(last):
            yield error("6.2.1", f"The list went back from {_position(last)} to {_position(doc)}.")
        if doc.discontinuity_sequence is None or last.discontinuity_sequence is None:
            return
        gone = [self._segments.get(msn) for msn in range(last.first_msn, doc.first_msn)]
        if len(gone) > _MAX_KNOWN or None in gone:
            return
        rolled = sum(1 for segment in gone if segment is not None and segment.discontinuity)
        expected = last.discontinuity_sequence + rolled
        if doc.discontinuity_sequence != expected:
            yield error(
                "6.2.2",
                f"DISCONTINUITY-SEQUENCE is {doc.discontinuity_sequence}, but "
                f"{expected} after what rolled off.",
            )

    def _window(self, last: Document, doc: Document) -> Findings:
        """A list keeps three target durations where segments are removed (6.2.2).

        One that only began may be shorter, whatever the number of its first segment.
        """
        removed = doc.first_msn > last.first_msn
        if not removed or doc.ended or doc.skipped is not None or doc.target is None:
            return
        length = sum(segment.length for segment in doc.segments)
        if length < 3 * doc.target - EPSILON:
            yield error(
                "6.2.2", f"The live window of {length:.1f} s is under three target durations."
            )

    def _segments_agree(self, doc: Document) -> Findings:
        """What was listed never changes, and a URI names one thing for ever (6.2.1)."""
        for segment in doc.segments:
            known = self._segments.get(segment.msn)
            if known is not None:
                yield from _same_segment(known, segment)
            for index, uri in enumerate([segment.uri, *(part.uri for part in segment.parts)]):
                if not uri:
                    continue
                place = (segment.msn, index)
                if self._uris.setdefault(uri, place) != place:
                    yield error("6.2.1", f"The URI {uri} was used before for something else.")

    def _hint_was_true(self, last: Document, doc: Document) -> Findings:
        """The hinted URI is the one later used (4.4.5.3)."""
        hints = [hint.text("URI") for hint in last.hints if hint.get("TYPE") == "PART"]
        new = [
            part.uri
            for segment in doc.segments
            for index, part in enumerate(segment.parts)
            if (segment.msn, index) > _position(last)
        ]
        start = doc.segments[0].msn if doc.segments else 0
        complete_view = start <= _position(last)[0]
        if hints and new and complete_view and hints[0] not in new[:1]:
            listed = any(s.parts for s in doc.segments if s.msn == _position(last)[0])
            if listed:
                yield error("4.4.5.3", f"After the hint {hints[0]} the next part was {new[0]}.")

    def _ranges_stay(self, last: Document, doc: Document) -> Findings:
        """A date range keeps its attributes, and stays while it maps to a segment (6.2.1)."""
        present = set()
        for found in doc.date_ranges:
            name = found.text("ID") or ""
            present.add(name)
            before = self._ranges.get(name, {})
            for key, value in before.items():
                if found.get(key, value) != value:
                    yield error("4.4.5.1", f"{key} of date range {name} changed.")
        if doc.control is not None and doc.control.get("CAN-SKIP-DATERANGES") == "YES":
            return
        first = next((s.pdt_ms for s in doc.segments if s.pdt_ms is not None), None)
        if first is None or doc.skipped is not None:
            return
        for found in last.date_ranges:
            name = found.text("ID") or ""
            end = to_ms(found.text("END-DATE") or "")
            start, length = to_ms(found.text("START-DATE") or ""), found.number("DURATION")
            if end is None and start is not None and length is not None:
                end = start + length * 1000
            if name not in present and end is not None and end > first + 1:
                yield error("6.2.1", f"Date range {name} went while its segments are listed.")

    def _moves_on(self, last: Document, doc: Document, fetched_at: float) -> Findings:
        """New media comes in time: 1.5 target durations, with parts one PART-TARGET (6.2.1)."""
        if doc.ended or _position(doc) != _position(last) or doc.target is None:
            return
        still = fetched_at - self._changed_at
        if still > 1.5 * doc.target:
            yield error("6.2.1", f"Nothing new was listed for {still:.1f} s.")
        elif doc.part_target and still > 3 * doc.part_target + 0.2:
            yield warning("6.2.1", f"No new part was listed for {still:.1f} s.")

    def _remember(self, doc: Document) -> None:
        for segment in doc.segments:
            known = self._segments.get(segment.msn)
            if known is not None and len(known.parts) > len(segment.parts):
                segment.parts = known.parts
            self._segments[segment.msn] = segment
        for found in doc.date_ranges:
            self._ranges.setdefault(found.text("ID") or "", {}).update(found)
        for store in (self._segments, self._ranges):
            while len(store) > _MAX_KNOWN:
                store.popitem(last=False)
        while len(self._uris) > 16 * _MAX_KNOWN:
            self._uris.popitem(last=False)

    def segment(self, msn: int) -> SegmentTags | None:
        """Return what is known of a segment."""
        return self._segments.get(msn)

    def lookup(self, uri: str) -> tuple[int, int] | None:
        """Return (msn, 0) for a segment's URI, (msn, index + 1) for a part's."""
        return self._uris.get(uri)


def _position(doc: Document) -> tuple[int, int]:
    """MSN and index of the last part, or of the last segment with index -1."""
    for segment in reversed(doc.segments):
        if segment.parts:
            return segment.msn, len(segment.parts) - 1
        if segment.uri is not None:
            return segment.msn, -1
    return doc.first_msn - 1, -1


def _same_segment(known: SegmentTags, now: SegmentTags) -> Findings:
    where = f"of segment {now.msn} changed after it was listed."
    if known.uri is not None and now.uri is not None:
        if known.uri != now.uri:
            yield error("6.2.1", f"The URI {where}")
        if abs((known.duration or 0) - (now.duration or 0)) > EPSILON:
            yield error("6.2.1", f"The EXTINF {where}")
        if known.gap != now.gap:
            yield error("6.2.1", f"The GAP tag {where}")
    if known.pdt_ms != now.pdt_ms and None not in (known.pdt_ms, now.pdt_ms):
        yield error("6.2.1", f"The date {where}")
    if known.discontinuity != now.discontinuity:
        yield error("6.2.1", f"The DISCONTINUITY tag {where}")
    for index, (before, after) in enumerate(zip(known.parts, now.parts, strict=False)):
        if (before.uri, before.duration) != (after.uri, after.duration):
            yield error("6.2.1", f"Part {index} {where}")
