"""Which addresses a target may have: those of the public Internet, and what is allowed by name.

A target's URL comes from whoever may call the API; without this guard it could make the server
talk to what only the server can reach: itself, its neighbours, the cloud's metadata service. The
caller resolves a name once, checks every address it got and connects to one of these very
addresses, so that a name that answers differently the second time gains nothing.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# IANA's special-purpose registries (RFC 6890 and later), and what clouds put into public space.
# Not `is_global`: its answers changed between releases of Python.
_V4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared (carrier-grade NAT)",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "metadata",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "reserved",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved",
    "198.51.100.0/24": "reserved",
    "203.0.113.0/24": "reserved",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_V6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "2001::/23": "reserved",
    "2001:db8::/32": "reserved",
    "2620:4f:8000::/48": "reserved",
    "3fff::/20": "reserved",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private",
    "ff00::/8": "multicast",
}
_REFUSED_V4 = [(IPv4Network(net), word) for net, word in _V4.items()]
_REFUSED_V6 = [(IPv6Network(net), word) for net, word in _V6.items()]
_GLOBAL_V6 = IPv6Network("2000::/3")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """A target's host has an address that this server does not push to."""


class AllowList:
    """What the configuration allows beyond the public Internet: host names and networks."""

    def __init__(self, entries: Sequence[str] = ()) -> None:
        """`entries`: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8` or an exact host name."""
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for entry in entries:
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                self._names.add(entry.lower().rstrip("."))

    def names(self, host: str) -> bool:
        """Whether the host is allowed by its name, whatever its addresses are."""
        return host.lower().rstrip(".") in self._names

    def holds(self, address: Address) -> bool:
        """Whether the address lies in an allowed network; a mapped one counts as what it maps."""
        plain = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((plain or address) in network for network in self._networks)


def refusal(address: Address) -> str | None:
    """Return why an address is not of the public Internet, None where it is.

    IPv6 addresses that carry an IPv4 address in them (mapped, RFC 4291 2.5.5.2; NAT64, RFC 6052;
    6to4, RFC 3056) are what that one is; local-use NAT64, Teredo and IPv4-compatible ones never
    pass, for they lie outside the global range.
    """
    if isinstance(address, IPv4Address):
        return next((word for network, word in _REFUSED_V4 if address in network), None)
    inner = embedded(address)
    if inner is not None:
        return refusal(inner)
    word = next((word for network, word in _REFUSED_V6 if address in network), None)
    if word is None and (address.scope_id is not None or address not in _GLOBAL_V6):
        return "reserved"
    return word


def embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a translator or relay would make of this one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    value = int(address)
    if address in _NAT64:
        return IPv4Address(value & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(value >> 80 & 0xFFFFFFFF)
    return None


def check(host: str, addresses: Iterable[str], allow: AllowList) -> None:
    """Raise `AddressRefused` unless every address of the host may be pushed to.

    One bad address refuses them all: whoever answers with both is up to something. `addresses`
    are numeric; one that cannot be read, or that has a zone, is refused.
    """
    seen = False
    for text in addresses:
        seen = True
        try:
            address = ip_address(text)
        except ValueError:
            raise AddressRefused(f"{host} has no readable address.") from None
        word = refusal(address)
        if word is not None and not (allow.names(host) or allow.holds(address)):
            raise AddressRefused(
                f"{host} has a {word} address; this server pushes to public ones only. "
                "If it is meant, add the host to restream.allow_hosts."
            )
    if not seen:
        raise AddressRefused(f"{host} has no address.")
