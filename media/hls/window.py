"""The live window of one rendition: what is listed, and the bytes that stay fetchable."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from media.hls import rules
from media.model import TICKS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

INIT_TYPE = "video/mp4"
SEGMENT_TYPE = "video/iso.segment"
LONGEST_HOLE = TICKS_PER_SECOND
"""A segment that misses more in a row is listed as EXT-X-GAP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A complete response body, immutable under its name."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRef:
    """Names a part: media sequence number and index in that segment."""

    msn: int
    part: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """A media initialization section; `number` counts them."""

    number: int
    name: str
    resource: Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A published part. `start` and `end` are declared ticks, `line` its EXT-X-PART tag."""

    name: str
    start: int
    end: int
    gap: bool
    independent: bool
    body: bytes
    line: str


@dataclass(slots=True, kw_only=True)
class Segment:
    """A segment, open until `closed`; times are declared ticks, `shift` to presentation."""

    msn: int
    name: str
    discontinuity: bool
    init: Init
    start: int
    shift: int = 0
    end: int = 0
    parts: list[Part] = field(default_factory=list)
    independent: bool = True
    has_media: bool = False
    hole: int = 0
    """Ticks missing in a row up to here."""
    longest_hole: int = 0
    closed: bool = False
    size: int = 0
    text: str = ""
    """Tags before the first part, EXT-X-MAP excepted; set with the first part."""
    _resource: Resource | None = None

    @property
    def gap(self) -> bool:
        """EXT-X-GAP: what is at the segment's URI is not worth loading (4.4.4.7).

        Also where it lacks more than a second in a row: players that load it whole take its
        EXTINF for what they got, and stand still in the hole.
        """
        return not self.has_media or self.longest_hole > LONGEST_HOLE

    def add(self, part: Part, *, decodable: bool) -> None:
        """Append a part; `decodable`: it starts with a key frame."""
        if not part.gap:
            if not self.has_media:
                self.independent = decodable
            self.has_media = True
            self.size += len(part.body)
            self.hole = 0
        else:
            self.hole += part.end - part.start
            self.longest_hole = max(self.longest_hole, self.hole)
        self.parts.append(part)
        self.end = part.end

    def resource(self) -> Resource | None:
        """The segment's bytes: its parts, joined once."""
        if self._resource is None and self.closed and self.has_media:
            body = b"".join([part.body for part in self.parts])
            self._resource = Resource(body=body, content_type=SEGMENT_TYPE)
        return self._resource


class Window:
    """Listed and retired segments, and the index of their names."""

    def __init__(self, *, segments: int, target_s: int) -> None:
        """`segments`: closed segments listed; `target_s`: TARGETDURATION in seconds."""
        self._count = segments
        self._target_s = target_s
        self._ticks = target_s * 90_000
        self.discontinuity_sequence = 0
        """EXT-X-DISCONTINUITY-SEQUENCE: discontinuities before the first listed segment."""
        self.listed: deque[Segment] = deque()
        self._retired: deque[Segment] = deque()
        self._with_parts: deque[Segment] = deque()
        self._resources: dict[str, Resource | Segment] = {}
        self._edge = 0
        self._longest = 0

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.listed)

    @property
    def last(self) -> Segment | None:
        """The newest segment, usually the open one."""
        return self.listed[-1] if self.listed else None

    @property
    def last_closed_msn(self) -> int | None:
        """MSN of the last whole Media Segment, one before the first while there is none."""
        last = self.last
        if last is None:
            return None
        return last.msn if last.closed else last.msn - 1

    @property
    def last_part(self) -> PartRef | None:
        """The newest published part."""
        for segment in reversed(self.listed):
            if segment.parts:
                return PartRef(msn=segment.msn, part=len(segment.parts) - 1)
        return None

    def segment(self, msn: int) -> Segment | None:
        """Return a listed segment."""
        if not self.listed:
            return None
        index = msn - self.listed[0].msn
        return self.listed[index] if 0 <= index < len(self.listed) else None

    def add_init(self, init: Init) -> None:
        """Make an initialization section fetchable."""
        self._resources[init.name] = init.resource

    def drop_init(self, init: Init) -> None:
        """Forget an initialization section that no segment needs."""
        self._resources.pop(init.name, None)

    def replace_init(self, segment: Segment, init: Init) -> None:
        """Let the open segment, still empty, begin with another initialization section."""
        if len(self.listed) > 1 and self.listed[-2].init is not segment.init:
            self.drop_init(segment.init)
        segment.init = init

    def open(self, segment: Segment, *, discontinuities_before: int) -> None:
        """Append an open segment; a list that begins with it counts from the show's number."""
        if not self.listed:
            self.discontinuity_sequence = discontinuities_before
        self.listed.append(segment)
        self._with_parts.append(segment)
        self._resources[segment.name] = segment

    def add_part(self, part: Part, *, decodable: bool) -> None:
        """Append a part to the open segment; `decodable`: it starts with a key frame."""
        self.listed[-1].add(part, decodable=decodable)
        self._edge = part.end
        if not part.gap:
            self._resources[part.name] = Resource(body=part.body, content_type=SEGMENT_TYPE)

    def close(self, end: int) -> None:
        """Complete the open segment, and let go of what became too old."""
        segment = self.listed[-1]
        segment.end = end
        segment.closed = True
        self._edge = end
        self._retire()
        self._drop_parts()
        self._drop_segments()

    def drop_empty(self) -> None:
        """Take back a last segment that never got a part: the list ends before it."""
        if self.listed and not self.listed[-1].closed and not self.listed[-1].parts:
            segment = self.listed.pop()
            self._with_parts.remove(segment)
            self._resources.pop(segment.name, None)

    def restart(self) -> None:
        """Unlist everything; it stays fetchable for as long as the rules say."""
        while self.listed:
            self.listed[-1].closed = True
            self._unlist()

    def resource(self, name: str) -> Resource | None:
        """Return ready bytes, None for what is unknown, gone or not complete."""
        found = self._resources.get(name)
        return found.resource() if isinstance(found, Segment) else found

    def has(self, name: str) -> bool:
        """Whether `name` is in use."""
        return name in self._resources

    def _retire(self) -> None:
        """Keep `segments` listed, and never less than three target durations (6.2.2)."""
        while len(self.listed) > self._count:
            long_enough = self._edge - self.listed[1].start >= 3 * self._ticks
            if not long_enough and len(self.listed) <= 4 * self._count:
                return
            self._unlist()

    def _unlist(self) -> None:
        self._longest = max(self._longest, self._edge - self.listed[0].start)
        segment = self.listed.popleft()
        self.discontinuity_sequence += segment.discontinuity
        self._retired.append(segment)

    def _drop_parts(self) -> None:
        oldest = rules.parts_kept_from(self._edge, self._target_s)
        while self._with_parts and self._with_parts[0].start < oldest:
            segment = self._with_parts.popleft()
            segment.resource()
            for part in segment.parts:
                self._resources.pop(part.name, None)
            segment.parts.clear()

    def _drop_segments(self) -> None:
        while self._retired:
            segment = self._retired[0]
            kept = rules.removed_segment_kept_for(segment.end - segment.start, self._longest)
            # It left the list when the list began where the first listed segment begins.
            listed_until = segment.end + self._longest
            if self._edge < listed_until + kept:
                return
            self._retired.popleft()
            self._resources.pop(segment.name, None)
            following = self._retired[0] if self._retired else self.listed[0]
            if following.init is not segment.init:
                self.drop_init(segment.init)
