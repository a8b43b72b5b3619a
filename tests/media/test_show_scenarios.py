"""Whatever encoder and worker do, the playlists of a show keep the draft's promises.

A scripted encoder and a scripted worker act on a real `Show` in virtual time; after every step
each rendition is held against the rules, by the linter and by what the linter cannot see.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import HlsSettings, LadderSettings
from media.bitstream import describe
from media.bitstream.h264 import annexb_to_avcc, annexb_to_length_prefixed
from media.clock import ShowClock
from media.hls.lint import PlaylistLinter, Severity
from media.hls.multivariant import RenditionInfo, render_multivariant
from media.hls.playlist import PLAYLIST_TYPE
from media.hls.rendition import Rendition
from media.hls.seams import NoMetadata
from media.meter import NoMeter
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat
from media.programme import Feeder
from media.realtime import RealtimeFeed
from media.realtime_source import CODED
from media.show import Show
from media.slate.desk import SlateRecipe
from media.slate.loop import DEFAULT_SIZE, SlateOrder
from media.transcode.cadence import Durations
from media.transcode.plan import Plan
from media.transcode.pressure import Strain
from media.transcode.sink import RungSink
from tests.support.slates import loop_for
from tests.support.slates import pictures as slate_pictures

pytestmark = pytest.mark.component

WRAP = 2**32 * 90
MS = 1_000_000
STEP_MS = 10
FORMATS = {
    "aac": describe(Codec.AAC, bytes([0x11, 0x90])),
    "aac-mono": describe(Codec.AAC, bytes([0x12, 0x08])),
    "opus": describe(Codec.OPUS, b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"),
}
SILENCE = bytes([33, 16, 4, 96, 140, 28])
OPUS_SILENCE = bytes.fromhex("fcfffe")
SIZES = ((64, 64), (96, 64), (160, 160))
BASE = "http://h/live/s/"


@dataclass(frozen=True)
class Pictures:
    """One key frame and the long row of pictures that follow it."""

    format: TrackFormat
    units: list[bytes]


@cache
def pictures(size: tuple[int, int]) -> Pictures:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(30)
    encoder.time_base = Fraction(1, 90_000)
    encoder.gop_size = 100_000
    encoder.max_b_frames = 0
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": "keyint=infinite:scenecut=0",
    }
    encoder.open()
    units = []
    for number in range(1300):
        frame = av.VideoFrame.from_ndarray(
            np.full((size[1], size[0], 3), number % 200, np.uint8), format="rgb24"
        )
        frame.pts = number * 3000
        units += [annexb_to_length_prefixed(bytes(p)) for p in encoder.encode(frame)]
    return Pictures(describe(Codec.H264, annexb_to_avcc(bytes(encoder.extradata))), units)


def keys(size: tuple[int, int]) -> tuple[bytes, bytes]:
    """Key frames of a size: the encoder's or worker's, and the slate's."""
    slate = slate_pictures(*size)[1][0]
    return (slate if size == DEFAULT_SIZE else pictures(size).units[0]), slate


