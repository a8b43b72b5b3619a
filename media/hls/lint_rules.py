"""What the linter says of a single playlist (rfc8216bis and, marked so, Apple's authoring rules).

Every rule is a generator of findings over a `Document`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from media.hls.lint_tags import to_ms

if TYPE_CHECKING:
    from media.hls.lint_tags import Attributes, Document

EPSILON = 0.0006
"""Durations are printed with few decimals: half a millisecond is no difference."""


class Severity(StrEnum):
    """`error`: a MUST is broken; `warning`: a SHOULD, or a rule of Apple's guide."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken rule."""

    severity: Severity
    clause: str
    sentence: str
    url: str = ""


Findings = Iterator[Finding]


def error(clause: str, sentence: str) -> Finding:
    """Make an error."""
    return Finding(severity=Severity.ERROR, clause=clause, sentence=sentence)


def warning(clause: str, sentence: str) -> Finding:
    """Make a warning."""
    return Finding(severity=Severity.WARNING, clause=clause, sentence=sentence)


def version(doc: Document) -> Findings:
    """EXT-X-VERSION is at least what the tags need, and should not be more (4.4.1.2, 8)."""
    need = 3 if any((s.duration or 0) % 1 for s in doc.segments) else 1
    if "MAP" in doc.tags:
        need = 6
    if "SKIP" in doc.tags:
        need = 9
    if doc.control is not None and doc.control.get("CAN-SKIP-DATERANGES") == "YES":
        need = max(need, 10) if "SKIP" in doc.tags else need
    stated = doc.version or 1
    if stated < need:
        yield error("8", f"EXT-X-VERSION is {stated}, the tags need {need}.")
    elif stated > max(need, 6):
        yield warning("8", f"EXT-X-VERSION is {stated}, {need} would do.")


def target_duration(doc: Document) -> Findings:
    """TARGETDURATION is there and no EXTINF rounds above it (4.4.3.1)."""
    if doc.target is None:
        yield error("4.4.3.1", "EXT-X-TARGETDURATION is missing.")
        return
    for segment in doc.complete:
        assert segment.duration is not None
        if int(segment.duration + 0.5) > doc.target:
            yield error(
                "4.4.3.1",
                f"Segment {segment.msn} lasts {segment.duration:.3f} s, which rounds above "
                f"TARGETDURATION {doc.target:g}.",
            )


def server_control(doc: Document) -> Findings:
    """SERVER-CONTROL attributes have their least values (4.4.3.8)."""
    control = doc.control
    if control is None:
        if doc.part_target is not None:
            yield error("4.4.3.8", "A playlist with parts needs EXT-X-SERVER-CONTROL.")
        return
    target = doc.target or 0
    hold_back = control.number("HOLD-BACK")
    if hold_back is not None and hold_back < 3 * target - EPSILON:
        yield error("4.4.3.8", f"HOLD-BACK {hold_back:g} is under three target durations.")
    skip = control.number("CAN-SKIP-UNTIL")
    if skip is not None and skip < 6 * target - EPSILON:
        yield error("4.4.3.8", f"CAN-SKIP-UNTIL {skip:g} is under six target durations.")
    if "CAN-SKIP-DATERANGES" in control and skip is None:
        yield error("4.4.3.8", "CAN-SKIP-DATERANGES needs CAN-SKIP-UNTIL.")
    yield from _part_hold_back(doc, control)


def _part_hold_back(doc: Document, control: Attributes) -> Findings:
    if doc.part_target is None:
        return
    part_hold_back = control.number("PART-HOLD-BACK")
    if part_hold_back is None:
        yield error("4.4.3.8", "A playlist with parts needs PART-HOLD-BACK.")
    elif part_hold_back < 2 * doc.part_target - EPSILON:
        yield error("4.4.3.8", f"PART-HOLD-BACK {part_hold_back:g} is under two PART-TARGETs.")
    elif part_hold_back < 3 * doc.part_target - EPSILON:
        yield warning("4.4.3.8", f"PART-HOLD-BACK {part_hold_back:g} is under three PART-TARGETs.")
    if control.get("CAN-BLOCK-RELOAD") != "YES":
        yield warning("4.4.3.8", "Parts without CAN-BLOCK-RELOAD=YES make clients poll.")


