"""A viewer who takes every part as soon as it is listed and sees which encoder's picture it is."""

from __future__ import annotations

import io
import itertools
import threading
import time
from dataclasses import dataclass
from urllib.parse import urljoin

import av
import m3u8

from tests.support.server import STREAM, Server, wait_for

POLL_S = 0.03
LOOKS = {"primary": ",lutrgb=g=0:b=0", "backup": ",lutrgb=r=0:g=0"}
"""Appended to ffmpeg's test picture: red for the one, blue for the other."""


@dataclass(frozen=True)
class Seen:
    """A decoded picture."""

    at_s: float
    """`time.monotonic()` when it could be decoded."""
    pts_s: float
    """On the show clock."""
    role: str


class Viewer:
    """Decodes the source rung part by part from a thread; all media comes through HTTP."""

    def __init__(self, server: Server, stream: str = STREAM) -> None:
        self._server = server
        self._url = f"{server.url}/live/{stream}/source/index.m3u8"
        self._stopped = threading.Event()
        self._known: set[str] = set()
        self._init: tuple[str, bytes] = ("", b"")
        self._decoder: av.VideoCodecContext | None = None
        self.seen: list[Seen] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)
        if self.failure is not None:
            raise self.failure

    def first(self, role: str, after_s: float, timeout_s: float = 20) -> Seen:
        """Return the first picture of an encoder that was seen after a moment."""
        return wait_for(
            lambda: next((s for s in self.seen if s.at_s > after_s and s.role == role), None),
            timeout_s,
            f"a picture of the {role} encoder ({self.failure})",
        )

    def hole_before(self, picture: Seen) -> float:
        """Seconds of the show without a picture before this one."""
        before = self.seen[: self.seen.index(picture)]
        return picture.pts_s - before[-1].pts_s if before else 0.0

    def longest_hole(self, after_s: float) -> float:
        """Longest such time between pictures seen after a moment."""
        times = [s.pts_s for s in self.seen if s.at_s > after_s]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def _run(self) -> None:
        try:
            while not self._stopped.wait(POLL_S):
                reply = self._server.get(self._url)
                if reply.status == 200:
                    self._read(reply.text)
        except BaseException as error:  # handed over to `stop` and `first`
            self.failure = error

    def _read(self, text: str) -> None:
        playlist = m3u8.loads(text, uri=self._url)
        for segment in playlist.segments:
            # m3u8 names none for a segment that has only parts yet.
            init = segment.init_section or playlist.segment_map[-1]
            for part in segment.parts:
                if part.gap is None and part.uri not in self._known:
                    self._known.add(part.uri)
                    self._decode(init.uri, self._fetch(part.uri))

    def _fetch(self, uri: str) -> bytes:
        reply = self._server.get(urljoin(self._url, uri))
        assert reply.status == 200, f"{uri}: {reply.status}"
        return reply.body

    def _decode(self, init_uri: str, part: bytes) -> None:
        if self._init[0] != init_uri:
            self._init = (init_uri, self._fetch(init_uri))
            self._decoder = None
        with av.open(io.BytesIO(self._init[1] + part)) as container:
            stream = container.streams.video[0]
            if self._decoder is None:
                self._decoder = av.CodecContext.create(stream.codec_context.name, "r")
                self._decoder.extradata = stream.codec_context.extradata
                self._decoder.thread_count = 1
            for packet in container.demux(stream):
                if packet.pts is None or packet.time_base is None:
                    continue
                base = packet.time_base
                for frame in self._decoder.decode(packet):
                    assert frame.pts is not None
                    self.seen.append(Seen(time.monotonic(), float(frame.pts * base), _role(frame)))


def _role(frame: av.VideoFrame) -> str:
    red, _, blue = frame.reformat(width=16, height=16, format="rgb24").to_ndarray().mean((0, 1))
    return "primary" if red > blue else "backup"
