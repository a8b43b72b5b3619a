"""Whatever two encoders, the slate and a worker do together, a stream keeps its promises.

As `tests.media.test_show_scenarios`, but through a real `Stream`: roles, takeover, standby, grace,
opening ahead, several tracks. Afterwards one sound encoder must be enough to bring the show back.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import LadderSettings, Settings, StreamsSettings
from media.clock import ShowClock
from media.hls.lint import PlaylistLinter
from media.hls.seams import NoMetadata
from media.meter import NoMeter
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, Role
from media.programme import Feeder
from media.publication import Publication
from media.show import Show
from media.slate.silence import layout
from media.standby.source import SourceRefused
from media.stream import Stream
from media.tap import Tap
from tests.media.actors import FORMATS, MS, SIZES, WRAP, Encoder, Worker, pictures
from tests.media.world import LADDERS, STEP_MS, World
from tests.support.examples import FUZZ, examples

pytestmark = pytest.mark.component


@dataclass(frozen=True)
class Further:
    """Tracks of an encoder beside its main ones: `sounds` of them, and pictures of a size."""

    size: tuple[int, int] | None = None
    sounds: int = 0
    first: bool = False
    """Pictures go ahead of the main ones of their time."""

    def beside(self, main: Packet, number: int) -> list[Packet]:
        """Return what goes out with a packet of a main track; `number` in its group."""
        if main.kind is Kind.AUDIO:
            sounds = self.sounds if main.codec is Codec.AAC else 0
            return [main, *(replace(main, track=1 + n) for n in range(sounds))]
        if self.size is None:
            return [main]
        units = pictures(self.size).units
        own = replace(main, track=1, payload=units[min(number, len(units) - 1)])
        return [own, main] if self.first else [main, own]


NONE = Further()


class Line:
    """One encoder and its way to the stream."""

    def __init__(self, studio: Studio, role: Role, encoder: Encoder, further: Further) -> None:
        self.studio = studio
        self.encoder = encoder
        self.further = further
        self.number = 0
        """Of the next picture in its group."""
        self.stopped_ns = 0
        """It sends nothing until then."""
        self.stalled_ns = 0
        """What it sends is held back until then."""
        self.held: list[Packet] = []
        self.publication: Publication = studio.stream.publish(
            protocol="rtmp", wrap_ticks=WRAP, on_revoked=lambda _text: None, role=role
        )
        self.announce()

    def announce(self) -> None:
        if self.encoder.size:
            self.publication.set_format(0, pictures(self.encoder.size).format)
        if self.encoder.sound:
            self.publication.set_format(0, FORMATS[self.encoder.sound])
        if self.encoder.size and self.further.size:
            self.publication.set_format(1, pictures(self.further.size).format)
        if self.encoder.sound and FORMATS[self.encoder.sound].codec is Codec.AAC:
            for number in range(self.further.sounds):
                self.publication.set_format(1 + number, FORMATS[self.encoder.sound])

    def change(self, size: tuple[int, int] | None, sound: str | None) -> None:
        encoder = self.encoder
        for number in range(self.further.sounds if sound != encoder.sound else 0):
            self.publication.drop_track(1 + number, Kind.AUDIO)
        if size is None and encoder.size is not None:
            self.publication.drop_track(1, Kind.VIDEO)
            self.publication.drop_track(0, Kind.VIDEO)
        elif size is not None and encoder.size is None:
            encoder.next_picture = encoder.source_ms
        if sound is None and encoder.sound is not None:
            self.publication.drop_track(0, Kind.AUDIO)
        elif sound is not None and encoder.sound is None:
            encoder.next_sound = encoder.source_ms
        if size != encoder.size:
            encoder.last_key = None
        encoder.size, encoder.sound = size, sound
        self.announce()

    def send(self) -> None:
        made = self.encoder.until(self.encoder.source_ms + STEP_MS)
        now_ns = self.studio.now_ns
        if now_ns < self.stopped_ns or self.publication.closed:
            return
        for p in made:
            if p.kind is Kind.VIDEO:
                self.number = 0 if p.key else self.number + 1
            self.held += self.further.beside(p, self.number)
        if now_ns >= self.stalled_ns:
            held, self.held = self.held, []
            for p in held:
                self.publication.push(replace(p, arrived_ns=now_ns))


class Host:
    """The process around the stream."""

    def __init__(self, studio: Studio, settings: Settings) -> None:
        self.studio = studio
        self.settings = settings
        self.meter = NoMeter()
        self.runs = 0

    def now_ns(self) -> int:
        return self.studio.now_ns

    def utc_ms(self) -> int:
        return 1_790_000_000_000 + self.studio.now_ns // MS

    def new_run_id(self) -> str:
        self.runs += 1
        return f"r{self.runs}"

    def metadata(self, _stream: str, _clock: ShowClock) -> NoMetadata:
        return NoMetadata()

    def encoders(self, _stream: str, _sink: object) -> Worker:
        self.studio.worker = Worker(self.studio)
        return self.studio.worker

    def tap(self, _stream: str) -> Tap:
        return Tap()

    def start(self, show: Show) -> None:
        self.studio.show, self.studio.seen = show, {}
        self.studio.linter = PlaylistLinter()


class Studio(World):
    """Everything around a stream, in virtual time."""

    def __init__(self, ladder: LadderSettings, *, slate: bool, grace_s: float = 30.0) -> None:
        super().__init__(ladder, slate=slate)
        base = Settings()
        self.settings = base.model_copy(
            update={
                "ladder": ladder,
                "slate": base.slate.model_copy(update={"enabled": slate}),
                "streams": StreamsSettings(grace_s=grace_s, standby_return_s=3),
            }
        )
        self.hesitated = True
        self.stream = Stream("s", Host(self, self.settings))  # type: ignore[arg-type]
        self.lines: dict[Role, Line] = {}
        self.older: list[Line] = []
        """Those that were taken over and still send."""

    def publish(self, role: Role, encoder: Encoder, further: Further = NONE) -> None:
        if (older := self.lines.pop(role, None)) is not None:
            self.older.append(older)
        self.lines[role] = Line(self, role, encoder, further)

    def leave(self, role: Role) -> None:
        if (line := self.lines.pop(role, None)) is not None:
            line.publication.close("gone")

    def present(self) -> list[Line]:
        """Return those who may send, and hold the stream to its word on them."""
        self.older = [line for line in self.older if not line.publication.closed]
        switcher = self.stream.switcher
        assert len(self.older) <= len(Role)
        for older in self.older:
            source = older.publication.source
            assert source is switcher.outgoing or source is switcher.get(source.role)
        return [*self.lines.values(), *self.older]

    async def pass_time(self, ms: int) -> None:
        for _ in range(ms // STEP_MS):
            self.now_ns += STEP_MS * MS
            self.steps += 1
            for line in self.present():
                line.send()
            if self.worker is not None and self.steps % 3 == 0:
                self.worker.tick()
            if self.steps % (4 if self.show.feeder is Feeder.SLATE else 10) == 0:
                self.show.tick()
            if self.steps % 10 == 0:
                self.stream.tick()
                self.stream.switcher.views()
            if self.steps % 30 == 0:
                await self.check()


ROLES = st.sampled_from(Role)
PUBLISH = st.tuples(
    st.just("publish"),
    ROLES,
    st.sampled_from([None, *SIZES]),
    st.sampled_from([None, *FORMATS]),
    st.sampled_from([16.7, 33.4, 41.7, 100.0, 500.0]),
    st.sampled_from([500, 1500, 2000, 2400, 5000, 20000]),
    st.booleans(),
    st.sampled_from([0, 5_000, 4_000_000_000]),
    st.sampled_from([0, 0, 200, 3000]),
    st.sampled_from([NONE, Further(SIZES[0]), Further(SIZES[1], 2, first=True), Further(sounds=1)]),
)
STEPS = st.one_of(
    st.tuples(st.just("play"), st.integers(1, 40).map(lambda n: n * 100)),
    PUBLISH,
    st.tuples(st.just("leave"), ROLES),
    st.tuples(st.just("stop"), ROLES, st.sampled_from([300, 900, 2000, 5000])),
    st.tuples(st.just("stall"), ROLES, st.sampled_from([300, 900, 2000, 5000])),
    st.tuples(st.just("jump"), ROLES, st.sampled_from([-3_600_000, -500, 500, 3000, 3.6e6])),
    st.tuples(
        st.just("change"),
        ROLES,
        st.sampled_from([None, *SIZES]),
        st.sampled_from([None, *FORMATS]),
    ),
    st.tuples(st.just("choose"), st.sampled_from([None, *Role])),
    st.tuples(
        st.just("war"),
        ROLES,
        st.sampled_from([100, 400, 1000]),
        st.sampled_from([0, 500, 2000]),
        st.sampled_from([2, 12]),
    ),
    st.tuples(st.just("kill"), st.sampled_from([0, 300, 3000])),
    st.tuples(st.just("slow"), st.sampled_from([50, 600, 2000])),
    st.tuples(st.just("ahead")),
    st.tuples(st.just("end")),
)


async def act(studio: Studio, step: tuple[Any, ...]) -> None:
    name, *values = step
    line = studio.lines.get(values[0]) if values and isinstance(values[0], Role) else None
    match name:
        case "play":
            await studio.pass_time(values[0])
        case "publish":
            role, size, sound, frame_ms, gop_ms, reorder, source_ms, first_key_ms, further = values
            encoder = Encoder(
                size=size,
                sound=sound,
                frame_ms=frame_ms,
                gop_ms=gop_ms,
                reorder=reorder,
                source_ms=source_ms,
            )
            if first_key_ms:
                encoder.last_key, encoder.number = source_ms - gop_ms + first_key_ms, 1
            studio.publish(role, encoder, further)
        case "leave":
            studio.leave(values[0])
        case "stop" if line is not None:
            line.stopped_ns = studio.now_ns + values[1] * MS
        case "stall" if line is not None:
            line.stalled_ns = studio.now_ns + values[1] * MS
        case "jump" if line is not None:
            line.encoder.jump(values[1])
        case "change" if line is not None and not line.publication.closed:
            line.change(values[1], values[2])
        case "choose":
            if studio.lines:
                with contextlib.suppress(SourceRefused):
                    studio.stream.switcher.choose(values[0])
        case "war":
            role, each_ms, start_ms, count = values
            for number in range(count):
                studio.publish(role, Encoder(size=SIZES[number % 2]))
                # ffmpeg sends as much at once.
                studio.lines[role].encoder.source_ms += start_ms
                await studio.pass_time(each_ms)
        case "kill" if studio.worker is not None:
            worker = studio.worker
            worker.kill()
            await studio.pass_time(values[0])
            worker.alive = True
        case "slow" if studio.worker is not None:
            studio.worker.delay_ms = values[0]
        case "ahead" if studio.settings.slate.enabled:
            studio.stream.open_ahead()
        case "end":
            studio.stream.end()
            studio.lines.clear()
            assert studio.present() == []
    await studio.pass_time(300)


async def comes_back(studio: Studio) -> None:
    """Assert that a sound encoder is on air soon, in every rendition, without holes."""
    studio.leave(Role.BACKUP)
    if studio.worker is not None:
        studio.worker.delay_ms = 150
    studio.stream.switcher.choose(None)
    studio.publish(Role.PRIMARY, Encoder(size=SIZES[0]))
    await studio.pass_time(8000)
    show = studio.show
    assert show.feeder is Feeder.ENCODER
    assert studio.stream.state == "live"
    assert {r.name for r in show.lineup.listed()} >= {"source", "audio"}
    main = show.lineup.get("audio")
    assert main is not None
    assert main.format is not None
    for rendition in show.lineup.listed():
        assert rendition.edge is not None
        assert rendition.format is not None
        if rendition.kind is Kind.AUDIO and layout(rendition.format) != layout(main.format):
            continue  # further sound of before, in whose place this encoder's cannot be heard
        behind = (show.now - rendition.edge) / TICKS_PER_SECOND
        assert behind < 2, (rendition.name, behind)
        holes = [
            (segment.msn, (show.now - part.end) / TICKS_PER_SECOND)
            for segment in rendition._window
            for part in segment.parts
            if part.gap and part.start > show.now - 4 * TICKS_PER_SECOND
        ]
        assert not holes, (rendition.name, holes)


@settings(max_examples=examples(25, fuzz=2000), derandomize=not FUZZ)
@given(
    ladder=st.sampled_from(LADDERS),
    slate=st.booleans(),
    grace_s=st.sampled_from([0.0, 2.0, 30.0]),
    steps=st.lists(STEPS, min_size=1, max_size=10),
)
async def test_one_sound_encoder_brings_any_show_back(
    ladder: LadderSettings, slate: bool, grace_s: float, steps: list[tuple[Any, ...]]
):
    studio = Studio(ladder, slate=slate, grace_s=grace_s)
    first = (SIZES[2], "aac", 33.4, 2000, False, 5_000, 0, Further(SIZES[0], 1))
    await act(studio, ("publish", Role.PRIMARY, *first))
    await studio.pass_time(2000)
    for step in steps:
        await act(studio, step)
    await comes_back(studio)
    studio.show.end()
    await studio.check()


@pytest.mark.parametrize(("older", "newer"), [(True, False), (False, True), (True, True)])
async def test_encoders_that_reorder_pictures_follow_one_another_without_a_gap(
    older: bool, newer: bool
):
    """What B-frames leave open at the cut is a picture that lasts longer, not a GAP part."""
    studio = Studio(LADDERS[0], slate=True)
    studio.publish(Role.PRIMARY, Encoder(size=SIZES[0], reorder=older))
    await studio.pass_time(4010)
    encoder = Encoder(size=SIZES[1], reorder=newer)
    encoder.last_key, encoder.number = encoder.source_ms - encoder.gop_ms + 700, 1
    studio.publish(Role.PRIMARY, encoder)
    await studio.pass_time(600)
    assert studio.stream.switcher.outgoing is not None
    await studio.pass_time(4000)
    assert studio.stream.switcher.outgoing is None
    for rendition in studio.show.lineup.listed():
        assert not [part for segment in rendition._window for part in segment.parts if part.gap]
