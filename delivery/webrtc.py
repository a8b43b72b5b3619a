"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03): the same HTTP before two doors.

A session's secret name is in its path: OBS cuts the query off a Location.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from delivery.auth import bearer
from delivery.body import read_bytes
from delivery.cors import PREFLIGHT_MAX_AGE_S
from delivery.deps import PARTS
from delivery.problems import Problem
from delivery.routing import Answer, Parameter, Route
from webrtc.door import Call, DoorRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from webrtc.door import Door

    Handler = Callable[[web.Request], Awaitable[web.Response]]

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
MAX_SDP_BYTES = 65_536
EXPOSED = "Location, ETag, Link, Retry-After, Accept-Post, Accept-Patch"
ALLOWED_HEADERS = "Authorization, Content-Type, If-Match"
_OFF = {
    "whip": "WHIP is switched off on this server: set whip.enabled = true.",
    "whep": "WHEP is switched off on this server: set whip.whep_enabled = true.",
}


class _Front:
    """The handlers of one protocol."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol

    # ── requests ─────────────────────────────────────────────────────────────────────────────

    async def post(self, request: web.Request) -> web.Response:
        """Answer an offer: 201 with the answer and the session's address (RFC 9725 4.2)."""
        door = self._door(request)
        token = _token(request)
        offer = await _text(request, SDP, {"Accept-Post": SDP})
        opened = await door.open(
            Call(
                offer=offer,
                address=request.app[PARTS].clients.address(
                    request.remote or "", request.headers.getall("X-Forwarded-For", [])
                ),
                token=token,
                stream=request.match_info.get("stream"),
                query={name: request.query[name] for name in request.query},
            )
        )
        headers = {
            "Content-Type": SDP,
            "Location": f"{_prefix(request)}/{self._protocol}/session/{opened.session}",
            "ETag": opened.etag,
        }
        response = web.Response(status=201, body=opened.answer.encode(), headers=headers)
        for link in opened.links:
            response.headers.add("Link", link)
        return response

    async def look(self, request: web.Request) -> web.Response:
        """Say that this is an endpoint, with nothing in it (RFC 9725 4.2, WHEP-03 4.2)."""
        self._door(request)
        headers = {"Accept-Post": SDP, "Content-Type": SDP}
        return web.Response(status=200, headers=headers)

    async def look_at_session(self, request: web.Request) -> web.Response:
        """Say nothing about a session (RFC 9725 4.2: 2xx without content)."""
        self._door(request)
        return web.Response(status=204)

    async def patch(self, request: web.Request) -> web.Response:
        """Take candidates: 204 (RFC 9725 4.3.2)."""
        door = self._door(request)
        token = _token(request)
        fragment = await _text(request, FRAGMENT, {"Accept-Patch": FRAGMENT})
        # RFC 9110 5.3: a list may come in several lines.
        tags = request.headers.getall("If-Match", [])
        if_match = ", ".join(tags) if tags else None
        await door.trickle(request.match_info["session"], token, fragment, if_match)
        return web.Response(status=204)

    async def delete(self, request: web.Request) -> web.Response:
        """End a session: 200, the only status that OBS takes for success."""
        await self._door(request).close(request.match_info["session"], _token(request))
        return web.Response(status=200)

    async def options(self, request: web.Request) -> web.Response:
        """Answer a preflight, or say what may be posted; never with ICE servers."""
        session = "session" in request.match_info
        methods = "GET, HEAD, PATCH, DELETE, OPTIONS" if session else "GET, HEAD, POST, OPTIONS"
        accept = {"Accept-Patch": FRAGMENT} if session else {"Accept-Post": SDP}
        headers = {"Allow": methods, **accept}
        if "Access-Control-Request-Method" in request.headers:
            headers |= {
                "Access-Control-Allow-Methods": methods,
                "Access-Control-Allow-Headers": ALLOWED_HEADERS,
                "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
            }
        return _finished(request, web.Response(status=200, headers=headers))

    # ── the table ────────────────────────────────────────────────────────────────────────────

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of this protocol."""
        name, title = self._protocol, self._protocol.upper()
        who = "publishes" if name == "whip" else "watches"
        nothing = Answer(description="Nothing more.", content_type=None)
        token = Parameter(
            name="Authorization",
            description="`Bearer KEY`, the stream key."
            if name == "whip"
            else "`Bearer TOKEN`, where one is asked for.",
            place="header",
        )
        match = Parameter(name="If-Match", description="ETag of the answer.", place="header")
        endpoints = (
            [f"/{name}", f"/{name}/{{stream}}"] if name == "whip" else [f"/{name}/{{stream}}"]
        )
        session = f"/{name}/session/{{session}}"
        found: list[Route] = []
        for path in endpoints:
            suffix = "_stream" if "{" in path else ""
            found += [
                Route(
                    method="POST",
                    path=path,
                    name=f"{name}_open{suffix}",
                    summary=f"Offer of a peer that {who} by {title}",
                    handler=_guarded(self.post),
                    answers={201: Answer(description="The answer.", content_type=SDP)},
                    text_body=SDP,
                    parameters=(token,),
                    errors=(401, 403, 404, 409, 429, 503),
                    options=self.options,
                    tag="webrtc",
                ),
                Route(
                    method="GET",
                    path=path,
                    name=f"{name}_endpoint{suffix}",
                    summary=f"An endpoint of {title} is here",
                    handler=_guarded(self.look),
                    answers={200: nothing},
                    errors=(404,),
                    tag="webrtc",
                ),
            ]
        found += [
            Route(
                method="GET",
                path=session,
                name=f"{name}_session",
                summary="Nothing; for clients that look",
                handler=_guarded(self.look_at_session),
                answers={204: nothing},
                errors=(404,),
                options=self.options,
                tag="webrtc",
            ),
            Route(
                method="PATCH",
                path=session,
                name=f"{name}_trickle",
                summary="Candidates of the peer",
                handler=_guarded(self.patch),
                answers={204: nothing},
                text_body=FRAGMENT,
                parameters=(token, match),
                errors=(401, 403, 404, 409, 412, 428),
                tag="webrtc",
            ),
            Route(
                method="DELETE",
                path=session,
                name=f"{name}_close",
                summary="End the session",
                handler=_guarded(self.delete),
                answers={200: nothing},
                parameters=(token,),
                errors=(401, 403, 404, 409),
                tag="webrtc",
            ),
        ]
        return tuple(found)

    def _door(self, request: web.Request) -> Door:
        deps = request.app[PARTS].deps
        door = deps.whip if self._protocol == "whip" else deps.whep
        if door is None:
            raise Problem(404, _OFF[self._protocol])
        return door


def _guarded(handler: Handler) -> Handler:
    """Return a handler whose errors, too, pages of other origins may read."""

    async def answer(request: web.Request) -> web.Response:
        try:
            response = await handler(request)
        except DoorRefused as refused:
            response = _problem(refused).response()
        except Problem as problem:
            response = problem.response()
        return _finished(request, response)

    return answer


def _finished(request: web.Request, response: web.Response) -> web.Response:
    origin = request.headers.get("Origin")
    for name, value in request.app[PARTS].cors.headers(origin).items():
        response.headers[name] = value
    if "Access-Control-Allow-Origin" in response.headers:
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Server", "vitrina")
    return response


def _problem(refused: DoorRefused) -> Problem:
    headers: dict[str, str] = {}
    if refused.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="vitrina"'
    if refused.retry_after_s is not None:
        headers["Retry-After"] = str(refused.retry_after_s)
    return Problem(refused.status, str(refused), headers=headers, reason=refused.reason)


def _token(request: web.Request) -> str | None:
    """Return the Bearer token, None without the header; raises `Problem` 401 for another kind."""
    authorization = request.headers.get("Authorization")
    return None if authorization is None else bearer(authorization)


async def _text(request: web.Request, content_type: str, accept: Mapping[str, str]) -> str:
    if request.content_type != content_type:
        raise Problem(415, f"Send the body as Content-Type: {content_type}.", headers=accept)
    body = await read_bytes(request, limit=MAX_SDP_BYTES)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Problem(400, "The body is not UTF-8.") from None


def _prefix(request: web.Request) -> str:
    """Return the path under which a proxy shows this server, empty at its root."""
    public = request.app[PARTS].deps.http.public_url
    return "" if public is None else urlsplit(public).path.rstrip("/")


ROUTES = (*_Front("whip").routes(), *_Front("whep").routes())
