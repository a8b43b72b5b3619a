"""HTTP of WHIP and WHEP, row by row of RFC 9725 section 4, before a door that notes its calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from config.settings import HttpSettings
from tests.delivery.conftest import Site, serving
from webrtc.door import Call, DoorRefused, Opened

pytestmark = pytest.mark.component

OFFER = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n"
ANSWER = "v=0\r\no=- 2 2 IN IP4 0.0.0.0\r\n"
SESSION = "s" * 31 + "-"
STUN = '<stun:stun.example.com:3478>; rel="ice-server"'
TURN = (
    '<turn:turn.example.com:3478?transport=udp>; rel="ice-server"; username="u"; '
    'credential="p"; credential-type="password"'
)
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class NotingDoor:
    """A door that takes everything, or refuses everything."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.trickled: list[tuple[str, str | None, str, str | None]] = []
        self.closed: list[tuple[str, str | None]] = []
        self.refusal: DoorRefused | None = None

    async def open(self, call: Call) -> Opened:
        self._refuse()
        self.calls.append(call)
        return Opened(session=SESSION, answer=ANSWER, etag='"e1"', links=(STUN, TURN))

    async def trickle(
        self, session: str, token: str | None, fragment: str, if_match: str | None
    ) -> None:
        self._refuse()
        self.trickled.append((session, token, fragment, if_match))

    async def close(self, session: str, token: str | None) -> None:
        self._refuse()
        self.closed.append((session, token))

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


class Front:
    """A server with two doors."""

    def __init__(self, site: Site, whip: NotingDoor, whep: NotingDoor) -> None:
        self.site, self.whip, self.whep = site, whip, whep

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: str | bytes | None = None,
        kind: str | None = SDP,
        token: str | None = "key",
        **headers: str,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if kind is not None and body is not None:
            sent["Content-Type"] = kind
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        url = self.site.url + path
        async with self.site.session.request(
            method, url, data=body, headers=sent, skip_auto_headers=["Content-Type"]
        ) as response:
            return response, await response.read()


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    whip, whep = NotingDoor(), NotingDoor()
    async with serving(tmp_path, whip=whip, whep=whep) as site:
        yield Front(site, whip, whep)


# ── POST ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "stream"), [("/whip", None), ("/whip/shop", "shop"), ("/whep/shop", "shop")]
)
async def test_an_offer_is_answered(front: Front, path: str, stream: str | None) -> None:
    response, body = await front.call("POST", path + "?role=backup", body=OFFER)
    assert response.status == 201
    assert body.decode() == ANSWER
    assert response.headers["Content-Type"] == SDP
    protocol = path.split("/")[1]
    assert response.headers["Location"] == f"/{protocol}/session/{SESSION}"
    assert response.headers["ETag"] == '"e1"'
    assert response.headers.getall("Link") == [STUN, TURN]
    assert response.headers["Cache-Control"] == "no-store"
    door = front.whip if protocol == "whip" else front.whep
    (call,) = door.calls
    assert (call.offer, call.token, call.stream) == (OFFER, "key", stream)
    assert call.address == "127.0.0.1"
    assert call.query == {"role": "backup"}
    assert "key" not in repr(call).replace("key=", "")


@pytest.mark.parametrize(
    ("trusted", "address"), [(("127.0.0.1",), "203.0.113.7"), ((), "127.0.0.1")]
)
async def test_a_trusted_proxy_says_who_calls(
    tmp_path: Path, trusted: tuple[str, ...], address: str
) -> None:
    http = HttpSettings(host="127.0.0.1", port=0, trusted_proxies=trusted)
    whip = NotingDoor()
    async with serving(tmp_path, http=http, whip=whip) as site:
        front = Front(site, whip, whip)
        await front.call("POST", "/whip", body=OFFER, X_Forwarded_For="10.0.0.1, 203.0.113.7")
    assert [call.address for call in whip.calls] == [address]


async def test_without_a_token_the_door_decides(front: Front) -> None:
    response, _ = await front.call("POST", "/whep/shop", body=OFFER, token=None)
    assert response.status == 201
    assert front.whep.calls[0].token is None


