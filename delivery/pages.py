"""Pages and files for browsers: the watch page, the publish page, the front end's files.

Every value that comes from outside is escaped; the policies allow our own scripts only.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from delivery import negotiate
from delivery.deps import PARTS
from delivery.hls import STREAM_NAME
from delivery.problems import Problem
from delivery.routing import Answer, Route

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLAYER = "vitrina-player.js"
PUBLISHER = "vitrina-publish.js"
MAX_STATIC_BYTES = 32 * 2**20
"""More than this below the static folder is a mistake: it would all be kept in RAM."""
_HASHED = re.compile(r"-[A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
_GZIP_TYPES = ("text/", "application/javascript", "application/json", "image/svg+xml")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file of the front end, in RAM."""

    body: bytes
    gzip_body: bytes | None
    content_type: str
    etag: str
    cache_control: str


def load_static(folder: Path) -> dict[str, StaticFile]:
    """Read every file below `folder`; names use `/`. Empty where the folder is missing.

    Requests are answered from this table only, so no path can lead out of the folder.
    """
    files: dict[str, StaticFile] = {}
    total = 0
    if not folder.is_dir():
        return files
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink() or path.name.startswith("."):
            continue
        body = path.read_bytes()
        total += len(body)
        if total > MAX_STATIC_BYTES:
            log.warning("the static folder is too large; the rest is not served", at=path.name)
            break
        files[path.relative_to(folder).as_posix()] = _static_file(path.name, body)
    return files


def _static_file(name: str, body: bytes) -> StaticFile:
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if name.endswith((".js", ".mjs")):
        content_type = "text/javascript"
    zipped = None
    if content_type.startswith(_GZIP_TYPES):
        zipped = gzip.compress(body, mtime=0)
        content_type += "; charset=utf-8"
    hashed = _HASHED.search(name) is not None and name not in (PLAYER, PUBLISHER)
    return StaticFile(
        body=body,
        gzip_body=zipped,
        content_type=content_type,
        etag=f'"{hashlib.sha256(body).hexdigest()[:24]}"',
        cache_control="public, max-age=31536000, immutable" if hashed else "public, no-cache",
    )


class Pages:
    """The watch page, the publish page and the static files."""

    def __init__(self, static: Path) -> None:
        self._files = load_static(static)
        if PLAYER not in self._files:
            log.warning(
                "the player is not built: /watch falls back to the browser's own HLS",
                missing=PLAYER,
            )

    async def static(self, request: web.Request) -> web.Response:
        """`GET /static/NAME`: cross-origin readable, shops embed the player."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise Problem(404, "There is no file of that name.")
        headers = {
            "Cache-Control": file.cache_control,
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
            "ETag": file.etag,
            "Content-Type": file.content_type,
        }
        body = file.body
        if file.gzip_body is not None and negotiate.accepts_gzip(
            request.headers.get("Accept-Encoding")
        ):
            body = file.gzip_body
            headers["Content-Encoding"] = "gzip"
            headers["ETag"] = negotiate.gzip_etag(file.etag)
        if negotiate.not_modified(request.headers.get("If-None-Match"), headers["ETag"]):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    async def watch(self, request: web.Request) -> web.Response:
        """`GET /watch/STREAM`; `?mode=realtime` plays by WebRTC where that gets through."""
        name = _stream_of(request)
        if name is None:
            return _no_such_stream()
        source = f"/live/{name}/index.m3u8"
        if PLAYER in self._files:
            head = f'<script type="module" src="/static/{PLAYER}"></script>'
            if "watch.css" in self._files:
                head += '<link rel="stylesheet" href="/static/watch.css">'
            mode = ' mode="realtime"' if request.query.get("mode") == "realtime" else ""
            body = f'<vitrina-player src="{escape(source)}"{mode} autoplay></vitrina-player>'
        else:
            head = ""
            body = _FALLBACK.format(source=escape(source))
        return _html(_PAGE.format(title=escape(name), head=head, body=body))

    async def publish(self, request: web.Request) -> web.Response:
        """`GET /studio/publish/STREAM`: camera, screen and microphone to WHIP.

        The page is no secret: it asks for the stream key, which only its own requests carry.
        """
        name = _stream_of(request)
        if name is None:
            return _no_such_stream()
        title = f"Go live: {escape(name)}"
        if PUBLISHER not in self._files:
            page = _PAGE.format(title=title, head="", body=_NO_PUBLISHER)
            return _html(page, status=503)
        page = _PUBLISH_PAGE.format(title=title, script=PUBLISHER, stream=escape(name))
        return _html(page, headers=PUBLISH_HEADERS)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of this module."""
        return (
            Route(
                method="GET",
                path="/watch/{stream}",
                name="watch",
                summary="Player page",
                handler=self.watch,
                answers={200: Answer(description="The page.", content_type="text/html")},
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/studio/publish/{stream}",
                name="publishPage",
                summary="Page that publishes camera, screen and microphone by WHIP",
                handler=self.publish,
                answers={200: Answer(description="The page.", content_type="text/html")},
                errors=(404, 503),
            ),
            Route(
                method="GET",
                path="/static/{name:.+}",
                name="static",
                summary="Files of the player, vitrina-player.js among them",
                handler=self.static,
                answers={
                    200: Answer(description="The file.", content_type="application/octet-stream")
                },
                errors=(404,),
                cross_origin=True,
            ),
        )


