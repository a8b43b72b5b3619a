"""The media path: playlists, init segments, segments and parts, from ready bytes in RAM.

Stands in front of the router, because these are nearly all requests a live server gets.
HTTP rules are those of draft-pantos-hls-rfc8216bis appendix B.1 and section 6.2.5.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import structlog
from aiohttp import web

from delivery import negotiate
from delivery.problems import CONTENT_TYPE, Problem
from delivery.seams import NotLive
from delivery.viewers import ViewerWindow
from delivery.wire import WireResponse
from media.hls.blocking import Directives, PlaylistRequestError, parse_directives

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.settings import HlsSettings, LimitsSettings
    from delivery.cors import Cors
    from delivery.meter import DeliveryMeter
    from delivery.seams import Directory, RenditionView, StreamView

PREFIX = "/live/"
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
STREAM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RESOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
APP_NAMES = frozenset({"state.json", "events", "chapters.json", "chapters.vtt", "products.json"})
"""Names beside the renditions that the application answers."""
STREAM_LEVEL = 2
RENDITION_LEVEL = 3
"""Path segments below `/live/` of `STREAM/NAME` and `STREAM/RENDITION/NAME`."""
MAX_MULTIVARIANTS = 256
"""Gzipped multivariant playlists kept."""
HOLD_MARGIN_S = 2.0
"""A hold that the rendition itself did not end by now is ended here."""
MEDIA_MAX_AGE_S = 3600
"""Names of parts and segments are never reused; an hour covers any live window."""

NO_DIRECTIVES = Directives()
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class MediaPath:
    """Answers everything under `/live/` but cues and state.

    `limits.max_waiters` bounds held requests over all streams; more get 503 with Retry-After.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        cors: Cors,
        hls: HlsSettings,
        limits: LimitsSettings,
        meter: DeliveryMeter,
        whep_viewers: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._directory = directory
        self._whep_viewers = whep_viewers
        self._cors = cors
        self._meter = meter
        self._max_waiters = limits.max_waiters
        self._hold_s = hls.block_timeout_s + HOLD_MARGIN_S
        self._holds: set[asyncio.Timeout] = set()
        self._draining = False
        self._windows: dict[str, ViewerWindow] = {}
        self._gzipped: dict[bytes, tuple[bytes, str]] = {}
        target = max(1, round(hls.segment_ms / 1000))
        self._target_s = target
        self._playlist_lines = _playlist_lines(max(1, target // 2))
        self._blocking_lines = _playlist_lines(6 * target)
        self._media_lines = {
            kind: _media_lines(kind) for kind in ("video/mp4", "video/iso.segment")
        }

    @property
    def waiting(self) -> int:
        """Requests held now."""
        return len(self._holds)

    def viewers(self, stream: str) -> int:
        """Sessions of `stream`: by WebRTC now, by HLS those of the last ten seconds."""
        return self._hls_viewers(stream) + self._whep_viewers(stream)

    def _hls_viewers(self, stream: str) -> int:
        """Sessions that asked for a media playlist of `stream` in the last ten seconds."""
        window = self._windows.get(stream)
        return 0 if window is None else window.count(time.monotonic())

    def report_viewers(self) -> None:
        """Tell the meter the viewers of every stream, and forget streams that are gone."""
        names = {view.name for view in self._directory.all()}
        for name in [name for name in self._windows if name not in names]:
            del self._windows[name]
        for name in names:
            self._meter.viewers(name, "hls", self._hls_viewers(name))
            self._meter.viewers(name, "whep", self._whep_viewers(name))

    def drain(self) -> None:
        """The server stops: let everyone go who is held, and hold nobody from now on."""
        self._draining = True
        for hold in self._holds:
            hold.reschedule(asyncio.get_running_loop().time())

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Answer a request whose path begins with `/live/`; None: it is not ours."""
        target = request.raw_path
        if not target.startswith(PREFIX):
            # The request line held an absolute URL (RFC 9112 3.2.2).
            target = request.rel_url.raw_path_qs
        path, _, query = target.partition("?")
        segments = path[len(PREFIX) :].split("/")
        if len(segments) == STREAM_LEVEL and segments[1] in APP_NAMES:
            return None
        started = time.perf_counter()
        route = "media"
        if segments[-1] == "index.m3u8":
            blocking = "_HLS_msn" in query
            route = "playlist_blocking" if blocking else "playlist"
            if len(segments) == STREAM_LEVEL:
                route = "multivariant"
        try:
            response = await self._answer(request, segments, query, route)
        except Problem as problem:
            response = self._refusal(request, problem, route)
        except PlaylistRequestError as refused:
            response = self._refusal(request, Problem(refused.status, refused.detail), route)
        except ConnectionError:
            raise
        except Exception:
            log.exception("a media request failed", route=route)
            response = self._refusal(
                request, Problem(500, "The server failed to answer this; it is logged."), route
            )
        self._meter.request(route, response.wire_status, time.perf_counter() - started)
        return response

    async def _answer(
        self, request: web.BaseRequest, segments: list[str], query: str, route: str
    ) -> WireResponse:
        method = request.method
        if method not in {"GET", "HEAD"}:
            return self._other_method(request)
        view = self._directory.get(segments[0]) if STREAM_NAME.fullmatch(segments[0]) else None
        if view is None:
            raise Problem(404, "There is no stream of that name.")
        if route == "multivariant":
            return await self._multivariant(request, view)
        if len(segments) != RENDITION_LEVEL or not RESOURCE_NAME.fullmatch(segments[2]):
            raise Problem(404, "Nothing is at this address.")
        rendition = view.rendition(segments[1])
        if rendition is None:
            raise Problem(404, "The stream has no rendition of that name now.")
        if route == "media":
            return await self._resource(request, view.name, rendition, segments[2])
        return await self._playlist(request, view.name, rendition, query)

    def _other_method(self, request: web.BaseRequest) -> WireResponse:
        if request.method == "OPTIONS":
            lines = self._cors.preflight(request.headers.get("Origin"))
            text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            return WireResponse(204, f"Allow: GET, HEAD, OPTIONS\r\n{text}".encode("latin-1"), b"")
        raise Problem(
            405, "Media is read with GET or HEAD.", headers={"Allow": "GET, HEAD, OPTIONS"}
        )

    async def _multivariant(self, request: web.BaseRequest, view: StreamView) -> WireResponse:
        try:
            body = await self._hold(view.multivariant)
        except NotLive as reason:
            raise Problem(404, str(reason)) from None
        known = self._gzipped.get(body)
        if known is None:
            if len(self._gzipped) >= MAX_MULTIVARIANTS:
                self._gzipped.clear()
            known = self._gzipped[body] = (_gzip(body), f'"{zlib.crc32(body):08x}-{len(body)}"')
        zipped, etag = known
        return self._text(request, view.name, self._playlist_lines, body, zipped, etag)

    async def _playlist(
        self, request: web.BaseRequest, stream: str, rendition: RenditionView, query: str
    ) -> WireResponse:
        directives = parse_directives(_pairs(query)) if query else NO_DIRECTIVES
        # Also without directives: before its first part a playlist waits for it.
        rendered = await self._hold(
            lambda: rendition.playlist(
                msn=directives.msn, part=directives.part, skip=directives.skip
            )
        )
        lines = self._playlist_lines if directives.msn is None else self._blocking_lines
        window = self._windows.get(stream)
        if window is None:
            window = self._windows[stream] = ViewerWindow()
        session = hash((request.remote, request.headers.get("User-Agent")))
        window.note(session, time.monotonic())
        if negotiate.accepts_gzip(request.headers.get("Accept-Encoding")):
            zipped = rendered.gzip_body
        else:
            zipped = None
        return self._text(request, stream, lines, rendered.body, zipped, rendered.etag)

    def _text(
        self,
        request: web.BaseRequest,
        stream: str,
        lines: bytes,
        body: bytes,
        zipped: bytes | None,
        etag: str,
    ) -> WireResponse:
        headers = request.headers
        extra = b""
        if zipped is not None and negotiate.accepts_gzip(headers.get("Accept-Encoding")):
            body = zipped
            etag = negotiate.gzip_etag(etag)
            extra = b"Content-Encoding: gzip\r\n"
        head = b"%b%bETag: %b\r\n%b" % (
            lines,
            extra,
            etag.encode("ascii"),
            self._cors.wire(headers.get("Origin")),
        )
        if negotiate.not_modified(headers.get("If-None-Match"), etag):
            return WireResponse(304, head, b"")
        if request.method != "HEAD":
            self._meter.bytes_out(stream, len(body))
        return WireResponse(200, head, body)

    async def _resource(
        self, request: web.BaseRequest, stream: str, rendition: RenditionView, name: str
    ) -> WireResponse:
        resource = rendition.resource(name)
        if resource is None:
            resource = await self._hold(lambda: rendition.wait_resource(name))
            if resource is None:
                raise Problem(404, "The live window holds nothing of that name.")
        headers = request.headers
        body = resource.body
        etag = f'"{name}"'
        lines = self._media_lines.get(resource.content_type) or _media_lines(resource.content_type)
        head = b"%bETag: %b\r\n%b" % (
            lines,
            etag.encode("ascii"),
            self._cors.wire(headers.get("Origin")),
        )
        if negotiate.not_modified(headers.get("If-None-Match"), etag):
            return WireResponse(304, head, b"")
        status = 200
        asked = headers.get("Range")
        # Range is for GET alone (RFC 9110 14.2).
        if asked is not None and request.method == "GET" and headers.get("If-Range", etag) == etag:
            try:
                span = negotiate.single_range(asked, len(body))
            except negotiate.Unsatisfiable:
                # Never kept: a cache would hand it to those who ask for all of it.
                raise Problem(
                    416,
                    f"The range begins behind the end; there are {len(body)} bytes.",
                    headers={
                        "Content-Range": f"bytes */{len(body)}",
                        "Cache-Control": "no-store",
                    },
                ) from None
            if span is not None:
                head = b"%bContent-Range: bytes %d-%d/%d\r\n" % (
                    head,
                    span.first,
                    span.last,
                    len(body),
                )
                body = body[span.first : span.last + 1]
                status = 206
        if request.method != "HEAD":
            self._meter.bytes_out(stream, len(body))
        return WireResponse(status, head, body)

    async def _hold(self, start: Callable[[], Awaitable[_T]]) -> _T:
        if self._draining:
            raise _unavailable("The server is stopping.")
        if len(self._holds) >= self._max_waiters:
            self._meter.refused("waiters")
            raise _unavailable("Too many requests wait for media.")
        try:
            async with asyncio.timeout(self._hold_s) as hold:
                self._holds.add(hold)
                try:
                    return await start()
                finally:
                    self._holds.discard(hold)
        except TimeoutError:
            raise _unavailable("Nothing new came in time.") from None

    def _refusal(self, request: web.BaseRequest, problem: Problem, route: str) -> WireResponse:
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            cache = "no-store"
        else:
            blocking = route == "playlist_blocking"
            cache = f"public, max-age={self._target_s * (4 if blocking else 1)}"
        table = {"Content-Type": CONTENT_TYPE, "Cache-Control": cache, **problem.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in table.items()).encode("latin-1")
        return WireResponse(
            problem.status,
            lines + self._cors.wire(request.headers.get("Origin")),
            problem.document(),
        )


def _pairs(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.split("&"))
    return {name: value for name, _, value in pairs}


def _unavailable(detail: str) -> Problem:
    return Problem(503, f"{detail} Ask again in a second.", headers={"Retry-After": "1"})


def _playlist_lines(max_age_s: int) -> bytes:
    return (
        f"Content-Type: {PLAYLIST_TYPE}\r\n"
        f"Cache-Control: public, max-age={max_age_s}\r\n"
        "Vary: Accept-Encoding\r\n"
    ).encode()


def _media_lines(content_type: str) -> bytes:
    return (
        f"Content-Type: {content_type}\r\n"
        f"Cache-Control: public, max-age={MEDIA_MAX_AGE_S}, immutable\r\n"
        "Accept-Ranges: bytes\r\n"
        "X-Content-Type-Options: nosniff\r\n"
    ).encode()


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
