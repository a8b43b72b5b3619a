"""Where a listener is bound: an address, or every one that the machine has."""

from __future__ import annotations

EVERY = "*"
"""In place of an address: every one, of IPv4 and of IPv6."""


def bound_to(host: str) -> str | None:
    """Return a configured host as sockets take it, None for every address of both families."""
    return None if host == EVERY else host
