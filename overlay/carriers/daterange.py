"""Cues as EXT-X-DATERANGE (rfc8216bis 4.4.5.1).

Two tags with one ID must agree in every attribute that both have, so a tag only ever gains its
DURATION; everything else that changes is a new revision, under an ID of its own.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from overlay.times import format_ms

if TYPE_CHECKING:
    from overlay.entry import Entry

CLASS_PREFIX = "org.vitrina.cue."
ATTRIBUTE = "X-ORG-VITRINA-CUE"
"""The one client attribute. Letters only: one player's pattern knows no digits."""


def duration_ms(entry: Entry, successor: Entry | None) -> int | None:
    """Return what DURATION says, or None while it is not known.

    A function of the entry and of the next revision alone, both immutable: once an answer is
    given it never changes, not over a restart either. A final revision is an instant.
    """
    if entry.final:
        return 0
    if entry.end_ms is not None:
        return max(0, entry.end_ms - entry.effective_ms)
    if successor is not None:
        return max(0, successor.effective_ms - entry.effective_ms)
    return None


def date_range(entry: Entry, successor: Entry | None) -> str:
    """Return the whole tag, without a line end."""
    known = duration_ms(entry, successor)
    duration = "" if known is None else f"DURATION={known // 1000}.{known % 1000:03d},"
    # A quoted string holds no quotation mark and no line break (RFC 8216 4.2), JSON may.
    payload = urlsafe_b64encode(entry.in_band()).rstrip(b"=").decode()
    return (
        f'#EXT-X-DATERANGE:ID="{entry.id}.{entry.rev}",CLASS="{CLASS_PREFIX}{entry.type}",'
        f'START-DATE="{format_ms(entry.effective_ms)}",{duration}{ATTRIBUTE}="{payload}"'
    )
