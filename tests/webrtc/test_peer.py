"""Our side of a peer connection against aiortc's own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import re
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioice.stun
import pytest
from aioice.ice import StunProtocol
from aioice.stun import Class, Message, Method

import webrtc.ice
from tests.webrtc.stage import HOST, Stage, check, until
from webrtc.allowance import Allowance
from webrtc.ice import MAX_PLACES, MAX_UNSENT_BYTES, IceConnection, NoPort
from webrtc.peer import MAX_SOURCES, PeerLost

pytestmark = pytest.mark.component


def addresses(sdp: str) -> set[str]:
    """Where the candidates of an offer are."""
    return set(re.findall(r"^a=candidate:\S+ 1 udp \d+ (\S+)", sdp, re.MULTILINE))


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Stage, asyncio.Task[None]]]:
    stage = Stage()
    remote = await stage.negotiate()
    running = asyncio.get_running_loop().create_task(stage.peer.run(remote))
    try:
        await stage.answer()
        async with asyncio.timeout(10):
            await stage.peer.connected.wait()
        yield stage, running
    finally:
        running.cancel()
        await asyncio.wait([running])
        await stage.other.close()


async def test_rtp_and_rtcp_arrive_decrypted_and_go_back_encrypted() -> None:
    async with connected() as (stage, _):
        # It sent no candidates of use to us here: its own checks made it known.
        await until(lambda: len(stage.rtp) > 20)
        assert {data[0] >> 6 for data in stage.rtp} == {2}
        sequence = [int.from_bytes(data[2:4], "big") for data in stage.rtp]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(sequence))
        await until(lambda: stage.rtcp)
        assert stage.rtcp[0][1] == 200  # sender report
        assert stage.peer.address in addresses(stage.offer)
        assert stage.peer.received > sum(map(len, stage.rtp))
        before = stage.peer.sent
        ssrc = stage.rtp[0][8:12]
        block = ssrc + bytes(4) + bytes(2) + stage.rtp[-1][2:4] + bytes(12)
        stage.peer.send_rtcp(b"\x81\xc9\x00\x07" + b"\x00\x00\x00\x07" + block)
        assert stage.peer.sent > before + 32  # SRTCP adds an index and a tag
        sender = stage.other.getSenders()[0]

        async def reports() -> bool:
            return any(r.type == "remote-inbound-rtp" for r in (await sender.getStats()).values())

        async with asyncio.timeout(5):
            while not await reports():
                await asyncio.sleep(0.01)


async def test_a_data_channel_carries_text() -> None:
    async with connected() as (stage, _):
        sctp = stage.peer.sctp(5000)
        heard: list[object] = []

        @sctp.on("datachannel")
        def _opened(channel: object) -> None:
            channel.on("message", heard.append)  # type: ignore[attr-defined]
            channel.send("welcome")  # type: ignore[attr-defined]

        back: list[object] = []
        stage.channel.on("message", back.append)
        stage.channel.on("open", lambda: stage.channel.send("hello"))
        await stage.peer.start_sctp(sctp, port=5000, max_message=65536)
        await until(lambda: heard == ["hello"] and back == ["welcome"])
        await sctp.stop()


async def test_nobody_else_can_put_anything_in() -> None:
    async with connected() as (stage, _):
        await until(lambda: stage.rtp)
        port = stage.peer.candidates[0].port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in (b"\x16\xfe\xfd" + bytes(40), b"\x80\x60" + bytes(40), b"", b"\xff"):
                stranger.sendto(data, (HOST, port))
            await until(lambda: stage.peer._ice.strange == 3)
        seen = len(stage.rtp)
        await until(lambda: len(stage.rtp) > seen + 5)
        assert stage.peer.undecipherable == 0


async def test_strangers_get_no_answer_and_no_error_of_ours() -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: faults.append(said))
    async with connected() as (stage, _):
        await until(lambda: stage.rtp)
        port = stage.peer.candidates[0].port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            for kind, value in ((0x24, b"123"), (0x802A, b"1"), (0x06, b"\xff"), (0x20, b"\0\1")):
                body = struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
                body += b"\0\6\0\x08" + f"{stage.peer.local.ufrag}:xyz".encode()
                head = struct.pack("!HHI12s", 1, len(body), 0x2112A442, bytes(12))
                stranger.sendto(head + body, (HOST, port))
            stranger.sendto(struct.pack("!HHI12s", 1, 0, 0x2112A442, bytes(12)), (HOST, port))
            await until(lambda: stage.peer._ice.strange == 1)
            stranger.sendto(b"\xff", (HOST, port))
            await until(lambda: stage.peer._ice.strange == 2)
            await asyncio.sleep(0)
            with pytest.raises(BlockingIOError):
                stranger.recv(2000)
            stranger.sendto(check(stage.peer).replace(b"theirs", b"thence"), (HOST, port))
            stranger.sendto(b"\xff", (HOST, port))
            await until(lambda: stage.peer._ice.strange == 3)
            with pytest.raises(BlockingIOError):
                stranger.recv(2000)
        assert faults == []


async def test_what_no_peer_would_ask_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    parse = aioice.stun.parse_message
    monkeypatch.setattr("aioice.stun.parse_message", lambda data: read.append(data) or parse(data))
    async with connected() as (stage, _):
        await until(lambda: stage.rtp)
        port = stage.peer.candidates[0].port
        request = Message(message_method=Method.BINDING, message_class=Class.REQUEST)
        request.attributes["USERNAME"] = "somebody:else"
        request.add_message_integrity(b"a guess")
        answer = Message(message_method=Method.BINDING, message_class=Class.RESPONSE)
        read.clear()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(50):
                stranger.sendto(bytes(request), (HOST, port))
                stranger.sendto(bytes(answer), (HOST, port))
            await until(lambda: stage.peer._ice.strange == 100)
        assert not {bytes(request), bytes(answer)} & set(read)
        stage.peer._ice._query_consent_task.cancel()
        assert stage.peer._ice._nominated


class Wire:
    """Sends whatever it is given, from the address and with the keys of `stage.other`."""

    def __init__(self, stage: Stage) -> None:
        dtls = stage.other.getSenders()[0].transport
        pair = dtls.transport._connection._nominated[1]
        self.srtp = dtls._tx_srtp
        self._transport, self._to = pair.protocol.transport, pair.remote_addr

    def raw(self, data: bytes) -> None:
        self._transport.sendto(data, self._to)

    def rtp(self, ssrc: int, sequence: int = 0) -> None:
        header = struct.pack("!BBHII", 0x80, 96, sequence, 0, ssrc)
        self.raw(self.srtp.protect(header + b"tiny"))


async def test_a_datagram_that_srtp_does_not_take_is_no_fault_of_ours() -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: faults.append(said))
    async with connected() as (stage, _):
        await until(lambda: stage.rtp)
        wire = Wire(stage)
        for size in (1, 2, 11, 12, 1501, 9000):
            wire.raw(b"\x80\x60" + bytes(size))
            wire.raw(b"\x80\xc8" + bytes(size))
        await until(lambda: stage.peer.undecipherable == 12)
        seen = len(stage.rtp)
        await until(lambda: len(stage.rtp) > seen + 5)
        assert faults == []


async def test_a_peer_has_not_any_number_of_sources() -> None:
    async with connected() as (stage, _):
        await until(lambda: stage.rtp and stage.rtcp)
        wire = Wire(stage)
        for number in range(2 * MAX_SOURCES):
            wire.rtp(7000 + number)
            await asyncio.sleep(0)
        await until(lambda: stage.peer.flooded >= MAX_SOURCES)
        assert len({data[8:12] for data in stage.rtp}) <= MAX_SOURCES
        # Those who were there before are heard.
        before = stage.rtp[0][8:12]
        seen = sum(data[8:12] == before for data in stage.rtp)
        await until(lambda: sum(data[8:12] == before for data in stage.rtp) > seen + 5)


async def test_a_flood_of_the_peers_own_checks_is_not_answered() -> None:
    async with connected() as (stage, _):
        await until(lambda: stage.rtp)
        wire, asked = Wire(stage), check(stage.peer)
        stage.peer._ice.remote_username = "theirs"
        stage.peer._ice.checks = Allowance(rate=1, seconds=50)
        answers: list[object] = []
        send = StunProtocol.send_stun

        def count(self: StunProtocol, message: Message, address: tuple[str, int]) -> None:
            if message.message_class is Class.RESPONSE and self.receiver is stage.peer._ice:
                answers.append(message)
            send(self, message, address)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(StunProtocol, "send_stun", count)
            for _ in range(200):
                wire.raw(asked)
            await until(lambda: stage.peer.flooded >= 140)
        assert 40 <= len(answers) <= 60
        seen = len(stage.rtp)
        await until(lambda: len(stage.rtp) > seen + 5)


async def test_a_flood_of_dtls_is_not_read() -> None:
    async with connected() as (stage, _):
        await until(lambda: stage.rtp)
        wire = Wire(stage)
        stage.peer._records = Allowance(rate=1, seconds=50)
        for _ in range(200):
            wire.raw(b"\x17\xfe\xfd" + bytes(40))
        await until(lambda: stage.peer.flooded >= 100)
        seen = len(stage.rtp)
        await until(lambda: len(stage.rtp) > seen + 5)


async def test_a_peer_has_not_any_number_of_addresses() -> None:
    async with connected() as (stage, _):
        await until(lambda: stage.rtp)
        ice, port = stage.peer._ice, stage.peer.candidates[0].port
        ice.remote_username = "theirs"
        for _ in range(200):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(check(stage.peer), (HOST, port))
            await asyncio.sleep(0.001)
        await until(lambda: len(ice._check_list) >= MAX_PLACES)
        assert len(ice.remote_candidates) == MAX_PLACES
        seen = len(stage.rtp)
        await until(lambda: len(stage.rtp) > seen + 5)


async def test_a_check_without_priority_is_no_fault_of_ours() -> None:
    stage = Stage()
    remote = await stage.negotiate()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as early:
        early.sendto(check(stage.peer, priority=False), (HOST, stage.peer.candidates[0].port))
        await until(lambda: stage.peer._ice._early_checks)
    running = asyncio.get_running_loop().create_task(stage.peer.run(remote))
    await stage.answer()
    await until(lambda: stage.rtp or running.done())
    await stage.other.close()
    await running


async def test_questions_for_consent_tell_the_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrtc.ice.CONSENT_S", 0.02)
    async with connected() as (stage, _):
        assert stage.peer.round_trip_s is None
        await until(lambda: stage.peer.round_trip_s)
        assert 0 < (stage.peer.round_trip_s or 0) < 0.5
        # Answered after it was asked again: to which question is not known.
        monkeypatch.setattr("webrtc.ice.FIRST_REPEAT_S", 0.0)
        build, asked = stage.peer._ice.build_request, 0

        def noted(*args: Any, **named: Any) -> Message:
            nonlocal asked
            asked += 1
            return build(*args, **named)

        monkeypatch.setattr(stage.peer._ice, "build_request", noted)
        await until(lambda: asked > 3)
        assert stage.peer.round_trip_s is None


async def test_a_slow_path_is_not_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers take longer than a question waits before it is asked again: all in a tenth of time.

    Both for aioice's own loop, which would give up after six, and for ours.
    """
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.05)
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.02)
    monkeypatch.setattr("webrtc.ice.CONSENT_S", 0.02, raising=False)
    monkeypatch.setattr("webrtc.ice.CONSENT_LASTS_S", 0.4, raising=False)
    send = StunProtocol.send_stun
    answered = 0

    def late(self: StunProtocol, message: Message, address: tuple[str, int]) -> None:
        nonlocal answered
        if message.message_class is Class.RESPONSE and not isinstance(self.receiver, IceConnection):
            answered += 1
            asyncio.get_running_loop().call_later(0.08, send, self, message, address)
        else:
            send(self, message, address)

    async with connected() as (stage, running):
        await until(lambda: stage.rtp)
        monkeypatch.setattr(StunProtocol, "send_stun", late)
        await until(lambda: answered >= 20 or running.done())
        assert not running.done()
        monkeypatch.setattr(StunProtocol, "send_stun", lambda *_: None)
        with pytest.raises(PeerLost, match="half a minute"):
            await running


