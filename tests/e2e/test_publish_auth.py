"""Who may publish: real encoders at the door of a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hook import SECRET, Hook, hook_server, no, yes
from tests.support.push import Publisher
from tests.support.server import KEY, STREAM, Server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(180)]

SMALL = {"size": "320x180", "rate": 15, "bitrate": "200k", "audio": None}
NO_LADDER = {"ladder.enabled": "false"}


@contextmanager
def hook_beside() -> Iterator[Hook]:
    """Run a hook in a thread of its own: the tests here do not run on a loop."""
    ready, found, stop = threading.Event(), [], []

    async def run() -> None:
        async with hook_server() as hook:
            end = asyncio.Event()
            found.append(hook)
            stop.append((asyncio.get_running_loop(), end))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="hook")
    thread.start()
    assert ready.wait(10)
    try:
        yield found[0]
    finally:
        loop, end = stop[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


def refused(url: str) -> str:
    """Push; return what ffmpeg says when it is not let in."""
    with Publisher(url, **SMALL) as publisher:
        assert publisher.process.wait(20) != 0
        return publisher.log


@contextmanager
def accepted(server: Server, url: str, stream: str = STREAM) -> Iterator[Publisher]:
    with Publisher(url, **SMALL) as publisher:
        server.wait_state("live", stream)
        yield publisher
    server.wait_state("reconnecting", stream)


def test_login_and_key_by_parameter(make_server: Callable[..., Server]):
    server = make_server(
        **NO_LADDER,
        **{
            "streams.list": f'[{{name="{STREAM}", key="{KEY}"}}, '
            '{name="two", user="ann", password="S3CRET-pass"}]'
        },
    )
    host = f"127.0.0.1:{server.rtmp_port}"
    with accepted(server, f"rtmp://ann:S3CRET-pass@{host}/login/two", "two"):
        assert server.stream("two")["protocol"] == "rtmp"
    with accepted(server, f"rtmp://{host}/live?key={KEY}/any-name"):
        pass
    log = refused(f"rtmp://ann:wrong@{host}/login/two")
    assert "Incorrect username/password" in log
    log = refused(f"rtmp://ann:S3CRET-pass@{host}/login/{STREAM}")
    assert "The user ann publishes the stream two: put two in place of the stream key." in log
    # What logs in has no key, so its name is none.
    assert "unknown or disabled" in refused(f"rtmp://{host}/live/two")
    assert server.metric("vitrina_ingest_rejected_total", protocol="rtmp", reason="key") == 3
    for text in (server.log, server.get("/metrics").text, str(server.stream("two"))):
        assert "S3CRET" not in text
        assert KEY not in text


def test_the_hook_decides(make_server: Callable[..., Server]):
    with hook_beside() as hook:
        server = make_server(
            **NO_LADDER,
            **{
                "auth.publish_hook_url": hook.url,
                "auth.publish_hook_secret": SECRET,
                "auth.publish_hook_timeout_s": 1,
            },
        )
        url = f"{server.rtmp}/{KEY}?token=abc"
        with accepted(server, url):
            (asked,) = hook.asked
            assert asked["stream"] == STREAM
            assert asked["address"] == "127.0.0.1"
            assert asked["query"] == {"token": "abc"}
            assert KEY.encode() not in hook.bodies[0]
        assert "unknown or disabled" in refused(f"{server.rtmp}/another-key")
        assert len(hook.asked) == 1
        hook.answer = no("The show begins at eight.")
        assert "The show begins at eight." in refused(url)
        hook.answer = "hang"
        assert "could not be found out: try again" in refused(url)
        hook.answer = {"text": "<html>garbage"}
        assert "could not be found out: try again" in refused(url)
        hook.answer = yes(limits={"max_width": 160})
        assert "The picture is 320x180" in refused(url)
        assert server.metric("vitrina_ingest_rejected_total", reason="hook") == 3
        assert server.metric("vitrina_publish_hook_requests_total", result="timeout") == 1
        assert SECRET not in server.log
    assert "could not be found out: try again" in refused(url)
    assert server.stream()["state"] == "reconnecting"


def test_addresses_and_limits(make_server: Callable[..., Server], tmp_path: Path):
    del tmp_path
    server = make_server(
        **NO_LADDER,
        **{
            "limits.excess_s": 1,
            "streams.list": f'[{{name="{STREAM}", key="{KEY}", limits={{max_bitrate_kbps=100}}}}, '
            '{name="far", key="far-stream-key-0123456789", allow=["192.0.2.0/24"]}]',
        },
    )
    log = refused(f"{server.rtmp}/far-stream-key-0123456789")
    assert "This stream is not published from your address" in log
    with Publisher(f"{server.rtmp}/{KEY}", size="640x360", bitrate="1500k", audio=None) as fat:
        assert fat.process.wait(30) != 0
        wait_for(
            lambda: server.metric("vitrina_ingest_rejected_total", reason="excess") == 1,
            5,
            "the cut",
        )
    assert "this stream accepts at most 0.1 Mbit/s: lower the bitrate" in server.log
    assert server.metric("vitrina_ingest_rejected_total", reason="address") == 1


def test_strangers_are_not_read(make_server: Callable[..., Server]):
    server = make_server(**NO_LADDER, **{"rtmp.allow": "192.0.2.0/24,2001:db8::/32"})
    refused(f"{server.rtmp}/{KEY}")
    assert server.metric("vitrina_ingest_rejected_total", reason="address") >= 1
    assert not server.metric("vitrina_ingest_network_bytes_total", protocol="rtmp")
    assert server.stream()["state"] == "idle"