def part_durations(doc: Document) -> Findings:
    """A part is at most PART-TARGET, and with exceptions at least 85 % of it (4.4.4.9)."""
    if any(segment.parts for segment in doc.segments) and not doc.part_target:
        yield error("4.4.3.7", "EXT-X-PART needs EXT-X-PART-INF with PART-TARGET.")
    target = doc.part_target
    if not target:
        return
    for segment in doc.segments:
        for index, part in enumerate(segment.parts):
            where = f"Part {index} of segment {segment.msn} lasts {part.duration:.3f} s"
            if part.duration > target + EPSILON:
                yield error("4.4.4.9", f"{where}, more than PART-TARGET {target:g}.")
            final = index == len(segment.parts) - 1
            before_gap = not final and segment.parts[index + 1].gap
            # The last part of an open segment may still turn out to be the final one.
            exempt = part.independent or part.gap or before_gap or final
            if not exempt and part.duration < 0.85 * target - EPSILON:
                yield error("4.4.4.9", f"{where}, less than 85 % of PART-TARGET {target:g}.")


def part_sums(doc: Document) -> Findings:
    """Parts and their segment hold the same media (4.4.4.9)."""
    for segment in doc.complete:
        assert segment.duration is not None
        if segment.parts and abs(segment.parts_length - segment.duration) > 0.01:
            yield error(
                "4.4.4.9",
                f"The parts of segment {segment.msn} last {segment.parts_length:.3f} s, "
                f"its EXTINF says {segment.duration:.3f} s.",
            )


def old_parts(doc: Document) -> Findings:
    """PART tags go when further than three target durations from the end (6.2.2)."""
    distance = 0.0
    for segment in reversed(doc.segments):
        if segment.parts and distance > 3 * (doc.target or 0) + EPSILON:
            yield warning(
                "6.2.2",
                f"Segment {segment.msn} still lists parts {distance:.1f} s before the end.",
            )
            return
        distance += segment.length


def preload_hint(doc: Document) -> Findings:
    """One PART hint while live, none after ENDLIST (4.4.5.3, 6.2.2)."""
    parts = [hint for hint in doc.hints if hint.get("TYPE") == "PART"]
    if doc.ended:
        if doc.hints:
            yield error("4.4.5.3", "EXT-X-PRELOAD-HINT stands beside EXT-X-ENDLIST.")
        return
    if doc.part_target is None:
        return
    if len(parts) != 1:
        yield warning("6.2.2", f"The playlist hints at {len(parts)} parts instead of one.")
    listed = {part.uri for segment in doc.segments for part in segment.parts}
    for hint in parts:
        if not hint.text("URI"):
            yield error("4.4.5.3", "EXT-X-PRELOAD-HINT has no URI.")
        elif hint.text("URI") in listed:
            yield error("4.4.5.3", f"The hinted part {hint.text('URI')} is already listed.")


def window(doc: Document) -> Findings:
    """A live playlist is no VOD (4.4.3.5, 6.2.2)."""
    if doc.ended:
        return
    if doc.playlist_type == "VOD":
        yield error("4.4.3.5", "PLAYLIST-TYPE is VOD, but EXT-X-ENDLIST is missing.")
    elif doc.playlist_type is not None and doc.first_msn:
        yield error("6.2.2", "A live playlist that removes segments has a PLAYLIST-TYPE.")


def program_date_time(doc: Document) -> Findings:
    """Program date-time is on a live playlist, precise, and agrees with EXTINF (4.4.4.6)."""
    dated = [segment for segment in doc.segments if segment.pdt is not None]
    if not dated and doc.segments:
        yield warning("Apple 8.16", "A live playlist should carry EXT-X-PROGRAM-DATE-TIME.")
    for segment in dated:
        if segment.pdt is not None and not re.search(r"\.\d{3}", segment.pdt):
            yield warning("4.4.4.6", f"The date of segment {segment.msn} lacks milliseconds.")
            break
    previous = None
    for segment in doc.segments:
        if previous is not None and previous.pdt_ms is not None and segment.pdt_ms is not None:
            drift = segment.pdt_ms / 1000 - previous.pdt_ms / 1000 - previous.length
            if abs(drift) > 1 and not segment.discontinuity:
                yield error(
                    "6.2.1", f"The date of segment {segment.msn} is {drift:+.3f} s off its EXTINFs."
                )
            elif abs(drift) > 0.1 and not segment.discontinuity:
                yield warning(
                    "6.2.1", f"The date of segment {segment.msn} is {drift:+.3f} s off its EXTINFs."
                )
        previous = segment


