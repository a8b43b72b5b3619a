"""Which foreign pages may read media, cues and state (Fetch standard, 3.2). Sans-IO.

The producer API is never in here: a page of another origin must not read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXPOSED = "Age, Date, Content-Length, Content-Range, ETag"
METHODS = "GET, HEAD, OPTIONS"
REQUEST_HEADERS = "Range, If-None-Match, Last-Event-ID, Cache-Control"
PREFLIGHT_MAX_AGE_S = 86_400


class Cors:
    """Answers, for an `Origin`, which headers to add. No credentials, ever."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.any = "*" in origins
        self._allowed = {
            origin: self._table(origin) for origin in (("*",) if self.any else origins)
        }
        self._wire = {origin: _wire(table) for origin, table in self._allowed.items()}
        self._refused = {} if self.any else {"Vary": "Origin"}
        self._refused_wire = _wire(self._refused)

    def _table(self, origin: str) -> dict[str, str]:
        table = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        if not self.any:
            table["Vary"] = "Origin"
        return table

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """Return the headers for a request from `origin`."""
        return self._allowed.get("*" if self.any else origin or "", self._refused)

    def wire(self, origin: str | None) -> bytes:
        """Return the same as header lines, each with its CRLF."""
        if self.any:
            return self._wire["*"]
        return self._wire.get(origin or "", self._refused_wire)

    def preflight(self, origin: str | None) -> Mapping[str, str]:
        """Return the headers that answer an OPTIONS request."""
        allowed = self.headers(origin)
        if "Access-Control-Allow-Origin" not in allowed:
            return allowed
        return {
            **allowed,
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
        }


def _wire(table: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in table.items()).encode("latin-1")
