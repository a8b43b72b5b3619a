"""The authorisation hook: only a plain yes in time lets anybody publish."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
import structlog
from pydantic import ValidationError

from config.settings import AuthSettings, Settings
from ingest.source import Approach, Grant, KeyRefused, Refusal
from media.model import Role
from tests.support.hook import SECRET, Hook, hook_server, no, yes
from vitrina.gate import Gate
from vitrina.hook import MAX_ANSWER_BYTES, MAX_CONCURRENT, UNDECIDED_TEXT, PublishHook

pytestmark = pytest.mark.component

KEY = "S3CRET-KEY"


class Meter:
    def __init__(self):
        self.results = Counter()

    def hook_asked(self, result, seconds):
        assert seconds >= 0
        self.results[result] += 1


def asker(url, meter, timeout_s=3.0):
    settings = AuthSettings(
        publish_hook_url=url, publish_hook_secret=SECRET, publish_hook_timeout_s=timeout_s
    )
    return PublishHook(settings, meter)


def approach(**more):
    return Approach(protocol="rtmp", address="192.0.2.1", key=KEY, **more)


GRANT = Grant(stream="show", role=Role.BACKUP)


async def ask(hook: Hook, timeout_s=3.0, **more):
    """One question; return the limits, the refusal, and the metric's word."""
    meter = Meter()
    client = asker(hook.url, meter, timeout_s)
    try:
        limits, refusal = await client.ask(approach(**more), GRANT), None
    except KeyRefused as error:
        limits, refusal = None, error
    finally:
        await client.close()
    (result,) = meter.results
    return limits, refusal, result


async def test_a_yes_with_limits():
    async with hook_server() as hook:
        hook.answer = yes(limits={"max_bitrate_kbps": 900}, note="ignored")
        limits, refusal, result = await ask(hook)
        assert (limits.max_bitrate_kbps, refusal, result) == (900, None, "allowed")


async def test_the_question_never_holds_the_key():
    async with hook_server() as hook:
        query = {"token": "t0k", "again": KEY, "x": f"a{KEY}"}
        await ask(hook, query=query, user="ann")
        (asked,) = hook.asked
        assert KEY.encode() not in hook.bodies[0]
        assert len(asked.pop("id")) == 32
        assert asked.pop("time").endswith("Z")
        assert asked.pop("query") == {"token": "t0k"}
        assert asked == {
            "event": "publish",
            "stream": "show",
            "role": "backup",
            "protocol": "rtmp",
            "address": "192.0.2.1",
            "user": "ann",
        }


async def test_a_no_is_told_in_its_own_words():
    async with hook_server() as hook:
        hook.answer = no("The show begins\nat eight.")
        _, refusal, result = await ask(hook)
        assert str(refusal) == "The show beginsat eight."
        assert not refusal.undecided
        assert refusal.reason is Refusal.HOOK
        assert result == "denied"
        hook.answer = no("x" * 4000)
        _, refusal, _ = await ask(hook)
        assert len(str(refusal)) == 200
        hook.answer = no()
        _, refusal, _ = await ask(hook)
        assert str(refusal) == "You may not publish this stream now."


GARBAGE = [
    {"text": ""},
    {"text": "yes"},
    {"text": "true"},
    {"text": "[]"},
    {"text": "{}"},
    {"text": '{"allow": "true"}'},
    {"text": '{"allow": 1}'},
    {"text": '{"allow": null}'},
    {"text": '{"allow": true, "limits": {"max_widht": 640}}'},
    {"text": '{"allow": true, "limits": {"max_width": -1}}'},
    {"text": '{"allow": true, "limits": []}'},
    {"body": b"\xff\xfe\x00"},
    {"text": '{"allow": true}' + " " * MAX_ANSWER_BYTES},
    {"text": '{"allow": true, "a":' * 5000},
]


@pytest.mark.parametrize("answer", GARBAGE, ids=range(len(GARBAGE)))
async def test_whatever_is_no_plain_yes_is_a_no(answer):
    async with hook_server() as hook:
        hook.answer = answer
        limits, refusal, result = await ask(hook)
        assert limits is None
        assert str(refusal) == UNDECIDED_TEXT
        assert refusal.undecided
        assert result == "malformed"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_a_status_that_is_no_success_is_a_no(status):
    async with hook_server() as hook:
        hook.answer = yes() | {"status": status}
        _, refusal, result = await ask(hook)
        assert (str(refusal), result) == (UNDECIDED_TEXT, "status")
        assert len(hook.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status):
    async with hook_server() as hook:
        hook.answer = {"status": status, "headers": {"Location": "/elsewhere"}}
        _, _, result = await ask(hook)
        assert result == "status"
        assert hook.elsewhere == 0