async def test_the_type_may_have_parameters_and_capitals(front: Front) -> None:
    response, _ = await front.call("POST", "/whip", body=OFFER, kind="Application/SDP; charset=x")
    assert response.status == 201


@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
async def test_another_type_is_refused(front: Front, kind: str | None) -> None:
    response, body = await front.call("POST", "/whip", body=OFFER, kind=kind)
    assert response.status == 415
    assert response.headers["Accept-Post"] == SDP
    assert "Content-Type: application/sdp" in json.loads(body)["detail"]
    assert front.whip.calls == []


async def test_what_is_no_text_or_too_long_is_refused(front: Front) -> None:
    response, _ = await front.call("POST", "/whip", body=b"\xff\xfe")
    assert response.status == 400
    response, _ = await front.call("POST", "/whip", body=b"a" * 65_537)
    assert response.status == 413


async def test_another_scheme_than_bearer_is_refused(front: Front) -> None:
    response, body = await front.call(
        "POST", "/whip", body=OFFER, token=None, Authorization="Basic a2V5"
    )
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"a2V5" not in body


@pytest.mark.parametrize(
    ("status", "retry_after_s"),
    [
        (400, None),
        (401, None),
        (403, None),
        (404, None),
        (406, None),
        (409, 5),
        (422, None),
        (503, 7),
    ],
)
async def test_refusals_are_problems_with_the_sentence(
    front: Front, status: int, retry_after_s: int | None
) -> None:
    front.whip.refusal = DoorRefused(status, "Do this instead.", retry_after_s=retry_after_s)
    origin = "https://shop.example.com"
    response, body = await front.call("POST", "/whip", body=OFFER, Origin=origin)
    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["detail"] == "Do this instead."
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert response.headers.get("Retry-After") == (str(retry_after_s) if retry_after_s else None)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


async def test_a_proxys_path_is_in_the_location(tmp_path: Path) -> None:
    http = HttpSettings(host="127.0.0.1", port=0, public_url="https://example.com/live-shop/")
    async with serving(tmp_path, http=http, whip=NotingDoor()) as site:
        front = Front(site, NotingDoor(), NotingDoor())
        response, _ = await front.call("POST", "/whip", body=OFFER)
        assert response.headers["Location"] == f"/live-shop/whip/session/{SESSION}"


# ── OPTIONS, GET, HEAD ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/whip", "/whip/shop", "/whep/shop"])
async def test_a_preflight_lets_pages_publish_and_has_no_ice_servers(
    front: Front, path: str
) -> None:
    response, _ = await front.call(
        "OPTIONS",
        path,
        token=None,
        Origin="https://shop.example.com",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type",
    )
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    assert response.headers["Accept-Post"] == SDP
    assert "Link" not in response.headers


async def test_a_sessions_preflight(front: Front) -> None:
    response, _ = await front.call(
        "OPTIONS", f"/whip/session/{SESSION}", token=None, Access_Control_Request_Method="DELETE"
    )
    methods = response.headers["Access-Control-Allow-Methods"]
    assert response.status == 200
    assert {"PATCH", "DELETE"} <= set(methods.split(", "))
    assert "If-Match" in response.headers["Access-Control-Allow-Headers"]


async def test_options_say_what_may_be_posted(front: Front) -> None:
    response, _ = await front.call("OPTIONS", "/whip", token=None)
    assert response.status == 200
    assert response.headers["Accept-Post"] == SDP
    assert "Access-Control-Allow-Methods" not in response.headers
    assert "Link" not in response.headers


async def test_a_foreign_page_is_kept_out_where_origins_are_listed(tmp_path: Path) -> None:
    http = HttpSettings(host="127.0.0.1", port=0, cors_origins=("https://shop.example.com",))
    async with serving(tmp_path, http=http, whip=NotingDoor()) as site:
        front = Front(site, NotingDoor(), NotingDoor())
        for origin, allowed in (
            ("https://shop.example.com", "https://shop.example.com"),
            ("https://else.example.com", None),
        ):
            response, _ = await front.call(
                "OPTIONS", "/whip", Origin=origin, Access_Control_Request_Method="POST"
            )
            assert response.headers.get("Access-Control-Allow-Origin") == allowed
            response, _ = await front.call("POST", "/whip", body=OFFER, Origin=origin)
            assert response.headers.get("Access-Control-Allow-Origin") == allowed
            assert ("Access-Control-Expose-Headers" in response.headers) == bool(allowed)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/whip", "/whip/shop", "/whep/shop"])
