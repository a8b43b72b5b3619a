"""Reads playlists for the linter; an own reading of rfc8216bis 4, shared with no writer.

Bounded: at most `MAX_LINES` lines of at most `MAX_LINE` characters are looked at. Nothing here
raises for what a server sends: what cannot be read is in `problems`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

MAX_LINES = 50_000
MAX_LINE = 65_536

_ATTRIBUTE = re.compile(r'\s*([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s][^,]*)(?:,|$)')
_MEDIA_TAGS = frozenset(
    [
        "TARGETDURATION",
        "MEDIA-SEQUENCE",
        "DISCONTINUITY-SEQUENCE",
        "ENDLIST",
        "PLAYLIST-TYPE",
        "PART-INF",
        "SERVER-CONTROL",
        "I-FRAMES-ONLY",
        "DISCONTINUITY",
        "MAP",
        "PROGRAM-DATE-TIME",
        "GAP",
        "PART",
        "DATERANGE",
        "SKIP",
        "PRELOAD-HINT",
        "RENDITION-REPORT",
        "BITRATE",
        "BYTERANGE",
        "KEY",
    ]
)
_MULTIVARIANT_TAGS = frozenset(
    ["MEDIA", "STREAM-INF", "I-FRAME-STREAM-INF", "SESSION-DATA", "SESSION-KEY", "CONTENT-STEERING"]
)
_ONCE = frozenset(
    [
        "VERSION",
        "TARGETDURATION",
        "MEDIA-SEQUENCE",
        "DISCONTINUITY-SEQUENCE",
        "ENDLIST",
        "PLAYLIST-TYPE",
        "PART-INF",
        "SERVER-CONTROL",
        "SKIP",
        "INDEPENDENT-SEGMENTS",
    ]
)
_BEFORE_PARTS = frozenset({"DISCONTINUITY", "MAP", "KEY", "PROGRAM-DATE-TIME"})

Problem = tuple[str, str]
"""Clause and sentence."""


class Attributes(dict[str, str]):
    """An attribute list: values as written, quotes included."""

    def text(self, name: str) -> str | None:
        """Return a quoted-string without its quotes, None where it is missing or unquoted."""
        value = self.get(name)
        if value is None or len(value) < 2 or value[0] != '"':
            return None
        return value[1:-1]

    def number(self, name: str) -> float | None:
        """Return a decimal number, None where it is missing or none."""
        return to_float(self.get(name, ""))


@dataclass(slots=True, kw_only=True)
class PartTag:
    """An EXT-X-PART."""

    uri: str
    duration: float
    independent: bool
    gap: bool


@dataclass(slots=True, kw_only=True)
class SegmentTags:
    """A segment; `duration` and `uri` are None while only its parts are listed."""

    msn: int
    duration: float | None = None
    uri: str | None = None
    parts: list[PartTag] = field(default_factory=list)
    gap: bool = False
    discontinuity: bool = False
    pdt: str | None = None
    pdt_ms: float | None = None
    map_uri: str | None = None
    """In effect for this segment."""

    @property
    def length(self) -> float:
        """Seconds listed of it."""
        return self.duration if self.duration is not None else self.parts_length

    @property
    def parts_length(self) -> float:
        """Sum of its PART durations."""
        return sum(part.duration for part in self.parts)


@dataclass(slots=True, kw_only=True)
class Variant:
    """An EXT-X-STREAM-INF with its URI."""

    attributes: Attributes
    uri: str | None


@dataclass(slots=True, kw_only=True)
class Document:
    """A playlist as read."""

    version: int | None = None
    tags: set[str] = field(default_factory=set)
    target: float | None = None
    part_target: float | None = None
    control: Attributes | None = None
    first_msn: int = 0
    discontinuity_sequence: int | None = None
    playlist_type: str | None = None
    skipped: int | None = None
    segments: list[SegmentTags] = field(default_factory=list)
    hints: list[Attributes] = field(default_factory=list)
    reports: list[Attributes] = field(default_factory=list)
    date_ranges: list[Attributes] = field(default_factory=list)
    media: list[Attributes] = field(default_factory=list)
    variants: list[Variant] = field(default_factory=list)
    session_data: list[Attributes] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_multivariant(self) -> bool:
        """Whether it has multivariant tags."""
        return bool(self.variants or self.media)

    @property
    def ended(self) -> bool:
        """EXT-X-ENDLIST."""
        return "ENDLIST" in self.tags

    @property
    def complete(self) -> list[SegmentTags]:
        """Segments with EXTINF and URI."""
        return [segment for segment in self.segments if segment.uri is not None]


def to_float(text: str) -> float | None:
    """Read a decimal-floating-point (4.2), None where it is none."""
    return float(text) if re.fullmatch(r"-?\d{1,15}(\.\d{0,15})?", text, re.ASCII) else None


def to_ms(text: str) -> float | None:
    """Read an ISO 8601 date and time with zone into milliseconds, None where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return moment.timestamp() * 1000


