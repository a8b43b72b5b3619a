"""What a bad network has left of a show: in LL-HLS, and at a WebRTC viewer in Chromium."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.clapped import read_pictures, read_sound
from tests.support.hls import Reader

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.browser import Watch
    from tests.support.lossy import Network

WINDOW_S = 0.005
PEERS = """
(() => {
  window.peers = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...options) { super(...options); window.peers.push(this); }
  };
})();
"""
STATISTICS = """async () => {
  const found = {};
  for (const peer of window.peers)
    for (const one of (await peer.getStats()).values())
      if (one.type === 'inbound-rtp') found[one.kind] = {...found[one.kind], ...one};
  return found;
}"""


@dataclass(frozen=True, kw_only=True)
class Endured:
    """One stretch of a show whose encoder made 30 pictures a second and a steady tone."""

    pictures_per_s: float
    lost: float
    """Share of the pictures that were made and never came."""
    freezes_s: list[float]
    """Every time between two pictures of more than 0.25 s."""
    silences_s: list[float]
    """Every break in the sound of 10 ms or more."""
    decoded_per_s: float | None = None
    """By the browser's count: of pictures that come in bunches its screen shows the last."""
    holes: int = 0
    """Places where sound begins later than that before it ends."""
    concealed: float = 0.0
    """Share of the sound that the viewer made up."""

    @property
    def longest_freeze_s(self) -> float:
        return max(self.freezes_s, default=0.0)

    def __str__(self) -> str:
        return (
            f"{self.pictures_per_s:.1f} pictures/s, {self.lost:.1%} lost, "
            f"freezes {[round(each, 2) for each in self.freezes_s]} s, "
            f"silences {[round(each, 3) for each in self.silences_s]} s, {self.holes} holes, "
            f"{self.concealed:.1%} of the sound concealed"
        )


def of_hls(reader: Reader, *, segments: int, rung: str = "source") -> Endured:
    """Decode the last whole segments of a rung and of the sound; a decoder's error fails."""
    bodies = []
    for name in (rung, "audio"):
        chosen = [s for s in reader.media(name).segments if s.uri and not s.gap_tag][-segments:]
        init = chosen[0].init_section.uri
        assert {each.init_section.uri for each in chosen} == {init}
        media = b"".join(reader.fetch(name, each.uri) for each in chosen)
        bodies.append(reader.fetch(name, init) + media)
    pictures, sound = read_pictures(bodies[0]), read_sound(bodies[1])
    assert pictures.unreadable == 0
    return Endured(
        pictures_per_s=rate(pictures.pts),
        lost=lost(pictures.numbers),
        freezes_s=gaps(pictures.pts),
        silences_s=silences(sound.samples, sound.rate),
        holes=len(sound.holes_s),
    )


def watching_over(page: Page, network: Network) -> None:
    """Lead what `page` will watch by WebRTC over `network`, and keep its peers for `of_viewer`."""
    page.add_init_script(PEERS)
    network.on(page)


def received(watch: Watch) -> dict[str, dict[str, Any]]:
    """Return the browser's own counters, by kind."""
    return dict(watch.evaluate(STATISTICS))


def of_viewer(watch: Watch, before: dict[str, dict[str, Any]]) -> Endured:
    """Return what `watch` has shown since its `clear`, when `received` was `before`."""
    frames = watch.frames()
    shown = [each["shown"] / 1000 for each in frames]
    after = received(watch)
    video, video_before = after["video"], before["video"]
    decoded = video["framesDecoded"] - video_before["framesDecoded"]
    sound, sound_before = after["audio"], before["audio"]
    made_up, samples, mute = (
        sound[name] - sound_before[name]
        for name in ("concealedSamples", "totalSamplesReceived", "silentConcealedSamples")
    )
    return Endured(
        pictures_per_s=rate(shown),
        lost=lost([int(each["frame"]) for each in frames]),
        freezes_s=gaps(shown),
        silences_s=[mute / 48_000] if mute else [],
        decoded_per_s=decoded * 1000 / (video["timestamp"] - video_before["timestamp"]),
        concealed=made_up / samples,
    )


def rate(times: Sequence[float]) -> float:
    """Return pictures a second."""
    return (len(times) - 1) / (times[-1] - times[0])


def lost(numbers: Sequence[int]) -> float:
    """Return the share of the numbers between the first and the last that is not there."""
    made = numbers[-1] - numbers[0] + 1
    return 1 - len(set(numbers)) / made


def gaps(times: Sequence[float], longest_s: float = 0.25) -> list[float]:
    """Return the times between two pictures that are longer than that."""
    return [b - a for a, b in itertools.pairwise(times) if b - a > longest_s]


def silences(samples: np.ndarray, rate_hz: int, shortest_s: float = 0.01) -> list[float]:
    """Return how long the breaks in a steady tone are: a tenth of its level and less."""
    size = int(WINDOW_S * rate_hz)
    windows = samples[: samples.size // size * size].reshape(-1, size)
    levels = np.sqrt((windows.astype(np.float64) ** 2).mean(axis=1))
    quiet = levels < 0.1 * np.median(levels)
    runs = [len(list(run)) * WINDOW_S for mute, run in itertools.groupby(quiet) if mute]
    return [each for each in runs if each >= shortest_s]