async def test_an_endpoint_can_be_found(front: Front, method: str, path: str) -> None:
    response, body = await front.call(method, path, token=None)
    assert response.status == 200
    assert body == b""
    assert response.headers["Content-Type"] == SDP
    assert "Link" not in response.headers
    response, body = await front.call(method, f"/whip/session/{SESSION}")
    assert (response.status, body) == (204, b"")


# ── PATCH, DELETE ────────────────────────────────────────────────────────────────────────────


async def test_candidates_are_trickled(front: Front) -> None:
    path = f"/whip/session/{SESSION}"
    fragment = "a=end-of-candidates\r\n"
    response, body = await front.call("PATCH", path, body=fragment, kind=FRAGMENT, If_Match='"e1"')
    assert (response.status, body) == (204, b"")
    assert "ETag" not in response.headers
    response, _ = await front.call("PATCH", path, body=fragment, kind=FRAGMENT, token=None)
    assert response.status == 204
    assert front.whip.trickled == [
        (SESSION, "key", fragment, '"e1"'),
        (SESSION, None, fragment, None),
    ]


async def test_a_patch_of_another_type_is_refused(front: Front) -> None:
    response, _ = await front.call("PATCH", f"/whip/session/{SESSION}", body=OFFER, kind=SDP)
    assert response.status == 415
    assert response.headers["Accept-Patch"] == FRAGMENT
    assert front.whip.trickled == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 422, 428])
async def test_a_patch_is_refused_as_the_door_says(front: Front, status: int) -> None:
    front.whep.refusal = DoorRefused(status, "Do this instead.")
    response, body = await front.call(
        "PATCH", f"/whep/session/{SESSION}", body="a=x\r\n", kind=FRAGMENT
    )
    assert response.status == status
    assert json.loads(body)["detail"] == "Do this instead."


@pytest.mark.parametrize("protocol", ["whip", "whep"])
async def test_a_delete_answers_200(front: Front, protocol: str) -> None:
    response, body = await front.call("DELETE", f"/{protocol}/session/{SESSION}", If_Match='"old"')
    assert (response.status, body) == (200, b"")
    door = front.whip if protocol == "whip" else front.whep
    assert door.closed == [(SESSION, "key")]


async def test_a_delete_is_refused_as_the_door_says(front: Front) -> None:
    front.whip.refusal = DoorRefused(403, "Not yours.")
    response, body = await front.call("DELETE", f"/whip/session/{SESSION}")
    assert response.status == 403
    assert "reason" not in json.loads(body)
    front.whip.refusal = DoorRefused(409, "Another has it.", reason="revoked")
    for method in ("DELETE", "PATCH"):
        response, body = await front.call(
            method,
            f"/whip/session/{SESSION}",
            body=None if method == "DELETE" else "",
            kind=FRAGMENT,
        )
        assert response.status == 409
        assert response.headers["Content-Type"] == "application/problem+json"
        told = json.loads(body)
        assert (told["detail"], told["reason"]) == ("Another has it.", "revoked")


# ── without doors ────────────────────────────────────────────────────────────────────────────


async def test_without_doors_the_mend_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        front = Front(site, NotingDoor(), NotingDoor())
        for path, mend in (("/whip", "whip.enabled"), ("/whep/shop", "whip.whep_enabled")):
            response, body = await front.call("POST", path, body=OFFER)
            assert response.status == 404
            assert mend in json.loads(body)["detail"]


async def test_metrics_know_routes_and_never_names(front: Front) -> None:
    await front.call("POST", "/whip/shop", body=OFFER)
    await front.call("DELETE", f"/whip/session/{SESSION}")
    assert front.site.meter.requests == [("whip_open_stream", 201), ("whip_close", 200)]
