"""Where a stream is pushed on to, by API; the keys go in and never come out."""

from __future__ import annotations

import json

import pytest

from storage.targets import TargetStore

pytestmark = pytest.mark.component

SECRET = "sk-7f3a9c-secret"
PATH = "/api/v1/streams/demo/targets"
NEW = {"name": "tube", "url": "rtmps://Tube.example/live2/", "key": SECRET}


async def call(site, method, path, body=None, **more):
    data = None if body is None else json.dumps(body)
    async with site.call(method, path, data=data, **more) as response:
        text = await response.text()
        assert SECRET not in text
        assert "FIXED" not in text
        return response.status, json.loads(text) if text else None


async def test_a_target_comes_is_changed_and_goes(site):
    status, made = await call(site, "POST", PATH, NEW, token="any")
    assert status == 201
    assert made == {
        "name": "tube",
        "url": "rtmps://tube.example/live2",
        "key": "…",
        "enabled": True,
        "codecs": [],
        "source": "source",
        "configured": False,
        "state": "idle",
        "since": made["since"],
        "text": None,
        "retry_at": None,
        "bitrate_bps": 0,
        "sent_bytes": 0,
        "dropped": 0,
        "reconnects": 0,
        "delay_s": 0.0,
    }
    assert await call(site, "GET", f"{PATH}/tube") == (200, made)
    (stored,) = await TargetStore(site.database).list()
    assert stored.key == SECRET
    assert SECRET not in repr(stored)

    status, changed = await call(site, "PATCH", f"{PATH}/tube", {"enabled": False})
    assert (status, changed["state"], changed["enabled"]) == (200, "off", False)
    status, changed = await call(
        site, "PATCH", f"{PATH}/tube", {"codecs": ["hevc"], "enabled": True}
    )
    assert (status, changed["state"], changed["codecs"]) == (200, "idle", ["hevc"])
    status, listed = await call(site, "GET", PATH)
    assert [one["name"] for one in listed["targets"]] == ["fixed", "tube"]

    assert await call(site, "DELETE", f"{PATH}/tube") == (204, None)
    assert (await call(site, "GET", f"{PATH}/tube"))[0] == 404
    assert await TargetStore(site.database).list() == []


async def test_the_key_may_stand_in_the_url(site):
    body = {"name": "x", "url": f"rtmp://x.example/live/{SECRET}"}
    status, made = await call(site, "POST", PATH, body)
    assert (status, made["url"]) == (201, "rtmp://x.example/live")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://x.example/app"}, "url"),
        ({"url": "rtmp://u:p@x.example/app"}, "url"),
        ({"url": "rtmp://x.example"}, "url"),
        ({"key": ""}, "key"),
        ({"name": "No"}, "name"),
        ({"codecs": ["vvc"]}, "codecs.0"),
        ({"source": "burned"}, "source"),
        ({"more": 1}, "more"),
    ],
)
async def test_what_is_wrong_is_named(site, change, field):
    status, problem = await call(site, "POST", PATH, NEW | change)
    assert status == 422
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_key_is_never_sent_to_another_server(site):
    await call(site, "POST", PATH, NEW)
    status, problem = await call(site, "PATCH", f"{PATH}/tube", {"url": "rtmp://evil.example/app"})
    assert status == 422
    assert problem["errors"][0]["field"] == "key"
    for body, field in (
        ({"url": "rtmp://evil.example/app", "key": ""}, "key"),
        ({"key": ""}, "key"),
        ({"url": "", "key": "another"}, "url"),
    ):
        status, problem = await call(site, "PATCH", f"{PATH}/tube", body)
        assert (status, problem["errors"][0]["field"]) == (422, field)
    (stored,) = await TargetStore(site.database).list()
    assert (stored.url, stored.key) == ("rtmps://tube.example/live2", SECRET)
    status, _ = await call(
        site, "PATCH", f"{PATH}/tube", {"url": "rtmp://b.example/app", "key": "another"}
    )
    assert status == 200


async def test_names_are_unique_and_their_number_is_bounded(site):
    assert (await call(site, "POST", PATH, NEW))[0] == 201
    status, problem = await call(site, "POST", PATH, NEW)
    assert (status, problem["detail"]) == (409, "There is a target 'tube' already.")
    assert (await call(site, "POST", PATH, NEW | {"name": "b"}))[0] == 201
    status, problem = await call(site, "POST", PATH, NEW | {"name": "c"})
    assert status == 409
    assert "at most 3 targets (restream.max_targets)" in problem["detail"]
    assert (await call(site, "POST", "/api/v1/streams/other/targets", NEW))[0] == 201


async def test_targets_of_the_configuration_are_changed_there(site):
    status, fixed = await call(site, "GET", f"{PATH}/fixed")
    assert (status, fixed["configured"], fixed["url"]) == (200, True, "rtmp://fixed.example/live")
    for method, body in (("PATCH", {"enabled": False}), ("DELETE", None)):
        status, problem = await call(site, method, f"{PATH}/fixed", body)
        assert status == 409
        assert "comes from the configuration" in problem["detail"]


async def test_who_may_do_what(site):
    for method, path, body in (
        ("GET", PATH, None),
        ("POST", PATH, NEW),
        ("GET", f"{PATH}/fixed", None),
        ("PATCH", f"{PATH}/fixed", {}),
        ("DELETE", f"{PATH}/fixed", None),
    ):
        assert (await call(site, method, path, body, token=None))[0] == 401
        other = path.replace("demo", "other")
        assert (await call(site, method, other, body, token="demo-only"))[0] == 403
    assert (await call(site, "GET", "/api/v1/streams/none/targets"))[0] == 404
