"""ICE candidates as SDP writes them (RFC 8839 section 5.1)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
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
