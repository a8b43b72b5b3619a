"""What viewers without a segment's delay (WebRTC) are sent: every rung's packets as they are made.

A stream's feed outlives its shows. Its rungs are `source` (the encoder's own pictures where they
are H.264, and the slate's in their place), those of the ladder by their names (`720p`, ...),
whether the worker makes them or they are further tracks of the encoder, of H.264 too, and `opus`:
sound at 48 kHz in one or two channels and packets of any length, the encoder's own where they are
Opus, else encoded once for all listeners. Packets are on the show clock and come in the order of
their decoding, as soon as they are made.

Which pictures a browser shows is for the listener to judge: by `TrackFormat` (`bit_depth` 8,
`chroma` 4:2:0) and by `RealtimeFeed.reorders`. What the worker makes always qualifies: no B-frames
(x264 zerolatency), a key frame at every segment's start and where one is asked for
(`media.stream.Stream.request_key`). Parameter sets are those of the format's avcC and need not be
in band.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from media.bitstream import BitstreamError, h264
from media.model import TICKS_PER_SECOND, Codec, Kind
from media.transcode.plan import OPUS as OPUS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from media.model import Packet, TrackFormat

MAX_GOP_TICKS = 10 * TICKS_PER_SECOND
MAX_GOP_BYTES = 16 * 2**20
"""A longer group of pictures is not kept: a new listener waits for the next key frame."""
STALE = 2 * TICKS_PER_SECOND
"""A rung this far behind the others pauses: nobody is to begin with its last pictures."""

log = structlog.get_logger(__name__)


class RealtimeListener(Protocol):
    """Hears every rung of a stream. Every method is quick, never blocks and never raises."""

    def formats(self, rung: str, track_format: TrackFormat) -> None:
        """Note a new or changed rung; its packets follow, of pictures from a key frame on."""

    def packet(self, rung: str, packet: Packet) -> None:
        """Take one access unit on the show clock; `dts` is monotonic within a rung."""

    def gone(self, rung: str) -> None:
        """Note that nothing more comes on a rung; it may come back with `formats`."""

    def ended(self) -> None:
        """Note that the show is over; a later one starts with `formats`."""


class _Rung:
    """One rung as it is now, and for pictures everything since the newest key frame."""

    def __init__(self, track_format: TrackFormat) -> None:
        self.format = track_format
        self.gop: list[Packet] = []
        self.reorders = _reorders(track_format)
        self.newest = 0
        """Presentation time of its newest picture."""
        self._bytes = 0

    def add(self, packet: Packet) -> None:
        if packet.kind is Kind.AUDIO:
            return
        if packet.key:
            self.gop, self._bytes, self.newest = [], 0, packet.pts
        elif not self.gop:
            return
        elif packet.pts < self.newest:
            self.reorders = True
        self.newest = max(self.newest, packet.pts)
        self.gop.append(packet)
        self._bytes += len(packet.payload)
        if self._bytes > MAX_GOP_BYTES or packet.dts - self.gop[0].dts > MAX_GOP_TICKS:
            self.gop = []


class RealtimeFeed:
    """See the module's docstring. All methods run on the event loop."""

    def __init__(self) -> None:
        self._listeners: tuple[RealtimeListener, ...] = ()
        self._rungs: dict[str, _Rung] = {}
        self.pictures = False
        """Whether the show has pictures, of whatever codec: there may be no rung of them (yet)."""

    # ── for listeners ────────────────────────────────────────────────────────────────────────

    def add(self, listener: RealtimeListener) -> None:
        """Let a listener hear what follows, after the formats and each rung's newest GOP so far.

        Sound is encoded while there is a listener; it begins within a third of a second.
        """
        self._listeners = (*self._listeners, listener)
        now = max((rung.newest for rung in self._rungs.values()), default=0)
        rungs = tuple(self._rungs.items())
        self._guard(listener, partial(_catch_up, listener, rungs, now - STALE))

    def remove(self, listener: RealtimeListener) -> None:
        """Let a listener hear nothing more. Idempotent."""
        self._listeners = tuple(one for one in self._listeners if one is not listener)

    def hears(self, listener: RealtimeListener) -> bool:
        """Whether a listener is one still: who failed is not."""
        return any(one is listener for one in self._listeners)

    def rungs(self) -> Mapping[str, TrackFormat]:
        """Return the rungs of the show and what they are; empty between shows.

        `opus` is there as soon as the show has sound.
        """
        return {name: rung.format for name, rung in self._rungs.items()}

    def reorders(self, rung: str) -> bool:
        """Whether a rung has B-frames: its SPS allows them, or one has come since its format.

        Browsers do not show such pictures in order. False for a rung that is not there.
        """
        known = self._rungs.get(rung)
        return known is not None and known.reorders

    @property
    def listening(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    # ── for the show ─────────────────────────────────────────────────────────────────────────

    def set_format(self, rung: str, track_format: TrackFormat) -> None:
        """Open a rung, or change its format with its next packet."""
        known = self._rungs.get(rung)
        if known is None or known.format != track_format:
            self._rungs[rung] = _Rung(track_format)
            for listener in self._listeners:
                self._guard(listener, partial(listener.formats, rung, track_format))

    def push(self, rung: str, packet: Packet) -> None:
        """Pass on an access unit of a rung that is open; others are ignored."""
        known = self._rungs.get(rung)
        if known is None:
            return
        known.add(packet)
        for listener in self._listeners:
            try:
                listener.packet(rung, packet)
            except Exception as err:
                self._drop(listener, err)

    def close(self, rung: str) -> None:
        """Pass on that nothing more comes on a rung. Idempotent."""
        if self._rungs.pop(rung, None) is not None:
            for listener in self._listeners:
                self._guard(listener, partial(listener.gone, rung))

    def end(self) -> None:
        """Pass on that the show is over."""
        self._rungs.clear()
        self.pictures = False
        for listener in self._listeners:
            self._guard(listener, listener.ended)

    def _guard(self, listener: RealtimeListener, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as err:
            self._drop(listener, err)

    def _drop(self, listener: RealtimeListener, err: Exception) -> None:
        log.error(
            "a listener failed and is dropped", listener=type(listener).__name__, exc_info=err
        )
        self.remove(listener)


def _catch_up(listener: RealtimeListener, rungs: tuple[tuple[str, _Rung], ...], since: int) -> None:
    for name, rung in rungs:
        listener.formats(name, rung.format)
        for packet in tuple(rung.gop) if rung.newest >= since else ():
            listener.packet(name, packet)


def _reorders(track_format: TrackFormat) -> bool:
    if track_format.codec is not Codec.H264:
        return False
    try:
        return bool(h264.reorder_frames(track_format.config))
    except BitstreamError:
        return False
