"""ICE candidates as SDP writes them (RFC 8839 section 5.1)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
_HOST_PREFERENCE = 126
"""RFC 8445 section 5.1.2.2."""
_MOST_PREFERRED = 65535
_LEAST_WORDS = 8


class CandidateType(StrEnum):
    """How a candidate was found."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A UDP candidate of component 1, the only one where RTCP is multiplexed.

    `address` and `related_address` are IP addresses in their shortest text.
    """

    foundation: str
    priority: int
    address: str
    port: int
    type: CandidateType = CandidateType.HOST
    related_address: str | None = None
    related_port: int | None = None

    @property
    def text(self) -> str:
        """What stands behind `a=`."""
        text = f"candidate:{self.foundation} 1 udp {self.priority} {self.address} {self.port}"
        text += f" typ {self.type}"
        if self.related_address is not None:
            text += f" raddr {self.related_address} rport {self.related_port or 0}"
        return text


def parse_candidate(text: str) -> Candidate | None:
    """Read a `candidate:` value, with or without that word and `a=` before it.

    None for what cannot be used and is to be ignored: TCP, a host name (mDNS included), another
    component, an address that nobody can answer from, and what breaks the grammar.
    """
    words = text.removeprefix("a=").removeprefix("candidate:").split()
    if len(words) < _LEAST_WORDS or words[6] != "typ":
        return None
    foundation, component, protocol, priority, address, port, _, kind = words[:_LEAST_WORDS]
    if not _FOUNDATION.fullmatch(foundation) or component != "1" or protocol.lower() != "udp":
        return None
    try:
        candidate_type = CandidateType(kind)
    except ValueError:
        return None
    where, at = _reachable(address), _number(port, 65535)
    weight = _number(priority, 2**32 - 1)
    if where is None or not at or not weight:
        return None
    rest = dict(zip(words[8::2], words[9::2], strict=False))
    related = _ip(rest.get("raddr", ""))
    return Candidate(
        foundation=foundation,
        priority=weight,
        address=where,
        port=at,
        type=candidate_type,
        related_address=related,
        related_port=None if related is None else _number(rest.get("rport", ""), 65535) or 0,
    )


def host_candidates(addresses: Sequence[str], port: int) -> tuple[Candidate, ...]:
    """Return a host candidate for each advertised IP address, the first the most preferred.

    Priorities after RFC 8445 section 5.1.2.1. Raises `ValueError` on what is no IP address that
    a peer could send to, and on a port outside of 1 to 65535.
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no UDP port.")
    found = []
    for index, address in enumerate(dict.fromkeys(addresses)):
        where = _reachable(address)
        if where is None:
            raise ValueError(f"{address!r} is no IP address that a peer could send to.")
        local = _MOST_PREFERRED - index
        found.append(
            Candidate(
                foundation=str(index + 1),
                priority=(_HOST_PREFERENCE << 24) + (local << 8) + 255,
                address=where,
                port=port,
            )
        )
    return tuple(found)


def _number(text: str, most: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= most else None


def _ip(text: str) -> str | None:
    """Return an IP address in its shortest form; None for names and zones."""
    if "%" in text or len(text) > 45:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _reachable(text: str) -> str | None:
    """Return an address that can be that of one peer."""
    found = _ip(text)
    if found is None:
        return None
    address = ipaddress.ip_address(found)
    broadcast = found == "255.255.255.255"
    return None if address.is_unspecified or address.is_multicast or broadcast else found