async def test_a_hook_that_hangs_is_a_no_in_time():
    async with hook_server() as hook:
        hook.answer = "hang"
        started = asyncio.get_running_loop().time()
        _, refusal, result = await ask(hook, timeout_s=0.3)
        assert asyncio.get_running_loop().time() - started < 3
        assert (str(refusal), result) == (UNDECIDED_TEXT, "timeout")


async def test_nobody_there_and_not_http():
    async def noise(reader, writer):
        writer.write(b"\0\1\2\3 nonsense\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(noise, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/"):
        meter = Meter()
        client = asker(url, meter)
        with pytest.raises(KeyRefused, match="could not be found out"):
            await client.ask(approach(), GRANT)
        await client.close()
        assert meter.results == {"unreachable": 1}
    server.close()
    await server.wait_closed()
    client = asker(f"http://127.0.0.1:{port}/", Meter())
    with pytest.raises(KeyRefused, match="could not be found out"):
        await client.ask(approach(), GRANT)
    await client.close()


async def test_questions_at_once_are_bounded():
    async with hook_server() as hook:
        hook.answer = "slow"
        meter = Meter()
        client = asker(hook.url, meter, 20)
        async with asyncio.TaskGroup() as group:
            for _ in range(3 * MAX_CONCURRENT):
                group.create_task(client.ask(approach(), GRANT))
        await client.close()
        assert meter.results == {"allowed": 3 * MAX_CONCURRENT}
        assert hook.busiest <= MAX_CONCURRENT


async def test_nothing_secret_is_logged():
    with structlog.testing.capture_logs() as logs:
        async with hook_server() as hook:
            hook.answer = no("go away")
            await ask(hook)
            hook.answer = {"text": "garbage"}
            await ask(hook)
        client = asker("http://user:S3CRET@127.0.0.1:1/S3CRET", Meter())
        with pytest.raises(KeyRefused):
            await client.ask(approach(), GRANT)
        await client.close()
    assert [entry["reason"] for entry in logs] == ["denied", "malformed", "unreachable"]
    assert "S3CRET" not in repr(logs)
    assert SECRET not in repr(logs)


class NoKeys:
    async def find(self, key_digest):
        return None


class NoStreams:
    def get(self, name):
        return None


async def test_the_gate_asks_only_about_who_is_known():
    async with hook_server() as hook:
        tree = {
            "streams": {"list": [{"name": "show", "key": KEY, "limits": {"max_width": 1280}}]},
            "auth": {"publish_hook_url": hook.url, "publish_hook_secret": SECRET},
        }
        settings = Settings.model_validate(tree)
        client = PublishHook(settings.auth, Meter())
        gate = Gate(settings=settings, store=NoKeys(), registry=NoStreams(), hook=client)
        with pytest.raises(KeyRefused, match="unknown or disabled"):
            await gate.authorize(Approach(protocol="rtmp", address="192.0.2.1", key="x"))
        assert hook.asked == []
        hook.answer = yes(limits={"max_width": 640, "max_height": 10_000_000})
        grant = await gate.authorize(approach())
        assert grant.limits.max_width == 640
        # A hook cannot lift what protects the server.
        assert grant.limits.max_height == settings.limits.max_height
        hook.answer = yes(limits={"max_width": 4000})
        assert (await gate.authorize(approach())).limits.max_width == 1280
        await client.close()


@pytest.mark.parametrize(
    "auth",
    [
        {"publish_hook_url": "http://h/"},
        {"publish_hook_secret": SECRET},
        {"publish_hook_url": "file:///etc/passwd", "publish_hook_secret": SECRET},
        {"publish_hook_url": "http://h/", "publish_hook_secret": "short"},
    ],
)
def test_settings_that_cannot_work_are_refused(auth):
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"auth": auth})
    assert SECRET not in json.dumps(
        refused.value.errors(include_input=False, include_context=False)
    )


async def test_no_question_goes_over_an_old_connection():
    async with hook_server() as hook:
        hook.answer = yes()
        client = asker(hook.url, Meter())
        for _ in range(2):
            await client.ask(approach(), GRANT)
        await client.close()
        assert [b"'Connection': 'close'" in asked for asked in hook.bodies] == [True, True]
