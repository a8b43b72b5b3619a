"""Trickled candidates and restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc.sdp.models import fragments
from tests.webrtc.sdp.support import attempt, serialise_fragment
from webrtc.sdp.errors import Refusal, SdpError
from webrtc.sdp.fragment import Fragment, parse_fragment

pytestmark = pytest.mark.unit

PATCH = (
    "a=group:BUNDLE 0 1\r\na=ice-options:trickle ice2\r\na=ice-ufrag:EsAw\r\n"
    "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n"
    "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 1\r\n"
    "a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n"
    "a=candidate:2154773085 1 udp 2122194687 a1b2.local 61765 typ host\r\n"
    "a=candidate:nonsense\r\na=end-of-candidates\r\n"
)


def test_a_browsers_patch():
    found = parse_fragment(PATCH)
    assert found.ufrag == "EsAw"
    (section,) = found.sections
    assert (section.mid, section.end_of_candidates) == ("0", True)
    assert [each.address for each in found.candidates] == ["192.0.2.1"]
    assert found.end_of_candidates
    assert "P2uYro" not in repr(found)


def test_restarts():
    found = parse_fragment(PATCH)
    assert not found.restarts("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert found.restarts("EsAx", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert found.restarts("EsAw", "another-password-of-24-c")
    assert found.belongs_to("EsAw")
    assert not found.belongs_to("EsAx")
    bare = parse_fragment("a=end-of-candidates\r\n")
    assert bare.end_of_candidates
    assert not bare.restarts("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert bare.belongs_to("EsAw")


def test_an_empty_fragment_says_nothing():
    assert parse_fragment(b"") == Fragment()


@given(fragments())
def test_what_is_written_reads_as_the_same(fragment: Fragment):
    assert parse_fragment(serialise_fragment(fragment)) == fragment


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_arbitrary_input_is_read_or_refused(data: bytes | str):
    found, refusal = attempt(parse_fragment, data)
    assert (found is None) == bool(refusal)
    assert len(refusal) < 300


WRONG = {
    "nonsense": "Line 1 is not a letter, an equals sign and a value.",
    "a=ice-ufrag:abc": "Line 1: a=ice-ufrag has 4 to 256 characters.",
    "a=ice-ufrag:abcd\na=ice-ufrag:efgh": (
        "Line 2: The fragment has two different ICE credentials."
    ),
    "m=audio 9 x 0\na=mid:0\n" * 2: "Two sections have the same a=mid.",
    "a=end-of-candidates\n" + "m=audio 9 x 0\n" * 16: "There are more than 16 m= sections.",
    "m=audio 9 x 0\n" * 17: "Line 17: There are more than 16 m= sections.",
    "".join(f"a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\n" for port in range(1, 66)): (
        "Line 65: There are more than 64 candidates."
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_broken_fragment_is_told_by_its_line(text: str):
    with pytest.raises(SdpError) as caught:
        parse_fragment(text)
    assert str(caught.value) == WRONG[text]
    assert caught.value.refusal is Refusal.MALFORMED


def test_size():
    with pytest.raises(SdpError, match=r"^The fragment has 65537 bytes; 65536 are allowed\.$"):
        parse_fragment("a" * 65_537)
