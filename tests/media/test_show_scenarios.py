"""Whatever encoder and worker do, the playlists of a show keep the draft's promises.

A scripted encoder and a scripted worker act on a real `Show` in virtual time; after every step
each rendition is held against the rules, by the linter and by what the linter cannot see.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import LadderSettings
from media.model import TICKS_PER_SECOND
from media.programme import Feeder
from media.transcode.messages import Relief
from media.transcode.pressure import Strain
from tests.media.actors import FORMATS, MS, SIZES, WRAP, Encoder, pictures
from tests.media.world import LADDERS, STEP_MS, World
from tests.support.examples import FUZZ, examples

pytestmark = pytest.mark.component


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


# An example takes a tenth of a second; everyday runs repeat the same ones.
@settings(max_examples=examples(40, fuzz=2000), derandomize=not FUZZ)
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


async def test_a_rung_that_is_paused_is_listed_as_gaps_in_time():
    """Nothing comes from it: to wait as for one that is late would break the list (6.2.1)."""
    world = World(LADDERS[1])
    assert world.worker is not None
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(6000)
    world.worker.strain = Strain(relief=Relief(paused=("144p",)))
    await world.pass_time(12_000)
    rung = world.show.lineup.get("144p")
    source = world.show.lineup.get("source")
    assert rung is not None
    assert source is not None
    lacking = [s.msn for s in rung._window if all(part.gap for part in s.parts)]
    assert len(lacking) >= 3
    silent = [f.sentence for f in world.linter.findings if "Nothing new was listed" in f.sentence]
    assert silent == []
    world.worker.strain = Strain()
    await world.pass_time(4000)
    assert rung.edge is not None
    assert source.edge is not None
    assert source.edge - rung.edge < TICKS_PER_SECOND
    resumed = [s.msn for s in rung._window if s.parts and not any(part.gap for part in s.parts)]
    assert resumed[-1] > lacking[-1]


@pytest.mark.parametrize("delay_ms", [150, 900, 1400])
async def test_what_a_late_rung_still_delivers_before_its_pause_is_kept(delay_ms: int):
    world = World(LADDERS[1])
    assert world.worker is not None
    world.worker.delay_ms = delay_ms
    world.connect(Encoder(size=SIZES[2]))
    await world.pass_time(7100)
    world.worker.strain = Strain(relief=Relief(paused=("144p",)))
    await world.pass_time(10_000)
    rung = world.show.lineup.get("144p")
    assert rung is not None
    assert rung.dropped == 0
    missing = [{part.gap for part in s.parts} for s in rung._window if s.parts]
    assert {True} in missing
    assert {True, False} not in missing


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