@dataclass
class Encoder:
    """Makes packets in its own time; `source_ms` is what its clock shows."""

    size: tuple[int, int] | None = SIZES[0]
    sound: str | None = "aac"
    frame_ms: float = 33.4
    gop_ms: float = 2000
    reorder: bool = False
    source_ms: float = 5_000
    next_picture: float = 0
    next_sound: float = 0
    last_key: float | None = None
    number: int = 0
    twice: bool = False
    reorder_ms: float = 0

    def __post_init__(self) -> None:
        self.reorder_ms = min(self.frame_ms, 100)
        self.next_picture = self.next_sound = self.source_ms

    def jump(self, ms: float) -> None:
        self.source_ms += ms
        self.next_picture += ms
        self.next_sound += ms
        if self.last_key is not None:
            self.last_key += ms

    def until(self, source_ms: float) -> list[Packet]:
        """Return what falls due, interleaved by time."""
        self.source_ms = source_ms
        packets = []
        while True:
            picture = self.next_picture if self.size else source_ms
            sound = self.next_sound if self.sound else source_ms
            if min(picture, sound) >= source_ms:
                return packets
            packets.append(self._picture() if picture <= sound else self._sound())

    def _sound(self) -> Packet:
        ticks = round(self.next_sound) * 90
        frame_ms = 20 if self.sound == "opus" else 1024 / (44.1 if self.sound != "aac" else 48)
        self.next_sound += frame_ms
        if self.sound == "opus":
            return packet(Codec.OPUS, ticks, ticks, True, OPUS_SILENCE)
        return packet(Codec.AAC, ticks, ticks, True, SILENCE)

    def _picture(self) -> Packet:
        assert self.size is not None
        at = self.next_picture
        key = self.last_key is None or at - self.last_key >= self.gop_ms - 1 or self.twice
        units = pictures(self.size).units
        if key:
            self.last_key, self.number = at, 0
        dts = round(at) * 90
        offset = 0
        if self.reorder:
            frames = 1 if self.number == 0 else 2 if self.number % 2 else 0
            offset = round(frames * self.reorder_ms) * 90
        unit = units[min(self.number, len(units) - 1)]
        self.number += 1
        if self.twice:
            self.twice = False
        else:
            self.next_picture += self.frame_ms
        return packet(Codec.H264, dts, dts + offset, key, unit)


def packet(codec: Codec, dts: int, pts: int, key: bool, payload: bytes, arrived: int = 0) -> Packet:
    return Packet(
        track=0, codec=codec, dts=dts, pts=pts, key=key, payload=payload, arrived_ns=arrived
    )


