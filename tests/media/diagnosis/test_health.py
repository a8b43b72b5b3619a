"""A show's health, from packets to findings, in virtual time."""

from __future__ import annotations

import pytest

from media.diagnosis.findings import Code
from media.model import Codec, Packet
from tests.media.stage import AAC, Clip, Stage

pytestmark = pytest.mark.component

SILENT = bytes([33, 16, 4, 96, 140, 28])
SOUND = SILENT * 40


@pytest.fixture(scope="module")
def clip() -> Clip:
    return Clip()


class Studio:
    """An encoder in front of a show; `late_ms` is what its link holds back now."""

    def __init__(self, clip: Clip, *, sound: bytes = SOUND, protocol: str = "rtmp") -> None:
        self.stage = Stage()
        self.clip = clip
        self.sound = sound
        self.picture = 0
        self.late_ms = 0
        self.missing = 1000
        """Each such picture but key frames does not come."""
        self.protocol = protocol
        self.start()

    def start(self) -> None:
        self.stage.begin(self.clip.format, AAC, protocol=self.protocol)
        self.picture = 0
        self.next_sound = 0
        self.began_ns = self.stage.now_ns

    def play(self, seconds: float, *, stamp_ms: int = 0) -> list[str]:
        for _ in range(round(seconds * 30)):
            at = self.picture * 3000
            moment = self.began_ns + at * 1_000_000 // 90 + self.late_ms * 1_000_000
            self.stage.now_ns = max(self.stage.now_ns, moment)
            while self.next_sound <= at:
                self._push(Codec.AAC, self.next_sound + stamp_ms * 90, True, self.sound)
                self.next_sound += 1920
            key, payload = self.clip.units[self.picture % len(self.clip.units)]
            if key or self.picture % self.missing:
                self._push(Codec.H264, at + stamp_ms * 90, key, payload)
            self.picture += 1
            if self.picture % 3 == 0:
                self.stage.show.tick()
        return self.open()

    def _push(self, codec: Codec, dts: int, key: bool, payload: bytes) -> None:
        self.stage.show.push(
            Packet(
                track=0,
                codec=codec,
                dts=dts,
                pts=dts,
                key=key,
                payload=payload,
                arrived_ns=self.stage.now_ns,
            )
        )

    def open(self) -> list[str]:
        return [finding.code for finding in self.stage.show.findings.open()]


async def test_a_calm_show_has_no_finding(clip: Clip):
    assert Studio(clip).play(60) == []


async def test_a_link_that_fills_up_and_recovers(clip: Clip):
    studio = Studio(clip)
    studio.play(10)
    for _ in range(20):
        studio.late_ms += 100
        studio.play(1)
    assert studio.open() == [Code.UPLINK_SLOW]
    (finding,) = studio.stage.show.findings.open()
    assert "Lower the bitrate to about" in finding.text
    studio.late_ms = 0
    assert studio.play(20) == []
    (closed,) = studio.stage.show.findings.closed()
    assert closed.until_ms is not None
    assert closed.until_ms > closed.since_ms


async def test_pictures_that_the_network_lost_are_not_laid_to_the_browser(clip: Clip):
    studio = Studio(clip, protocol="whip")
    studio.play(10)
    studio.missing = 4
    studio.play(12)
    (finding,) = studio.stage.show.findings.open()
    assert finding.code == Code.FRAME_RATE_LOW
    assert "pictures a second are sent: choose a smaller size" in finding.text
    for _ in range(12):
        studio.stage.show.note_loss(lost=8, packets=300, pictures=5)
        studio.play(1)
    (finding,) = studio.stage.show.findings.open()
    assert "the network between publisher and server loses the others" in finding.text
    studio.missing = 1000
    assert studio.play(20) == []


async def test_silence_is_told_and_ends_with_sound(clip: Clip):
    studio = Studio(clip, sound=SILENT)
    assert studio.play(15) == [Code.AUDIO_SILENT]
    studio.sound = SOUND
    assert studio.play(5) == []


async def test_a_clock_that_jumps(clip: Clip):
    studio = Studio(clip)
    studio.play(5)
    assert studio.play(5, stamp_ms=3_600_000) == [Code.TIMESTAMPS_JUMP]
    assert studio.play(31, stamp_ms=3_600_000) == []


async def test_an_encoder_that_comes_and_goes(clip: Clip):
    studio = Studio(clip)
    for _ in range(3):
        studio.play(5)
        studio.stage.show.end_run()
        studio.stage.wait(2)
        studio.start()
    assert Code.RECONNECTS in studio.play(5)
    assert Code.RECONNECTS not in studio.play(300)


async def test_the_end_of_the_show_closes_all(clip: Clip):
    studio = Studio(clip, sound=SILENT)
    assert studio.play(15)
    studio.stage.show.end()
    assert studio.open() == []
    assert [f.code for f in studio.stage.show.findings.closed()] == [Code.AUDIO_SILENT]
