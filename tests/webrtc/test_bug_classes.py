"""Classes of bugs that WebRTC servers were broken by: each has a test here, or one named here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiortc import RTCDtlsTransport
from OpenSSL import SSL

from tests.webrtc.stage import HOST, Stage, check, until
from webrtc.peer import PeerLost
from webrtc.rtp import RtpError, parse_rtp

pytestmark = pytest.mark.component

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    # A publisher's endpoint without a key, or one that falls over a wrong key.
    "ingest/whip/test_service.py": [
        "test_who_may_not_publish_is_told_why",
        # Those whose key is refused hold up those whose key is right.
        "test_who_guesses_keys_is_told_to_wait_and_keeps_no_publisher_out",
        # Packets of a few bytes, which no limit of the bit rate sees.
        "test_a_flood_of_packets_ends_it",
        # Pictures that no decoder should be opened for.
        "test_what_is_too_much_ends_it",
    ],
    "webrtc/test_sessions.py": [
        # Sessions ended or changed by those who did not open them.
        "test_its_owner_ends_it_at_once",
        "test_trickled_candidates_are_taken_and_restarts_are_not",
        # The server made to send to third parties, or into its own network.
        "test_nobody_else_is_sent_checks",
        # Places held by those who never come.
        "test_who_does_not_connect_keeps_nobody_out",
        "test_sessions_are_bounded",
        "test_hundreds_of_sessions_leave_nothing",
    ],
    "delivery/whep/test_service.py": [
        "test_who_offers_too_often_is_told_to_wait_and_costs_nothing",
        "test_a_viewer_that_floods_is_let_go",
        # Every viewer's wish for a key picture passed on.
        "test_many_in_need_ask_the_encoder_once",
    ],
    "webrtc/test_peer.py": [
        # Media and answers for strangers' packets, and amplification by them.
        "test_nobody_else_can_put_anything_in",
        "test_strangers_get_no_answer_and_no_error_of_ours",
        "test_what_no_peer_would_ask_is_not_read",
        "test_a_peer_has_not_any_number_of_addresses",
        "test_a_peer_has_not_any_number_of_sources",
        "test_a_datagram_that_srtp_does_not_take_is_no_fault_of_ours",
        # A fingerprint that is not compared.
        "test_another_certificate_than_the_offers_is_refused",
    ],
    "webrtc/test_sctp.py": [
        "test_a_report_about_all_numbers_costs_nothing",
        "test_messages_without_an_end_are_not_kept",
    ],
    "webrtc/test_rtcp.py": ["test_a_claim_of_many_losses_costs_nothing"],
    "webrtc/test_extensions.py": ["test_an_element_beyond_its_extension_is_refused"],
    "delivery/test_webrtc.py": ["test_a_foreign_page_is_kept_out_where_origins_are_listed"],
}


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, names in ELSEWHERE.items() for name in names]
)
def test_a_class_has_its_test(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize(
    "header",
    [
        # More sources than there are bytes; an extension that ends beyond the packet, or that is
        # only a header; padding longer than the packet.
        struct.pack("!BBHII", 0x8F, 96, 1, 2, 3) + bytes(8),
        struct.pack("!BBHII", 0x90, 96, 1, 2, 3) + b"\xbe\xde\xff\xff" + bytes(64),
        struct.pack("!BBHII", 0x90, 96, 1, 2, 3) + b"\xbe\xde",
        struct.pack("!BBHII", 0xA0, 96, 1, 2, 3) + b"\xff",
    ],
)
def test_a_header_that_claims_more_than_there_is_is_refused(header: bytes) -> None:
    with pytest.raises(RtpError):
        parse_rtp(header)


def hello() -> bytes:
    """Return a real ClientHello of DTLS."""
    context = SSL.Context(SSL.DTLS_METHOD)
    connection = SSL.Connection(context)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(2000)


@contextlib.asynccontextmanager
async def knocking(stage: Stage) -> AsyncIterator[socket.socket]:
    """A stranger's ClientHello, and its guess of a check, every millisecond."""
    said = hello()
    assert said[0] == 22
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        forged = check(stage.peer).replace(b"theirs", b"others")

        async def knock() -> None:
            while True:
                for data in (said, forged):
                    stranger.sendto(data, (HOST, stage.peer.candidates[0].port))
                await asyncio.sleep(0.001)

        task = asyncio.get_running_loop().create_task(knock())
        try:
            yield stranger
        finally:
            task.cancel()


async def test_a_strangers_hello_wins_no_race_and_gets_no_answer() -> None:
    """Before ICE has an address, between that and the handshake, and after it."""
    stage = Stage()
    remote = await stage.negotiate()
    async with knocking(stage) as stranger:
        running = asyncio.get_running_loop().create_task(stage.peer.run(remote))
        await asyncio.sleep(0.05)
        assert not stage.peer.connected.is_set()
        await stage.answer()
        await until(lambda: len(stage.rtp) > 10 or running.done())
        assert not running.done()
        strange = stage.peer.strange
        await until(lambda: stage.peer.strange > strange + 20)
        assert stage.peer.undecipherable == 0
        with pytest.raises(BlockingIOError):
            stranger.recv(2000)
    await stage.other.close()
    await running


async def test_a_handshake_that_never_ends_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """ICE is answered, DTLS is not: the place is not held for ever."""
    monkeypatch.setattr("webrtc.peer.HANDSHAKE_S", 1.0)
    stage = Stage()
    remote = await stage.negotiate()
    start = RTCDtlsTransport.start

    async def silent(self: RTCDtlsTransport, parameters: object) -> None:
        if self is stage.peer._dtls:
            await start(self, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(RTCDtlsTransport, "start", silent)
    running = asyncio.get_running_loop().create_task(stage.peer.run(remote))
    await stage.answer()
    await until(lambda: stage.peer.address is not None or running.done())
    with pytest.raises(PeerLost, match="did not connect within"):
        await running
    assert stage.peer._ice.closing
    await stage.other.close()