_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' https: data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)

PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}

PUBLISH_HEADERS = {
    **PAGE_HEADERS,
    # Nothing is loaded from elsewhere, and no other page may frame the one that asks for a key.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",
            "img-src data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(self), screen-wake-lock=(self), "
        "geolocation=()"
    ),
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<title>{title} · Vitrina</title>
<link rel="icon" href="data:,">
<style>
html,body{{margin:0;height:100%;background:#101014;color:#f4f4f6;
font:16px/1.5 system-ui,sans-serif}}
main{{min-height:100%;display:grid;place-items:center}}
vitrina-player,video{{display:block;width:100%;max-height:100vh}}
vitrina-player{{height:100vh;height:100dvh}}
p{{padding:0 1rem;max-width:40rem}}
a{{color:#9ec1ff}}
</style>
{head}
</head>
<body>
<main>{body}</main>
</body>
</html>
"""

_PUBLISH_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Vitrina</title>
<link rel="icon" href="data:,">
<style>
html,body{{margin:0;min-height:100%;background:#101014;color:#f4f4f6;color-scheme:dark}}
</style>
<script type="module" src="/static/{script}"></script>
</head>
<body>
<main><vitrina-publish stream="{stream}"></vitrina-publish></main>
</body>
</html>
"""

_NO_PUBLISHER = (
    "<p>This server runs without its publish page: the front end was not built. To build it, "
    "install the package again with access to the npm registry. Until then any encoder that "
    "speaks WHIP or RTMP can publish.</p>"
)

_NOT_FOUND = "<p>There is no stream of this name here.</p>"

_FALLBACK = (
    '<video src="{source}" controls autoplay muted playsinline></video>'
    "<p>This server runs without its player: the front end was not built. "
    "A browser that plays HLS by itself (Safari does) shows the stream above, "
    "without chapters and products. To build the player, install the package again with access "
    "to the npm registry. "
    '<a href="{source}">Playlist for another player</a></p>'
)


def _stream_of(request: web.Request) -> str | None:
    """Return the stream that the address names, None where there is none."""
    name = request.match_info["stream"]
    known = request.app[PARTS].deps.directory.get(name) is not None
    return name if known and STREAM_NAME.fullmatch(name) else None


def _no_such_stream() -> web.Response:
    return _html(_PAGE.format(title="No such stream", head="", body=_NOT_FOUND), status=404)


def _html(
    page: str, *, status: int = 200, headers: Mapping[str, str] = PAGE_HEADERS
) -> web.Response:
    return web.Response(
        status=status, text=page, content_type="text/html", charset="utf-8", headers=headers
    )
