"""Which addresses may connect, and how an address is written: one form for each."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from config.settings import EVERYWHERE

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST_BITS = 64
_MAPPED = 96
"""Bits ahead of the IPv4 address in `::ffff:0:0/96` (RFC 4291 section 2.5.5.2)."""


def plain_address(text: str) -> str:
    """Return a peer's address without its zone, an IPv4-mapped one as IPv4; else the same text.

    A dual-stack listener sees IPv4 clients as `::ffff:192.0.2.1`: without this a rule and a limit
    per address would know two clients where there is one.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def crowd_of(address: str) -> str:
    """Return what limits per address count as one: an IPv6 network of 64 bits, else the address.

    Whoever has one IPv6 address has all those of its network (RFC 6177): each could be a stranger.
    """
    plain = plain_address(address)
    try:
        peer = ip_address(plain)
    except ValueError:
        return plain
    if isinstance(peer, IPv6Address):
        return str(ip_network((peer, _HOST_BITS), strict=False))
    return plain


class AddressRule:
    """A list of addresses and networks; nothing is allowed that is not listed."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises `ValueError` for what is no address and no network (CIDR)."""
        self._networks = tuple(_plain_network(text) for text in networks)

    def allows(self, address: str) -> bool:
        """Whether the peer may come in; what is no address (a socket file's peer) may not."""
        try:
            peer = ip_address(plain_address(address))
        except ValueError:
            return False
        return any(peer in network for network in self._networks)


def _plain_network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network(f"{mapped}/{network.prefixlen - _MAPPED}")
    return network


EVERYWHERE_RULE = AddressRule(EVERYWHERE)
"""Allows every address; not what is none."""
