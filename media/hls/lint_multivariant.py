"""What the linter says of a multivariant playlist (rfc8216bis 4.4.6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from media.hls.lint_rules import Findings, error, warning

if TYPE_CHECKING:
    from media.hls.lint_tags import Attributes, Document, Variant

_VIDEO_CODECS = ("avc1", "avc3", "hvc1", "hev1", "av01", "vp09", "dvh1")


def check_multivariant(doc: Document) -> Findings:
    """Apply every rule."""
    for clause, sentence in doc.problems:
        yield error(clause, sentence)
    if not doc.variants:
        yield error("4.4.6", "The multivariant playlist has no EXT-X-STREAM-INF.")
    for variant in doc.variants:
        yield from _variant(doc, variant)
    for media in doc.media:
        yield from _media(media)
    yield from _groups(doc.media)
    for data in doc.session_data:
        if not data.text("DATA-ID"):
            yield error("4.4.6.4", "EXT-X-SESSION-DATA has no DATA-ID.")
        if ("VALUE" in data) == ("URI" in data):
            yield error("4.4.6.4", "EXT-X-SESSION-DATA needs either VALUE or URI.")


def _variant(doc: Document, variant: Variant) -> Findings:
    found = variant.attributes
    where = f"of {variant.uri}"
    if not variant.uri:
        yield error("4.4.6.2", "An EXT-X-STREAM-INF is not followed by a URI.")
    peak, average = found.number("BANDWIDTH"), found.number("AVERAGE-BANDWIDTH")
    if not peak:
        yield error("4.4.6.2", f"BANDWIDTH {where} is missing.")
    if not average:
        yield warning("Apple 9.14", f"AVERAGE-BANDWIDTH {where} is missing.")
    elif peak and average > peak:
        yield error("4.4.6.2", f"AVERAGE-BANDWIDTH {where} is above BANDWIDTH.")
    codecs = found.text("CODECS")
    if not codecs:
        yield error("4.4.6.2", f"CODECS {where} is missing.")
    yield from _picture(found, where, codecs or "")
    group = found.text("AUDIO")
    groups = {media.text("GROUP-ID") for media in doc.media if media.get("TYPE") == "AUDIO"}
    if group is not None and group not in groups:
        yield error("4.4.6.2", f"The AUDIO group {group!r} {where} does not exist.")


def _picture(found: Attributes, where: str, codecs: str) -> Findings:
    if not any(codec.strip().startswith(_VIDEO_CODECS) for codec in codecs.split(",")):
        return
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", found.get("RESOLUTION", "")):
        yield warning("4.4.6.2", f"RESOLUTION {where} is missing or malformed.")
    rate = found.get("FRAME-RATE")
    if rate is None:
        yield warning("Apple 9.15", f"FRAME-RATE {where} is missing.")
    elif not re.fullmatch(r"\d+(\.\d{1,3})?", rate):
        yield error("4.4.6.2", f"FRAME-RATE {where} is no number with three decimals: {rate}.")


def _media(media: Attributes) -> Findings:
    name = media.text("NAME")
    for key in ("TYPE", "GROUP-ID", "NAME"):
        if key not in media:
            yield error("4.4.6.1", f"EXT-X-MEDIA {name or ''!r} has no {key}.")
    if media.get("DEFAULT") == "YES" and media.get("AUTOSELECT", "YES") != "YES":
        yield error("4.4.6.1", f"EXT-X-MEDIA {name!r} is DEFAULT but not AUTOSELECT.")
    if media.get("TYPE") == "AUDIO" and not media.text("CHANNELS"):
        yield warning("4.4.6.1", f"EXT-X-MEDIA {name!r} does not say its CHANNELS.")


def _groups(media: list[Attributes]) -> Findings:
    """Names are unique in a group, with one default at most (4.4.6.1.1)."""
    names: set[tuple[str | None, ...]] = set()
    defaults: set[tuple[str | None, ...]] = set()
    for found in media:
        group = (found.get("TYPE"), found.text("GROUP-ID"))
        name = (*group, found.text("NAME"))
        if name in names:
            yield error("4.4.6.1.1", f"Two renditions of one group are named {name[2]!r}.")
        names.add(name)
        if found.get("DEFAULT") == "YES":
            if group in defaults:
                yield error("4.4.6.1.1", f"The group {group[1]!r} has two defaults.")
            defaults.add(group)
