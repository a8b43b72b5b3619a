"""Both handshakes, the digest one against a client computed here from the published keys."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.errors import Fault, RtmpError
from ingest.rtmp.handshake import BLOCK, ClientHandshake, ServerHandshake
from tests.ingest.rtmp.support import only

pytestmark = pytest.mark.unit

TAIL = bytes.fromhex("F0EEC24A8068BEE82E00D0D1029E7E576EEC5D2D29806FAB93B8E636CFEB31AE")


def sign(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def flash_c1(base: int) -> tuple[bytes, bytes]:
    block = bytearray(b"\0\0\0\x07\x09\x00\x7c\x02" + bytes(i * 7 % 251 for i in range(BLOCK - 8)))
    at = sum(block[base : base + 4]) % 728 + base + 4
    digest = sign(b"Genuine Adobe Flash Player 001", bytes(block[:at] + block[at + 32 :]))
    block[at : at + 32] = digest
    return bytes(block), digest


def test_a_simple_handshake_echoes_c1_and_keeps_what_follows_c2() -> None:
    server = ServerHandshake()
    c1 = bytes(8) + bytes(range(256)) * 5 + bytes(248)
    reply = server.receive_data(b"\x03" + c1)
    assert len(reply) == 1 + 2 * BLOCK
    assert reply[0] == 3
    assert reply[1 + BLOCK :] == c1
    assert not server.done
    assert server.receive_data(b"\xff" * BLOCK + b"rest") == b""
    assert (server.done, server.digest, server.rest) == (True, False, b"rest")


@pytest.mark.parametrize("base", [772, 8])
def test_a_digest_client_gets_a_digest_answer(base: int) -> None:
    c1, digest = flash_c1(base)
    server = ServerHandshake()
    reply = server.receive_data(b"\x03" + c1)
    assert server.digest
    s1, s2 = reply[1 : 1 + BLOCK], reply[1 + BLOCK :]
    at = sum(s1[base : base + 4]) % 728 + base + 4
    key = b"Genuine Adobe Flash Media Server 001"
    assert s1[at : at + 32] == sign(key, s1[:at] + s1[at + 32 :])
    assert s1[4:8] == b"\x0d\x0e\x0a\x0d"
    assert s2[-32:] == sign(sign(key + TAIL, digest), s2[:-32])


def test_a_version_without_a_digest_is_simple() -> None:
    server = ServerHandshake()
    c1 = b"\0\0\0\0\x09\x00\x7c\x02" + b"\x55" * (BLOCK - 8)
    assert server.receive_data(b"\x03" + c1)[1 + BLOCK :] == c1
    assert not server.digest


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (b"\x06", "RTMPE is not offered: use rtmp:// in the encoder."),
        (b"\x16", "The client speaks TLS on the plain RTMP port: use rtmp://, not rtmps."),
        (b"GET /", "The client does not speak RTMP: its first byte is 71, not 3."),
    ],
)
def test_other_protocols_are_named(first: bytes, text: str) -> None:
    with pytest.raises(RtmpError) as caught:
        ServerHandshake().receive_data(first)
    assert str(caught.value) == text
    assert caught.value.fault is Fault.HANDSHAKE


def test_client_and_server_agree_byte_by_byte() -> None:
    client, server = ClientHandshake(), ServerHandshake()
    to_client = b"".join(server.receive_data(bytes((b,))) for b in client.start())
    to_server = b"".join(client.receive_data(bytes((b,))) for b in to_client[:-1])
    assert client.receive_data(to_client[-1:] + b"x") == b""
    server.receive_data(to_server)
    assert client.done
    assert server.done
    assert client.rest == b"x"
    assert to_server == to_client[1 : 1 + BLOCK]


@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_garbage_raises_only_the_typed_error(parts: list[bytes]) -> None:
    for peer in (ServerHandshake(), ClientHandshake()):
        with only(Fault.HANDSHAKE):
            for part in parts:
                if not peer.done:
                    peer.receive_data(part)