def maps(doc: Document) -> Findings:
    """Fragmented MP4 needs EXT-X-MAP (3.1.2)."""
    for segment in doc.complete:
        path = (segment.uri or "").partition("?")[0]
        if path.endswith((".m4s", ".mp4", ".cmfv", ".cmfa")) and segment.map_uri is None:
            if doc.skipped is None:
                yield error("3.1.2", f"No EXT-X-MAP is in effect for segment {segment.msn}.")
            return


def discontinuity_sequence(doc: Document) -> Findings:
    """A live list always says its discontinuity sequence (Apple), needed with tags (6.2.2)."""
    if doc.discontinuity_sequence is None and not doc.ended:
        yield warning("Apple 8.17", "EXT-X-DISCONTINUITY-SEQUENCE is missing.")


def delta(doc: Document) -> Findings:
    """A delta update needs CAN-SKIP-UNTIL, and does not follow ENDLIST (6.2.5.1)."""
    if doc.skipped is None:
        return
    if doc.control is None or "CAN-SKIP-UNTIL" not in doc.control:
        yield error("4.4.3.8", "EXT-X-SKIP stands without CAN-SKIP-UNTIL.")
        return
    boundary = doc.control.number("CAN-SKIP-UNTIL") or 0
    shown = sum(segment.length for segment in doc.complete)
    if shown < boundary - EPSILON:
        yield error(
            "6.2.5.1",
            f"The delta update shows {shown:.1f} s, less than CAN-SKIP-UNTIL {boundary:g}.",
        )


def date_ranges(doc: Document) -> Findings:
    """Date ranges are well-formed and agree with each other (4.4.5.1)."""
    if doc.date_ranges and "PROGRAM-DATE-TIME" not in doc.tags:
        yield error("4.4.5.1", "EXT-X-DATERANGE needs EXT-X-PROGRAM-DATE-TIME in the playlist.")
    known: dict[str, dict[str, str]] = {}
    for found in doc.date_ranges:
        name = found.text("ID")
        if not name:
            yield error("4.4.5.1", "An EXT-X-DATERANGE has no ID.")
            continue
        before = known.setdefault(name, {})
        for key, value in found.items():
            if before.setdefault(key, value) != value:
                yield error("4.4.5.1", f"Two tags of date range {name} disagree on {key}.")
        yield from _date_range(name, found, started="START-DATE" in before)


def _date_range(name: str, found: Attributes, *, started: bool) -> Findings:
    start = to_ms(found.text("START-DATE") or "")
    end = to_ms(found.text("END-DATE") or "")
    if not started or ("START-DATE" in found and start is None):
        yield error("4.4.5.1", f"Date range {name} has no valid START-DATE.")
    if start is not None and end is not None and end < start:
        yield error("4.4.5.1", f"Date range {name} ends before it starts.")
    for key in ("DURATION", "PLANNED-DURATION"):
        value = found.number(key)
        if key in found and (value is None or value < 0):
            yield error("4.4.5.1", f"{key} of date range {name} is no length of time.")
    length = found.number("DURATION")
    both = length is not None and start is not None and end is not None
    if both and abs((end or 0) - (start or 0) - (length or 0) * 1000) > 1:
        yield error("4.4.5.1", f"DURATION and END-DATE of date range {name} disagree.")
    if "END-ON-NEXT" in found:
        if found["END-ON-NEXT"] != "YES":
            yield error("4.4.5.1", f"END-ON-NEXT of date range {name} is not YES.")
        if "CLASS" not in found or "DURATION" in found or "END-DATE" in found:
            yield error(
                "4.4.5.1", f"END-ON-NEXT of date range {name} needs CLASS and forbids an end."
            )
    for key, text in found.items():
        if key.startswith("X-") and not re.fullmatch(r'"[^"]*"|0[xX][0-9A-F]+|-?\d+(\.\d+)?', text):
            yield error("4.4.5.1", f"{key} of date range {name} is no string, hex or number.")


RULES: tuple[Callable[[Document], Findings], ...] = (
    version,
    target_duration,
    server_control,
    part_durations,
    part_sums,
    old_parts,
    preload_hint,
    window,
    program_date_time,
    maps,
    discontinuity_sequence,
    delta,
    date_ranges,
)


def check_document(doc: Document) -> Findings:
    """Apply every rule to a media playlist."""
    for clause, sentence in doc.problems:
        yield error(clause, sentence)
    for rule in RULES:
        yield from rule(doc)