def parse_attributes(text: str, problems: list[Problem]) -> Attributes:
    """Read an attribute list (4.2)."""
    found = Attributes()
    at = 0
    while at < len(text):
        match = _ATTRIBUTE.match(text, at)
        if match is None:
            problems.append(("4.2", f"The attribute list {text[:80]!r} is malformed."))
            break
        if match[1] in found:
            problems.append(("4.2", f"The attribute {match[1]} stands twice in one tag."))
        found[match[1]] = match[2]
        at = match.end()
    return found


def parse(text: str) -> Document:
    """Read a playlist."""
    return _Reader(text).document


class _Reader:
    """Goes through the lines once."""

    def __init__(self, text: str) -> None:
        self.document = Document()
        self._segment: SegmentTags | None = None
        self._map: str | None = None
        self._msn = 0
        self._variant: Attributes | None = None
        lines = text.replace("\r\n", "\n").split("\n")
        if lines[0] != "#EXTM3U":
            self._problem("4.4.1.1", "The playlist does not begin with #EXTM3U.")
        if len(lines) > MAX_LINES:
            self._problem("4.1", f"The playlist has more than {MAX_LINES} lines.")
        for line in lines[1:MAX_LINES]:
            if len(line) > MAX_LINE:
                self._problem("4.1", f"A line has more than {MAX_LINE} characters.")
            elif line.startswith("#EXTINF:"):
                self._extinf(line[8:])
            elif line.startswith("#EXT-X-"):
                name, _, value = line[7:].partition(":")
                self._tag(name, value)
            elif line.strip() and not line.startswith("#"):
                self._uri(line)
        if self._segment is not None and (self._segment.parts or self._segment.discontinuity):
            self.document.segments.append(self._segment)
        doc = self.document
        if doc.tags & _MULTIVARIANT_TAGS and doc.tags & _MEDIA_TAGS:
            self._problem("4.4.6", "Multivariant and media tags stand in one playlist.")

    def _problem(self, clause: str, sentence: str) -> None:
        self.document.problems.append((clause, sentence))

    def _open(self) -> SegmentTags:
        if self._segment is None:
            self._segment = SegmentTags(msn=self._msn, map_uri=self._map)
        return self._segment

    def _extinf(self, value: str) -> None:
        duration = to_float(value.partition(",")[0])
        if duration is None or duration < 0:
            self._problem("4.4.4.1", f"EXTINF has no duration: {value[:40]!r}.")
            duration = 0.0
        self._open().duration = duration

    def _uri(self, line: str) -> None:
        if self._variant is not None:
            self.document.variants.append(Variant(attributes=self._variant, uri=line))
            self._variant = None
            return
        segment = self._open()
        if segment.duration is None:
            self._problem("4.4.4.1", f"The segment {line[:80]} has no EXTINF.")
            segment.duration = segment.parts_length
        segment.uri = line
        self.document.segments.append(segment)
        self._segment = None
        self._msn += 1

    def _tag(self, name: str, value: str) -> None:
        doc = self.document
        if name in _ONCE and name in doc.tags:
            self._problem("4.4", f"EXT-X-{name} stands twice.")
        doc.tags.add(name)
        if name in _BEFORE_PARTS and self._segment is not None and self._segment.parts:
            self._problem("4.4.4.9", f"EXT-X-{name} stands after the first PART of its segment.")
        match name:
            case "VERSION":
                doc.version = self._whole(name, value)
            case "TARGETDURATION":
                doc.target = self._whole(name, value)
            case "MEDIA-SEQUENCE":
                if doc.segments or self._segment is not None:
                    self._problem("4.4.3.2", "EXT-X-MEDIA-SEQUENCE stands after a segment.")
                self._msn = doc.first_msn = self._whole(name, value) or 0
            case "DISCONTINUITY-SEQUENCE":
                if doc.segments or self._segment is not None:
                    self._problem("4.4.3.3", "EXT-X-DISCONTINUITY-SEQUENCE stands too late.")
                doc.discontinuity_sequence = self._whole(name, value)
            case "PLAYLIST-TYPE":
                doc.playlist_type = value
            case "DISCONTINUITY":
                self._open().discontinuity = True
            case "GAP":
                self._open().gap = True
            case "PROGRAM-DATE-TIME":
                segment = self._open()
                segment.pdt, segment.pdt_ms = value, to_ms(value)
                if segment.pdt_ms is None:
                    self._problem("4.4.4.6", f"{value[:60]!r} is no date and time with a zone.")
            case _:
                self._attribute_tag(name, value)

    def _attribute_tag(self, name: str, value: str) -> None:
        doc = self.document
        if name not in _MEDIA_TAGS | _MULTIVARIANT_TAGS or name in {"ENDLIST", "I-FRAMES-ONLY"}:
            return
        if name in {"BITRATE", "BYTERANGE"}:
            return
        found = parse_attributes(value, doc.problems)
        match name:
            case "PART-INF":
                doc.part_target = found.number("PART-TARGET")
            case "SERVER-CONTROL":
                doc.control = found
            case "MAP":
                self._map = found.text("URI")
                self._open().map_uri = self._map
                if not self._map:
                    self._problem("4.4.4.5", "EXT-X-MAP has no URI.")
            case "PART":
                self._part(found)
            case "DATERANGE":
                doc.date_ranges.append(found)
            case "SKIP":
                skipped = found.number("SKIPPED-SEGMENTS")
                doc.skipped = int(skipped or 0)
                self._msn += doc.skipped
                if skipped is None:
                    self._problem("4.4.5.2", "EXT-X-SKIP has no SKIPPED-SEGMENTS.")
            case "PRELOAD-HINT":
                doc.hints.append(found)
            case "RENDITION-REPORT":
                doc.reports.append(found)
            case "MEDIA":
                doc.media.append(found)
            case "STREAM-INF":
                self._variant = found
            case "SESSION-DATA":
                doc.session_data.append(found)

    def _part(self, found: Attributes) -> None:
        uri, duration = found.text("URI"), found.number("DURATION")
        if not uri or duration is None or duration < 0:
            self._problem("4.4.4.9", "EXT-X-PART needs a URI and a DURATION.")
        self._open().parts.append(
            PartTag(
                uri=uri or "",
                duration=duration or 0.0,
                independent=found.get("INDEPENDENT") == "YES",
                gap=found.get("GAP") == "YES",
            )
        )

    def _whole(self, name: str, value: str) -> int | None:
        if value.isascii() and value.isdigit() and len(value) <= 20:
            return int(value)
        self._problem("4.2", f"EXT-X-{name} is no decimal-integer: {value[:40]!r}.")
        return None