async def test_the_peers_goodbye_ends_it() -> None:
    async with connected() as (stage, running):
        await until(lambda: stage.rtp)
        await stage.other.close()
        await asyncio.wait_for(running, 5)
        with pytest.raises(PeerLost, match=r"not connected|gone"):
            stage.peer.send_rtp(bytes(20))


async def test_our_goodbye_ends_it() -> None:
    async with connected() as (stage, running):
        await stage.peer.close()
        await asyncio.wait_for(running, 5)
        await until(lambda: stage.other.connectionState == "closed")


async def test_a_fault_of_ours_is_loud() -> None:
    async with connected() as (stage, running):

        def fault(data: bytes, arrived_ns: int) -> None:
            raise ZeroDivisionError

        stage.peer._rtp = fault
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(running, 5)


async def test_another_certificate_than_the_offers_is_refused() -> None:
    stage = Stage()
    remote = await stage.negotiate()
    name, value = remote.fingerprints[0]
    wrong = value[:-2] + ("00" if value[-2:] != "00" else "01")
    running = asyncio.get_running_loop().create_task(
        stage.peer.run(replace(remote, fingerprints=((name, wrong),)))
    )
    await stage.answer()
    with pytest.raises(PeerLost, match="certificate is not the one of its offer"):
        await asyncio.wait_for(running, 10)
    assert not stage.rtp
    await stage.other.close()


