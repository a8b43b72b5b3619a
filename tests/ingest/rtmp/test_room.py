"""A full listener: strangers make room for strangers, publishers for nobody."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.connection import Connection
from ingest.rtmp.room import whom_to_displace
from tests.ingest.rtmp.support import CONNECT, HANDSHAKE, Peer, Running, running
from tests.support.certificates import make_certificate

pytestmark = pytest.mark.component


@dataclass(frozen=True)
class Guest:
    address: str
    opened_ns: int
    lingers: bool = False


def test_the_oldest_of_the_crowd_leaves() -> None:
    guests = [Guest("a", 1), Guest("b", 2), Guest("b", 4), Guest("b", 3)]
    assert whom_to_displace(guests, "c") == Guest("b", 2)
    assert whom_to_displace(guests, "a") == Guest("b", 2)


def test_who_was_cut_leaves_first() -> None:
    guests = [Guest("b", 2), Guest("b", 4), Guest("a", 9, True), Guest("a", 10, True)]
    assert whom_to_displace(guests, "b") == Guest("a", 9, True)


def test_a_crowd_pushes_nobody_out() -> None:
    assert whom_to_displace([Guest("a", 1), Guest("b", 2), Guest("b", 3)], "b") is None
    assert whom_to_displace([Guest("a", 1)], "b") is None
    assert whom_to_displace([], "a") is None


@given(
    st.lists(st.builds(Guest, st.sampled_from("abcd"), st.integers(0, 99)), max_size=12),
    st.sampled_from("abcd"),
)
def test_a_newcomer_never_ends_up_in_the_larger_crowd(guests: list[Guest], newcomer: str) -> None:
    leaving = whom_to_displace(guests, newcomer)
    places = [guest.address for guest in guests]
    if leaving is not None:
        assert leaving.address != newcomer
        assert places.count(leaving.address) > places.count(newcomer) + 1
    else:
        assert all(places.count(each) <= places.count(newcomer) + 1 for each in places)


async def from_address(server: Running, address: str) -> Peer:
    return Peer(
        *await asyncio.open_connection("127.0.0.1", server.server.port, local_addr=(address, 0))
    )


async def test_an_encoder_gets_in_however_many_strangers_there_are() -> None:
    async with running(max_connections=8) as server:
        live = await from_address(server, "127.0.0.2")
        await live.publish("good")
        crowd = [await from_address(server, f"127.0.0.{3 + n % 2}") for n in range(7)]
        for peer in crowd:
            peer.send(HANDSHAKE + CONNECT)
            await peer.until(b"NetConnection.Connect.Success")
        encoder = await from_address(server, "127.0.0.9")
        await encoder.publish("other")
        assert server.meter.rejections == {"limit": 1}
        await crowd[0].until_closed()
        # Nobody among them is more than its neighbours: the next stranger is turned away.
        late = await from_address(server, "127.0.0.3")
        await late.until_closed()
        assert server.meter.rejections == {"limit": 2}
        assert [publication.closed for publication in server.gate.publications] == [[], []]


async def test_half_open_tls_makes_room_too(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "room")
    settings = {"tls_port": 0, "tls_certificate": certificate, "tls_key": key}
    async with running(max_connections=4, **settings) as server:
        port = server.server.tls_port
        crowd = [
            Peer(*await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.3", 0)))
            for _ in range(4)
        ]
        await server.until(lambda: server.meter.opened == 4)
        encoder = await from_address(server, "127.0.0.9")
        await encoder.publish("good")
        with suppress(ConnectionError):
            await crowd[0].until_closed()
        await server.until(lambda: server.meter.closed.total() == 1)
        assert server.meter.rejections == {"limit": 1}


async def test_a_whole_ipv6_network_is_one_crowd() -> None:
    async with running(max_connections=4, max_connections_per_address=5) as server:

        def knock(address: str) -> bool:
            return Connection(server.server, "rtmp").arrive((address, 1))

        assert all(knock(f"2001:db8:0:1::{n}") for n in range(1, 5))
        # Full of strangers that are one: they hold no place against anybody else.
        assert knock("2001:db8:0:2::1")
        assert knock("192.0.2.1")
        assert not knock("2001:db8:0:1::9")
