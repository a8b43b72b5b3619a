"""Further video tracks of an encoder: used untouched where they fit, else replaced."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from config.settings import LadderSettings, RungSettings
from media.diagnosis.findings import Code
from media.ladder import MOST_SIZES
from media.model import Codec, Kind, Packet, Role, TrackFormat
from media.programme import Feeder
from media.publication import Publication
from media.settling import TrackChange
from media.slate.desk import SlateRecipe
from media.tracks.pictures import MAX_NAMES
from tests.media.ear import Ear
from tests.media.stage import AAC, Clip, Stage, segments
from tests.media.standby.studio import Encoder, h264
from tests.media.standby.studio import Studio as Pair
from tests.support.slates import loop_for

pytestmark = pytest.mark.component

LADDER = LadderSettings(rungs=(RungSettings(height=144, bitrate_kbps=400),), preset="ultrafast")


@pytest.fixture(scope="module")
def large() -> Clip:
    return Clip((480, 270))


@pytest.fixture(scope="module")
def middle() -> Clip:
    return Clip((320, 180))


@pytest.fixture(scope="module")
def small() -> Clip:
    return Clip((256, 144))


class Studio(Stage):
    """An encoder with several video tracks: `tracks` by number, with the delay of their GOP."""

    def __init__(
        self, ladder: LadderSettings = LADDER, *, slate: SlateRecipe | None = None
    ) -> None:
        super().__init__(ladder, slate=slate)
        self.tracks: dict[int, tuple[Clip, int]] = {}
        self.sent: dict[int, list[bytes]] = {}
        self.first = True
        """Further tracks send ahead of the main one."""

    def announce(self, number: int, clip: Clip, *, late: int = 0) -> None:
        self.tracks[number] = (clip, late)
        self.show.change_track(TrackChange(track=number, kind=Kind.VIDEO, format=clip.format))

    def end(self, number: int) -> None:
        del self.tracks[number]
        self.show.change_track(TrackChange(track=number, kind=Kind.VIDEO, format=None))

    def show_clips(self, main: Clip, frames: range, *, worker: Clip | None = None) -> None:
        for number in frames:
            order: list[Callable[[], None]] = [
                lambda n=number: self._push_main(main, n),  # type: ignore[misc]
                lambda n=number: self._push_tracks(n),  # type: ignore[misc]
            ]
            if self.first:
                order.reverse()
            for step in order:
                step()
            if worker is not None and self.worker is not None:
                self.worker.answer(worker)

    def _push_main(self, clip: Clip, number: int) -> None:
        while self._sound_at <= number * 3000:
            self._push(Codec.AAC, self._sound_at, True, bytes([33, 16, 4, 96, 140, 29]))
            self._sound_at += 1920
        self.play(clip, range(number, number + 1), sound=False)

    def begin(self, *formats: TrackFormat) -> None:
        self._sound_at = 0
        super().begin(*formats)

    def _push_tracks(self, number: int) -> None:
        for track, (clip, late) in self.tracks.items():
            key, payload = clip.units[(number - late) % len(clip.units)]
            self.sent.setdefault(track, []).append(payload)
            self.show.push(
                Packet(
                    track=track,
                    codec=Codec.H264,
                    dts=number * 3000,
                    pts=number * 3000,
                    key=key,
                    payload=payload,
                    arrived_ns=self.now_ns,
                )
            )

    def wait_with_slate(self, seconds: float, *, worker: Clip) -> None:
        """Let time pass without an encoder, with a worker that makes slates at once."""
        assert self.worker is not None
        for _ in range(round(seconds * 30)):
            self.now_ns += 1_000_000_000 // 30
            while self.worker.orders:
                order = self.worker.orders.pop(0)
                self.show.ladder.slate_made(order.serial, loop_for(order))
            self.show.tick()
            self.worker.answer(worker)

    def bytes_of(self, name: str, text: str) -> bytes:
        rendition = self.rendition(name)
        found = [rendition.resource(n) for n in re.findall(r"^(r-\d+\.m4s)$", text, re.M)]
        return b"".join(part.body for part in found if part is not None)


def openings(studio: Studio, name: str, text: str) -> list[bytes]:
    """Return the first picture of every listed segment."""
    found = []
    for uri in re.findall(r"^(r-\d+\.m4s)$", text, re.M):
        part = studio.rendition(name).resource(uri)
        if part is not None:  # a gap has a name but no bytes
            found.append(part.body[part.body.index(b"mdat") + 4 :])
    assert found
    return found


def keys(clip: Clip) -> tuple[bytes, ...]:
    return tuple(payload for key, payload in clip.units if key)


@pytest.mark.parametrize("first", [True, False])
async def test_aligned_tracks_are_the_ladder_untouched(
    large: Clip, middle: Clip, small: Clip, first: bool
):
    studio = Studio()
    studio.first = first
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.announce(2, small)
    studio.show_clips(large, range(320))
    assert studio.names() == ["source", "180p", "144p", "audio"]
    assert studio.worker is not None
    assert all(plan.empty for plan in studio.worker.plans)
    texts = {name: await studio.text(name) for name in studio.names()}
    starts = set()
    for name, text in texts.items():
        listed = segments(text)
        assert len(listed) == 5, name
        assert not any(gap for _, _, gap in listed), name
        assert all(abs(duration - 2) < 0.05 for _, duration, _ in listed), name
        assert "DISCONTINUITY\n" not in text
        if name != "audio":
            starts.add(re.findall(r"PROGRAM-DATE-TIME:(\S+)", text)[0])
    assert len(starts) == 1, starts
    for name, track in (("180p", 1), ("144p", 2)):
        body = studio.bytes_of(name, texts[name])
        assert all(payload in body for payload in studio.sent[track][:300])
    assert not studio.show.findings.is_open(Code.TRACKS_MISALIGNED)


async def test_who_watches_without_delay_gets_the_tracks_that_are_rungs(
    large: Clip, middle: Clip, small: Clip
):
    studio = Studio()
    ear = Ear()
    studio.feed.add(ear)
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.announce(2, small)
    studio.show_clips(large, range(200))
    assert set(studio.feed.rungs()) == {"source", "180p", "144p", "opus"}
    for rung, track in (("180p", 1), ("144p", 2)):
        heard = ear.packets(rung)
        sent = studio.sent[track][:199]
        assert [packet.payload for packet in heard][: len(sent)] == sent
        assert [packet.pts for packet in heard] == sorted({packet.pts for packet in heard})
    studio.end(2)
    studio.show_clips(large, range(200, 380), worker=small)
    assert ear.heard.count("gone 144p") == 1
    assert studio.feed.rungs()["144p"] == small.format
    made = [packet for packet in ear.packets("144p") if packet.duration]
    assert made
    assert made[0].key
    assert "gone 180p" not in ear.heard


async def test_rungs_below_the_smallest_track_are_still_made(large: Clip, small_clip2: Clip):
    studio = Studio(
        LadderSettings(
            rungs=(
                RungSettings(height=200, bitrate_kbps=400),
                RungSettings(height=144, bitrate_kbps=300),
            )
        )
    )
    studio.begin(large.format, AAC)
    studio.announce(1, small_clip2)
    studio.show_clips(large, range(60))
    assert studio.worker is not None
    assert [rung.name for rung in studio.worker.plans[-1].rungs] == ["144p"]


@pytest.fixture(scope="module")
def small_clip2() -> Clip:
    return Clip((400, 220))


async def test_a_track_with_other_key_frames_is_replaced_by_the_worker(
    large: Clip, middle: Clip, small: Clip
):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, middle, late=20)
    studio.announce(2, small)
    studio.show_clips(large, range(180))
    assert studio.names() == ["source", "144p", "audio"]
    studio.show_clips(large, range(180, 600), worker=middle)
    assert studio.names() == ["source", "180p", "144p", "audio"]
    finding = next(f for f in studio.show.findings.open() if f.code == Code.TRACKS_MISALIGNED)
    assert "track 1 has" in finding.text
    assert "keyframe interval" in finding.text
    assert studio.worker is not None
    assert [rung.name for rung in studio.worker.plans[-1].rungs] == ["180p"]
    for name in ("180p", "144p", "source"):
        assert not any(gap for _, _, gap in segments(await studio.text(name))[-4:]), name
    small_text = await studio.text("144p")
    assert not any(gap for _, _, gap in segments(small_text))
    begun = openings(studio, "180p", await studio.text("180p"))
    assert all(picture.startswith(keys(middle)) for picture in begun)


async def test_a_jitter_of_milliseconds_is_no_misalignment(large: Clip, middle: Clip):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    for number in range(320):
        studio._push_main(large, number)
        key, payload = middle.units[number % 180]
        at = number * 3000 + (90, -180, 0)[number // 60 % 3]
        studio.show.push(
            Packet(
                track=1,
                codec=Codec.H264,
                dts=at,
                pts=at,
                key=key,
                payload=payload,
                arrived_ns=studio.now_ns,
            )
        )
    listed = segments(await studio.text("180p"))
    assert [msn for msn, _, _ in listed] == list(range(5))
    assert not any(gap for _, _, gap in listed)
    begun = openings(studio, "180p", await studio.text("180p"))
    assert len(begun) == 5
    assert all(picture.startswith(keys(middle)) for picture in begun)
    assert not studio.show.findings.is_open(Code.TRACKS_MISALIGNED)


async def test_pictures_that_wait_for_a_hanging_main_track_are_bounded(large: Clip, middle: Clip):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.show_clips(large, range(90))
    for number in range(90, 300):
        studio._push_tracks(number)
        studio.now_ns += 1_000_000_000 // 30
    assert len(studio.show._further.pictures._waiting) <= 31
    studio.sent.clear()
    studio.show_clips(large, range(300, 620))
    assert not segments(await studio.text("180p"))[-1][2]
    body = studio.bytes_of("180p", await studio.text("180p"))
    assert all(payload in body for payload in studio.sent[1][180:240])


async def test_a_track_that_changes_is_another_rendition(large: Clip, middle: Clip, small: Clip):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.show_clips(large, range(150))
    studio.announce(1, small)
    studio.show_clips(large, range(150, 180))
    before = studio.bytes_of("180p", await studio.text("180p"))
    studio.show_clips(large, range(180, 500), worker=middle)
    assert studio.names() == ["source", "180p", "144p", "audio"]
    assert not any(payload in before for payload in studio.sent[1][152:180])
    assert studio.worker is not None
    assert [rung.name for rung in studio.worker.plans[-1].rungs] == ["180p"]
    for name, clip in (("180p", middle), ("144p", small)):
        text = await studio.text(name)
        assert not segments(text)[-1][2], name
        assert all(p.startswith(keys(clip)) for p in openings(studio, name, text)), name
    assert not studio.show.findings.is_open(Code.TRACKS_MISALIGNED)


async def test_a_change_just_after_the_main_key_frame_waits_for_the_next(
    large: Clip, middle: Clip, small: Clip
):
    studio = Studio()
    studio.first = False
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.show_clips(large, range(180))
    studio._push_main(large, 180)
    studio.announce(1, small)
    studio._push_tracks(180)
    studio.show_clips(large, range(181, 400), worker=middle)
    begun = openings(studio, "180p", await studio.text("180p"))
    assert all(picture.startswith(keys(middle)) for picture in begun)
    begun = openings(studio, "144p", await studio.text("144p"))
    assert all(picture.startswith(keys(small)) for picture in begun)


async def test_key_frames_that_move_away_start_no_segment(large: Clip, middle: Clip):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.show_clips(large, range(150))
    studio.tracks[1] = (middle, 20)
    studio.show_clips(large, range(150, 290))
    text = await studio.text("180p")
    begun = openings(studio, "180p", text)
    assert len(begun) >= 2
    assert all(picture.startswith(keys(middle)) for picture in begun)
    studio.show_clips(large, range(290, 640), worker=middle)
    assert studio.show.findings.is_open(Code.TRACKS_MISALIGNED)
    listed = segments(await studio.text("180p"))
    assert sum(gap for _, _, gap in listed) <= 4
    assert not any(gap for _, _, gap in listed[-2:])


async def test_a_late_track_takes_over_from_the_worker(large: Clip, middle: Clip, small: Clip):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.show_clips(large, range(150), worker=middle)
    assert studio.names() == ["source", "144p", "audio"]
    studio.announce(1, small)
    studio.show_clips(large, range(150, 520), worker=middle)
    assert studio.worker is not None
    assert studio.worker.plans[-1].empty
    text = await studio.text("144p")
    assert not any(gap for _, _, gap in segments(text))
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    body = studio.bytes_of("144p", text)
    assert all(payload in body for payload in studio.sent[1][120:300])


async def test_when_a_track_ends_the_worker_goes_on(large: Clip, small: Clip, middle: Clip):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.announce(2, small)
    studio.show_clips(large, range(200))
    studio.end(1)
    studio.show_clips(large, range(200, 600), worker=middle)
    listed = segments(await studio.text("180p"))
    assert sum(gap for _, _, gap in listed) <= 1
    assert not listed[-1][2]
    assert not any(gap for _, _, gap in segments(await studio.text("144p")))
    assert studio.worker is not None
    assert [rung.name for rung in studio.worker.plans[-1].rungs] == ["180p"]


async def test_an_encoder_without_tracks_follows_one_with_them(
    large: Clip, small: Clip, middle: Clip
):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.announce(2, small)
    studio.show_clips(large, range(200))
    studio.show.end_run()
    studio.wait(3)
    studio.tracks.clear()
    studio.begin(large.format, AAC)
    studio.show_clips(large, range(300), worker=middle)
    assert studio.worker is not None
    assert [rung.name for rung in studio.worker.plans[-1].rungs] == ["180p", "144p"]
    for name in ("180p", "144p"):
        assert not segments(await studio.text(name))[-1][2], name


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_slate_goes_on_in_the_renditions_of_tracks(
    large: Clip, small: Clip, middle: Clip, hangs: bool
):
    studio = Studio(slate=SlateRecipe(text="Back soon", image=None))
    studio.begin(large.format, AAC)
    studio.announce(1, middle)
    studio.announce(2, small)
    studio.show_clips(large, range(200))
    if not hangs:
        studio.show.end_run()
    studio.wait_with_slate(6, worker=middle)
    assert studio.show.feeder is Feeder.SLATE
    assert studio.worker is not None
    assert [rung.name for rung in studio.worker.plans[-1].rungs] == ["180p", "144p"]
    for name in ("source", "180p", "144p"):
        listed = segments(await studio.text(name))
        assert not any(gap for _, _, gap in listed), name
        assert len(listed) >= 5
    if not hangs:
        studio.begin(large.format, AAC)
        studio.announce(1, middle)
        studio.announce(2, small)
    studio.sent.clear()
    studio.show_clips(large, range(330), worker=middle)
    assert studio.show.feeder is Feeder.ENCODER
    assert studio.worker.plans[-1].empty
    for name, track in (("180p", 1), ("144p", 2)):
        text = await studio.text(name)
        assert not any(gap for _, _, gap in segments(text)), name
        body = studio.bytes_of(name, text)
        assert all(payload in body for payload in studio.sent[track][60:240]), name


async def test_an_encoder_of_ever_other_sizes_does_not_add_renditions_without_end(
    large: Clip, small: Clip
):
    """Each would be encoded until the show ends."""
    studio = Studio()
    for number in range(MAX_NAMES + 4):
        lines = 100 + 2 * number
        studio.begin(large.format, AAC)
        studio.tracks[1] = (small, 0)
        sized = replace(small.format, width=lines * 2, height=lines)
        studio.show.change_track(TrackChange(track=1, kind=Kind.VIDEO, format=sized))
        studio.show_clips(large, range(70))
        used = [t.used_as for t in studio.show.tracks() if t.number == 1]
        assert used == [f"{lines}p" if number < MAX_NAMES else None]
    assert studio.worker is not None
    rungs = [rung.name for rung in studio.worker.plans[-1].rungs]
    assert {"130p", "100p"} <= set(rungs)
    assert len(rungs) <= MOST_SIZES + len(LADDER.rungs)
    # Each of their viewers gets the next smaller one.
    studio.show_clips(large, range(70, 200), worker=small)
    for name in studio.names():
        assert not segments(await studio.text(name))[-1][2], name


class HevcStudio(Studio):
    """Whatever the encoder sends is called HEVC: nothing here decodes it."""

    def _push(self, codec: Codec, dts: int, key: bool, payload: bytes) -> None:
        super()._push(Codec.HEVC if codec is Codec.H264 else codec, dts, key, payload)

    def announce(self, number: int, clip: Clip, *, late: int = 0) -> None:
        self.tracks[number] = (clip, late)
        self.show.change_track(TrackChange(track=number, kind=Kind.VIDEO, format=hevc(clip)))


def hevc(clip: Clip) -> TrackFormat:
    return replace(clip.format, codec=Codec.HEVC, codec_string="hvc1.1.6.L93.B0")


async def test_hevc_tracks_return_to_their_renditions_after_every_slate(
    large: Clip, middle: Clip, small: Clip
):
    """The slate is H.264: those who watch know HEVC still, and no rung is made for others."""
    studio = HevcStudio(slate=SlateRecipe(text="Back soon", image=None))
    for _ in range(3):
        studio.begin(hevc(large), AAC)
        studio.announce(1, middle)
        studio.announce(2, small)
        studio.show_clips(large, range(200), worker=middle)
        assert studio.show.feeder is Feeder.ENCODER
        assert sorted(studio.names()) == ["144p", "180p", "audio", "source"]
        used = {t.number: t.used_as for t in studio.show.tracks() if t.format.kind is Kind.VIDEO}
        assert used == {0: "source", 1: "180p", 2: "144p"}
        assert studio.worker is not None
        assert not studio.worker.plans or studio.worker.plans[-1].empty
        studio.show.end_run()
        studio.wait_with_slate(3, worker=middle)
        assert studio.show.feeder is Feeder.SLATE


@pytest.mark.parametrize("rungs", [True, False])
async def test_who_comes_during_a_slate_is_told_what_follows_it(
    large: Clip, small: Clip, rungs: bool
):
    """Else a player without HEVC would choose the source by its slate, and lose the show."""
    studio = HevcStudio(
        LADDER if rungs else LadderSettings(enabled=False),
        slate=SlateRecipe(text="Back soon", image=None),
    )
    studio.begin(hevc(large), AAC)
    studio.show_clips(large, range(100), worker=small)
    codecs = {r.name: f.codec for r, f in studio.show.lineup.offers()}
    assert codecs["source"] is Codec.HEVC
    studio.show.end_run()
    studio.wait_with_slate(3, worker=small)
    source = studio.rendition("source")
    assert source.format is not None
    assert source.format.codec is Codec.H264
    codecs = {r.name: f.codec for r, f in studio.show.lineup.offers()}
    # Without a rung there is nothing else to choose, and an H.264 encoder may follow.
    assert codecs["source"] is (Codec.HEVC if rungs else Codec.H264)
    assert not rungs or codecs["144p"] is Codec.H264


async def test_two_tracks_of_the_same_lines_have_names_of_their_own(large: Clip, small: Clip):
    studio = Studio()
    studio.begin(large.format, AAC)
    studio.announce(1, small)
    studio.announce(2, small)
    studio.show_clips(large, range(150))
    assert sorted(studio.names()) == ["144p", "144p-2", "audio", "source"]


async def test_tracks_are_left_out_where_the_settings_say_so(large: Clip, small: Clip):
    studio = Studio(LADDER.model_copy(update={"multitrack": False}))
    studio.begin(large.format, AAC)
    studio.announce(1, small)
    studio.show_clips(large, range(150), worker=small)
    assert studio.worker is not None
    assert [rung.name for rung in studio.worker.plans[-1].rungs] == ["144p"]
    body = studio.bytes_of("144p", await studio.text("144p"))
    assert studio.names() == ["source", "144p", "audio"]
    assert body


class Multi(Encoder):
    """An encoder of a stream that also sends a smaller picture."""

    def _connect(self) -> Publication:
        publication = super()._connect()
        publication.set_format(1, h264((128, 72)))
        return publication

    def send(self) -> None:
        if self.paused or self.publication.closed:
            return
        self.publication.push(
            Packet(
                track=1,
                codec=Codec.H264,
                dts=self.frame * 3000,
                pts=self.frame * 3000,
                key=self.frame % self.gop == 0,
                payload=f"small {self.role.value}:{self.frame} ".encode().ljust(500),
                arrived_ns=self.studio.host.time_ns,
            )
        )
        super().send()


async def test_a_standby_encoder_goes_on_in_the_renditions_of_tracks():
    pair = Pair()
    pair.encoders = [Multi(pair, Role.PRIMARY, phase=0), Multi(pair, Role.BACKUP, phase=17)]
    pair.run(7)
    pair.encoders[0].publication.close("error")
    pair.run(9)
    show = pair.stream.require_show()
    assert [r.name for r in show.lineup.listed()] == ["source", "72p", "audio"]
    rendition = show.lineup.get("72p")
    assert rendition is not None
    text = (await rendition.playlist()).body.decode()
    assert not any(gap for _, _, gap in segments(text))
    found = [rendition.resource(n) for n in re.findall(r"^(\S+\.m4s)$", text, re.M)]
    body = b"".join(part.body for part in found if part is not None)
    frames = {
        role: [int(n) for n in re.findall(rb"small %s:(\d+) " % role.value.encode(), body)]
        for role in Role
    }
    # No picture is missing on either side; the backup's begin with the key frame held.
    for role, numbers in frames.items():
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), role
    assert frames[Role.BACKUP][0] % 60 == 0
    assert len(frames[Role.PRIMARY]) > 190
