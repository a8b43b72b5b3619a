"""Sentences about targets, and the key in none of them."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.amf0 import encode
from ingest.rtmp.chunks import ChunkWriter
from ingest.rtmp.client import PublishRefused, RtmpPublishClient
from ingest.rtmp.messages import MessageType
from restream.backoff import FLOOR_S, refused_delay_s, retry_delay_s
from restream.words import explain, redact

pytestmark = pytest.mark.unit


def test_every_form_of_the_key_is_hidden() -> None:
    key = "live%5Fabc123?sig=s3cret"
    said = "Stream live_abc123 (live%5Fabc123?sig=s3cret) is\r\nbusy; sig=s3cret, live%5Fabc123"
    assert redact(said, key) == "Stream … (…) is busy; …, …"


def test_a_key_cut_off_by_the_end_of_an_answer_is_hidden() -> None:
    key = "eyJhbGciOiJIUzI1NiJ9." + "payload-of-a-token" * 20
    client = RtmpPublishClient("live", "rtmp://t.example/live", key)
    client.receive_data(bytes((3,)) + bytes(1536) + bytes(1536))
    said = encode(
        "onStatus", 0.0, None, {"level": "error", "code": "x", "description": f"Bad name {key}!"}
    )
    writer = ChunkWriter()
    (event,) = client.receive_data(writer.write(3, MessageType.COMMAND, 0, 0, said))
    assert isinstance(event, PublishRefused)
    assert event.text[9:].startswith("eyJ")  # the client bounds what it passes on
    assert redact(event.text, key) == "Bad name …"


def test_a_key_in_other_clothes_is_hidden() -> None:
    key = "live/Show key+1".replace(" ", "_") + "?token=a/b+c"
    for said in (quote(key), quote(key, safe=""), key.upper(), key.partition("?")[0].lower()):
        assert redact(f"no {said}, no", key) == "no …, no"


def test_what_a_target_says_is_short() -> None:
    assert len(redact("x" * 10_000, "k")) == 161


@given(
    st.text(max_size=400),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=30),
)
def test_the_key_never_comes_through(text: str, key: str) -> None:
    for said in (text, text + key, f"{text} {key} {text}", key * 3):
        assert key not in redact(said, key)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(), "h takes no connections on port 1935; check the address."),
        (TimeoutError(), "h did not answer in time on port 1935."),
        (socket.gaierror(), "The name h cannot be resolved; check the address."),
        (ssl.SSLError(), "h does not speak TLS on port 1935; check the scheme and the port."),
        (OSError(113, "no route"), "h cannot be reached from this server."),
        (ConnectionResetError(), "The connection to h failed (ConnectionResetError)."),
    ],
)
def test_failures_are_sentences(error: Exception, text: str) -> None:
    assert explain(error, "h", 1935) == text


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_waits_are_bounded_and_jittered(failures: int, uniform: float) -> None:
    delay_s = retry_delay_s(failures, uniform, first_s=1, max_s=60)
    assert FLOOR_S <= delay_s <= 60
    assert delay_s == max(FLOOR_S, uniform * min(60, 2 ** min(failures - 1, 10)))
    assert 150 <= refused_delay_s(uniform, refused_s=300) <= 300
