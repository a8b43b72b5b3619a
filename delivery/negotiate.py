"""Conditional, partial and encoded answers: small rules of RFC 9110. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

MAX_HEADER = 1024
"""Longer conditional or range headers are ignored: no client of ours sends them."""


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether the client takes gzip (RFC 9110 12.5.3): listed, or `*`, and not with q=0."""
    if not accept_encoding:
        return False
    star = False
    for item in accept_encoding[:MAX_HEADER].split(","):
        coding, _, parameters = item.partition(";")
        name = coding.strip().lower()
        if name not in {"gzip", "x-gzip", "*"}:
            continue
        wanted = not _is_zero(parameters)
        if name != "*":
            return wanted
        star = wanted
    return star


def _is_zero(parameters: str) -> bool:
    key, _, value = parameters.strip().partition("=")
    if key.strip().lower() != "q":
        return False
    try:
        return float(value) == 0.0
    except ValueError:
        return True


def gzip_etag(etag: str) -> str:
    """Return the entity tag of the gzipped form: another representation, another tag (8.8.3)."""
    return f'{etag[:-1]}-gz"' if etag.endswith('"') else etag


def not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match holds this tag, by weak comparison (RFC 9110 13.1.2)."""
    if not if_none_match or len(if_none_match) > MAX_HEADER:
        return False
    if if_none_match.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(item.strip().removeprefix("W/") == bare for item in if_none_match.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """First and last byte, both included."""

    first: int
    last: int


class Unsatisfiable(Exception):
    """The range begins behind the end: 416 (RFC 9110 15.5.17)."""


def single_range(header: str | None, size: int) -> ByteRange | None:
    """Return the one range asked for, None where the whole is to be sent.

    Several ranges, another unit or a malformed header are ignored (RFC 9110 14.2: a server
    may). Raises `Unsatisfiable`.
    """
    if not header or len(header) > MAX_HEADER:
        return None
    unit, separator, ranges = header.partition("=")
    first, dash, last = ranges.strip().partition("-")
    if unit.strip().lower() != "bytes" or not separator or not dash or "," in ranges:
        return None
    if not all(_digits_or_empty(text) for text in (first, last)) or not (first or last):
        return None
    if not first:
        length = int(last)
        if length == 0:
            raise Unsatisfiable
        return ByteRange(first=max(0, size - length), last=size - 1)
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return ByteRange(first=start, last=end)


def _digits_or_empty(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and len(text) <= 18)
