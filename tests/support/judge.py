"""A viewer who reads everything and forgives nothing: the linter over a stream's whole life."""

from __future__ import annotations

import gzip
import http.client
import threading
import time
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import m3u8

from media.hls.lint import Finding, PlaylistLinter, Severity
from tests.support.server import Server

PERIOD_S = 0.4


class Judge:
    """Polls the playlists of some streams from a thread and lints what comes.

    A stream is judged from the first time that its multivariant playlist is there.
    """

    def __init__(self, server: Server, streams: Sequence[str]) -> None:
        self._server = server
        self._linters = {name: PlaylistLinter() for name in streams}
        self._live: set[str] = set()
        self._stopped = threading.Event()
        self.failure: BaseException | None = None
        self.rounds = 0
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the polling; then read every listed segment and part once."""
        self._stopped.set()
        self._thread.join(30)
        if self.failure is not None:
            raise self.failure
        connection = self._connect()
        for name in self._live:
            self._round(connection, name, media=True)
            self._linters[name].finish()
        connection.close()

    def errors(self, stream: str) -> list[str]:
        """Sentences of every rule that was broken; fails for a stream that never went live."""
        assert stream in self._live, f"{stream} never had a multivariant playlist"
        return [_sentence(f) for f in self._linters[stream].findings if _is_error(f)]

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server.http_port, timeout=15)

    def _run(self) -> None:
        connection = self._connect()
        try:
            while not self._stopped.wait(PERIOD_S):
                for name in self._linters:
                    self._round(connection, name, media=False)
                self.rounds += 1
        except BaseException as error:  # handed over to `stop`
            self.failure = error
        finally:
            connection.close()

    def _round(self, connection: http.client.HTTPConnection, name: str, *, media: bool) -> None:
        linter = self._linters[name]
        url = f"{self._server.url}/live/{name}/index.m3u8"
        status, headers, body = _get(connection, url)
        if name not in self._live and status != 200:
            return
        self._live.add(name)
        text = body.decode()
        linter.observe_playlist(
            url, fetched_at=time.monotonic(), status=status, headers=headers, text=text
        )
        for each in linter.playlists(url, text):
            # Every other time as a player does that has the playlist already.
            query = "?_HLS_skip=YES" if self.rounds % 2 and not media else ""
            status, headers, body = _get(connection, each + query)
            linter.observe_playlist(
                each + query,
                fetched_at=time.monotonic(),
                status=status,
                headers=headers,
                text=body.decode(),
            )
            if media and status == 200:
                self._media(connection, linter, each, body.decode())

    def _media(
        self, connection: http.client.HTTPConnection, linter: PlaylistLinter, url: str, text: str
    ) -> None:
        playlist = m3u8.loads(text, uri=url)
        uris = [segment.init_section.uri for segment in playlist.segments if segment.init_section]
        for segment in playlist.segments:
            uris += [part.uri for part in segment.parts if part.gap is None]
            if segment.uri and not segment.gap_tag:
                uris.append(segment.uri)
        for uri in dict.fromkeys(uris):
            status, headers, body = _get(connection, urljoin(url, uri))
            linter.observe_resource(
                urljoin(url, uri), status=status, headers=headers, size=len(body)
            )


def _get(connection: http.client.HTTPConnection, url: str) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return answer.status, headers, body


def _is_error(finding: Finding) -> bool:
    return finding.severity is Severity.ERROR


def _sentence(finding: Finding) -> str:
    return f"{finding.url} ({finding.clause}): {finding.sentence}"
