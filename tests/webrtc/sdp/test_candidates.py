"""Candidates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc.sdp.models import candidates
from webrtc.sdp.candidates import Candidate, CandidateType, parse_candidate

pytestmark = pytest.mark.unit


@given(candidates())
def test_what_is_written_reads_as_the_same(candidate: Candidate):
    assert parse_candidate(candidate.text) == candidate
    assert parse_candidate("a=" + candidate.text) == candidate


@given(st.text(max_size=100))
def test_arbitrary_text_is_ignored(text: str):
    assert parse_candidate(text) is None


def test_a_reflexive_candidate_with_extensions():
    found = parse_candidate(
        "candidate:842163049 1 UDP 1677729535 2001:0DB8::1 46154 typ srflx raddr 10.0.17.1"
        " rport 42932 generation 0 ufrag EEtu network-id 3"
    )
    assert found == Candidate(
        foundation="842163049",
        priority=1677729535,
        address="2001:db8::1",
        port=46154,
        type=CandidateType.SERVER_REFLEXIVE,
        related_address="10.0.17.1",
        related_port=42932,
    )


@pytest.mark.parametrize(
    "line",
    [
        "1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "1 2 udp 1 192.0.2.1 9 typ host",
        "1 1 udp 1 68b118a2-6d46-43fb-a144-aabe6d76f04e.local 9 typ host",
        "1 1 udp 1 example.com 9 typ host",
        "1 1 udp 1 192.0.2.1 0 typ host",
        "1 1 udp 1 192.0.2.1 65536 typ host",
        "1 1 udp 4294967296 192.0.2.1 9 typ host",
        "1 1 udp 0 192.0.2.1 9 typ host",
        "1 1 udp 1 0.0.0.0 9 typ host",
        "1 1 udp 1 224.0.0.1 9 typ host",
        "1 1 udp 1 ff02::1 9 typ host",
        "1 1 udp 1 255.255.255.255 9 typ host",
        "1 1 udp 1 fe80::1%eth0 9 typ host",
        "1 1 udp 1 192.0.2.1 9 typ other",
        "1 1 udp 1 192.0.2.1 9 host typ",
        "1= 1 udp 1 192.0.2.1 9 typ host",
        "",
    ],
)
def test_what_cannot_be_used_is_ignored(line: str):
    assert parse_candidate(line) is None
