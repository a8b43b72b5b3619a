"""Adobe's login: by the book, by strangers, and by a real ffmpeg."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from urllib.parse import parse_qsl

import imageio_ffmpeg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.adobe import (
    FAILURE_WINDOW_NS,
    LIFETIME_NS,
    MAX_FAILURES,
    MAX_REMEMBERED,
    AdobeLogins,
    LoggedIn,
    LoginRejected,
    adobe_response,
    login_query,
)
from tests.ingest.rtmp.support import CREATE, HANDSHAKE, Running, amf, publish, running, whole

pytestmark = pytest.mark.component

HERE = "192.0.2.1"


def logins(**users: str) -> AdobeLogins:
    return AdobeLogins(users or {"ann": "pass"}, ["login"])


def challenge(door: AdobeLogins, user: str = "ann", now_ns: int = 0) -> dict[str, str]:
    """What a client reads out of the rejection."""
    answer = door.answer({"authmod": "adobe", "user": user}, address=HERE, now_ns=now_ns)
    assert isinstance(answer, LoginRejected)
    assert not answer.failed
    head, _, query = answer.description.partition(" : ?reason=needauth&")
    assert head == "[ AccessManager.Reject ] : [ authmod=adobe ]"
    return dict(parse_qsl(query))


def md5(text: str) -> str:
    return b64encode(hashlib.md5(text.encode()).digest()).decode()


def reply(given: dict[str, str], password: str = "pass", mine: str = "0badcafe") -> dict[str, str]:
    """What librtmp answers, written from its description."""
    inner = md5(given["user"] + given["salt"] + password)
    return {
        "authmod": "adobe",
        "user": given["user"],
        "challenge": mine,
        "response": md5(inner + given["opaque"] + mine),
        "opaque": given["opaque"],
    }


def test_the_dance() -> None:
    door = logins()
    first = door.answer({}, address=HERE, now_ns=0)
    assert first == LoginRejected(
        "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ", failed=False
    )
    given_ = challenge(door)
    assert given_["user"] == "ann"
    assert door.answer(reply(given_), address=HERE, now_ns=1) == LoggedIn("ann")


def test_a_challenge_is_good_for_one_login_and_for_a_while() -> None:
    door = logins()
    used = reply(challenge(door))
    assert door.answer(used, address=HERE, now_ns=1) == LoggedIn("ann")
    assert isinstance(door.answer(used, address=HERE, now_ns=2), LoginRejected)
    late = reply(challenge(door))
    assert isinstance(door.answer(late, address=HERE, now_ns=LIFETIME_NS + 1), LoginRejected)
    # What was used is forgotten only once it is too old to be used.
    fresh = reply(challenge(door, now_ns=LIFETIME_NS))
    assert door.answer(fresh, address=HERE, now_ns=LIFETIME_NS + 2) == LoggedIn("ann")
    assert isinstance(door.answer(used, address=HERE, now_ns=LIFETIME_NS + 3), LoginRejected)


@pytest.mark.parametrize(
    "change",
    [
        {"response": ""},
        {"response": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"response": "ü"},
        {"challenge": "other"},
        {"user": "bob"},
        {"opaque": ""},
        {"opaque": "a.b.c.d"},
        {"opaque": "x" * 5000},
        {"challenge": "x" * 5000},
        {"user": "ann&salt=1"},
        {"user": "a" * 5000},
        {"user": "a\nb"},
    ],
)
def test_what_is_not_right_fails_alike(change: dict[str, str]) -> None:
    door = logins()
    answer = door.answer(reply(challenge(door)) | change, address=HERE, now_ns=1)
    assert answer == LoginRejected(
        "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed", failed=True
    )


def test_unknown_users_cannot_be_told_from_known_ones() -> None:
    door = logins()
    known, unknown = challenge(door, "ann"), challenge(door, "bob")
    assert {k: len(v) for k, v in known.items()} == {k: len(v) for k, v in unknown.items()}
    assert door.answer(reply(unknown), address=HERE, now_ns=1) == door.answer(
        reply(known, "wrong"), address=HERE, now_ns=1
    )


def test_a_challenge_of_another_server_is_worth_nothing() -> None:
    given_ = challenge(logins())
    assert isinstance(logins().answer(reply(given_), address=HERE, now_ns=1), LoginRejected)


def test_an_address_that_guesses_is_no_longer_listened_to() -> None:
    door = logins()
    for _ in range(MAX_FAILURES):
        door.answer(reply(challenge(door), "wrong"), address=HERE, now_ns=1)
    right = reply(challenge(door))
    assert isinstance(door.answer(right, address=HERE, now_ns=2), LoginRejected)
    assert door.answer(right, address="192.0.2.2", now_ns=2) == LoggedIn("ann")
    later = FAILURE_WINDOW_NS + 5
    again = reply(challenge(door, now_ns=later))
    assert door.answer(again, address=HERE, now_ns=later) == LoggedIn("ann")


def test_memory_is_bounded_whatever_strangers_do() -> None:
    door = logins()
    for number in range(MAX_REMEMBERED + 50):
        door.answer(reply(challenge(door), "wrong"), address=f"a{number}", now_ns=1)
    assert len(door._failures) == MAX_REMEMBERED
    assert len(door._used) == 0


@given(st.dictionaries(st.sampled_from(["authmod", "user", "response", "opaque"]), st.text()))
def test_any_parameters_are_answered(query: dict[str, str]) -> None:
    answer = logins().answer(query | {"authmod": "adobe"}, address=HERE, now_ns=0)
    assert isinstance(answer, LoginRejected)


@given(st.text(), st.text())
def test_any_text_is_read(app: str, tc_url: str) -> None:
    assert set(login_query(app, tc_url)) <= {
        "authmod",
        "user",
        "challenge",
        "response",
        "opaque",
        "nonce",
    }


def test_base64_is_not_a_form() -> None:
    query = login_query("login?user=a&response=a+b/c==&opaque=x%2Ey", "rtmp://h/login?user=b")
    assert query == {"user": "a", "response": "a+b/c==", "opaque": "x.y"}


def test_the_response_is_that_of_the_description() -> None:
    assert adobe_response("u", b"p", "s", "o", "c") == md5(md5("usp") + "o" + "c")


# In a server


async def push(server: Running, url: str) -> str:
    """Push two seconds; return what ffmpeg complains of."""
    process = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10", "-t", "2"),
        *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-f", "flv"),
        url.format(port=server.server.port),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        _, errors = await process.communicate()
    assert (process.returncode == 0) == (not errors), errors.decode()
    return errors.decode()


async def test_ffmpeg_logs_in() -> None:
    # FFmpeg takes the password from the URL as it stands, without percent-decoding.
    with structlog.testing.capture_logs() as logs:
        async with running(users={"ann": "p+ss=w.rd"}) as server:
            url = "rtmp://ann:p+ss=w.rd@127.0.0.1:{port}/login/show"
            assert await push(server, url) == ""
            (publication,) = server.gate.publications
            await server.until(lambda: bool(publication.closed))
            assert publication.stream == "ann-show"
            assert len(publication.packets) == 20
            assert server.meter.rejections == {}
            assert server.meter.closed["login"] == 2
            assert server.gate.approaches[0].query == {}
    assert "p+ss" not in repr(logs)


async def test_ffmpeg_logs_in_as_the_backup() -> None:
    async with running(users={"ann": "pass"}) as server:
        assert await push(server, "rtmp://ann:pass@127.0.0.1:{port}/login/show?role=backup") == ""
        (approach,) = server.gate.approaches
        assert (approach.user, approach.key) == ("ann", "show")
        assert approach.query == {"role": "backup"}


async def test_ffmpeg_with_a_wrong_password_is_told() -> None:
    async with running(users={"ann": "pass"}) as server:
        errors = await push(server, "rtmp://ann:wrong@127.0.0.1:{port}/login/show")
        assert "Incorrect username/password" in errors
        assert server.gate.asked == []
        assert server.meter.rejections == {"key": 1}


async def test_keys_need_no_login() -> None:
    async with running(users={"ann": "pass"}) as server:
        assert await push(server, "rtmp://127.0.0.1:{port}/live/good") == ""
        assert await push(server, "rtmp://127.0.0.1:{port}/live?key=good/name") == ""
        assert [p.stream for p in server.gate.publications] == ["demo", "demo"]
    async with running() as server:
        assert await push(server, "rtmp://127.0.0.1:{port}/login/good") == ""


async def test_nothing_is_published_ahead_of_the_login() -> None:
    app = {"app": "login", "tcUrl": "rtmp://h/login", "flashVer": "X"}
    async with running(users={"ann": "pass"}) as server:
        peer = await server.connect()
        peer.send(HANDSHAKE + whole(3, 20, amf("connect", 1, app)) + CREATE + publish("good"))
        answer = await peer.until_closed()
        assert b"NetConnection.Connect.Rejected" in answer
        assert b"NetStream" not in answer
        assert server.gate.asked == []
