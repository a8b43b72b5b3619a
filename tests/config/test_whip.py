"""Settings of WebRTC: what is refused, and what the parts of the server read of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import WhipSettings

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "ports"),
    [("20000-20999", (20000, 20999)), ("5000", (5000, 5000)), ("0", (0, 0))],
)
def test_ports_are_a_range(text: str, ports: tuple[int, int]) -> None:
    assert WhipSettings(ports=text).port_range == ports


@pytest.mark.parametrize("text", ["2-1", "0-9", "1-65536", "any", "-5", "1-2-3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        WhipSettings(ports=text)


@pytest.mark.parametrize(
    "values",
    [
        {"addresses": ["stream.example.com"]},
        {"addresses": ["0.0.0.0"]},
        {"ice_servers": [{"url": "http://example.com"}]},
        {"ice_servers": [{"url": "turn:example.com:3478"}]},
        {"ice_servers": [{"url": "stun:example.com", "username": "u", "credential": "p"}]},
        {"ice_servers": [{"url": "turn:example.com", "username": 'u"', "credential": "p"}]},
        {"ice_servers": [{"url": "turn:example.com", "username": "u", "credential": "p\r\n"}]},
    ],
)
def test_what_peers_could_not_use_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WhipSettings(**values)


def test_no_server_is_told_unless_configured() -> None:
    assert WhipSettings().ice_servers == ()
    assert WhipSettings().addresses == ()
