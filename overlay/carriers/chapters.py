"""Chapters as the JSON that HLS players read, and as WebVTT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlay.entry import Entry

UNDETERMINED = "und"
"""Language of a title that is one text for everybody (BCP 47)."""


def chapters_json(
    chapters: Sequence[Entry], *, origin_ms: int, now_ms: int
) -> list[dict[str, Any]]:
    """Return the `com.apple.hls.chapters` array.

    `origin_ms`: program date-time of the stream's beginning, zero of `start-time`. `now_ms` ends
    the running chapter: without a duration a player takes it for an empty one.
    """
    listed = []
    for number, entry in enumerate(chapters, 1):
        start_ms = max(0, entry.at_ms - origin_ms)
        end_ms = (now_ms if entry.end_ms is None else entry.end_ms) - origin_ms
        titles = [
            {"language": language, "title": title} for language, title in _titles(entry).items()
        ]
        chapter: dict[str, Any] = {
            "chapter": number,
            "start-time": start_ms / 1000,
            "duration": max(1, end_ms - start_ms) / 1000,
            "titles": titles,
        }
        image = entry.data.get("image")
        if image is not None:
            chapter["images"] = [{"image-category": "thumbnail", "url": image}]
        listed.append(chapter)
    return listed


def chapters_vtt(
    chapters: Sequence[Entry], *, origin_ms: int, now_ms: int, language: str | None = None
) -> str:
    """Return a WebVTT file (W3C WebVTT 4.1) of kind `chapters`, titles in one language.

    Without `language`, or where a chapter lacks it, the first title given is taken.
    """
    blocks = ["WEBVTT\n"]
    for entry in chapters:
        titles = _titles(entry)
        title = titles.get(language or "") or next(iter(titles.values()))
        start_ms = max(0, entry.at_ms - origin_ms)
        end_ms = (now_ms if entry.end_ms is None else entry.end_ms) - origin_ms
        blocks.append(
            f"{entry.id}\n{_vtt_time(start_ms)} --> {_vtt_time(max(start_ms + 1, end_ms))}\n"
            f"{_vtt_text(title)}\n"
        )
    return "\n".join(blocks)


def _titles(entry: Entry) -> dict[str, str]:
    title = entry.data["title"]
    return title if isinstance(title, dict) else {UNDETERMINED: title}


def _vtt_time(ms: int) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _vtt_text(text: str) -> str:
    """Escape cue text: a blank line would end the cue, `-->` would begin one."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