async def test_ports_come_from_the_range() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        stage = Stage((port, port))
        with pytest.raises(NoPort, match=rf"No UDP port from {port} to {port} is free"):
            await stage.peer.open()
    again = Stage((port, port))
    await again.peer.open()
    assert [candidate.port for candidate in again.peer.candidates] == [port]
    assert [candidate.host for candidate in again.peer.candidates] == [HOST]
    await again.peer.close()


@pytest.mark.parametrize(
    ("hosts", "bound"),
    [
        (["127.0.0.1"], {"127.0.0.1"}),
        (["127.0.0.1", "127.0.0.2"], {"127.0.0.1", "127.0.0.2"}),
        (["203.0.113.7"], {"0.0.0.0"}),
        (["127.0.0.1", "203.0.113.7"], {"0.0.0.0"}),
        (["::1", "127.0.0.1"], {"::1", "127.0.0.1"}),
    ],
)
async def test_sockets_are_bound_to_what_peers_are_told(hosts: list[str], bound: set[str]) -> None:
    peer = Stage().peer
    peer._ice._hosts = tuple(hosts)
    await peer.open()
    names = [each.transport.get_extra_info("sockname") for each in peer._ice._protocols]
    assert {name[0] for name in names} == bound
    # The best one first, whatever the family, and each with a priority of its own.
    assert [candidate.host for candidate in peer.candidates] == hosts
    priorities = [candidate.priority for candidate in peer.candidates]
    assert priorities == sorted(set(priorities), reverse=True)
    v4 = {candidate.port for candidate in peer.candidates if ":" not in candidate.host}
    assert v4 == {name[1] for name in names if ":" not in name[0]}
    await peer.close()


