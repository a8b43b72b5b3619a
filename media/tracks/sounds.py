"""An encoder's further audio tracks: renditions as they came, one for each language.

Only AAC is taken: it needs no worker. Where a track does not send (it ended, the encoder is gone,
the slate is on air), what the main sound is takes its place, so its listeners hear no hole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from media.diagnosis import sentences
from media.diagnosis.findings import Code, Severity
from media.hls.segmenter import TOLERANCE
from media.lineup import AUDIO
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat
from media.slate.silence import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from media.diagnosis.findings import Findings
    from media.lineup import Lineup

log = structlog.get_logger(__name__)

PATIENCE = TICKS_PER_SECOND
"""A track that sent nothing for this long is replaced by the main sound."""
MAX_NAMES = 16
"""Further audio renditions of a show: they stay listed until it ends."""


@dataclass(slots=True, kw_only=True)
class _Sound:
    """A rendition of further sound."""

    name: str
    language: str | None
    format: TrackFormat
    end: int = 0
    """Where its newest access unit ends, in ticks."""
    own: int = 0
    """When the newest one of its own track starts."""


class SoundTracks:
    """See the module's docstring. All methods run on the event loop, times are show ticks.

    `configured`: languages (BCP 47) by track number, where the encoder does not tell; `on_air`:
    whether the encoder is on air; `now_ms`: UTC of the show clock.
    """

    def __init__(
        self,
        *,
        stream: str,
        configured: Sequence[str],
        lineup: Lineup,
        findings: Findings,
        on_air: Callable[[], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._stream = stream
        self._configured = dict(enumerate(configured))
        self._lineup = lineup
        self._findings = findings
        self._on_air = on_air
        self._now_ms = now_ms
        self._told: Mapping[int, str] = {}
        self._main_language = self._configured.get(0)
        self._formats: dict[int, TrackFormat] = {}
        self._sounds: dict[str, _Sound] = {}
        """By name; they stay as long as the show."""
        self._used: dict[int, _Sound] = {}
        self._refused: dict[int, str] = {}
        """Why a track is not used."""

    # ── the encoder ──────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Forget the run before; its renditions go on with the main sound."""
        self._told = {}
        self._formats.clear()
        self._used.clear()
        self._refused.clear()
        self._findings.clear(Code.TRACKS_UNUSED)

    def describe(self, languages: Mapping[int, str]) -> None:
        """Note the languages (BCP 47) of the tracks, for those that have no rendition yet."""
        self._told = languages
        self._main_language = self.language(0)

    def set_format(self, number: int, track_format: TrackFormat) -> None:
        """Note a further track's parameters."""
        if self._formats.get(number) != track_format:
            self._formats[number] = track_format
            self._used.pop(number, None)
            if self._refused.pop(number, None) is not None:
                self._say()

    def drop(self, number: int) -> None:
        """Note that the encoder ended a track."""
        self._formats.pop(number, None)
        self._used.pop(number, None)
        if self._refused.pop(number, None) is not None:
            self._say()

    def push(self, packet: Packet) -> None:
        """Take an access unit of a further track."""
        track_format = self._formats.get(packet.track)
        if track_format is None or packet.track in self._refused or not self._on_air():
            return
        sound = self._used.get(packet.track) or self._use(packet.track, track_format)
        if sound is not None:
            self._pass_on(sound, packet)
            sound.own = packet.dts

    def main(self, packet: Packet) -> None:
        """Take an access unit of the audio rendition for those whose own sound is missing."""
        if not self._sounds:
            return
        main = self._lineup.get(AUDIO)
        known = main.format if main is not None else None
        own = {id(sound) for sound in self._used.values()} if self._on_air() else set()
        for sound in self._sounds.values():
            if id(sound) in own and packet.dts < sound.own + PATIENCE:
                continue
            if known is not None and layout(known) == layout(sound.format):
                self._pass_on(sound, packet)

    def _pass_on(self, sound: _Sound, packet: Packet) -> None:
        """Push a packet, unless the rendition has sound of its time."""
        if packet.dts >= sound.end - TOLERANCE:
            length = sound.format.samples_per_frame * TICKS_PER_SECOND // sound.format.sample_rate
            sound.end = packet.dts + length
            self._lineup.push(sound.name, packet)

    # ── renditions ───────────────────────────────────────────────────────────────────────────

    def _use(self, number: int, track_format: TrackFormat) -> _Sound | None:
        """Give a track its rendition, the one of before where it returns; None where it cannot."""
        language = self.language(number)
        name = self._free_name(number, language)
        sound = self._sounds.get(name)
        complaint = self._complaint(number, track_format, sound)
        if complaint is not None:
            self._refuse(number, complaint)
            return None
        if sound is None:
            sound = self._sounds[name] = _Sound(name=name, language=language, format=track_format)
            self._lineup.open(name, Kind.AUDIO)
            self._lineup.feed_also(name)
            self._lineup.set_format(name, track_format)
            log.info("sound track used", stream=self._stream, track=number, used_as=name)
        self._used[number] = sound
        return sound

    def _complaint(self, number: int, fmt: TrackFormat, known: _Sound | None) -> str | None:
        if fmt.codec is not Codec.AAC:
            return sentences.track_not_aac(number, fmt.codec.value)
        if known is None and len(self._sounds) >= MAX_NAMES:
            return sentences.too_many_sounds(number, MAX_NAMES)
        if known is not None and layout(known.format) != layout(fmt):
            return sentences.track_changed(number)
        return None

    def _free_name(self, number: int, language: str | None) -> str:
        taken = {sound.name for sound in self._used.values()}
        name = f"{AUDIO}-{language.lower()}" if language is not None else f"{AUDIO}-{number}"
        return name if name not in taken else f"{AUDIO}-{number}"

    def _refuse(self, number: int, text: str) -> None:
        log.warning("sound track not used", stream=self._stream, track=number, detail=text)
        self._refused[number] = text
        self._say()

    def _say(self) -> None:
        if not self._refused:
            self._findings.clear(Code.TRACKS_UNUSED)
            return
        text = " ".join(self._refused[number] for number in sorted(self._refused))
        self._findings.report(Code.TRACKS_UNUSED, Severity.WARNING, text, now_ms=self._now_ms())

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    @property
    def names(self) -> set[str]:
        """The renditions of further sound; all stay fed."""
        return set(self._sounds)

    def language(self, number: int) -> str | None:
        """Return the language of an audio track, None where nobody told it."""
        return self._told.get(number) or self._configured.get(number)

    def language_of(self, name: str) -> str | None:
        """Return the language of an audio rendition."""
        if name == AUDIO:
            return self._main_language
        sound = self._sounds.get(name)
        return sound.language if sound is not None else None

    def used_as(self, number: int) -> str | None:
        """Return the rendition that a track feeds."""
        sound = self._used.get(number)
        return sound.name if sound is not None else None
