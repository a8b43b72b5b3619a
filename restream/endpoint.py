"""Reads the address of a target: scheme, host, port, application and key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from restream.model import TargetRefused

PORTS = {"rtmp": 1935, "rtmps": 443}
"""Schemes that are pushed to, with their default ports; no other scheme is ever opened."""
MAX_URL = 1024
MAX_KEY = 1024
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_MAX_HOST = 253
_PATH = re.compile(r"/[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server and the application on it; holds no secret."""

    tls: bool
    host: str
    """Name or address, lower case, without brackets."""
    port: int
    app: str

    @property
    def url(self) -> str:
        """`rtmp://HOST[:PORT]/APP`: what `connect` gives as tcUrl."""
        scheme = "rtmps" if self.tls else "rtmp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{host}{port}/{self.app}"


def parse_target(url: str, key: str | None) -> tuple[Endpoint, str]:
    """Return the endpoint and the key of a target.

    Without `key` the last part of the URL's path is the key, as encoders with a single field
    have it. Raises `TargetRefused` with the field at fault; its text never repeats the URL.
    """
    endpoint = _endpoint(url)
    if key is None:
        app, _, key = endpoint.app.rpartition("/")
        if not app:
            raise TargetRefused("the stream key of the target is needed", field="key")
        endpoint = Endpoint(tls=endpoint.tls, host=endpoint.host, port=endpoint.port, app=app)
    if not 1 <= len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()) or " " in key:
        raise TargetRefused(f"1 to {MAX_KEY} printable characters without blanks", field="key")
    return endpoint, key


def _endpoint(url: str) -> Endpoint:
    # `urlsplit` drops line breaks: nothing of what it reads may differ from what is shown.
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise _refused("is no URL")
    try:
        parts = urlsplit(url[: MAX_URL + 1])
        host, port = (parts.hostname or "")[: _MAX_HOST + 1], parts.port
    except ValueError:
        raise _refused("is no URL") from None
    if len(url) > MAX_URL:
        raise _refused(f"is longer than {MAX_URL} characters")
    if parts.scheme not in PORTS:
        raise _refused("must start with rtmp:// or rtmps://")
    if url.count("://") > 1:
        # A scheme pasted twice: what looks like a login would be sent as the application.
        raise _refused("holds :// twice; give the server's address once")
    if "@" in parts.netloc or parts.fragment or parts.query or "?" in url or "#" in url:
        raise _refused("must be the server's address alone; put what follows '?' into the key")
    if len(host) > _MAX_HOST or port == 0 or not (_HOST.fullmatch(host) or _is_ipv6(host)):
        raise _refused("names no host")
    app = parts.path.strip("/")
    if not app or not _PATH.fullmatch(parts.path):
        raise _refused("needs the application of the target behind its host, as in /live")
    return Endpoint(
        tls=parts.scheme == "rtmps",
        host=host.rstrip("."),
        port=port or PORTS[parts.scheme],
        app=app,
    )


def _is_ipv6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _refused(text: str) -> TargetRefused:
    return TargetRefused(text, field="url")
