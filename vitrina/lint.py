"""`vitrina lint URL`: plays a live URL like a low-latency player and reports broken rules."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import aiohttp

from media.hls.lint import PlaylistLinter
from media.hls.lint_tags import Document, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST_TIMEOUT_S = 15.0
MAX_BODY = 64 * 2**20
SKIP_EVERY = 5
"""Each fifth reload asks for a delta update."""
_OK = 200
_RETRY_S = 0.5


class Unplayable(Exception):
    """The URL gave nothing to check; the text says why."""


async def lint(url: str, seconds: float) -> PlaylistLinter:
    """Play `url` for so long; return the linter with what it found. Raises `Unplayable`."""
    linter = PlaylistLinter()
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=32)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        player = _Player(session, linter)
        text = await player.playlist(url)
        if text is None:
            raise Unplayable(f"{url} could not be fetched")
        doc = parse(text)
        playlists = linter.playlists(url, text) if doc.is_multivariant else [url]
        if not playlists or (not doc.is_multivariant and not doc.segments):
            raise Unplayable(f"{url} is no HLS playlist, or an empty one")
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for playlist in playlists:
                    group.create_task(player.follow(playlist))
        except TimeoutError:
            pass
    linter.finish()
    return linter


class _Player:
    """Fetches what one player of every rendition would."""

    def __init__(self, session: aiohttp.ClientSession, linter: PlaylistLinter) -> None:
        self._session = session
        self._linter = linter

    async def playlist(self, url: str) -> str | None:
        """Fetch and check a playlist; None where it did not come."""
        try:
            async with self._session.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
                body = await answer.content.read(MAX_BODY)
        except (aiohttp.ClientError, TimeoutError):
            return None
        text = body.decode("utf-8", "replace")
        self._linter.observe_playlist(
            url,
            fetched_at=time.monotonic(),
            status=answer.status,
            headers=answer.headers,
            text=text,
        )
        return text if answer.status == _OK else None

    async def follow(self, url: str) -> None:
        """Reload a media playlist and fetch what it lists, until it ends."""
        seen: set[str] = set()
        query, loads = "", 0
        while True:
            text = await self.playlist(url + query)
            if text is None:
                await asyncio.sleep(_RETRY_S)
                query = ""
                continue
            doc = parse(text)
            listed = list(_resources(url, doc))
            # A player starts at the live edge: what was there before is not fetched.
            await self._fetch(listed[-2:] if not seen else [u for u in listed if u not in seen])
            seen.update(listed)
            if doc.ended:
                return
            loads += 1
            query = next_query(doc, delta=loads % SKIP_EVERY == 0)
            if not query:
                await asyncio.sleep((doc.target or 2.0) / 2)

    async def _fetch(self, urls: list[str]) -> None:
        for url in urls:
            try:
                async with self._session.get(url) as answer:
                    size = 0
                    async for chunk in answer.content.iter_chunked(65536):
                        size += len(chunk)
            except (aiohttp.ClientError, TimeoutError):
                continue
            self._linter.observe_resource(
                url, status=answer.status, headers=answer.headers, size=size
            )


def _resources(base: str, doc: Document) -> Iterator[str]:
    """Yield the URLs of init segments, parts and segments in playing order, GAPs left out."""
    maps: set[str] = set()
    for segment in doc.segments:
        if segment.map_uri and segment.map_uri not in maps:
            maps.add(segment.map_uri)
            yield urljoin(base, segment.map_uri)
        for part in segment.parts:
            if not part.gap:
                yield urljoin(base, part.uri)
        if segment.uri and not segment.gap:
            yield urljoin(base, segment.uri)


def next_query(doc: Document, *, delta: bool) -> str:
    """Return the directives of the next blocking reload (6.2.5.2); empty where it cannot block."""
    control = doc.control
    if control is None or control.get("CAN-BLOCK-RELOAD") != "YES":
        return ""
    if doc.segments:
        last = doc.segments[-1]
        whole = last.duration is not None
        msn, part = (last.msn + 1, 0) if whole else (last.msn, len(last.parts))
    else:
        msn, part = doc.first_msn + (doc.skipped or 0), 0
    query = f"?_HLS_msn={msn}" + (f"&_HLS_part={part}" if doc.part_target is not None else "")
    return query + "&_HLS_skip=YES" if delta and "CAN-SKIP-UNTIL" in control else query