async def test_too_many_open_files_are_no_lack_of_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("webrtc.ice._bound", refuse)
    with pytest.raises(NoPort, match="ulimit -n"):
        await Stage((20000, 20999)).peer.open()


async def test_a_port_that_is_forbidden_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = webrtc.ice._bound
    tried: list[int] = []

    def forbid(family: socket.AddressFamily, places: list[str], port: int) -> list[socket.socket]:
        tried.append(port)
        if len(tried) < 3:
            raise OSError(errno.EACCES, "Permission denied")
        return bound(family, places, 0)

    monkeypatch.setattr("webrtc.ice._bound", forbid)
    stage = Stage((20000, 20999))
    await stage.peer.open()
    names = [each.transport.get_extra_info("sockname") for each in stage.peer._ice._protocols]
    assert [name[0] for name in names] == [HOST]
    assert len(tried) == 3
    await stage.peer.close()
    await stage.other.close()


async def test_silence_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrtc.peer.HANDSHAKE_S", 0.2)
    stage = Stage()
    remote = await stage.negotiate()
    with pytest.raises(PeerLost, match=r"open whip\.ports in the firewall"):
        await stage.peer.run(remote)
    await stage.other.close()


async def test_what_the_machine_cannot_send_is_lost_and_not_kept(tmp_path: Path) -> None:
    """asyncio keeps all that a full socket refuses, without a bound."""
    where = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(where)
        writer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        writer.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, sock=writer
        )
        connection = IceConnection(ports=(0, 0), hosts=[HOST])
        pair: Any = SimpleNamespace(
            protocol=SimpleNamespace(transport=transport), remote_addr=where
        )
        connection._nominated[1] = pair
        for _ in range(2000):
            connection.send_now(bytes(1200))
        assert connection.unsent > 1500
        # asyncio adds some bytes to each.
        assert transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + 1300
        connection._nominated.clear()
        transport.abort()
