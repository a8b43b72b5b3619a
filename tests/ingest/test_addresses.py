"""Address rules: every spelling of an address is the same address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.settings import RtmpSettings, StreamSettings
from ingest.addresses import AddressRule, crowd_of, plain_address
from ingest.rtmp.target import publish_target

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


@pytest.mark.parametrize(
    ("address", "crowd"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::5", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/socket", "/run/socket"),
    ],
)
def test_an_ipv6_network_is_one_crowd(address: str, crowd: str) -> None:
    assert crowd_of(address) == crowd


@pytest.mark.parametrize("key", ["", "two words", "a?b", "a%41", "clé", "a\nb", "x" * 513])
@pytest.mark.parametrize("name", ["key", "backup_key"])
def test_a_key_that_no_encoder_can_say_is_refused(name: str, key: str) -> None:
    with pytest.raises(ValidationError, match="a stream key has 1 to 512"):
        StreamSettings.model_validate({"name": "show", name: key})


@given(st.from_regex(r"[A-Za-z0-9_~.!$&*=@:;,+#-]{1,40}", fullmatch=True))
def test_a_configured_key_is_found_where_encoders_put_it(key: str) -> None:
    StreamSettings.model_validate({"name": "show", "key": key})
    assert publish_target("live", "rtmp://h/live", key).key == key
    assert publish_target(f"live/{key}", f"rtmp://h/live/{key}", "").key == key
