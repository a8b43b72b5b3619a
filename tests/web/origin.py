"""A live LL-HLS origin for the player's tests, independent of the server's own HLS code.

The media is made by the ffmpeg command line (fMP4, one fragment per part); the playlists are
written here. A strip of 16 black or white blocks along the top of the picture is the frame's
number in binary, lowest bit first.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import struct
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from aiohttp import web

FPS = 30
SEGMENT_S = 2
PARTS = 6
PART_S = SEGMENT_S / PARTS
BITS = 16
AUDIO_RATE = 48_000
WINDOW = 20
"""Segments listed: what a slow machine's viewer seeks back to must still be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    start: float
    duration: float
    body: bytes
    independent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    init: bytes
    timescale: int
    segments: list[list[Part]]
    stream_inf: str


def rfc3339(seconds: float) -> str:
    """Unix seconds as RFC 3339 UTC with milliseconds."""
    stamp = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + f"{round(seconds * 1000) % 1000:03d}Z"


def make_media(folder: Path, name: str, size: tuple[int, int], seconds: int) -> None:
    """``NAME.mp4``: numbered frames at ``size``; ``audio.mp4``: a tone. Kept when already there."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    width, height = size
    strip = max(16, height // 12) & ~1
    video = folder / f"{name}.mp4"
    if not video.exists():
        assert width % BITS == 0
        # One pixel a bit, then enlarged: geq is slow.
        code = f"geq=lum='if(mod(floor(N/pow(2,X)),2),235,16)':cb=128:cr=128"
        code += f",scale={width}:{strip}:flags=neighbor,setsar=1"
        graph = (
            f"testsrc2=s={width}x{height - strip}:r={FPS}:d={seconds},format=yuv420p[p];"
            f"color=s={BITS}x2:r={FPS}:d={seconds},format=yuv420p,{code}[c];[c][p]vstack"
        )
        _run(
            ffmpeg, "-filter_complex", graph, "-c:v", "libx264", "-preset", "ultrafast",
            "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-b:v", "900k", "-bf", "0",
            "-force_key_frames", f"expr:gte(t,n_forced*{SEGMENT_S})", "-g", "9999",
            "-movflags", "+cmaf+frag_custom+empty_moov+default_base_moof+frag_keyframe",
            "-frag_duration", str(round(PART_S * 1e6) - 1000), "-video_track_timescale", "90000",
            str(video),
        )  # fmt: skip
    audio = folder / "audio.mp4"
    if not audio.exists():
        _run(
            ffmpeg, "-f", "lavfi", "-i", f"sine=f=330:r={AUDIO_RATE}:d={seconds + 4}",
            "-ac", "2", "-c:a", "aac", "-b:a", "96k", "-movflags", "+cmaf+empty_moov",
            "-frag_duration", str(round(15 * 1024 / AUDIO_RATE * 1e6) - 1000), str(audio),
        )  # fmt: skip


def _run(*command: str) -> None:
    command = (command[0], "-v", "error", "-y", "-nostdin", *command[1:])
    subprocess.run(command, check=True, timeout=100)


def _boxes(data: bytes) -> list[tuple[str, bytes]]:
    boxes, at = [], 0
    while at + 8 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        boxes.append((data[at + 4 : at + 8].decode("ascii"), data[at : at + size]))
        at += size
    return boxes


def _decode_time(moof: bytes) -> int:
    at = moof.index(b"tfdt")
    wide = moof[at + 4] == 1
    return int(struct.unpack_from(">Q" if wide else ">I", moof, at + 8)[0])


def _displaced(fragment: bytes, by: int) -> bytes:
    at = fragment.index(b"tfdt") + 8
    form = ">Q" if fragment[at - 4] == 1 else ">I"
    time = struct.unpack_from(form, fragment, at)[0] + by
    return fragment[:at] + struct.pack(form, time) + fragment[at + struct.calcsize(form) :]


def load_track(path: Path, *, timescale: int, stream_inf: str = "") -> Track:
    """Cuts a fragmented file into parts at its fragments, and into segments on the 2 s grid."""
    init, fragments = b"", []
    moof = b""
    for kind, body in _boxes(path.read_bytes()):
        if kind in {"ftyp", "moov"}:
            init += body
        elif kind == "moof":
            moof = body
        elif kind == "mdat":
            fragments.append((_decode_time(moof) / timescale, moof + body))
    segments: list[list[Part]] = []
    for (start, body), following in itertools.pairwise(fragments):
        # A part belongs to the grid interval that its middle lies in (audio does not cut on it).
        index = int((start + (following[0] - start) / 2) // SEGMENT_S)
        while len(segments) <= index:
            segments.append([])
        first = not segments[index]
        part = Part(start=start, duration=following[0] - start, body=body, independent=first)
        segments[index].append(part)
    return Track(init=init, timescale=timescale, segments=segments, stream_inf=stream_inf)


def emsg(text: str, *, ticks: int, timescale: int, ident: int) -> bytes:
    """An emsg v1 with an ID3v2.4 TXXX frame (AOM: ID3 timed metadata in CMAF)."""

    def syncsafe(n: int) -> bytes:
        return bytes((n >> 21 & 127, n >> 14 & 127, n >> 7 & 127, n & 127))

    body = b"\x03org.vitrina.cue\0" + text.encode()
    frame = b"TXXX" + syncsafe(len(body)) + b"\0\0" + body
    tag = b"ID3\x04\0\0" + syncsafe(len(frame)) + frame
    head = struct.pack(">IIQII", 0x01000000, timescale, ticks, 60 * timescale, ident)
    box = head + b"https://aomedia.org/emsg/ID3\0\0" + tag
    return struct.pack(">I4s", len(box) + 8, b"emsg") + box


@dataclass(slots=True, kw_only=True)
class Carried:
    json: dict[str, Any]
    effective: float
    carriers: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Origin:
    """One stream at ``/live/s/``. Content second 0 airs at Unix time ``epoch``."""

    tracks: dict[str, Track]
    static: Path
    epoch: float = 0.0
    state: str = "live"
    cues: list[Carried] = field(default_factory=list)
    outage: tuple[float, float] | None = None
    spared: str = ""
    """The rendition that has media throughout the outage."""
    paused: tuple[str, int] | None = None
    """A rendition, and the segment from which on it has no media; each is listed when it is over."""
    ended_at: float | None = None
    displaced: float | None = None
    """Video parts that begin here say that they begin 0.1 s later: browsers drop them."""
    down: bool = False
    requests: list[str] = field(default_factory=list)
    body: str = '<vitrina-player src="/live/s/index.m3u8"></vitrina-player>'
    extra: list[web.RouteDef] = field(default_factory=list)
    """Further routes, of a WebRTC peer for example."""
    _listeners: set[asyncio.Queue[tuple[str, str]]] = field(default_factory=set)
    _seq: int = 0

    # ---- what a test does

    def go_live(self, *, backlog_s: float = 13.0) -> None:
        """Starts the show as if it had begun ``backlog_s`` ago."""
        self.epoch = time.time() - backlog_s
        self.set_state("live")

    def set_state(self, state: str) -> None:
        self.state = state
        self._tell("state", json.dumps({"state": state}))

    def position(self) -> float:
        """Content seconds that the encoder has sent by now."""
        now = time.time() - self.epoch
        return min(now, self.ended_at) if self.ended_at is not None else now

    def cue(
        self, ident: str, kind: str, at: float, data: dict[str, Any], *,
        rev: int = 1, state: str = "live", end: float | None = None,
        effective: float | None = None, carriers: str = "daterange emsg sse",
    ) -> float:  # fmt: skip
        """Fires a cue at content second ``at`` (``end`` and ``effective`` too); its Unix time."""
        moment = self.epoch + at
        body = {
            "id": ident, "rev": rev, "type": kind, "state": state, "at": rfc3339(moment),
            "end": None if end is None else rfc3339(self.epoch + end), "data": data,
        }  # fmt: skip
        since = self.epoch + (at if effective is None else effective)
        carried = Carried(json=body, effective=since, carriers=frozenset(carriers.split()))
        self.cues.append(carried)
        self._seq += 1
        if "sse" in carried.carriers:
            full = {"seq": self._seq, **body, "effective": rfc3339(since)}
            self._tell("cue", json.dumps(full))
        return moment

    def _tell(self, event: str, data: str) -> None:
        for queue in self._listeners:
            queue.put_nowait((event, data))

    # ---- what is published

    def _paused_s(self, track: Track) -> float:
        """Content second from which a rendition has no media."""
        if self.paused is None or track is not self.tracks[self.paused[0]]:
            return float("inf")
        return track.segments[self.paused[1]][0].start

    def _lost(self, track: Track, part: Part) -> bool:
        if part.start >= self._paused_s(track):
            return True
        if self.outage is None or track is self.tracks.get(self.spared):
            return False
        start, end = self.outage
        return start - 0.01 <= part.start < end - 0.01

    def _published(self, track: Track) -> list[list[Part]]:
        edge = self.position()
        if edge > self._paused_s(track):
            edge = max(self._paused_s(track), (edge - 0.5) // SEGMENT_S * SEGMENT_S)
        spared = track is self.tracks.get(self.spared)
        if self.outage is not None and not spared and edge < self.outage[1] + PART_S:
            edge = min(edge, self.outage[0])
        listed = []
        for segment in track.segments:
            ready = [part for part in segment if part.start + part.duration <= edge + 1e-6]
            if ready:
                listed.append(ready)
            if len(ready) < len(segment):
                break
        return listed

    def media_playlist(self, name: str) -> str:
        track = self.tracks[name]
        listed = self._published(track)
        first = max(0, len(listed) - WINDOW)
        target = max(part.duration for segment in listed for part in segment)
        lines = [
            "#EXTM3U", "#EXT-X-VERSION:6", f"#EXT-X-TARGETDURATION:{SEGMENT_S}",
            f"#EXT-X-PART-INF:PART-TARGET={target:.5f}",
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={3 * target:.5f}",
            f"#EXT-X-MEDIA-SEQUENCE:{first}", '#EXT-X-MAP:URI="init.mp4"',
        ]  # fmt: skip
        for msn in range(first, len(listed)):
            segment, whole = listed[msn], track.segments[msn]
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{rfc3339(self.epoch + segment[0].start)}")
            if msn >= len(listed) - 3:
                for index, part in enumerate(segment):
                    tag = f'#EXT-X-PART:DURATION={part.duration:.5f},URI="{msn}.{index}.m4s"'
                    tag += ",INDEPENDENT=YES" if part.independent else ""
                    lines.append(tag + (",GAP=YES" if self._lost(track, part) else ""))
            if len(segment) == len(whole):
                duration = sum(part.duration for part in segment)
                gap = ["#EXT-X-GAP"] if all(self._lost(track, part) for part in segment) else []
                lines += [*gap, f"#EXTINF:{duration:.5f},", f"{msn}.m4s"]
        lines += self._date_ranges()
        if self.ended_at is not None and self.position() >= self.ended_at:
            return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
        msn, index = self._next(listed, track)
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{msn}.{index}.m4s"')
        return "\n".join([*lines, ""])

    @staticmethod
    def _next(listed: list[list[Part]], track: Track) -> tuple[int, int]:
        last = len(listed) - 1
        if len(listed[last]) == len(track.segments[last]):
            return last + 1, 0
        return last, len(listed[last])

    def _date_ranges(self) -> list[str]:
        tags = []
        for one in self.cues:
            if "daterange" not in one.carriers:
                continue
            text = json.dumps(one.json, separators=(",", ":"), ensure_ascii=False).encode()
            value = base64.urlsafe_b64encode(text).decode().rstrip("=")
            tags.append(
                f'#EXT-X-DATERANGE:ID="{one.json["id"]}.{one.json["rev"]}",'
                f'CLASS="org.vitrina.cue.{one.json["type"]}",'
                f'START-DATE="{rfc3339(one.effective)}",X-ORG-VITRINA-CUE="{value}"'
            )
        return tags

    def _body(self, name: str, part: Part) -> bytes:
        track = self.tracks[name]
        head = b""
        for ident, one in enumerate(self.cues, 1):
            at = one.effective - self.epoch
            if name == "audio" or "emsg" not in one.carriers:
                continue
            if part.start <= at < part.start + part.duration:
                ticks = round(at * track.timescale)
                text = json.dumps(one.json, separators=(",", ":"), ensure_ascii=False)
                head += emsg(text, ticks=ticks, timescale=track.timescale, ident=ident)
        body = part.body
        if (
            name != "audio"
            and self.displaced is not None
            and abs(part.start - self.displaced) < 0.01
        ):
            body = _displaced(body, track.timescale // 10)
        return head + body

    # ---- HTTP

    async def _multivariant(self, _request: web.Request) -> web.Response:
        if self.state == "idle" or self.down:
            raise web.HTTPNotFound
        lines = ["#EXTM3U", "#EXT-X-INDEPENDENT-SEGMENTS"]
        lines.append(
            '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="main",DEFAULT=YES,AUTOSELECT=YES,'
            'URI="audio/index.m3u8"'
        )
        for name, track in self.tracks.items():
            if name != "audio":
                lines += [f'#EXT-X-STREAM-INF:{track.stream_inf},AUDIO="a"', f"{name}/index.m3u8"]
        return web.Response(text="\n".join([*lines, ""]), content_type=HLS)

    async def _playlist(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.requests.append(request.path_qs)
        if "_HLS_msn" in request.query:
            wanted = int(request.query["_HLS_msn"]), int(request.query.get("_HLS_part", PARTS))
            until = time.monotonic() + 3 * SEGMENT_S
            while self.ended_at is None or self.position() < self.ended_at:
                listed = self._published(self.tracks[name])
                msn, index = self._next(listed, self.tracks[name])
                if (msn, index) > wanted or msn > wanted[0]:
                    break
                if time.monotonic() > until:
                    raise web.HTTPServiceUnavailable
                await asyncio.sleep(0.01)
        if self.down:
            raise web.HTTPNotFound
        return web.Response(text=self.media_playlist(name), content_type=HLS)

    async def _media(self, request: web.Request) -> web.Response:
        name, file = request.match_info["name"], request.match_info["file"]
        if self.down:
            raise web.HTTPNotFound
        track = self.tracks[name]
        if file == "init.mp4":
            return web.Response(body=track.init, content_type="video/mp4")
        numbers = [int(n) for n in file.removesuffix(".m4s").split(".")]
        parts = track.segments[numbers[0]]
        if len(numbers) == 2:
            parts = parts[numbers[1] : numbers[1] + 1]
        parts = [part for part in parts if not self._lost(track, part)]
        if not parts:
            raise web.HTTPNotFound
        body = b"".join(self._body(name, part) for part in parts)
        return web.Response(body=body, content_type="video/iso.segment")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        queue.put_nowait(("state", json.dumps({"state": self.state})))
        self._listeners.add(queue)
        try:
            while True:
                event, data = await queue.get()
                await answer.write(f"event: {event}\ndata: {data}\n\n".encode())
        except ConnectionError:
            return answer
        finally:
            self._listeners.discard(queue)

    async def _state(self, _request: web.Request) -> web.Response:
        held = [one.json for one in self.cues if "state" in one.carriers]
        return web.json_response({"cues": held})

    async def _page(self, _request: web.Request) -> web.Response:
        page = PAGE.replace("BODY", self.body)
        return web.Response(text=page, content_type="text/html", headers=POLICY)

    async def _static(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.static / request.match_info["file"])

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serves on a free loopback port; yields the address of the page."""
        app = web.Application()
        app.router.add_get("/watch/s", self._page)
        app.router.add_get(r"/static/{file:[\w.-]+}", self._static)
        app.router.add_get("/live/s/index.m3u8", self._multivariant)
        app.router.add_get("/live/s/events", self._events)
        app.router.add_get("/live/s/state.json", self._state)
        app.router.add_get("/live/s/{name}/index.m3u8", self._playlist)
        app.router.add_get("/live/s/{name}/{file}", self._media)
        app.router.add_routes(self.extra)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield f"http://127.0.0.1:{port}/watch/s"
        finally:
            await runner.cleanup()


HLS = "application/vnd.apple.mpegurl"
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "connect-src 'self'; media-src 'self' blob:; img-src 'self' data:"
    )
}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>s</title>
<link rel="icon" href="data:,">
<style>html,body{margin:0;height:100%;background:#0b0c0f}
vitrina-player{width:100%;height:100%;aspect-ratio:auto}</style>
<script type="module" src="/static/vitrina-player.js"></script></head>
<body>BODY</body></html>
"""
