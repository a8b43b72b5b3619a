"""What the linter says of HTTP answers (rfc8216bis 4, 6.2.5, appendix B.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from media.hls.lint_rules import Findings, error, warning

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAYLIST_TYPES = ("application/vnd.apple.mpegurl", "audio/mpegurl")
_MEDIA_TYPES = (
    "video/mp4",
    "audio/mp4",
    "video/iso.segment",
    "audio/iso.segment",
    "video/mp2t",
    "text/vtt",
)
_OK = 200
_FAILURE = 400


def max_age(headers: Mapping[str, str]) -> int | None:
    """Seconds an answer may be cached; 0 for no-cache and no-store, None where it is silent."""
    value = headers.get("cache-control")
    if value is None:
        return None
    if re.search(r"no-cache|no-store", value, re.IGNORECASE):
        return 0
    found = re.search(r"max-age=(\d{1,9})", value, re.IGNORECASE)
    return int(found[1]) if found else None


def check_playlist_answer(
    status: int,
    headers: Mapping[str, str],
    *,
    target: float | None,
    blocking: bool,
    asked_gzip: bool,
) -> Findings:
    """Check the answer to a playlist request; header names are in lower case."""
    yield from _everywhere(headers)
    age = max_age(headers)
    if status != _OK:
        limit = (4 if blocking else 1) * (target or 1)
        if age is not None and age > limit:
            yield warning("B.1", f"A failed playlist request may be cached for {age} s.")
        return
    if headers.get("content-type", "").partition(";")[0].strip().lower() not in _PLAYLIST_TYPES:
        yield error("4", f"A playlist has the type {headers.get('content-type')!r}.")
    if asked_gzip and "gzip" not in headers.get("content-encoding", ""):
        yield error("B.1", "A playlist is not compressed with gzip.")
    if age is None:
        yield warning("B.1", "A playlist has no Cache-Control with a lifetime.")
    elif target and age > (6 * target if blocking else max(1, target / 2)):
        kind = "blocking" if blocking else "plain"
        yield warning("B.1", f"The answer to a {kind} playlist request may be cached for {age} s.")


def check_media_answer(
    status: int, headers: Mapping[str, str], *, target: float | None, size: int
) -> Findings:
    """Check the answer to a request for an init segment, a segment or a part."""
    yield from _everywhere(headers)
    age = max_age(headers)
    if 300 <= status < _FAILURE and status != 304:
        yield warning("Apple 8.18", f"Media is redirected with status {status}.")
        return
    if status >= _FAILURE:
        if age is None or age > (target or 1):
            yield warning("B.1", "A failed media request may be cached beyond a target duration.")
        return
    if headers.get("content-type", "").partition(";")[0].strip().lower() not in _MEDIA_TYPES:
        yield error("4", f"Media has the type {headers.get('content-type')!r}.")
    if not age:
        yield warning("B.1", "Media with an immutable name may not be cached.")
    length = headers.get("content-length")
    if length is None:
        yield warning("B.1", "Media comes without Content-Length.")
    elif status == _OK and length.isdigit() and int(length) != size:
        yield error("B.1", f"Content-Length is {length}, but {size} bytes came.")


def _everywhere(headers: Mapping[str, str]) -> Findings:
    if "access-control-allow-origin" not in headers:
        yield warning("B.1", "The answer has no Access-Control-Allow-Origin.")