class Worker:
    """A worker that answers `delay_ms` later, and can be dead."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plan = Plan()
        self.speeds: dict[str, float] = {}
        self.strain = Strain()
        self.delay_ms = 150
        self.alive = True
        self.starts_ns = 0
        self.marks: list[int] = []
        self.began = False
        self.keyed: set[str] = set()
        """Rungs that have begun, which a rung does with a key frame."""
        self.number = 0
        self.durations = Durations(Fraction(30))
        self.opened: dict[str, TrackFormat] = {}
        self.queue: deque[tuple[int, Packet, Plan]] = deque()
        self.orders: deque[tuple[int, SlateOrder]] = deque()
        self.listens = False
        self.heard: deque[tuple[int, Packet]] = deque()

    async def run(self) -> None:
        return

    async def stop(self) -> None:
        return

    def configure(
        self, plan: Plan, *, video: TrackFormat | None, audio: TrackFormat | None
    ) -> None:
        del audio
        if {r.name for r in plan.rungs} != {r.name for r in self.plan.rungs} or not plan.rungs:
            self.began = False
        del video
        self.plan = plan
        self.keyed &= {rung.name for rung in plan.rungs}

    def boundary(self, ticks: int) -> None:
        self.marks.append(ticks)

    def listen(self, sound: TrackFormat | None) -> None:
        self.listens = sound is not None

    def hear(self, packet: Packet) -> None:
        if self.alive and self.listens:
            self.heard.append((self.world.now_ns + 20 * MS, packet))

    def want_key(self, rung: str) -> None:
        del rung

    def order_slate(self, order: SlateOrder) -> None:
        self.orders.append((self.world.now_ns + self.delay_ms * MS, order))

    def push(self, source: Packet) -> None:
        if self.alive:
            self.queue.append((self.world.now_ns + self.delay_ms * MS, source, self.plan))

    def kill(self) -> None:
        self.alive = False
        self.queue.clear()
        self.heard.clear()
        self.began = False
        self.keyed.clear()
        self.opened.clear()
        self.world.show.ladder.worker_lost("killed")

    def tick(self) -> None:
        if self.world.now_ns < self.starts_ns:
            return
        while self.orders and self.orders[0][0] <= self.world.now_ns:
            order = self.orders.popleft()[1]
            self.world.show.ladder.slate_made(order.serial, loop_for(order))
        while self.heard and self.heard[0][0] <= self.world.now_ns:
            _, source = self.heard.popleft()
            self._open("opus", CODED)
            made = replace(source, codec=Codec.OPUS, payload=OPUS_SILENCE, duration=1800)
            self.world.show.ladder.rung_packet("opus", made)
        while self.queue and self.queue[0][0] <= self.world.now_ns:
            _, source, plan = self.queue.popleft()
            if source.kind is Kind.VIDEO:
                self._picture(source, plan)
            elif plan.audio is not None:
                self._open("audio", FORMATS["aac"])
                self.world.show.ladder.rung_packet(
                    "audio",
                    Packet(
                        track=0,
                        codec=Codec.AAC,
                        dts=source.dts,
                        pts=source.dts,
                        key=True,
                        payload=SILENCE,
                        arrived_ns=source.arrived_ns,
                        duration=1800,
                    ),
                )

    def _picture(self, source: Packet, plan: Plan) -> None:
        due = [mark for mark in self.marks if mark <= source.pts]
        self.marks = [mark for mark in self.marks if mark > source.pts]
        if due:
            self.began, self.number = True, 0
        if not self.began:
            return
        duration = self.durations.of(source.dts)
        for index, rung in enumerate(plan.rungs):
            if self.number == 0:
                self.keyed.add(rung.name)
            elif rung.name not in self.keyed:
                continue
            made = pictures(SIZES[index % 2])
            self._open(rung.name, made.format)
            self.world.show.ladder.rung_packet(
                rung.name,
                Packet(
                    track=0,
                    codec=Codec.H264,
                    dts=source.dts,
                    pts=source.dts,
                    key=self.number == 0,
                    payload=made.units[self.number],
                    arrived_ns=source.arrived_ns,
                    duration=duration,
                ),
            )
        self.number += 1

    def _open(self, rung: str, track_format: TrackFormat) -> None:
        if self.opened.get(rung) != track_format:
            self.opened[rung] = track_format
            self.world.show.ladder.rung_format(rung, track_format)


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


CONNECT = st.tuples(
    st.just("connect"),
    st.sampled_from([None, *SIZES]),
    st.sampled_from([None, *FORMATS]),
    st.sampled_from([16.7, 33.4, 41.7, 100.0, 500.0, 1000.0]),
    st.sampled_from([0, 500, 900, 1500, 2000, 2000, 2400, 3000, 5000, 20000]),
    st.booleans(),
    st.sampled_from([0, 5_000, 4_000_000_000]),
)
STEPS = st.one_of(
    st.tuples(st.just("play"), st.integers(1, 60).map(lambda n: n * 100)),
    CONNECT,
    st.tuples(st.just("disconnect")),
    st.tuples(st.just("stall"), st.integers(1, 60).map(lambda n: n * 100)),
    st.tuples(st.just("loss"), st.integers(1, 60).map(lambda n: n * 100)),
    st.tuples(st.just("jump"), st.sampled_from([-3_600_000, -3000, -500, 500, 1900, 3000, 3.6e6])),
    st.tuples(st.just("size"), st.sampled_from([None, *SIZES])),
    st.tuples(st.just("sound"), st.sampled_from([None, *FORMATS])),
    st.tuples(st.just("pace"), st.sampled_from([16.7, 33.4, 100.0, 500.0, 1000.0])),
    st.tuples(st.just("gop"), st.sampled_from([0, 500, 1500, 2000, 3000, 20000])),
    st.tuples(st.just("delay"), st.sampled_from([0, 300, 1800, 2500])),
    st.tuples(st.just("kill"), st.integers(0, 30).map(lambda n: n * 100)),
    st.tuples(st.just("slow"), st.sampled_from([50, 600, 2000, 4000])),
    st.tuples(st.just("twice")),
)


async def act(world: World, step: tuple[Any, ...]) -> None:
    name, *values = step
    world.hesitated |= world.steps > 0 and name != "play"
    encoder = world.encoder
    match name:
        case "play":
            await world.pass_time(values[0])
        case "connect":
            size, sound, frame_ms, gop_ms, reorder, source_ms = values
            world.connect(
                Encoder(
                    size=size,
                    sound=sound,
                    frame_ms=frame_ms,
                    gop_ms=gop_ms,
                    reorder=reorder,
                    source_ms=source_ms,
                )
            )
        case "disconnect":
            world.disconnect()
        case "stall":
            if encoder is not None:
                world.stalled = []
                await world.pass_time(values[0])
                await world.burst()
        case "loss":
            kept, world.encoder = world.encoder, None
            await world.pass_time(values[0])
            world.encoder = kept
            if kept is not None:
                kept.jump(values[0])
        case "jump" if encoder is not None:
            encoder.jump(values[0])
        case "size":
            world.resize(values[0])
        case "sound":
            world.resound(values[0])
        case "pace" if encoder is not None:
            encoder.frame_ms = values[0]
        case "gop" if encoder is not None:
            encoder.gop_ms = values[0]
        case "twice" if encoder is not None:
            encoder.twice = True
        case "delay":
            world.delay_ms = values[0]
        case "kill" if world.worker is not None:
            world.worker.kill()
            await world.pass_time(values[0])
            world.worker.alive = True
        case "slow" if world.worker is not None:
            world.worker.delay_ms = values[0]
    await world.pass_time(300)


LADDERS = (
    LadderSettings(enabled=False),
    LadderSettings.model_validate({"rungs": [{"height": 144, "bitrate_kbps": 200}]}),
    LadderSettings(rungs=()),
)


FUZZ = settings.get_current_profile_name() == "fuzz"


# An example takes a tenth of a second; everyday runs repeat the same ones.
@settings(max_examples=2000 if FUZZ else 40, derandomize=not FUZZ)
@given(
    ladder=st.sampled_from(LADDERS),
    first=CONNECT,
    steps=st.lists(STEPS, min_size=1, max_size=10),
    slate=st.booleans(),
)
async def test_promises_hold_whatever_happens(
    ladder: LadderSettings, first: tuple[Any, ...], steps: list[tuple[Any, ...]], slate: bool
):
    world = World(ladder, slate=slate)
    await act(world, first)
    await world.pass_time(3000)
    for step in steps:
        await act(world, step)
    await world.pass_time(3000)
    world.show.end()
    await world.check()


# ── what such scenarios found ────────────────────────────────────────────────────────────────


async def test_no_segment_outgrows_targetduration_over_a_hole():
    world = World(LADDERS[0])
    world.connect(Encoder(gop_ms=1500))
    await world.pass_time(3000)
    await act(world, ("loss", 3900))
    await world.pass_time(5000)
    starts = [boundary.start for boundary in world.show.grid._boundaries]
    longest = max(b - a for a, b in pairwise(starts))
    assert longest < 2.5 * TICKS_PER_SECOND


async def test_one_picture_a_second_keeps_to_targetduration():
    world = World(LADDERS[0])
    world.connect(Encoder(frame_ms=1000, gop_ms=20_000, sound=None))
    await world.pass_time(15_000)
    starts = [boundary.start for boundary in world.show.grid._boundaries]
    assert len(starts) > 5
    assert max(b - a for a, b in pairwise(starts)) < 2.5 * TICKS_PER_SECOND


async def test_takeover_of_an_encoder_ahead_of_time_begins_with_its_key_frame():
    world = World(LADDERS[0])
    world.connect(Encoder(size=SIZES[0]))
    await world.pass_time(2000)
    world.hesitated = True
    assert world.encoder is not None
    for made in world.encoder.until(world.encoder.source_ms + 800):
        world.show.push(replace(made, arrived_ns=world.now_ns))
    for _ in range(2):
        world.connect(Encoder(size=SIZES[0], gop_ms=5000))
        await world.pass_time(50)
    await world.pass_time(2000)
    source = world.show.lineup.get("source")
    assert source is not None
    assert source.dropped == 0


async def test_sound_that_changes_alone_begins_a_segment():
    world = World(LADDERS[0])
    world.connect(Encoder(size=None, sound="aac"))
    await world.pass_time(5000)
    world.resound("aac-mono")
    await world.pass_time(5000)
    audio = world.show.lineup.get("audio")
    assert audio is not None
    changes = [a.init is not b.init for a, b in pairwise(audio._window)]
    assert changes.count(True) == 1
    assert [s.discontinuity for s in audio._window][1:] == changes


async def test_a_late_worker_does_not_mix_formats_in_a_segment():
    world = World(LADDERS[2])
    assert world.worker is not None
    world.connect(Encoder(size=SIZES[1], gop_ms=60_000))
    while not world.worker.queue:
        await world.pass_time(100)
    world.worker.starts_ns = world.now_ns + 2600 * MS
    await world.pass_time(10_000)
    source = world.show.lineup.get("source")
    assert source is not None
    assert source.format == pictures(SIZES[0]).format


async def test_a_source_from_a_slow_worker_has_the_patience_of_a_rung():
    world = World(LADDERS[2])
    assert world.worker is not None
    world.worker.delay_ms = 2000
    world.connect(Encoder(size=SIZES[1], gop_ms=60_000))
    await world.pass_time(15_000)
    source = world.show.lineup.get("source")
    assert source is not None
    assert not [part for segment in source._window for part in segment.parts if part.gap]


async def test_a_congested_link_loses_nothing():
    world = World(LADDERS[1])
    assert world.worker is not None
    world.worker.delay_ms = 1000
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(3000)
    world.delay_ms = 3000
    await world.pass_time(15_000)
    for name in ("source", "audio", "144p"):
        rendition = world.show.lineup.get(name)
        assert rendition is not None
        assert not [p for s in rendition._window for p in s.parts if p.gap], name
        assert rendition.dropped == 0


async def test_hours_leave_nothing_behind():
    """Sizes after ten thousand seconds are those after four thousand: drift looks back an hour."""
    world = World(LADDERS[0])
    world.connect(Encoder(frame_ms=500, sound=None))

    async def sizes(seconds: int) -> dict[str, int]:
        for _ in range(seconds * 2):
            world.now_ns += 500 * MS
            assert world.encoder is not None
            for made in world.encoder.until(world.encoder.source_ms + 500):
                world.show.push(replace(made, arrived_ns=world.now_ns))
            world.show.tick()
        return dict(collections(world.show, limit=20_000))

    early = await sizes(4000)
    late = await sizes(6000)
    grown = {
        path: (early.get(path, 0), n) for path, n in late.items() if n > early.get(path, 0) + 8
    }
    assert set(grown) <= {"show.grid._boundaries", "show.grid._starts"}, grown


def collections(root: object, *, limit: int) -> Iterator[tuple[str, int]]:
    """Yield where in `root` a collection is, and its length."""
    found: set[int] = set()
    queue: deque[tuple[str, object]] = deque([("show", root)])
    while queue and len(found) < limit:
        path, value = queue.popleft()
        if id(value) in found or isinstance(value, (str, bytes, int, float, type(None))):
            continue
        found.add(id(value))
        if isinstance(value, (list, set, dict, deque, tuple)):
            yield path, len(value)
            continue
        names = [*getattr(value, "__dict__", {}), *getattr(type(value), "__slots__", ())]
        if type(value).__module__.startswith("media."):
            queue += [(f"{path}.{n}", getattr(value, n, None)) for n in names]


# ── the slate, and formats that change ───────────────────────────────────────────────────────


def gaps(world: World) -> dict[str, int]:
    """Parts without media, by rendition."""
    return {
        r.name: sum(part.gap for segment in r._window for part in segment.parts)
        for r in world.show.lineup.listed()
    }


async def watched(world: World, ms: int, feeder: Feeder) -> None:
    """Let time pass until `feeder` is on air, at most `ms`."""
    for _ in range(ms // STEP_MS):
        if world.show.feeder is feeder:
            return
        await world.pass_time(STEP_MS)
    assert world.show.feeder is feeder


@pytest.mark.parametrize("ladder", LADDERS)
async def test_a_slate_leaves_no_gap_and_encoders_may_return_otherwise(ladder: LadderSettings):
    world = World(ladder, slate=True)
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(5000)
    for size, sound in ((SIZES[2], "aac"), (SIZES[0], "aac-mono"), (SIZES[1], "opus")):
        world.disconnect()
        await watched(world, 500, Feeder.SLATE)
        await world.pass_time(3300)
        world.connect(Encoder(size=size, sound=sound))
        await watched(world, 700, Feeder.ENCODER)
        await world.pass_time(4000)
    assert set(gaps(world).values()) == {0}
    source = world.show.lineup.get("source")
    assert source is not None
    assert source.format == pictures(SIZES[1]).format
    assert [f.code for f in world.show.findings.open() if f.code == "slate"] == []


async def test_a_camera_that_is_off_for_a_while_is_said_to_be():
    world = World(LADDERS[0], slate=True)
    encoder = Encoder(size=SIZES[2])
    world.connect(encoder)
    await world.pass_time(5000)
    encoder.next_picture += 9000
    await watched(world, 2000, Feeder.SLATE)
    await world.pass_time(2000)
    (slate,) = (f for f in world.show.findings.open() if f.code == "slate")
    assert slate.text.startswith("Only sound comes, no pictures: viewers hear it under the slate")
    await watched(world, 8000, Feeder.ENCODER)
    await world.pass_time(3000)
    findings = world.show.findings
    seen = {f.code for f in (*findings.open(), *findings.closed())}
    assert seen == {"audio_silent", "slate", "video_stopped"}


@pytest.mark.parametrize("sound", ["aac", "opus"])
async def test_who_watches_without_delay_gets_every_packet_at_once_and_the_slate_between(
    sound: str,
):
    world = World(LADDERS[1], slate=True)
    world.connect(Encoder(size=SIZES[2], sound=sound))
    await world.pass_time(4000)
    assert set(world.feed.rungs()) == {"source", "144p", "opus"}
    world.ear.delays_ms.clear()
    await world.pass_time(4000)
    # Once the run is settled nothing waits; the steps of this world are 10 ms.
    assert world.ear.delays_ms["source"] == 0
    assert world.ear.delays_ms["opus"] <= (50 if sound == "aac" else 0)
    assert world.ear.holes == {}
    world.disconnect()
    await watched(world, 500, Feeder.SLATE)
    await world.pass_time(8000)
    assert world.feed.rungs()["source"] != pictures(SIZES[2]).format
    world.connect(Encoder(size=SIZES[0], sound=sound))
    await watched(world, 700, Feeder.ENCODER)
    await world.pass_time(4000)
    assert world.feed.rungs()["source"] == pictures(SIZES[0]).format
    # What the worker still makes of the slate's silence comes later than an encoder's own Opus.
    holes = world.ear.holes.pop("opus", [])
    assert len(holes) <= (1 if sound == "opus" else 0)
    assert all(b - a < TICKS_PER_SECOND * 15 // 100 for a, b in holes)
    assert world.ear.holes == {}
    world.show.end()
    assert world.ear.rungs == {}
    assert world.feed.rungs() == {}


async def test_fewer_pictures_with_other_parameters_are_no_fault_of_the_encoder():
    """A server that pushes its stream on sends its slate so."""
    world = World(LADDERS[0])
    encoder = Encoder(size=SIZES[2])
    world.connect(encoder)
    for size, frame_ms, ms in ((SIZES[0], 1000 / 12, 16_700), (SIZES[2], 33.4, 12_000)):
        await world.pass_time(12_000)
        world.resize(size)
        encoder.next_picture, encoder.frame_ms = encoder.source_ms, frame_ms
        await world.pass_time(ms)
    findings = world.show.findings
    # Its sound is silent, which is true.
    assert {f.code for f in (*findings.open(), *findings.closed())} == {"audio_silent"}


@pytest.mark.parametrize("at_ms", range(3000, 3400, 80))
async def test_other_pictures_that_come_before_the_last_one_was_to_end_lose_nothing(at_ms: int):
    """RTMP carries no durations: a part is published before its last picture turns out short."""
    world = World(LADDERS[0])
    encoder = Encoder(size=SIZES[2], frame_ms=1000 / 12)
    world.connect(encoder)
    await world.pass_time(at_ms)
    world.resize(SIZES[0])
    encoder.next_picture, encoder.frame_ms = encoder.source_ms, 33.4
    await world.pass_time(4000)
    assert set(gaps(world).values()) == {0}
    source = world.show.lineup.get("source")
    assert source is not None
    assert source.dropped == 0


async def test_a_dead_link_is_covered_after_a_second_and_comes_back_when_it_has_caught_up():
    world = World(LADDERS[1], slate=True)
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(5000)
    world.stalled = []
    await watched(world, 1200, Feeder.SLATE)
    assert [f.code for f in world.show.findings.open() if f.code == "slate"] == ["slate"]
    await world.pass_time(4000)
    await world.burst()
    # The backlog is too old, but it holds the key frame that the present pictures need.
    await watched(world, 100, Feeder.ENCODER)
    await world.pass_time(4000)
    assert set(gaps(world).values()) == {0}
    assert abs(world.show.lead) < TICKS_PER_SECOND // 2


@pytest.mark.parametrize("reorder", [False, True])
@pytest.mark.parametrize("stall_ms", [1500, 3300, 4100])
async def test_a_backlog_ends_the_slate_with_its_first_picture_in_time(
    stall_ms: int, reorder: bool
):
    """It was a group of pictures more of slate: until the next key frame."""
    world = World(LADDERS[0], slate=True)
    world.hesitated = True
    world.connect(Encoder(size=SIZES[0], reorder=reorder))
    await world.pass_time(5000)
    world.stalled = []
    await world.pass_time(stall_ms)
    assert world.show.feeder is Feeder.SLATE
    # Five times as fast as it was made; what is new comes behind it.
    held, world.stalled = world.stalled, None
    pause = stall_ms * MS // (5 * len(held))
    world.wire.extend((world.now_ns + n * pause, message) for n, message in enumerate(held))
    await watched(world, stall_ms // 5 + 100, Feeder.ENCODER)
    await world.pass_time(4000)
    assert gaps(world)["audio"] == 0
    assert abs(world.show.lead) < TICKS_PER_SECOND // 2
    assert world.show.feeder is Feeder.ENCODER


async def test_an_encoder_placed_anew_is_not_blamed_for_the_hole():
    world = World(LADDERS[1], slate=True)
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(12_000)
    world.delay_ms = 4000
    await watched(world, 1200, Feeder.SLATE)
    await world.pass_time(25_000)
    assert world.show.feeder is Feeder.ENCODER
    findings = [*world.show.findings.open(), *world.show.findings.closed()]
    assert not {"keyframe_interval", "frame_rate_low"} & {f.code for f in findings}


async def test_sound_that_vanishes_becomes_silence():
    world = World(LADDERS[0], slate=True)
    world.connect(Encoder(size=SIZES[0]))
    await world.pass_time(4000)
    world.resound(None)
    await world.pass_time(5000)
    world.resound("aac")
    await world.pass_time(5000)
    assert gaps(world) == {"source": 0, "audio": 0}
    audio = world.show.lineup.get("audio")
    assert audio is not None
    assert not [segment for segment in audio._window if segment.discontinuity]


async def test_pictures_that_vanish_are_the_slate_while_sound_goes_on():
    world = World(LADDERS[1], slate=True)
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(4000)
    world.resize(None)
    await watched(world, 500, Feeder.SLATE)
    await world.pass_time(4000)
    world.resize(SIZES[2])
    await watched(world, 700, Feeder.ENCODER)
    await world.pass_time(3000)
    assert set(gaps(world).values()) == {0}
    audio = world.show.lineup.get("audio")
    assert audio is not None
    assert audio.dropped == 0


async def test_new_sound_parameters_wait_for_the_key_frame_without_a_hole():
    world = World(LADDERS[0], slate=True)
    world.connect(Encoder(size=SIZES[0]))
    await world.pass_time(5000)
    world.resound("aac-mono")
    await world.pass_time(5000)
    audio = world.show.lineup.get("audio")
    assert audio is not None
    assert audio.format == FORMATS["aac-mono"]
    assert gaps(world) == {"source": 0, "audio": 0}


async def test_a_stream_opened_ahead_shows_the_slate_with_sound():
    world = World(LADDERS[0], slate=True)
    world.show.open_ahead()
    await world.pass_time(5000)
    assert world.show.feeder is Feeder.SLATE
    assert [r.name for r in world.show.lineup.listed()] == ["source", "audio"]
    assert world.show.tracks() == []
    world.connect(Encoder(size=SIZES[2], sound=None))
    await watched(world, 700, Feeder.ENCODER)
    await world.pass_time(5000)
    assert gaps(world) == {"source": 0, "audio": 0}


async def test_rungs_larger_than_a_new_source_stay_fed():
    world = World(LADDERS[1], slate=True)
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(5000)
    world.resize(SIZES[0])
    await world.pass_time(6000)
    assert set(gaps(world)) == {"source", "144p", "audio"}
    assert set(gaps(world).values()) == {0}
    rung = world.show.lineup.get("144p")
    assert rung is not None
    assert rung.edge is not None
    assert world.show.now - rung.edge < TICKS_PER_SECOND
    world.resize(SIZES[2])
    await world.pass_time(6000)
    assert set(gaps(world).values()) == {0}


async def test_passthrough_returns_when_key_frames_are_in_time_again():
    world = World(LADDERS[2], slate=True)
    world.connect(Encoder(size=SIZES[1], gop_ms=60_000))
    await world.pass_time(9000)
    source = world.show.lineup.get("source")
    assert source is not None
    assert source.format == pictures(SIZES[0]).format  # what this worker makes
    assert world.encoder is not None
    world.encoder.gop_ms = 2000
    await world.pass_time(16_000)
    assert source.format == pictures(SIZES[1]).format
    assert gaps(world) == {"source": 0, "audio": 0}


async def test_pictures_without_a_key_frame_do_not_keep_the_slate_away():
    world = World(LADDERS[0], slate=True)
    world.connect(Encoder(size=SIZES[0]))
    await world.pass_time(4000)
    world.connect(Encoder(size=SIZES[0], gop_ms=20_000, last_key=5000, number=1))
    await watched(world, 1200, Feeder.SLATE)
    await world.pass_time(3000)
    assert gaps(world) == {"source": 0, "audio": 0}


async def test_takeover_leaves_no_hole_while_the_newer_encoder_starts():
    world = World(LADDERS[1], slate=True)
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(4000)
    for size in (SIZES[2], SIZES[0]):
        world.encoder = None
        world.wire.clear()
        world.show.begin_run(protocol="rtmp", wrap_ticks=WRAP)
        await world.pass_time(400)
        world.encoder = Encoder(size=size)
        world.announce()
        await world.pass_time(4000)
        assert world.show.feeder is Feeder.ENCODER
    assert set(gaps(world).values()) == {0}


@pytest.mark.parametrize("slate", [True, False])
async def test_runs_with_a_head_start_do_not_carry_the_show_into_the_future(slate: bool):
    """ffmpeg sends half a second at once; two that fight for a key do so again and again."""
    world = World(LADDERS[0], slate=slate)
    world.hesitated = True
    world.connect(Encoder(size=SIZES[0]))
    await world.pass_time(3000)
    for number in range(40):
        encoder = Encoder(size=SIZES[number % 2])
        world.connect(encoder)
        for made in encoder.until(encoder.source_ms + 500):
            world.send(partial(world._arrive, made))
        await world.pass_time(350)
        ahead = (world.show.newest - world.show.now) / TICKS_PER_SECOND
        assert ahead < 2, number
    world.connect(Encoder(size=SIZES[0]))
    await world.pass_time(6000)
    assert world.show.feeder is Feeder.ENCODER
    assert world.show.lead < TICKS_PER_SECOND
    if slate:
        assert gaps(world) == {"source": 0, "audio": 0}


@pytest.mark.parametrize("late_ms", [1500, 2500, 4000])
async def test_sound_that_comes_back_late_leaves_the_slate_its_silence(late_ms: int):
    world = World(LADDERS[1], slate=True)
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(12_000)
    world.delay_ms = late_ms
    await watched(world, 1200, Feeder.SLATE)
    audio = world.show.lineup.get("audio")
    assert audio is not None
    for _ in range(120):
        await world.pass_time(100)
        # Players hold a second of media: they would stop.
        assert world.show.now - (audio.edge or 0) < TICKS_PER_SECOND, world.show.feeder
    assert world.show.feeder is Feeder.ENCODER
    assert set(gaps(world).values()) == {0}
