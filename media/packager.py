"""Cuts a show into segments: packets on the show clock in, boundaries and renditions out.

It decides where segments start, which formats they have and what the ladder makes of them.
Pictures as they came and AAC sound go straight to their renditions, the rest comes back from the
worker (`media.ladder`). Who is on air (an encoder, the slate) is decided in `media.programme`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.grid import GridRule, SegmentGrid
from media.hls import rules
from media.hls.segmenter import TOLERANCE
from media.lineup import AUDIO, PATIENCE_SOURCE, SOURCE, Lineup, fits_hls, plays
from media.model import TICKS_PER_SECOND, Codec, Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from config.settings import HlsSettings, LadderSettings
    from media.ladder import Ladder
    from media.meter import MediaMeter
    from media.tap import PacketTap
    from media.tracks.pictures import PictureTracks
    from media.tracks.sounds import SoundTracks

LONG_GOP_CUTS = 2
"""Segments in a row cut without a key frame after which the source is re-encoded."""
GOOD_GOP = 10 * TICKS_PER_SECOND
"""Key frames in time for this long: the source's own pictures are used again."""


class Packager:
    """Feeds the renditions of one show. All methods run on the event loop."""

    def __init__(
        self,
        *,
        stream: str,
        grid: SegmentGrid,
        lineup: Lineup,
        ladder: Ladder,
        hls: HlsSettings,
        settings: LadderSettings,
        meter: MediaMeter,
        tap: PacketTap,
        tracks: PictureTracks,
        sounds: SoundTracks,
    ) -> None:
        self.stream = stream
        self._tracks = tracks
        self._sounds = sounds
        self.grid = grid
        self.lineup = lineup
        self.ladder = ladder
        self.segment = hls.segment_ms * TICKS_PER_SECOND // 1000
        """Wanted length of a segment, in ticks."""
        self.formats: dict[Kind, TrackFormat] = {}
        """What the renditions are made of now."""
        self.pictures = False
        """Whether pictures flow: segments start with their key frames."""
        self.unplayable: tuple[str, str] | None = None
        """Codecs that the show began with and that came, where players of one lack the other."""
        self._settings = settings
        self._meter = meter
        self._tap = tap
        self._realtime = ladder.realtime
        self._rule = GridRule(segment=self.segment, longest=safe_segment(hls.segment_ms))
        self._limit = rules.longest_segment(rules.target_duration_s(hls.segment_ms))
        self._announced: dict[Kind, TrackFormat] = {}
        """What comes next: pictures with their next key frame, sound with the pictures."""
        self._changed = False
        self._flowing = False
        """Media came since the last `begin`."""
        self._passing = settings.passthrough
        """Whether pictures go to `source` as they came."""
        self._first: TrackFormat | None = None
        """What viewers of `source` chose it by."""
        self._long_gop = False
        self._good_since: int | None = None
        """First of the key frames in time while the GOP was too long before."""
        self._owed_discontinuity = False
        """Formats changed where no segment could start: the next one starts with it."""
        self._hole = False
        """Nothing comes: what came before has been ended with a boundary of its own."""
        self._decoded: dict[Kind, TrackFormat] = {}
        """What decoders were last set up for."""
        self._cuts_without_key = 0

    @property
    def passthrough(self) -> bool:
        """Whether the encoder's own pictures are the source rung."""
        return self._passing

    @property
    def long_gop(self) -> bool:
        """Whether the source rung is re-encoded because key frames were too far apart."""
        return self._long_gop

    @property
    def newest_pictures(self) -> TrackFormat | None:
        """Format of the last pictures that came, also before sound alone."""
        return self._decoded.get(Kind.VIDEO)

    def begin(self) -> None:
        """Prepare for other pictures: their first key frame starts a segment everywhere."""
        self._rule.restart()
        self._cuts_without_key = 0
        self._flowing = False
        self.pictures = False
        self._announced.pop(Kind.VIDEO, None)
        self._end_long_gop()

    def announce(self, track_format: TrackFormat) -> None:
        """Note a track's parameters; they take effect at its next key frame."""
        if self._announced.get(track_format.kind) != track_format:
            self._announced[track_format.kind] = track_format
            self._changed = True

    def withdraw(self, kind: Kind) -> None:
        """Note that a track ended; the other goes on alone."""
        if self._announced.pop(kind, None) is not None and kind is Kind.VIDEO:
            self.pictures = False

    def accepts_sound(self, track_format: TrackFormat) -> bool:
        """Whether sound of this format may come now; else it has to wait for a key frame."""
        if not self.pictures or self.formats.get(Kind.AUDIO) == track_format:
            return True
        return self._decoded.get(Kind.AUDIO, track_format) == track_format

    def take(self, packet: Packet) -> None:
        """Take one access unit on the show clock, of an announced track."""
        self._hole = False
        if packet.kind is Kind.VIDEO:
            self._push_video(packet)
        else:
            self._push_audio(packet)

    def fill(self, packet: Packet) -> None:
        """Take AAC sound in the format that the audio rendition has, whatever was announced."""
        self._hole = False
        if not self.pictures:
            self.advance_to(packet.dts - self.segment)
        known = self.formats.get(Kind.AUDIO)
        if known is not None and known.codec is Codec.AAC:
            self._tap.packet(packet)
        rendition = self.lineup.get(AUDIO)
        if rendition is not None and rendition.format is not None:
            self._realtime.sound(packet, rendition.format)
        self.lineup.push(AUDIO, packet)
        self._sounds.main(packet)

    # ── pictures ─────────────────────────────────────────────────────────────────────────────

    def _push_video(self, packet: Packet) -> None:
        if packet.key and Kind.VIDEO in self._announced:
            self._saw_key(packet.pts)
            due = not self.pictures or self._changed or self._tracks.stale
            if due or self._gop_is_good(packet.pts):
                self._start_video(packet.pts)
        if not self.pictures:
            return
        self._realtime.packet(packet)
        self._advance_by_picture(packet)
        self._tap.packet(packet)
        if self._passing:
            self.lineup.push(SOURCE, packet)
        self.ladder.push(packet)

    def _saw_key(self, pts: int) -> None:
        self._rule.saw_key(pts)
        if self._rule.key_interval:
            self._meter.keyframe_interval(self.stream, self._rule.key_interval / TICKS_PER_SECOND)

    def _start_video(self, pts: int) -> None:
        """Begin a segment in every rendition at the first key frame of other pictures."""
        self.pictures = True
        video = self._announced[Kind.VIDEO]
        changed = any(
            known != self._announced.get(kind, known) for kind, known in self._decoded.items()
        )
        passing = self._may_pass(video)
        discontinuity = changed or passing != self._passing
        self._passing = passing
        discontinuity |= self._tracks.start(passing=passing)
        last = self.grid.last
        if last is None or pts > last.start:
            self._add_boundary(pts, discontinuity=discontinuity)
        else:
            self._owed_discontinuity |= discontinuity
        self._apply_formats()
        if self.lineup.get(SOURCE) is not None:
            self.lineup.hold([SOURCE])

    def _may_pass(self, video: TrackFormat) -> bool:
        """Whether those who chose `source` by its CODECS can decode these pictures."""
        fits = fits_hls(video)
        if not self._settings.passthrough or (self._first is None and not fits):
            return False
        if self._first is None:
            self._first = video
        playable = fits and (plays(self._first, video) or not self._settings.enabled)
        self.unplayable = None if playable else (self._first.codec_string, video.codec_string)
        return playable and not self._long_gop

    def _gop_is_good(self, pts: int) -> bool:
        """Whether pictures that had to be re-encoded for their GOP can be used again."""
        if not self._long_gop:
            return False
        if not 0 < self._rule.key_interval <= self._rule.longest:
            self._good_since = None
        elif self._good_since is None:
            self._good_since = pts - self._rule.key_interval
        if self._good_since is None or pts - self._good_since < GOOD_GOP:
            return False
        self._end_long_gop()
        return True

    def _end_long_gop(self) -> None:
        self._long_gop = False
        self._good_since = None

    def _advance_by_picture(self, packet: Packet) -> None:
        """Add the boundaries that a picture reaches."""
        last = self.grid.last
        if last is None or packet.pts <= last.start:
            return
        if not self._passing:
            self.advance_to(packet.pts - self.segment)
        elif packet.key and (
            self.lineup.waits(SOURCE) or self._rule.key_starts_segment(packet.pts, last.start)
        ):
            self._cuts_without_key = 0
            self._add_boundary(packet.pts)
        elif self._rule.must_cut(packet.pts, last.start):
            self._cut_without_key(packet.pts)

    def _cut_without_key(self, pts: int) -> None:
        """End a segment that got too long: its successor cannot be decoded on its own."""
        self._cuts_without_key += 1
        reencode = self._cuts_without_key >= LONG_GOP_CUTS and self._settings.enabled
        self.advance_to(pts - self._limit)
        last = self.grid.last
        if reencode or last is None or self._rule.must_cut(pts, last.start):
            self._add_boundary(pts, discontinuity=reencode)
        if reencode:
            self._long_gop = True
            self._good_since = None
            self._passing = False
            self._tracks.start(passing=False)
            self._apply_formats()

    # ── sound ────────────────────────────────────────────────────────────────────────────────

    def _push_audio(self, packet: Packet) -> None:
        announced = self._announced.get(Kind.AUDIO)
        if announced is None or not self.accepts_sound(announced):
            return
        if not self._flowing or self.formats.get(Kind.AUDIO) != announced:
            self._start_sound(announced, packet.dts)
        # With pictures the grid is theirs, unless they stop coming.
        late = PATIENCE_SOURCE if self.pictures else 0
        self._realtime.packet(packet)
        self.advance_to(packet.dts - self.segment - late)
        self._tap.packet(packet)
        if packet.codec is Codec.AAC:
            self.lineup.push(AUDIO, packet)
            self._sounds.main(packet)
        else:
            self.ladder.push(packet)

    def _start_sound(self, announced: TrackFormat, dts: int) -> None:
        """Take sound in; without pictures it starts a segment where it has to."""
        changed = self._decoded.get(Kind.AUDIO, announced) != announced
        last = self.grid.last
        starts = not self.pictures and (changed or not self._flowing)
        if starts and (last is None or dts > last.start):
            self._add_boundary(dts, discontinuity=changed)
        self._apply_formats()

    # ── boundaries and formats ───────────────────────────────────────────────────────────────

    def _add_boundary(self, start: int, *, discontinuity: bool = False) -> None:
        """Start a segment at `start`, and regular ones before it where one would be too long."""
        self.advance_to(start - self._limit)
        discontinuity = discontinuity or self._owed_discontinuity
        self._owed_discontinuity = False
        self.grid.add(start, discontinuity=discontinuity)
        if discontinuity:
            self._meter.discontinuity(self.stream)
        self.ladder.boundary(start)

    def advance_to(self, limit: int) -> None:
        """Add regular boundaries as long as the newest one is at or before `limit`."""
        while (last := self.grid.last) is not None and last.start <= limit:
            self._add_boundary(last.start + self.segment)

    def _apply_formats(self) -> None:
        """Bring renditions and ladder in line with what was announced."""
        self._changed = False
        self._flowing = True
        video = self._announced.get(Kind.VIDEO) if self.pictures else None
        audio = self._announced.get(Kind.AUDIO)
        self.formats = {f.kind: f for f in (video, audio) if f is not None}
        self._decoded |= self.formats
        self._tap.formats(list(self.formats.values()))
        self._realtime.formats(list(self.formats.values()))
        last = self.grid.last
        since = last.start if last is not None else None
        tracks = self._tracks.names
        coded = self.ladder.replan(
            video, audio, passthrough=self._passing, newest_boundary=since, tracks=tracks
        )
        passed = {}
        if video is not None and self._passing:
            self.lineup.open(SOURCE, Kind.VIDEO)
            passed[SOURCE] = video
        if audio is not None and audio.codec is Codec.AAC:
            self.lineup.open(AUDIO, Kind.AUDIO)
            passed[AUDIO] = audio
        further = tracks | self._sounds.names
        self.lineup.feed(encoder={*passed, *further}, worker=coded, since=since or 0)
        for name, track_format in passed.items():
            self.lineup.set_format(name, track_format)

    def end_before_hole(self, now: int) -> None:
        """End the segment where media ends: with the hole in it, it would not be worth loading."""
        last = self.grid.last
        if self._hole or last is None:
            return
        self._hole = True
        self.lineup.flush(now)
        edge = self.lineup.edge()
        if edge is not None and edge > last.start + TOLERANCE:
            self._add_boundary(edge)


def safe_segment(segment_ms: int) -> int:
    """Ticks that still round to TARGETDURATION (4.4.3.1), less a frame at 20 fps for safety."""
    target_s = (segment_ms + 500) // 1000
    return target_s * TICKS_PER_SECOND + TICKS_PER_SECOND * 9 // 20
