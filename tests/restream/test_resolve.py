"""Names whose servers never answer."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from restream import resolve
from restream.resolve import Resolver

pytestmark = pytest.mark.component

HANGS = """
import asyncio, socket, time
real = socket.getaddrinfo
def hang(host, *rest, flags=0, **more):
    if flags & socket.AI_NUMERICHOST:
        return real(host, *rest, flags=flags, **more)
    time.sleep(60)
socket.getaddrinfo = hang
from restream.resolve import Resolver
async def main():
    try:
        async with asyncio.timeout(0.2):
            await Resolver().resolve("black.example", 1935)
    except TimeoutError:
        print("given up")
asyncio.run(main())
"""


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch):
    """A name server that answers for `good.example` and keeps silent for others until told."""
    asked: list[str] = []
    answer = threading.Event()
    real = socket.getaddrinfo

    def look_up(host, port, *, flags=0, **more):
        if flags & socket.AI_NUMERICHOST:
            return real(host, port, flags=flags, **more)
        asked.append(host)
        if host == "good.example":
            return real("192.0.2.1", port, **more)
        answer.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked
    answer.set()


async def give_up(resolver: Resolver, host: str) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver.resolve(host, 1935)


async def test_a_silent_name_server_costs_one_thread_a_name_and_delays_no_other(names) -> None:
    resolver = Resolver()
    for _ in range(5):
        for number in range(10):
            await give_up(resolver, f"h{number}.evil.example")
    assert sorted(names) == [f"h{number}.evil.example" for number in range(10)]
    found = await asyncio.wait_for(resolver.resolve("good.example", 1935), 5)
    assert [address for _, address in found] == [("192.0.2.1", 1935)]


async def test_their_number_is_bounded_and_addresses_need_none(names, monkeypatch) -> None:
    monkeypatch.setattr(resolve, "MAX_LOOKUPS", 3)
    resolver = Resolver()
    for number in range(5):
        await give_up(resolver, f"h{number}.evil.example")
    assert len(names) == 3
    found = await resolver.resolve("2130706433", 1935)
    assert [address for _, address in found] == [("127.0.0.1", 1935)]


def test_a_lookup_that_hangs_does_not_hold_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("given up\n", "", 0)
