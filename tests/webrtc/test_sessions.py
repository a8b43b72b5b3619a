"""Sessions between aiortc's peers and ours: made, bounded, owned, ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog.testing
from aiortc import RTCPeerConnection

from config.settings import IceServerSettings, WhipSettings
from tests.webrtc.callers import HOST, SETTINGS, Listener, Meter, Publisher, Tasks, until
from webrtc.door import Call, DoorRefused, Opened
from webrtc.peer import make_certificate
from webrtc.sdp.model import Session as Description
from webrtc.sdp.negotiate import Answer, Local
from webrtc.sdp.whip import PublishPolicy, answer_publisher
from webrtc.session import End, Session, SessionOver
from webrtc.sessions import SessionLimits, Sessions

pytestmark = pytest.mark.component

CERTIFICATE = make_certificate()
FEW = SessionLimits(total=8, per_address=8)


def agree(offer: Description, local: Local) -> Answer:
    return answer_publisher(offer, local, PublishPolicy())


class House:
    """Sessions, and whom they were given."""

    def __init__(self, tasks: Tasks, settings: WhipSettings, limits: SessionLimits) -> None:
        self.tasks = tasks
        self.meter = Meter()
        self.listeners: list[Listener] = []
        self.sessions = Sessions(
            protocol="whip",
            settings=settings,
            limits=limits,
            certificate=CERTIFICATE,
            meter=self.meter,
            spawn=tasks,
            crowd_of=lambda address: address,
        )

    async def open(
        self,
        offer: str,
        *,
        token: str | None = "secret",
        address: str = HOST,
        owner: str = "shop",
    ) -> Opened:
        return await self.sessions.open(
            Call(offer=offer, address=address, token=token),
            stream="shop",
            owner=owner,
            negotiate=agree,
            attend=self._attend,
        )

    def _attend(self, session: Session) -> Listener:
        self.listeners.append(Listener(session))
        return self.listeners[-1]


@contextlib.asynccontextmanager
async def house(
    *,
    settings: WhipSettings = SETTINGS,
    limits: SessionLimits = FEW,
) -> AsyncIterator[House]:
    async with asyncio.TaskGroup() as group:
        made = House(Tasks(group), settings, limits)
        try:
            yield made
        finally:
            await made.sessions.close_all()
    assert len(made.sessions) == 0
    assert made.tasks.failed == []


@contextlib.asynccontextmanager
async def publisher() -> AsyncIterator[Publisher]:
    made = Publisher()
    try:
        yield made
    finally:
        await made.close()


@contextlib.contextmanager
def refusal(status: int, text: str) -> Iterator[pytest.ExceptionInfo[DoorRefused]]:
    with pytest.raises(DoorRefused, match=text) as refused:
        yield refused
    assert refused.value.status == status


@pytest.mark.parametrize("candidates", [False, True])
async def test_a_publisher_connects_and_leaves(candidates: bool) -> None:
    async with house() as home, publisher() as caller:
        opened = await home.open(await caller.offer(candidates=candidates))
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", opened.session)
        assert re.fullmatch(r'"[^"]+"', opened.etag)
        assert "a=setup:passive" in opened.answer
        assert f" {HOST} " in opened.answer
        await caller.take(opened)
        await until(lambda: home.listeners and len(home.listeners[0].rtps) > 5)
        assert home.listeners[0].begun == 1
        assert len(home.sessions) == 1
        await caller.close()
        await until(lambda: not len(home.sessions))
        assert home.listeners[0].ended == [End.BYE]
        assert (home.meter.opened, home.meter.closed) == (["whip"], ["bye"])
        assert 0 < home.meter.connected[0] < 10


async def test_a_goodbye_is_one_also_while_we_send(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_report = b"\x80\xc9\x00\x01\x00\x00\x00\x07"

    async def send(self: Listener) -> None:
        while True:
            self.session.send_rtcp(empty_report)
            await asyncio.sleep(0)

    monkeypatch.setattr(Listener, "run", send)
    tasks = asyncio.all_tasks()
    for _ in range(3):
        async with house() as home, publisher() as caller:
            await caller.take(await home.open(await caller.offer()))
            await until(lambda: home.listeners[0].rtps)
            await caller.close()
            await until(lambda: not len(home.sessions))
            assert home.listeners[0].ended == [End.BYE]
    await asyncio.sleep(0.01)
    assert {each.get_coro().__qualname__ for each in asyncio.all_tasks() - tasks} == set()


@pytest.mark.parametrize("turns", range(5))
async def test_two_goodbyes_at_once_leave_nothing_open(turns: int) -> None:
    many = WhipSettings(ports="0", addresses=(HOST, "127.0.0.2", "127.0.0.3"))
    async with house(settings=many) as home, publisher() as caller:
        opened = await home.open(await caller.offer())
        await caller.take(opened)
        await until(lambda: home.listeners[0].rtps)
        session = home.listeners[0].session
        ice = session.peer._ice
        await caller.close()
        while not session.peer.leaving:
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        session.finish(End.BYE)
        await until(lambda: not len(home.sessions))
        assert ice._protocols == []
        assert ice._closed


async def test_its_owner_ends_it_at_once() -> None:
    async with house() as home, publisher() as caller:
        opened = await home.open(await caller.offer())
        await caller.take(opened)
        await until(lambda: home.listeners[0].rtps)
        with refusal(401, "Authorization: Bearer"):
            await home.sessions.close(opened.session, None)
        with refusal(403, "another key"):
            await home.sessions.close(opened.session, "secre")
        with refusal(404, "no such session"):
            await home.sessions.close("x" * 32, "secret")
        assert len(home.sessions) == 1
        await home.sessions.close(opened.session, "secret")
        assert len(home.sessions) == 0
        await until(lambda: caller.connection.connectionState == "closed")
        with refusal(404, "no such session"):
            await home.sessions.close(opened.session, "secret")


async def test_whose_session_was_ended_is_told_why() -> None:
    async with house() as home, publisher() as caller:
        opened = await home.open(await caller.offer())
        await caller.take(opened)
        await until(lambda: home.listeners[0].rtps)
        home.listeners[0].session.finish(End.REVOKED, "Another has it now.")
        # At once, and once it is gone.
        for _ in range(2):
            with refusal(409, "Another has it now") as refused:
                await home.sessions.close(opened.session, "secret")
            assert refused.value.reason == "revoked"
            with refusal(409, "Another has it now"):
                await home.sessions.trickle(opened.session, "secret", "", opened.etag)
            with refusal(401, "Authorization: Bearer"):
                await home.sessions.close(opened.session, None)
            with refusal(403, "another key"):
                await home.sessions.close(opened.session, "other")
            await until(lambda: not len(home.sessions))


async def test_of_a_stop_or_without_a_sentence_nothing_is_told() -> None:
    async with house() as home, publisher() as caller:
        for reason, text in ((End.BYE, "The server is stopping."), (End.REVOKED, "")):
            opened = await home.open(await caller.offer())
            home.listeners[-1].session.finish(reason, text)
            with refusal(404, "no such session"):
                await home.sessions.close(opened.session, "secret")
            await until(lambda: not len(home.sessions))
            with refusal(404, "no such session"):
                await home.sessions.close(opened.session, "secret")


async def test_without_a_token_the_name_is_enough() -> None:
    async with house() as home, publisher() as caller:
        opened = await home.open(await caller.offer(), token=None)
        await home.sessions.close(opened.session, "any")
        assert home.listeners[0].ended == [End.BYE]
        assert home.listeners[0].begun == 0


async def test_trickled_candidates_are_taken_and_restarts_are_not() -> None:
    async with house() as home, publisher() as caller:
        whole = await caller.offer(candidates=True)
        without = re.sub(r"a=(candidate|end-of-candidates).*\r\n", "", whole)
        candidate = re.search(r"a=candidate:\S+ 1 udp \d+ (\S+) .*\r\n", whole)
        assert candidate is not None
        opened = await home.open(without, address=candidate[1])
        fragment = f"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{candidate[0]}"

        async def send(
            text: str = fragment, if_match: str | None = opened.etag, token: str = "secret"
        ) -> None:
            await home.sessions.trickle(opened.session, token, text, if_match)

        with refusal(428, "Send If-Match"):
            await send(if_match=None)
        with refusal(412, "ETag"):
            await send(if_match='"other"')
        with refusal(403, "another key"):
            await send(token="other")
        with refusal(400, "Line 1"):
            await send("nonsense")
        ice = home.listeners[0].session.peer._ice
        assert ice.remote_candidates == []
        restart = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" + fragment
        with refusal(422, "ICE restarts are not taken"):
            await send(restart, if_match="*")
        await send("a=ice-ufrag:stale\r\n" + fragment)
        assert ice.remote_candidates == []
        await send()
        await send(if_match=f'"other", {opened.etag}')
        assert [each.port for each in ice.remote_candidates] == [int(candidate[0].split()[5])]
        flood = "".join(
            f"a=candidate:1 1 udp 1 {candidate[1]} {port} typ host\r\n" for port in range(1, 60)
        )
        await send(fragment + flood)
        assert 30 <= len(ice.remote_candidates) <= 32
        await send(fragment + "a=end-of-candidates\r\n")
        await send()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_hundreds_of_sessions_leave_nothing() -> None:
    earlier = [each for each in gc.get_objects() if isinstance(each, Session)]
    async with house() as home, publisher() as caller:
        offer = await caller.offer(candidates=True)

        async def some() -> None:
            for _ in range(50):
                opened = await home.open(offer)
                await home.sessions.close(opened.session, "secret")

        await some()
        gc.collect()
        before = descriptors(), len(asyncio.all_tasks())
        await some()
        await some()
        gc.collect()
        after = descriptors(), len(asyncio.all_tasks())
        assert after == before
        home.listeners.clear()
        gc.collect()
        left = [each for each in gc.get_objects() if isinstance(each, Session)]
        assert all(each in earlier for each in left)


async def test_nobody_else_is_sent_checks() -> None:
    async with house() as home, publisher() as caller:
        sdp = await caller.offer()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as third:
            third.setblocking(False)
            third.bind(("127.0.0.2", 0))
            told = f"a=candidate:1 1 udp 1 127.0.0.2 {third.getsockname()[1]} typ host\r\n"
            told += "a=candidate:1 1 udp 1 169.254.169.254 80 typ host\r\n"
            opened = await home.open(sdp + told)
            end = "a=end-of-candidates\r\n"
            await home.sessions.trickle(opened.session, "secret", told + end, opened.etag)
            assert home.listeners[0].session.peer._ice.remote_candidates == []
            # Who cannot be reached where it says is found all the same.
            await caller.take(opened)
            await until(lambda: home.listeners[0].rtps)
            with pytest.raises(BlockingIOError):
                third.recv(2000)


async def test_sessions_are_bounded() -> None:
    limits = SessionLimits(total=4, per_address=2, per_owner=2)
    async with house(limits=limits) as home, publisher() as caller:
        offer = await caller.offer()
        await home.open(offer, owner="a")
        await home.open(offer, owner="a", address="192.0.2.1")
        with refusal(503, "with this key") as refused:
            await home.open(offer, owner="a", address="192.0.2.2")
        assert refused.value.retry_after_s == 5
        opened = await home.open(offer, owner="b")
        with refusal(503, "from your address"):
            await home.open(offer, owner="c")
        await home.open(offer, owner="c", address="192.0.2.3")
        with refusal(503, "as many"):
            await home.open(offer, owner="d", address="192.0.2.4")
        await home.sessions.close(opened.session, "secret")
        await home.open(offer, owner="c")
        assert home.meter.refused == [503, 503, 503]


async def test_who_is_leaving_keeps_the_next_one_not_out() -> None:
    limits = SessionLimits(total=8, per_address=8, per_owner=2)
    async with house(limits=limits) as home, publisher() as caller:
        offer = await caller.offer()
        for _ in range(2):
            await home.open(offer)
        for each in home.sessions:
            each.finish(End.REVOKED)
        await home.open(offer)
        assert len(home.sessions) == 1


async def test_who_does_not_connect_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = SessionLimits(total=4, per_address=2)
    async with house(limits=limits) as home, publisher() as caller:
        offer = await caller.offer()
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.2"):
            await home.open(offer, address=address)
        await caller.take(await home.open(offer))
        await until(lambda: home.listeners[3].begun)
        with refusal(503, "as many"):
            await home.open(offer)
        monkeypatch.setattr("webrtc.sessions.PATIENCE_NS", 0)
        await home.open(offer)
        # Of the address with the most, the oldest.
        assert [bool(each.ended) for each in home.listeners] == [False, True, False, False, False]
        assert home.listeners[1].ended == [End.TIMEOUT]
        assert len(home.sessions) == 4
        # Of one's own address, where that is full.
        await home.open(offer, address="192.0.2.3")
        await home.open(offer, address="192.0.2.3")
        assert not home.listeners[4].ended
        await home.open(offer, address="192.0.2.3")
        assert home.listeners[5].ended == [End.TIMEOUT]
        # Who is connected stays.
        assert not home.listeners[3].ended
        for number in range(10):
            await home.open(offer, address=f"192.0.2.{10 + number}")
        assert not home.listeners[3].ended
        assert len(home.sessions) == 4
        assert set(home.meter.closed) == {"timeout"}


async def test_a_refused_offer_leaves_nothing_behind() -> None:
    async with house(limits=SessionLimits(total=1, per_address=1)) as home, publisher() as caller:
        offer = await caller.offer()
        with refusal(400, "Line 1"):
            await home.open("nonsense")
        with refusal(422, r"a=recvonly|publisher offers a=sendonly"):
            await home.open(offer.replace("a=sendrecv", "a=recvonly"))
        with refusal(422, "ice-lite"):
            await home.open(offer.replace("s=-\r\n", "s=-\r\nt=0 0\r\na=ice-lite\r\n", 1))
        assert home.meter.refused == [400, 422, 422]
        assert len(home.sessions) == 0
        await home.open(offer)


async def test_no_free_port_says_what_to_do() -> None:
    async with house() as home, publisher() as caller:
        opened = await home.open(await caller.offer())
        found = re.search(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+)", opened.answer)
        assert found is not None
        settings = WhipSettings(ports=found[1], addresses=(HOST,))
        async with house(settings=settings) as other:
            with refusal(503, r"widen whip\.ports"):
                await other.open(await caller.offer())
            assert len(other.sessions) == 0


async def test_the_attendant_may_end_it_and_a_fault_is_loud() -> None:
    async with house() as home, publisher() as caller:
        await caller.take(await home.open(await caller.offer()))

        def too_much() -> None:
            raise SessionOver(End.LIMIT, "Too much.")

        home.listeners[0].on_rtp = too_much
        with structlog.testing.capture_logs() as lines:
            await until(lambda: not len(home.sessions))
        assert home.listeners[0].ended == [End.LIMIT]
        assert home.meter.closed == ["limit"]
        over = [line for line in lines if line["event"] == "session over"]
        assert over[0]["detail"] == "Too much."
        assert "secret" not in str(lines)
    async with asyncio.TaskGroup() as group:
        tasks = Tasks(group)
        home = House(tasks, SETTINGS, SessionLimits(total=1, per_address=1))
        async with publisher() as caller:
            await caller.take(await home.open(await caller.offer()))
            home.listeners[0].on_rtp = lambda: 1 / 0  # type: ignore[assignment, return-value]
            await until(lambda: not len(home.sessions))
    assert home.listeners[0].ended == [End.ERROR]
    assert home.meter.closed == ["error"]
    assert len(tasks.failed) == 1


async def test_who_never_connects_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrtc.peer.HANDSHAKE_S", 0.2)
    async with house() as home, publisher() as caller:
        await home.open(await caller.offer())
        await until(lambda: not len(home.sessions))
        assert home.listeners[0].ended == [End.TIMEOUT]
        assert home.listeners[0].begun == 0


async def test_a_stop_says_goodbye_and_takes_no_more() -> None:
    async with house() as home, publisher() as caller:
        await caller.take(await home.open(await caller.offer()))
        await until(lambda: home.listeners[0].rtps)
        await home.sessions.close_all()
        assert len(home.sessions) == 0
        connection: RTCPeerConnection = caller.connection
        await until(lambda: connection.connectionState == "closed")
        with refusal(503, "stopping"):
            await home.open(await Publisher().offer())


async def test_ice_servers_are_told_in_links() -> None:
    servers = (
        IceServerSettings(url="stun:stun.example.com:3478"),
        IceServerSettings(
            url="turn:turn.example.com:3478?transport=udp", username="u", credential="p"
        ),
    )
    async with house(settings=SETTINGS.model_copy(update={"ice_servers": servers})) as home:
        stun, turn = home.sessions.links
        assert stun == '<stun:stun.example.com:3478>; rel="ice-server"'
        url, *parameters = turn.split("; ")
        assert url == "<turn:turn.example.com:3478?transport=udp>"
        login = ['username="u"', 'credential="p"', 'credential-type="password"']
        assert parameters == ['rel="ice-server"', *login]
