"""Everything around a real show in virtual time, and what it is held to."""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import av

from config.settings import HlsSettings, LadderSettings
from media.clock import ShowClock
from media.hls.lint import PlaylistLinter, Severity
from media.hls.multivariant import RenditionInfo, render_multivariant
from media.hls.playlist import PLAYLIST_TYPE
from media.hls.rendition import Rendition
from media.hls.seams import NoMetadata
from media.meter import NoMeter
from media.model import TICKS_PER_SECOND, Kind, Packet, TrackFormat
from media.programme import Feeder
from media.realtime import RealtimeFeed
from media.show import Show
from media.slate.desk import SlateRecipe
from media.slate.loop import DEFAULT_SIZE
from media.transcode.sink import RungSink
from tests.media.actors import FORMATS, MS, SIZES, WRAP, Encoder, Worker, keys, packet, pictures

STEP_MS = 10
BASE = "http://h/live/s/"


@dataclass
class Seen:
    """What a rendition has promised."""

    segments: dict[int, tuple[str, int | None, str | None]] = field(default_factory=dict)
    names: dict[str, tuple[int, int]] = field(default_factory=dict)
    position: tuple[int, int] = (-1, -1)
    checked: set[str] = field(default_factory=set)


class Ear:
    """Watches without a segment's delay, and notes what was promised and not kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broken: list[str] = []
        self.fresh: set[str] = set()
        self.rungs: dict[str, TrackFormat] = {}
        self.last: dict[str, Packet] = {}
        self.holes: dict[str, list[tuple[int, int]]] = {}
        self.delays_ms: dict[str, float] = {}

    def formats(self, rung: str, track_format: TrackFormat) -> None:
        self.rungs[rung] = track_format
        self.fresh.add(rung)

    def packet(self, rung: str, packet: Packet) -> None:
        last, self.last[rung] = self.last.get(rung), packet
        if rung not in self.rungs or self.rungs[rung].codec is not packet.codec:
            self.broken.append(f"{rung}: a packet of {packet.codec} without its format")
        if rung in self.fresh and not packet.key:
            self.broken.append(f"{rung}: a format without a key frame at {packet.pts}")
        if last is not None and packet.dts <= last.dts:
            self.broken.append(f"{rung}: {packet.dts} after {last.dts}")
        if last is not None and packet.pts - last.pts > TICKS_PER_SECOND // 10:
            self.holes.setdefault(rung, []).append((last.pts, packet.pts))
        self.fresh.discard(rung)
        delay_ms = (self.world.now_ns - packet.arrived_ns) / MS
        self.delays_ms[rung] = max(self.delays_ms.get(rung, 0), delay_ms)

    def gone(self, rung: str) -> None:
        self.rungs.pop(rung, None)

    def ended(self) -> None:
        self.rungs.clear()


class World:
    """Everything around a show, in virtual time."""

    def __init__(self, ladder: LadderSettings, *, slate: bool = False) -> None:
        self.now_ns = 1_000 * MS
        self.worker: Worker | None = None
        self.linter = PlaylistLinter()
        self.seen: dict[str, Seen] = {}
        self.feed = RealtimeFeed()
        self.ear = Ear(self)
        self.feed.add(self.ear)
        self.show = Show(
            stream="s",
            run_id="r",
            hls=HlsSettings(),
            ladder=ladder,
            clock=ShowClock.anchored(utc_ms=1_790_000_000_000, now_ns=self.now_ns),
            metadata=NoMetadata(),
            meter=NoMeter(),  # type: ignore[arg-type]  # answers every call
            encoders=self._encoders,
            on_started=lambda: None,
            now_ns=lambda: self.now_ns,
            slate=SlateRecipe(text="Back soon", image=None) if slate else None,
            feed=self.feed,
        )
        self.encoder: Encoder | None = None
        self.stalled: list[Callable[[], None]] | None = None
        self.delay_ms = 0
        self.wire: deque[tuple[int, Callable[[], None]]] = deque()
        self.steps = 0
        self.hesitated = False
        """The link was silent: an open part may have been published short."""

    def _encoders(self, _sink: RungSink) -> Worker:
        self.worker = Worker(self)
        return self.worker

    # ── what can happen ──────────────────────────────────────────────────────────────────────

    def connect(self, encoder: Encoder) -> None:
        """Publish; one that publishes already is taken over."""
        self.encoder = encoder
        self.stalled = None
        self.wire.clear()
        self.show.begin_run(protocol="rtmp", wrap_ticks=WRAP)
        self.announce()

    def announce(self) -> None:
        encoder = self.encoder
        if encoder is None:
            return
        if encoder.size:
            self.send(partial(self.show.set_format, pictures(encoder.size).format))
        if encoder.sound:
            self.send(partial(self.show.set_format, FORMATS[encoder.sound]))

    def send(self, message: Callable[[], None]) -> None:
        """Let something of the encoder's travel to the show, in order."""
        if self.stalled is not None:
            self.stalled.append(message)
        else:
            # A shorter delay lets nothing overtake what is under way.
            earliest = self.wire[-1][0] if self.wire else 0
            self.wire.append((max(earliest, self.now_ns + self.delay_ms * MS), message))

    def disconnect(self) -> None:
        self.encoder = None
        self.wire.clear()
        self.show.end_run()

    def resize(self, size: tuple[int, int] | None) -> None:
        encoder = self.encoder
        if encoder is None:
            return
        if size is None:
            self.send(partial(self.show.drop_track, Kind.VIDEO))
        elif encoder.size is None:
            encoder.next_picture = encoder.source_ms
        encoder.size, encoder.last_key = size, None
        self.announce()

    def resound(self, sound: str | None) -> None:
        encoder = self.encoder
        if encoder is None:
            return
        if sound is None:
            self.send(partial(self.show.drop_track, Kind.AUDIO))
        elif encoder.sound is None:
            encoder.next_sound = encoder.source_ms
        encoder.sound = sound
        self.announce()

    async def pass_time(self, ms: int) -> None:
        for _ in range(ms // STEP_MS):
            self.now_ns += STEP_MS * MS
            self.steps += 1
            if self.encoder is not None:
                for made in self.encoder.until(self.encoder.source_ms + STEP_MS):
                    self.send(partial(self._arrive, made))
            while self.wire and self.wire[0][0] <= self.now_ns:
                self.wire.popleft()[1]()
            if self.worker is not None and self.steps % 3 == 0:
                self.worker.tick()
            if self.steps % (4 if self.show.feeder is Feeder.SLATE else 10) == 0:
                self.show.tick()
            if self.steps % 30 == 0:
                await self.check()

    def _arrive(self, p: Packet) -> None:
        self.show.push(packet(p.codec, p.dts, p.pts, p.key, p.payload, self.now_ns))

    async def burst(self) -> None:
        """Let go of what a stalled link holds back."""
        held, self.stalled = self.stalled or [], None
        self.wire.extend((self.now_ns, message) for message in held)

    # ── what must hold ───────────────────────────────────────────────────────────────────────

    async def check(self) -> None:
        assert self.ear.broken == []
        assert self.feed.listening, "the listener failed"
        listed = list(self.show.lineup.listed())
        if not listed:
            return
        texts = {r.name: (await r.playlist()).body.decode() for r in listed}
        info = [
            RenditionInfo(name=r.name, format=r.format, peak_bps=10**9, average_bps=1)
            for r in listed
            if r.format is not None
        ]
        self.observe(BASE + "index.m3u8", render_multivariant(info).decode())
        for rendition in listed:
            text = texts[rendition.name]
            self.observe(f"{BASE}{rendition.name}/index.m3u8", text)
            self.check_window(rendition)
        self.check_together(listed)
        # A rendering is shared until its own list changes: a newcomer's report follows with that.
        errors = [
            f
            for f in self.linter.findings
            if f.severity is Severity.ERROR and not tolerated(f.sentence, hesitated=self.hesitated)
        ]
        assert not errors, [(f.url, f.clause, f.sentence) for f in errors]

    def observe(self, url: str, text: str) -> None:
        self.linter.observe_playlist(
            url,
            fetched_at=self.now_ns / 1e9,
            status=200,
            headers={
                "content-type": PLAYLIST_TYPE,
                "content-encoding": "gzip",
                "cache-control": "max-age=1",
                "access-control-allow-origin": "*",
            },
            text=text,
        )

    def check_window(self, rendition: Rendition) -> None:
        window = rendition._window
        seen = self.seen.setdefault(rendition.name, Seen())
        last = window.last_part
        assert last is not None
        assert (last.msn, last.part) >= seen.position
        seen.position = (last.msn, last.part)
        edge = None
        for segment in window:
            if not segment.parts and not segment.closed:
                continue
            start = segment.start + segment.shift
            assert edge is None or abs(start - edge) <= 2, (
                rendition.name,
                segment.msn,
                start,
                edge,
            )
            edge = segment.end + segment.shift
            if segment.closed:
                assert segment.end - segment.start < 2.5 * TICKS_PER_SECOND
                assert segment.end > segment.start or not segment.has_media
            key = (segment.name, segment.start + segment.shift, segment.init.name)
            assert seen.segments.setdefault(segment.msn, key) == key, (rendition.name, segment.msn)
            for index, part in enumerate(segment.parts):
                place = (segment.msn, index)
                assert seen.names.setdefault(part.name, place) == place
                if part.gap or part.name in seen.checked:
                    continue
                seen.checked.add(part.name)
                self.check_part(rendition, segment, part)
            resource = segment.resource()
            if resource is not None and segment.parts:
                assert resource.body == b"".join(p.body for p in segment.parts), (
                    rendition.name,
                    segment.msn,
                    len(resource.body),
                    len(segment.parts),
                )

    def check_part(self, rendition: Rendition, segment: Any, part: Any) -> None:
        """An independent part decodes on its own, with the init segment that is listed for it."""
        init = segment.init.resource.body
        if not part.independent:
            return
        with av.open(io.BytesIO(init + part.body)) as container:
            stream = container.streams[0]
            if rendition.kind is Kind.VIDEO:
                frames = list(container.decode(stream))
                assert frames, (rendition.name, segment.msn, part.name)
                at = float(frames[0].pts * stream.time_base) * TICKS_PER_SECOND
                parameters = (frames[0].width, frames[0].height)
                units = [
                    s for s in (*SIZES, DEFAULT_SIZE) if any(key in part.body for key in keys(s))
                ]
                assert parameters in units, (rendition.name, segment.msn, parameters, units)
            else:
                first = next(container.demux(stream))
                at = float(first.pts * stream.time_base) * TICKS_PER_SECOND
        start = part.start + segment.shift
        early = TICKS_PER_SECOND * 34 // 100
        assert -early <= at - start <= part.end - part.start + early, (
            rendition.name,
            segment.msn,
            part.name,
            at,
            start,
        )

    def check_together(self, listed: list[Rendition]) -> None:
        """Discontinuities are the same in all renditions; so are dates, where media aligns."""
        counts: dict[int, set[int]] = {}
        for rendition in listed:
            count = rendition._window.discontinuity_sequence
            for segment in rendition._window:
                count += segment.discontinuity
                counts.setdefault(segment.msn, set()).add(count)
        wrong = {msn: found for msn, found in counts.items() if len(found) > 1}
        assert not wrong, wrong


def tolerated(sentence: str, *, hesitated: bool) -> bool:
    """An encoder may be silent for two segments before the list goes on with gaps.

    A rung gets a second more. All that is shorter than a blocking request may wait.
    """
    still = re.match(r"Nothing new was listed for ([\d.]+) s", sentence)
    if hesitated and "of PART-TARGET" in sentence:
        return True
    return "no rendition report" in sentence or (still is not None and float(still[1]) < 6)


LADDERS = (
    LadderSettings(enabled=False),
    LadderSettings.model_validate({"rungs": [{"height": 144, "bitrate_kbps": 200}]}),
    LadderSettings(rungs=()),
)
