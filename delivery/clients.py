"""Whose an HTTP request is: the connection's address, or what a trusted proxy says of it. Sans-IO.

Without this every publisher and viewer of WebRTC would have the proxy's address: allow-lists, the
authorisation hook and limits per address would know one client where there are many.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from ingest.addresses import AddressRule, plain_address

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HOPS = 16


class Clients:
    """Reads `X-Forwarded-For`, but only as far as trusted proxies have written it."""

    def __init__(self, trusted: Sequence[str]) -> None:
        """`trusted`: addresses and networks (CIDR) of proxies."""
        self._trusted = AddressRule(trusted)

    def address(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the client's address: `peer` is the connection's, `forwarded` the header's lines.

        Each proxy appends whom it was called by, so the list is read from its end, up to the first
        address that is no trusted proxy's; what is ahead of that, anybody may have written.
        """
        address = plain_address(peer)
        hops = [each.strip() for line in forwarded for each in line.split(",")][-MAX_HOPS:]
        while hops and self._trusted.allows(address):
            try:
                ip_address(hops[-1])
            except ValueError:
                break
            address = plain_address(hops.pop())
        return address
