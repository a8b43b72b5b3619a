"""Address rules: every spelling of an address is the same address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.settings import RtmpSettings, StreamSettings
from ingest.addresses import AddressRule, plain_address

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("/run/socket", "/run/socket"),
        ("", ""),
    ],
)
def test_one_form_for_each_address(text: str, plain: str) -> None:
    assert plain_address(text) == plain


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        (["192.0.2.0/24"], "192.0.2.9", True),
        (["192.0.2.0/24"], "192.0.3.9", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.9", True),
        (["::ffff:192.0.2.0/120"], "192.0.2.9", True),
        (["::ffff:192.0.2.0/120"], "::ffff:192.0.3.9", False),
        (["::/0"], "192.0.2.9", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["2001:db8::/32"], "2001:db8::1%7", True),
        (["192.0.2.7"], "192.0.2.7", True),
        ([], "192.0.2.7", False),
        (["0.0.0.0/0", "::/0"], "unknown", False),
    ],
)
def test_rules(networks: list[str], address: str, allowed: bool) -> None:
    assert AddressRule(networks).allows(address) is allowed


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    plain_address(text)
    assert AddressRule(["10.0.0.0/8"]).allows(text) in (True, False)


def test_a_wrong_network_is_named_at_the_start() -> None:
    for make in (RtmpSettings, lambda **k: StreamSettings(name="a", **k)):
        with pytest.raises(ValidationError, match=r"'10\.0\.0\.1/8' is neither"):
            make(allow=("10.0.0.1/8",))
