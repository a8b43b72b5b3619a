"""The producer API over a real socket: who may what, and what every refusal says."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from config.settings import LimitsSettings
from delivery.app import all_routes
from delivery.deps import PARTS
from delivery.routing import Scope

pytestmark = pytest.mark.component

CUES = "/api/v1/streams/demo/cues"
NOTICE = {"type": "notice", "data": {"text": "Hello 👋 שלום 你好"}}


async def problem(response):
    assert response.headers["Content-Type"] == "application/problem+json"
    body = json.loads(await response.read())
    assert body["status"] == response.status
    assert body["type"] == "about:blank"
    assert body["detail"].endswith(".")
    return body


def paths(site):
    for route in all_routes(site.app[PARTS].deps):
        path = re.sub(r"\{stream\}", "demo", route.path)
        path = re.sub(r"\{sku\}", "DEMO-1", path)
        yield route, re.sub(r"\{(\w+)(:[^}]*)?\}", "x", path)


async def test_the_token_matrix_of_every_guarded_route(site):
    seen = 0
    for route, path in paths(site):
        if route.scope is Scope.PUBLIC:
            continue
        seen += 1
        async with site.call(route.method, path, token=None) as response:
            assert response.status == 401, path
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="vitrina"'
        async with site.call(route.method, path, token="wrong") as response:
            assert response.status == 401, path
            assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        admin_only = route.scope is Scope.ADMIN
        async with site.call(route.method, path, token="any") as response:
            assert (response.status == 403) == admin_only, path
        elsewhere = path.replace("/demo", "/other")
        if "{stream}" in route.path:
            async with site.call(route.method, elsewhere, token="demo-only") as response:
                assert response.status == 403, path
            nowhere = path.replace("/demo", "/not-there")
            async with site.call(route.method, nowhere, token="demo-only") as response:
                assert response.status == 403, "a bound token must not find out names"
    assert seen >= 18


@pytest.mark.parametrize(
    "value", ["", "Basic YTpi", "Bearer", "Bearer ", "Bearer " + "x" * 600, "Bearer \u00e9"]
)
async def test_malformed_authorization(site, value):
    async with site.get("/api/v1/streams", headers={"Authorization": value}) as response:
        assert response.status == 401


async def test_the_api_is_never_cross_origin_readable(site):
    origin = {"Origin": "https://evil.example"}
    for route, path in paths(site):
        if not path.startswith("/api/"):
            continue
        async with site.call(route.method, path, headers=dict(origin)) as response:
            assert "Access-Control-Allow-Origin" not in response.headers
            assert "Set-Cookie" not in response.headers
        async with site.call("OPTIONS", path, headers=dict(origin)) as response:
            assert response.status == 405
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_public_routes_are_cross_origin_readable_also_when_they_fail(site):
    for path in ("/live/demo/state.json", "/live/nobody/state.json", "/live/nobody/events"):
        async with site.get(path, headers={"Origin": "https://shop.example"}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_cue_from_post_to_state(site):
    async with site.call("POST", CUES, json=NOTICE) as response:
        assert response.status == 201, await response.text()
        cue = await response.json()
        assert response.headers["Location"] == f"{CUES}/{cue['id']}"
    assert cue["rev"] == 1
    assert cue["data"]["text"] == NOTICE["data"]["text"]
    async with site.call("GET", f"{CUES}/{cue['id']}") as response:
        assert (await response.json())["seq"] == cue["seq"]
    async with site.get(f"/live/demo/state.json?at={cue['at']}") as response:
        state = await response.json()
        assert [item["id"] for item in state["cues"]] == [cue["id"]]
        assert state["stream_state"] == "live"
    async with site.call(
        "PATCH", f"{CUES}/{cue['id']}", json={"data": {"text": "Bye"}}
    ) as response:
        assert response.status == 200, await response.text()
        assert (await response.json())["rev"] == 2
    async with site.call("POST", f"{CUES}/{cue['id']}/end") as response:
        assert response.status == 200
    async with site.call("POST", f"{CUES}/{cue['id']}/retract") as response:
        assert (await response.json())["state"] == "retracted"
    async with site.call("GET", f"{CUES}?after=1") as response:
        log = await response.json()
    assert log["cues"][0]["rev"] == 2
    assert log["more"] is False


async def test_an_idempotency_key(site):
    headers = {"Idempotency-Key": "k1"}
    async with site.call("POST", CUES, json=NOTICE, headers=dict(headers)) as response:
        first = await response.json()
    async with site.call("POST", CUES, json=NOTICE, headers=dict(headers)) as response:
        assert response.status == 201
        assert await response.json() == first
    other = {"type": "notice", "data": {"text": "Another"}}
    async with site.call("POST", CUES, json=other, headers=dict(headers)) as response:
        assert response.status == 409
        assert "Idempotency-Key" in (await problem(response))["detail"]
    async with site.call(
        "POST", CUES, json=other, headers={"Idempotency-Key": "x" * 201}
    ) as response:
        assert response.status == 422


async def test_batch_and_chapters(site):
    body = {
        "cues": [
            {"type": "chapter", "data": {"title": {"en": "Start", "de": "Anfang"}}},
            {"type": "pin", "data": {"sku": "DEMO-1"}},
        ]
    }
    async with site.call("POST", f"{CUES}/batch", json=body) as response:
        assert response.status == 201, await response.text()
        assert len((await response.json())["cues"]) == 2
    for path in ("/api/v1/streams/demo/chapters.json", "/live/demo/chapters.json"):
        async with site.call("GET", path) as response:
            assert isinstance(await response.json(), list)
    async with site.get("/live/demo/chapters.vtt") as response:
        assert (await response.text()).startswith("WEBVTT")
        assert response.headers["Content-Type"] == "text/vtt; charset=utf-8"


async def test_every_refused_field_is_named(site):
    body = {"type": "pin", "data": {"sku": "DEMO-1", "colour": "red", "slot": 5}, "when": "now"}
    async with site.call("POST", CUES, json=body) as response:
        assert response.status == 422
        found = await problem(response)
    assert {error["field"] for error in found["errors"]} == {"data.colour", "data.slot", "when"}
    for name in ("data.colour", "data.slot", "when"):
        assert name in found["detail"]
    async with site.call("POST", CUES, json={"type": "pin", "data": {"sku": "NOPE"}}) as response:
        assert (await problem(response))["errors"][0]["field"] == "data.sku"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"[" * 200_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
async def test_malformed_json(site, body):
    async with site.call("POST", CUES, data=body) as response:
        assert response.status == 400
        await problem(response)


async def test_body_limits(serve):
    async with serve(limits=LimitsSettings(max_body_bytes=1024)) as site:
        async with site.call("POST", CUES, data=b"x" * 1025) as response:
            assert response.status == 413
            assert (await problem(response))["detail"] == "The body is larger than 1024 bytes."

        async def endless():
            for _ in range(10):
                yield b"x" * 500

        async with site.call("POST", CUES, data=endless()) as response:
            assert response.status == 413
        async with site.call(
            "POST", CUES, data=b"x", headers={"Content-Encoding": "gzip"}
        ) as response:
            assert response.status == 415


async def test_conflict_not_found_and_method(site):
    async with site.call("POST", "/api/v1/streams/other/cues", json=NOTICE) as response:
        assert response.status == 409
        await problem(response)
    async with site.call("GET", f"{CUES}/nope") as response:
        assert response.status == 404
    async with site.call("GET", "/api/v1/streams/nobody") as response:
        assert response.status == 404
    async with site.call("GET", "/api/v1/nothing") as response:
        assert (await problem(response))["detail"] == "Nothing is at this address."
    async with site.call("PUT", CUES) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, POST"
    async with site.call("GET", f"{CUES}?after=x&at=y") as response:
        assert response.status == 422


async def test_too_many_writes(site):
    statuses = []
    for _ in range(260):
        async with site.call("POST", CUES, json={"type": "notice", "data": {}}) as response:
            statuses.append(response.status)
    assert set(statuses) == {422}, "a refused body costs no budget"
    batch = {"cues": [{**NOTICE, "duration": 1}] * 20}
    for _ in range(40):
        async with site.call("POST", f"{CUES}/batch", json=batch) as response:
            if response.status == 429 and "Retry-After" in response.headers:
                assert int(response.headers["Retry-After"]) >= 1
                await problem(response)
                return
    pytest.fail("no write was refused")


async def test_streams(site):
    async with site.call("GET", "/api/v1/streams", token="demo-only") as response:
        assert [s["name"] for s in (await response.json())["streams"]] == ["demo"]
    async with site.call("GET", "/api/v1/streams/demo") as response:
        assert (await response.json())["viewers"] == 0
    async with site.call("POST", "/api/v1/streams", json={"name": "new"}) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        assert (await response.json())["key"] == "new-key"
    async with site.call("POST", "/api/v1/streams", json={"name": "new"}) as response:
        assert response.status == 409
        assert (await problem(response))["detail"] == "There is a stream 'new' already."
    for name in ("../x", "<script>", "A", "", 5):
        async with site.call("POST", "/api/v1/streams", json={"name": name}) as response:
            assert response.status == 422
            assert (await problem(response))["errors"][0]["field"] == "name"
    async with site.call("POST", "/api/v1/streams/new/rotate-key") as response:
        assert (await response.json())["key"] == "new-key-2"
    async with site.call("POST", "/api/v1/streams/new/rotate-key?role=backup") as response:
        assert (await response.json())["key"] == "new-backup-2"
    async with site.call("POST", "/api/v1/streams/new/rotate-key?role=third") as response:
        assert response.status == 422
        assert "role: must be one of: primary, backup" in (await problem(response))["detail"]
    async with site.call("DELETE", "/api/v1/streams/new") as response:
        assert response.status == 204
    async with site.call("DELETE", "/api/v1/streams/new") as response:
        assert response.status == 404


async def test_products(site):
    product = {"title": {"de": "Tasse", "ja": "カップ"}, "price": {"amount": 5, "currency": "EUR"}}
    path = "/api/v1/products/MUG-2"
    async with site.call("PUT", path, json=product) as response:
        assert response.status == 201, await response.text()
        stored = await response.json()
    assert stored["title"]["ja"] == "カップ"
    async with site.call("PUT", path, json=stored) as response:
        assert response.status == 200
    async with site.call("PUT", path, json={**product, "sku": "MUG-3"}) as response:
        assert (await problem(response))["errors"][0]["field"] == "sku"
    async with site.call("PUT", path, json={**product, "price": {"amount": 1.5}}) as response:
        assert response.status == 422
        fields = {error["field"] for error in (await problem(response))["errors"]}
    assert fields == {"price.amount", "price.currency"}
    async with site.call("GET", "/api/v1/products") as response:
        assert [p["sku"] for p in (await response.json())["products"]] == ["DEMO-1", "MUG-2"]
    body = [{**product, "sku": f"P-{n}"} for n in range(30)]
    async with site.call("POST", "/api/v1/products/import", json=body) as response:
        assert await response.json() == {"imported": 30, "new": 30}
    async with site.get("/live/demo/products.json?sku=P-1&sku=DEMO-1&sku=NO") as response:
        assert [p["sku"] for p in (await response.json())["products"]] == ["P-1", "DEMO-1"]
    async with site.call("DELETE", path) as response:
        assert response.status == 204
    async with site.call("GET", path) as response:
        assert response.status == 404


async def test_an_unforeseen_fault_is_a_500_with_a_number(site, caplog):
    async def broken(*_args, **_options):
        raise RuntimeError("the password is hunter2")

    site.streams.rotate_key = broken
    async with site.call("POST", "/api/v1/streams/demo/rotate-key") as response:
        assert response.status == 500
        body = await problem(response)
    assert "hunter2" not in json.dumps(body)
    assert body["id"] in body["detail"]


async def test_operations(site):
    async with site.get("/healthz") as response:
        assert await response.json() == {"status": "ok"}
    async with site.get("/readyz") as response:
        assert response.status == 200
    async with site.get("/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4"
        assert b"up 1" in await response.read()
    async with site.session.head(site.url + "/healthz") as response:
        assert response.status == 200


async def test_not_ready(serve):
    async with serve(not_ready=lambda: "The database is being upgraded.", metrics=None) as site:
        async with site.get("/readyz") as response:
            assert response.status == 503
            assert (await problem(response))["detail"] == "The database is being upgraded."
        async with site.get("/metrics") as response:
            assert response.status == 404


async def test_a_body_that_never_comes_is_given_up(site, monkeypatch):
    monkeypatch.setattr("delivery.body.READ_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        b"POST /api/v1/streams/demo/cues HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n"
        b"Content-Length: 10\r\n\r\n{"
    )
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert b" 408 " in line


@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 100\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
async def test_a_client_that_leaves_within_its_body_is_no_fault_of_ours(site, start, caplog):
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        b"POST /api/v1/streams/demo/cues HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n"
        + start
    )
    await writer.drain()
    async with asyncio.timeout(10):
        while not site.server._table.count:
            await asyncio.sleep(0.01)
        # One more round trip of the loop's thread to the database: the body is being read.
        async with site.get("/live/demo/state.json"):
            pass
        writer.close()
        while not site.meter.requests or site.meter.requests[-1][0] != "fire_cue":
            await asyncio.sleep(0.01)
    assert site.meter.requests[-1] == ("fire_cue", 400)
    assert "Traceback" not in caplog.text


async def test_a_zone_of_a_query_may_have_a_bare_plus(site):
    at = "2026-11-22T17:00:00"
    async with site.get(f"/live/demo/state.json?at={at}+01:00") as response:
        assert response.status == 200
        assert (await response.json())["at"] == "2026-11-22T16:00:00.000Z"


async def test_a_wrong_method_is_cross_origin_readable_where_the_right_one_is(site):
    for path in ("/live/demo/state.json", "/live/demo/events", "/static/x.js"):
        async with site.session.post(site.url + path) as response:
            assert response.status == 405
            assert response.headers["Access-Control-Allow-Origin"] == "*"
    async with site.session.put(site.url + "/api/v1/streams") as response:
        assert response.status == 405
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_an_import_of_nothing_but_faults_has_a_short_answer(site):
    products = [{"x": 1}] * 5000
    async with site.call("POST", "/api/v1/products/import", json=products) as response:
        body = await problem(response)
    assert response.status == 422
    assert len(body["errors"]) == 101
    assert body["errors"][-1]["detail"] == "and 19900 more faults"


async def test_products_of_a_page_in_the_order_asked(site):
    async with site.get("/live/demo/products.json?sku=NO&sku=DEMO-1&sku=DEMO-1") as response:
        assert [p["sku"] for p in (await response.json())["products"]] == ["DEMO-1"]


async def test_an_encoder_may_be_put_on_air(site):
    async with site.call(
        "POST", "/api/v1/streams/demo/source", json={"role": "backup"}
    ) as response:
        assert response.status == 200
        assert (await response.json())["source"] == "backup"
    async with site.call(
        "POST", "/api/v1/streams/demo/source", json={"role": "primary"}
    ) as response:
        assert response.status == 409
        assert (await problem(response))["detail"] == "No primary encoder is connected."
    async with site.call("POST", "/api/v1/streams/demo/source", json={"role": "third"}) as response:
        assert response.status == 422


async def test_a_refused_rival_may_be_let_in(site):
    for query, role in (("", "primary"), ("?role=backup", "backup")):
        async with site.call("POST", f"/api/v1/streams/demo/takeover{query}") as response:
            assert response.status == 200
            assert (await response.json())["source"] == f"next {role}"
    async with site.call("POST", "/api/v1/streams/demo/takeover?role=third") as response:
        assert response.status == 422


async def test_a_show_may_be_opened_ahead_and_ended(site):
    async with site.call("POST", "/api/v1/streams/demo/open") as response:
        assert response.status == 409
        assert (await problem(response))["detail"] == "Slates are off."
    async with site.call("POST", "/api/v1/streams/demo/end") as response:
        assert response.status == 200
        assert (await response.json())["state"] == "ended"
    async with site.call("POST", "/api/v1/streams/demo/open") as response:
        assert response.status == 200
        assert (await response.json())["state"] == "reconnecting"
    async with site.call("POST", "/api/v1/streams/nobody/open") as response:
        assert response.status == 404
