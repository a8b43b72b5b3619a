"""Whom the server believes about the address of a client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.clients import Clients

pytestmark = pytest.mark.unit
NGINX, CDN = "127.0.0.1", "10.1.2.3"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (NGINX, ["203.0.113.7"], "203.0.113.7"),
        (NGINX, ["192.0.2.66, 203.0.113.7"], "203.0.113.7"),
        (NGINX, ["192.0.2.66", "203.0.113.7"], "203.0.113.7"),
        (NGINX, ["192.0.2.66, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (NGINX, ["2001:db8::7"], "2001:db8::7"),
        (NGINX, ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        (NGINX, [], NGINX),
        (NGINX, ["unknown"], NGINX),
        (NGINX, ["203.0.113.7, nonsense, 10.9.9.9"], "10.9.9.9"),
        (CDN, ["127.0.0.1"], NGINX),
        ("203.0.113.9", ["127.0.0.1"], "203.0.113.9"),
        ("", ["203.0.113.7"], ""),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: list[str], address: str) -> None:
    assert Clients([NGINX, "10.0.0.0/8"]).address(peer, forwarded) == address


def test_nobody_is_believed_unless_told() -> None:
    assert Clients([]).address(NGINX, ["203.0.113.7"]) == NGINX


@given(st.lists(st.text(max_size=50), max_size=5))
def test_any_header_is_read(forwarded: list[str]) -> None:
    assert Clients([NGINX]).address("203.0.113.9", forwarded) == "203.0.113.9"
    assert Clients([NGINX]).address(NGINX, forwarded)
