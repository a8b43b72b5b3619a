"""A plain reader of our HLS: `m3u8` for playlists, PyAV for media. None of our own parsers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from urllib.parse import urljoin

import av
import m3u8

from tests.support.server import Server


@dataclass
class Decoded:
    """What a decoder made of an init segment and some segments."""

    frames: int
    codec: str
    width: int
    height: int
    first_pts: float
    """Seconds on the show clock."""
    last_pts: float
    pts: list[float]
    keys: list[float]


class Reader:
    """Reads one stream of a server."""

    def __init__(self, server: Server, stream: str = "show") -> None:
        self.server = server
        self.base = f"{server.url}/live/{stream}/"

    def multivariant(self) -> m3u8.M3U8:
        reply = self.server.get(self.base + "index.m3u8")
        assert reply.status == 200, reply.text
        return m3u8.loads(reply.text, uri=self.base + "index.m3u8")

    def names(self) -> list[str]:
        playlist = self.multivariant()
        names = [p.uri.split("/")[0] for p in playlist.playlists]
        return names + [m.uri.split("/")[0] for m in playlist.media if m.uri]

    def url(self, rendition: str) -> str:
        return f"{self.base}{rendition}/index.m3u8"

    def text(self, rendition: str, query: str = "", *, timeout_s: float = 15) -> str:
        reply = self.server.get(self.url(rendition) + query, timeout_s=timeout_s)
        assert reply.status == 200, reply.text
        return reply.text

    def media(self, rendition: str, query: str = "") -> m3u8.M3U8:
        return m3u8.loads(self.text(rendition, query), uri=self.url(rendition))

    def fetch(self, rendition: str, uri: str) -> bytes:
        reply = self.server.get(urljoin(self.url(rendition), uri))
        assert reply.status == 200, f"{uri}: {reply.status} {reply.text}"
        return reply.body

    def decode(self, rendition: str, *, segments: int | None = None) -> Decoded:
        """Decode the last `segments` listed segments (all by default) without any error."""
        playlist = self.media(rendition)
        chosen = [s for s in playlist.segments if s.uri and not s.gap_tag]
        chosen = chosen[-segments:] if segments else chosen
        assert chosen, f"{rendition} lists no segment"
        init = chosen[-1].init_section.uri
        chosen = [s for s in chosen if s.init_section.uri == init]
        data = self.fetch(rendition, init)
        data += b"".join(self.fetch(rendition, s.uri) for s in chosen)
        return decode(data)


def decode(data: bytes) -> Decoded:
    """Decode fMP4 bytes strictly: any decoder error fails."""
    with av.open(io.BytesIO(data), options={"err_detect": "explode"}) as container:
        stream = container.streams[0]
        stream.codec_context.options = {"err_detect": "explode"}
        pts: list[float] = []
        keys: list[float] = []
        width = height = 0
        for packet in container.demux(stream):
            if packet.pts is not None and packet.is_keyframe:
                keys.append(float(packet.pts * packet.time_base))
            for frame in packet.decode():
                assert frame.pts is not None
                pts.append(float(frame.pts * frame.time_base))
                if isinstance(frame, av.VideoFrame):
                    width, height = frame.width, frame.height
        return Decoded(
            frames=len(pts),
            codec=stream.codec_context.name,
            width=width,
            height=height,
            first_pts=min(pts),
            last_pts=max(pts),
            pts=pts,
            keys=keys,
        )
