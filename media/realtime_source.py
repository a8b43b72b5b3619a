"""A show's side of `media.realtime`: which packets are which rung, and sound as Opus.

Opus of one or two channels passes as it came. Any other sound, and what stands in for it while
no encoder is there, goes through one encoder of the show's worker, while somebody listens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from media.bitstream import BitstreamError, describe, opus
from media.keys import KeyRequests
from media.lineup import SOURCE
from media.model import TICKS_PER_SECOND, Codec, Kind
from media.realtime import OPUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from media.model import Packet, TrackFormat
    from media.realtime import RealtimeFeed

PASSED_CHANNELS = 2
"""Opus of more is several streams in one packet, which RTP has no room for (RFC 7587)."""
TOLERANCE = TICKS_PER_SECOND // 200
"""Sound from another origin may begin this much before the end of the last."""
CODED = describe(Codec.OPUS, opus.default_head(2))


class RealtimeEncoder(Protocol):
    """The worker of a show, as `media.transcode.process.Transcoder` provides it."""

    def listen(self, sound: TrackFormat | None) -> None:
        """Encode `sound` to Opus from now on, None: no sound any more.

        What comes of it is the rung `opus` of the `RungSink`.
        """

    def hear(self, packet: Packet) -> None:
        """Hand over an access unit of that sound, on the show clock; never blocks."""

    def want_key(self, rung: str) -> None:
        """Make the next picture of a rung an IDR, beside those on boundaries."""


class RealtimeSource:
    """See the module's docstring (`media.tap.PacketTap`). All methods run on the event loop."""

    def __init__(
        self, feed: RealtimeFeed, encoder: RealtimeEncoder, now_ns: Callable[[], int]
    ) -> None:
        self._feed = feed
        self._encoder = encoder
        self._sound: TrackFormat | None = None
        """What the encoder's sound is."""
        self._encoded: TrackFormat | None = None
        """What the worker encodes."""
        self._passing = True
        """The newest packet of `opus` came as it is."""
        self._last: int | None = None
        """Time of that packet."""
        self._end = 0
        """... and where it ends."""
        self._told = False
        """The rung of sound is open."""
        self._coded: dict[str, KeyRequests] = {}
        """The worker's rungs."""
        self._now_ns = now_ns

    # ── the source ───────────────────────────────────────────────────────────────────────────

    def formats(self, formats: Sequence[TrackFormat]) -> None:
        """Note what the source's packets are from here on; at most one format of a kind."""
        known = {track_format.kind: track_format for track_format in formats}
        pictures, self._sound = known.get(Kind.VIDEO), known.get(Kind.AUDIO)
        self._feed.pictures = pictures is not None
        if pictures is not None and pictures.codec is Codec.H264:
            self._feed.set_format(SOURCE, pictures)
        else:
            self._feed.close(SOURCE)
        if self._sound is not None:
            self._tell(self._sound)

    def packet(self, packet: Packet) -> None:
        """Take one access unit of the source, or of the slate in its place."""
        if packet.kind is Kind.VIDEO:
            if packet.codec is Codec.H264:
                self._feed.push(SOURCE, packet)
        elif self._sound is not None:
            self.sound(packet, self._sound)

    def sound(self, packet: Packet, track_format: TrackFormat) -> None:
        """Take sound of any format: the source's, or what stands in for it."""
        self._tell(track_format)
        if _passes(track_format):
            self._push(packet, passing=True)
            return
        wanted = track_format if self._feed.listening else None
        if wanted != self._encoded:
            self._encoded = wanted
            self._encoder.listen(wanted)
        if wanted is not None:
            self._encoder.hear(packet)

    def ended(self) -> None:
        """Note that the show is over."""
        self._feed.end()

    def _tell(self, track_format: TrackFormat) -> None:
        """Open the rung of sound; one that changes its origin stays what it was."""
        if not self._told:
            self._told = True
            self._feed.set_format(OPUS, track_format if _passes(track_format) else CODED)

    def _push(self, packet: Packet, *, passing: bool) -> None:
        """Pass sound on, unless it lies before what was heard already."""
        least = self._last + 1 if self._last is not None else packet.pts
        if passing is not self._passing:
            least = max(least, self._end - TOLERANCE)
        if packet.pts < least:
            return
        self._passing, self._last = passing, packet.pts
        self._end = packet.pts + (packet.duration or _duration(packet.payload))
        self._feed.push(OPUS, packet)

    # ── the worker ───────────────────────────────────────────────────────────────────────────

    def rung_format(self, rung: str, track_format: TrackFormat) -> None:
        """Take the parameters of a rung that the worker makes."""
        if track_format.codec is Codec.H264:
            if rung not in self._coded:
                ask = partial(self._encoder.want_key, rung)
                self._coded[rung] = KeyRequests(ask, self._now_ns)
            self._feed.set_format(rung, track_format)

    def rung_packet(self, rung: str, packet: Packet) -> None:
        """Take an access unit that the worker made."""
        if rung == OPUS:
            if self._encoded is not None:
                self._push(packet, passing=False)
        elif (keys := self._coded.get(rung)) is not None:
            if packet.key:
                keys.came()
            self._feed.push(rung, packet)

    def keep(self, rungs: Iterable[str]) -> None:
        """Note which rungs the worker makes from now on; none after it was lost."""
        for rung in sorted(set(self._coded).difference(rungs)):
            del self._coded[rung]
            self._feed.close(rung)

    # ── the encoder's further tracks ─────────────────────────────────────────────────────────

    def track_format(self, rung: str, track_format: TrackFormat) -> None:
        """Take the format of a track that is used as a rung; a key frame follows."""
        if track_format.codec is Codec.H264:
            self._feed.set_format(rung, track_format)

    def track_packet(self, rung: str, packet: Packet) -> None:
        """Take an access unit of such a track."""
        if packet.codec is Codec.H264:
            self._feed.push(rung, packet)

    def track_gone(self, rung: str) -> None:
        """Note that no track is used as this rung any more."""
        if rung not in self._coded:
            self._feed.close(rung)

    # ── key frames ───────────────────────────────────────────────────────────────────────────

    def request_key(self, rung: str) -> bool:
        """Have the worker make a key frame, at most once a second; False: it makes no such rung."""
        if (keys := self._coded.get(rung)) is None:
            return False
        keys.want()
        return True

    def tick(self) -> None:
        """Ask for what became due."""
        for keys in self._coded.values():
            keys.tick()


def _passes(track_format: TrackFormat) -> bool:
    return track_format.codec is Codec.OPUS and 0 < track_format.channels <= PASSED_CHANNELS


def _duration(payload: bytes) -> int:
    """Ticks that an Opus packet lasts; 0 where it does not say it."""
    try:
        return opus.packet_samples(payload) * TICKS_PER_SECOND // opus.SAMPLE_RATE
    except BitstreamError:
        return 0
