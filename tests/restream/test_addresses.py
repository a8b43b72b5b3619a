"""The guard against pushing to what only the server can reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restream.addresses import AddressRefused, AllowList, check, refusal

pytestmark = pytest.mark.unit

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "2606:4700::1111"]
REFUSED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared (carrier-grade NAT)",
    "100.100.100.200": "shared (carrier-grade NAT)",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "metadata",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "reserved",
    "192.168.1.1": "private",
    "198.18.0.1": "reserved",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "reserved",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:0:127.0.0.1": "reserved",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "link-local",
    "64:ff9b:1::808:808": "reserved",
    "2001::1": "reserved",
    "2001:db8::1": "reserved",
    "2002:7f00:1::": "loopback",
    "2002:a00:1::1": "private",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fec0::1": "private",
    "ff02::1": "multicast",
    "4000::1": "reserved",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    assert refusal(ip_address(address)) is None
    check("live.example", [address], AllowList())


@pytest.mark.parametrize(("address", "word"), REFUSED.items())
def test_others_are_refused_with_their_kind(address: str, word: str) -> None:
    assert refusal(ip_address(address)) == word
    with pytest.raises(AddressRefused) as caught:
        check("live.example", ["8.8.8.8", address], AllowList())
    assert str(caught.value) == (
        f"live.example has a {word} address; this server pushes to public ones only. "
        "If it is meant, add the host to restream.allow_hosts."
    )


def test_public_addresses_in_translated_form_pass() -> None:
    for address in ("::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"):
        assert refusal(ip_address(address)) is None


def test_zones_and_nonsense_are_refused() -> None:
    for addresses in (["fe80::1%eth0"], ["2606:4700::1%3"], ["localhost"], ["0x7f.1"], []):
        with pytest.raises(AddressRefused):
            check("live.example", addresses, AllowList())


def test_the_configuration_allows_by_name_and_by_network() -> None:
    allow = AllowList(["10.0.0.0/8", "fd00::/8", "192.168.1.7", "Encoder.lan."])
    for host, address in (
        ("any", "10.1.2.3"),
        ("any", "::ffff:10.1.2.3"),
        ("any", "fd00::1"),
        ("any", "192.168.1.7"),
        ("ENCODER.LAN", "127.0.0.1"),
    ):
        check(host, [address], allow)
    for host, address in (
        ("any", "192.168.1.8"),
        ("any", "127.0.0.1"),
        ("x.encoder.lan", "127.0.0.1"),
        ("encoder.lan.evil.example", "127.0.0.1"),
    ):
        with pytest.raises(AddressRefused):
            check(host, [address], allow)


@given(st.integers(0, 2**32 - 1))
def test_what_python_calls_local_is_never_let_through(value: int) -> None:
    address = IPv4Address(value)
    local = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    anycast = address in (IPv4Address("192.0.0.9"), IPv4Address("192.0.0.10"))
    if local and not anycast:
        assert refusal(address) is not None
    mapped = IPv6Address(f"::ffff:{address}")
    assert refusal(mapped) == refusal(address)
    assert refusal(IPv6Address(int(IPv6Address("64:ff9b::")) + value)) == refusal(address)


@given(st.integers(0, 2**128 - 1) | st.integers(0, 2**120 - 1) | st.integers(0, 2**34))
def test_no_local_ipv6_address_is_let_through(value: int) -> None:
    address = IPv6Address(value)
    if refusal(address) is None and address.ipv4_mapped is None and address.sixtofour is None:
        assert not address.is_private or (value >> 32) == int(IPv6Address("64:ff9b::")) >> 32
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast


@given(st.text(max_size=60), st.lists(st.text(max_size=40), max_size=5))
def test_any_text_is_answered_or_refused(host: str, addresses: list[str]) -> None:
    try:
        check(host, addresses, AllowList(addresses[:1]))
    except AddressRefused:
        return
    assert addresses
