"""A stream's rungs to all its viewers: each access unit is cut into packets once (sans-IO)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delivery.whep.programme import OPUS, Lane
from media.model import TICKS_PER_SECOND, Codec, Kind
from webrtc.history import KeyframeRequests
from webrtc.payloads.errors import PayloadError
from webrtc.payloads.opus import OpusPacketizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from delivery.whep.viewer import Viewer
    from media.model import Packet, TrackFormat

AT_ONCE_NS = 5_000_000
"""So long one picture may hold up the event loop; who is left over is sent it by the pulse."""
SETTLING_NS = 2_000_000_000
"""From the first sound on: what waited for its encoder to start comes in one burst."""
STALE_NS = 150_000_000
"""Sound of that burst so far behind the pictures is left out: browsers would keep it waiting, and
the pictures with it, for half a minute (0.4 s more latency measured)."""


class Fanout:
    """Hears a stream's feed (`media.realtime.RealtimeListener`)."""

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        reorders: Callable[[str], bool],
        request_key: Callable[[str], None],
        on_busy: Callable[[], None],
        on_ended: Callable[[], None],
    ) -> None:
        """`reorders`: whether a rung has B pictures; `on_busy`: viewers have packets waiting.

        `request_key` asks the encoder of a rung; of each it is called once a second at most.
        """
        self.lanes: dict[str, Lane] = {}
        self.keys: dict[str, KeyframeRequests] = {}
        """By rung: one that the worker makes has key pictures of its own."""
        self.unsendable = 0
        """Packets of sound that fit no packet."""
        self._lags: dict[str, int] = {}
        """By rung: when its newest picture came, minus its time; ns."""
        self._settled_ns: int | None = None
        self._viewers: list[Viewer] = []
        self._first = 0
        self._now_ns, self._reorders, self._request_key = now_ns, reorders, request_key
        self._on_busy, self._on_ended = on_busy, on_ended
        self._opus = OpusPacketizer()
        self._sound = False

    # ── viewers ──────────────────────────────────────────────────────────────────────────────

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        """Those who are sent the stream."""
        return tuple(self._viewers)

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, viewer: Viewer) -> None:
        """Send to a viewer from here on; it begins at once."""
        self._viewers.append(viewer)
        viewer.begin(self._now_ns())
        if viewer.busy:
            self._on_busy()

    def remove(self, viewer: Viewer) -> None:
        """Send to a viewer no more. Idempotent."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)

    def key_wanted(self, viewer: Viewer, entry: tuple[int, int] | None) -> None:
        """Take a viewer's wish for a key picture (`delivery.whep.viewer.KeyWanted`)."""
        if viewer.wanted is None:
            return
        rung = viewer.wanted.name
        keys = self.keys.setdefault(rung, KeyframeRequests())
        if entry is None:
            keys.picture_loss()
        else:
            keys.full_intra(str(id(viewer)), *entry)
        self.ask()

    @property
    def keys_asked(self) -> int:
        """How often an encoder was asked for a key picture."""
        return sum(keys.asked for keys in self.keys.values())

    def ask(self) -> None:
        """Ask encoders for the key pictures that are wanted, where it is time; call it often."""
        for rung, keys in self.keys.items():
            if keys.due(self._now_ns()):
                self._request_key(rung)

    # ── the feed ─────────────────────────────────────────────────────────────────────────────

    def caught_up(self) -> None:
        """Note that what came so far was handed over all at once, as `RealtimeFeed.add` does."""
        for lane in self.lanes.values():
            lane.spread(self._now_ns())

    def formats(self, rung: str, track_format: TrackFormat) -> None:
        """Take a new or changed rung."""
        if track_format.kind is Kind.AUDIO:
            self._sound = rung == OPUS and track_format.codec is Codec.OPUS
            return
        lane = self.lanes.get(rung)
        if lane is None:
            lane = self.lanes[rung] = Lane(rung, self._reorders)
        lane.set_format(track_format)

    def packet(self, rung: str, packet: Packet) -> None:
        """Send an access unit to everybody who gets this rung."""
        if packet.kind is Kind.AUDIO:
            if self._sound and rung == OPUS:
                self._send_sound(packet)
            return
        lane = self.lanes.get(rung)
        if lane is None:
            return
        started_ns = now_ns = self._now_ns()
        frame = lane.take(packet, now_ns)
        if frame is None:
            return
        self._lags[rung] = _lag_ns(packet, now_ns)
        if frame.key and rung in self.keys:
            self.keys[rung].key_picture()
        count = len(self._viewers)
        # Whoever is first is sent to at once: not always the same.
        self._first = (self._first + 1) % count if count else 0
        busy = hold = False
        for viewer in (*self._viewers[self._first :], *self._viewers[: self._first]):
            viewer.frame(lane, frame, now_ns, hold=hold)
            busy = busy or viewer.busy
            now_ns = self._now_ns()
            hold = now_ns - started_ns > AT_ONCE_NS
        if busy:
            self._on_busy()

    def gone(self, rung: str) -> None:
        """Note that nothing more comes on a rung."""
        if rung == OPUS:
            self._sound = False
            self._settled_ns = None
            return
        self._lags.pop(rung, None)
        if (lane := self.lanes.get(rung)) is not None:
            lane.rest()

    def ended(self) -> None:
        """Note that the show is over."""
        self.lanes.clear()
        self._lags.clear()
        self._sound = False
        self._settled_ns = None
        self._on_ended()

    def _send_sound(self, packet: Packet) -> None:
        now_ns = self._now_ns()
        if self._settled_ns is None:
            self._settled_ns = now_ns + SETTLING_NS
        if now_ns < self._settled_ns and self._lags:
            live_ns = min(self._lags.values())
            if _lag_ns(packet, now_ns) > live_ns + STALE_NS:
                return
        try:
            ((payload, _),) = self._opus.packetize(packet.payload)
        except PayloadError:
            self.unsendable += 1
            return
        for viewer in self._viewers:
            viewer.sound(payload, packet.pts, now_ns)


def _lag_ns(packet: Packet, now_ns: int) -> int:
    """Return when a packet came, minus its time: only differences mean something."""
    return now_ns - packet.pts * 1_000_000_000 // TICKS_PER_SECOND
