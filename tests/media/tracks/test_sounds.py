"""Further audio tracks of an encoder as renditions, each with its language."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from media.bitstream import describe
from media.diagnosis.findings import Code
from media.hls.multivariant import RenditionInfo, render_multivariant
from media.model import Codec, Kind, Packet, TrackFormat
from media.settling import TrackChange
from tests.media.stage import AAC, Clip, Stage, segments

pytestmark = pytest.mark.component

MONO = describe(Codec.AAC, bytes([0x11, 0x88]))
OPUS = describe(Codec.OPUS, b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00")


def gapless(heard: list[tuple[int, int]]) -> bool:
    """Whether each unit begins where the one before ends."""
    return len(heard) > 100 and all(b[1] - a[1] == 1920 for a, b in pairwise(heard))


@pytest.fixture(scope="module")
def clip() -> Clip:
    return Clip()


class Booth(Stage):
    """Pictures, the main sound, and further sound; every unit of a track tells where it is from."""

    def __init__(self) -> None:
        super().__init__()
        self.extra: set[int] = set()
        self.sound_at = 0

    def start(self, clip: Clip, *tracks: int, sound: TrackFormat = AAC) -> None:
        self.sound_at = 0
        self.begin(clip.format, AAC)
        for number in tracks:
            self.announce(number, sound)

    def announce(self, number: int, sound: TrackFormat | None) -> None:
        self.extra.add(number)
        if sound is None:
            self.extra.remove(number)
        self.show.change_track(TrackChange(track=number, kind=Kind.AUDIO, format=sound))

    def send(self, clip: Clip, frames: range, *, codec: Codec = Codec.AAC) -> None:
        for number in frames:
            while self.sound_at <= number * 3000:
                for track in (0, *sorted(self.extra)):
                    self._sound(track, codec if track else Codec.AAC)
                self.sound_at += 1920
            self.play(clip, range(number, number + 1), sound=False)

    def _sound(self, track: int, codec: Codec) -> None:
        self.show.push(
            Packet(
                track=track,
                codec=codec,
                dts=self.sound_at,
                pts=self.sound_at,
                key=True,
                payload=b"<%d:%d>" % (track, self.sound_at),
                arrived_ns=self.now_ns,
            )
        )

    def heard(self, name: str, text: str) -> list[tuple[int, int]]:
        """(track, time) of each unit in the listed segments."""
        rendition = self.rendition(name)
        found = [rendition.resource(n) for n in re.findall(r"^(r-\d+\.m4s)$", text, re.M)]
        body = b"".join(part.body for part in found if part is not None)
        return [(int(t), int(at)) for t, at in re.findall(rb"<(\d+):(\d+)>", body)]


async def test_each_track_is_a_rendition(clip: Clip):
    booth = Booth()
    booth.start(clip, 1, 2)
    booth.show.describe_sound({0: "en", 1: "de"})
    booth.send(clip, range(320))
    assert booth.names() == ["source", "audio", "audio-de", "audio-2"]
    for name, track in (("audio", 0), ("audio-de", 1), ("audio-2", 2)):
        text = await booth.text(name)
        listed = segments(text)
        assert [msn for msn, _, _ in listed] == list(range(5)), name
        assert not any(gap for _, _, gap in listed), name
        heard = booth.heard(name, text)
        assert {t for t, _ in heard} == {track}
        assert gapless(heard)
    languages = [booth.show.language_of(n) for n in ("audio", "audio-de", "audio-2")]
    assert languages == ["en", "de", None]
    views = [(v.number, v.language, v.used_as) for v in booth.show.tracks()]
    assert views == [
        (0, None, "source"),
        (0, "en", "audio"),
        (1, "de", "audio-de"),
        (2, None, "audio-2"),
    ]


async def test_each_track_has_the_bit_rate_that_was_declared_for_it(clip: Clip):
    booth = Booth()
    booth.start(clip, 1)
    booth.show.declare_rates({(Kind.AUDIO, 0): 128_000, (Kind.AUDIO, 1): 96_000})
    booth.send(clip, range(100))
    rates = [booth.rendition(name).bandwidth()[0] for name in ("audio", "audio-1")]
    assert rates == [128_000, 96_000]


async def test_the_main_sound_takes_the_place_of_a_track_that_ends(clip: Clip):
    booth = Booth()
    booth.start(clip, 1)
    booth.send(clip, range(160))
    booth.announce(1, None)
    booth.send(clip, range(160, 320))
    text = await booth.text("audio-1")
    heard = booth.heard("audio-1", text)
    assert not any(gap for _, _, gap in segments(text))
    assert gapless(heard)
    assert {t for t, at in heard if at < 159 * 3000} == {1}
    assert {t for t, at in heard if at > 161 * 3000} == {0}
    booth.announce(1, AAC)
    booth.send(clip, range(320, 500))
    later = booth.heard("audio-1", await booth.text("audio-1"))
    assert {t for t, at in later if at > 322 * 3000} == {1}
    assert gapless(later)


async def test_main_sound_from_the_worker_takes_that_place_as_well(clip: Clip):
    """A second encoder that stands by with Opus, say, where the first one sends two languages."""
    booth = Booth()
    booth.start(clip, 1)
    booth.send(clip, range(160))
    assert booth.worker is not None
    booth.extra.clear()
    booth.begin(clip.format, OPUS)
    ladder = booth.show.ladder
    ladder.rung_format("audio", AAC)
    for number in range(160, 400):
        booth._push(Codec.OPUS, number * 3000, True, b"opus")
        booth.play(clip, range(number, number + 1), sound=False)
        if number % 5 == 0:
            for packet in [p for p in booth.worker.packets if p.kind is Kind.AUDIO]:
                made = replace(packet, codec=Codec.AAC, payload=b"<9:%d>" % packet.dts)
                ladder.rung_packet("audio", made)
            booth.worker.packets.clear()
    for name in ("audio", "audio-1"):
        text = await booth.text(name)
        assert not any(gap for _, _, gap in segments(text)[-2:]), name
        assert booth.heard(name, text)[-1][0] == 9, name


async def test_a_silent_track_is_replaced_after_a_second(clip: Clip):
    booth = Booth()
    booth.start(clip, 1)
    booth.send(clip, range(130))
    booth.extra.clear()  # announced still, but nothing comes
    booth.send(clip, range(130, 400))
    heard = booth.heard("audio-1", await booth.text("audio-1"))
    assert {t for t, at in heard if at > 162 * 3000} == {0}


@pytest.mark.parametrize(
    ("sound", "words"), [(OPUS, "is opus"), (MONO, "another sample rate or number of channels")]
)
async def test_what_cannot_be_offered_is_a_finding(clip: Clip, sound: TrackFormat, words: str):
    booth = Booth()
    booth.start(clip, 1)
    booth.send(clip, range(60))
    booth.announce(1, sound)
    booth.send(clip, range(60, 200), codec=sound.codec)
    (finding,) = [f for f in booth.show.findings.open() if f.code == Code.TRACKS_UNUSED]
    assert words in finding.text
    text = await booth.text("audio-1")
    assert not any(gap for _, _, gap in segments(text))
    booth.announce(1, AAC)
    booth.send(clip, range(200, 240))
    assert not booth.show.findings.is_open(Code.TRACKS_UNUSED)


async def test_another_encoder_goes_on_in_the_same_renditions(clip: Clip):
    booth = Booth()
    booth.start(clip, 1)
    booth.show.describe_sound({1: "de"})
    booth.send(clip, range(130))
    booth.show.end_run()
    booth.wait(1)
    booth.start(clip, 1)
    booth.show.describe_sound({1: "de"})
    booth.send(clip, range(200))
    assert booth.names() == ["source", "audio", "audio-de"]
    assert not segments(await booth.text("audio-de"))[-1][2]


def test_languages_are_told_to_players(clip: Clip):
    sounds = [
        RenditionInfo(name=name, format=AAC, peak_bps=1, average_bps=1, language=language)
        for name, language in (
            ("audio", None),
            ("audio-de", "de"),
            ("audio-2", None),
            ("audio-3", "fr"),
            ("audio-4", "fr"),
        )
    ]
    picture = RenditionInfo(name="source", format=clip.format, peak_bps=1, average_bps=1)
    text = render_multivariant([picture, *sounds]).decode()
    lines = [line for line in text.splitlines() if "EXT-X-MEDIA" in line]
    names = [re.findall(r'NAME="([^"]+)"', line)[0] for line in lines]
    assert names == ["Audio", "de", "audio-2", "audio-3", "audio-4"]
    assert [re.findall(r'LANGUAGE="([^"]+)"', line) for line in lines] == [
        [],
        ["de"],
        [],
        ["fr"],
        ["fr"],
    ]
    chosen = [re.findall(r"DEFAULT=(\w+),AUTOSELECT=(\w+)", line)[0] for line in lines]
    assert chosen == [
        ("YES", "YES"),
        ("NO", "YES"),
        ("NO", "NO"),
        ("NO", "YES"),
        ("NO", "YES"),
    ]
