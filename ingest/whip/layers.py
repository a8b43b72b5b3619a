"""Which simulcast layer is which video track.

Track 0, the main one, is the layer with the largest picture that is sent; the others follow by
size, as with multitrack over Enhanced RTMP (`media.tracks`). Browsers stop their large layers when
the uplink is narrow: then the next one takes the main track over, and gives it back when the
larger one has held out for a while. Changes happen at key frames.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from media.model import Kind, Packet, TrackFormat

if TYPE_CHECKING:
    from collections.abc import Callable

_MS = 1_000_000
DECIDE_NS = 1_000 * _MS
"""From the first pictures until the tracks are numbered, where not all layers have come."""
MAX_HELD = 512
MAX_HELD_BYTES = 8 * 2**20
"""Bounds of what waits for that; beyond them it is decided at once."""
SILENT_NS = 500 * _MS
"""So long behind another one without a packet, the main layer has stopped."""
GONE_NS = 2_000 * _MS
"""Without a packet for so long a further layer's track has ended."""
STEADY_NS = 5_000 * _MS
"""So long has a larger layer to be sent before it becomes the main one; twice as long each time
that it stopped again."""
MAX_STEADY_NS = 320_000 * _MS


class ReceiverSink(Protocol):
    """Where a receiver's tracks go: the part of `ingest.source.Publication` that it uses."""

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        """Announce or change a track's parameters; may raise `media.model.FormatRefused`."""

    def drop_track(self, track: int, kind: Kind) -> None:
        """End a track."""

    def push(self, packet: Packet) -> None:
        """Take one access unit; may raise `media.limits.LimitExceeded`."""


@dataclass(slots=True, kw_only=True)
class _Layer:
    index: int
    number: int | None = None
    """Its track, None before it is numbered."""
    format: TrackFormat | None = None
    told: bool = False
    """The sink knows the format under its number."""
    started: bool = False
    """A key frame was pushed since it was told."""
    newest_ns: int = 0
    """When its newest picture came."""
    heard_ns: int = 0
    """When its newest packet came; while pictures wait for a key frame it is still there."""
    since_ns: int = 0
    """Since when it has been sent without a stop; 0 while it is not."""

    @property
    def pixels(self) -> int:
        return self.format.width * self.format.height if self.format is not None else 0

    @property
    def active(self) -> bool:
        return self.since_ns > 0


class Layers:
    """Numbers the layers of one video section; times are nanoseconds of one steady clock.

    `request_key(index)`: a layer's key frame is waited for.
    """

    def __init__(self, sink: ReceiverSink, count: int, request_key: Callable[[int], None]) -> None:
        self._sink = sink
        self._request_key = request_key
        self._layers = [_Layer(index=index) for index in range(count)]
        self._decided = False
        self._first_ns: int | None = None
        self._held: deque[tuple[_Layer, TrackFormat | Packet]] = deque()
        self._held_bytes = 0
        self._steady_ns = STEADY_NS
        self._wanted: _Layer | None = None
        """Becomes the main layer with its next key frame."""
        self._last: dict[int, int] = {}
        self.changes = 0
        """Times that another layer became the main one."""
        if count == 1:
            self._layers[0].number = 0
            self._decided = True

    @property
    def main(self) -> int | None:
        """Index of the layer that is track 0; None before that is decided."""
        return self._main.index if self._decided else None

    def take(self, index: int, changed: TrackFormat | None, packet: Packet) -> None:
        """Take a layer's packet, and its format where that is new with it."""
        layer = self._layers[index]
        now_ns = packet.arrived_ns
        layer.newest_ns = max(layer.newest_ns, now_ns)
        layer.heard_ns = max(layer.heard_ns, now_ns)
        if not layer.active:
            layer.since_ns = max(now_ns, 1)
            if not packet.key:
                self._request_key(index)
        if self._first_ns is None:
            self._first_ns = now_ns
        if changed is not None:
            layer.format = changed
            layer.told = False
        if self._decided:
            self._emit(layer, packet)
            return
        if changed is not None:
            self._held.append((layer, changed))
        self._held.append((layer, packet))
        self._held_bytes += len(packet.payload)
        full = len(self._held) > MAX_HELD or self._held_bytes > MAX_HELD_BYTES
        if full or all(each.format is not None for each in self._layers):
            self._decide()

    def heard(self, index: int, at_ns: int) -> None:
        """Take note of when a layer's newest packet came."""
        layer = self._layers[index]
        layer.heard_ns = max(layer.heard_ns, at_ns)

    def tick(self, now_ns: int) -> None:
        """See who has stopped, and who has come back for good."""
        if not self._decided:
            if self._first_ns is not None and now_ns - self._first_ns >= DECIDE_NS:
                self._decide()
            return
        if len(self._layers) == 1:
            return
        main = self._main
        for layer in self._layers:
            if layer.active and layer is not main and now_ns - layer.heard_ns >= GONE_NS:
                self._stop(layer)
        others = [
            each
            for each in self._layers
            if each.active
            and each.newest_ns - main.heard_ns >= SILENT_NS
            and now_ns - each.newest_ns < SILENT_NS
        ]
        if others:
            self._want(max(others, key=lambda each: each.pixels))
            return
        larger = [
            each
            for each in self._layers
            if each.active
            and each.pixels > main.pixels
            and now_ns - each.since_ns >= self._steady_ns
            and now_ns - each.newest_ns < SILENT_NS
        ]
        if larger:
            self._want(max(larger, key=lambda each: each.pixels))
        else:
            self._wanted = None

    def ended(self, index: int) -> None:
        """Take note that the publisher said goodbye to a layer."""
        layer = self._layers[index]
        if self._decided and len(self._layers) > 1 and layer is not self._main:
            self._stop(layer)

    @property
    def _main(self) -> _Layer:
        return next(each for each in self._layers if each.number == 0)

    def _decide(self) -> None:
        """Number the layers, the largest picture first; those that have not come go last."""
        ranked = sorted(self._layers, key=lambda each: (-each.pixels, each.index))
        for number, layer in enumerate(ranked):
            layer.number = number
        self._decided = True
        held, self._held = self._held, deque()
        self._held_bytes = 0
        formats: dict[int, TrackFormat] = {}
        for layer, item in held:
            if isinstance(item, TrackFormat):
                formats[layer.index] = item
                layer.told = False
            else:
                self._emit(layer, item, formats[layer.index])

    def _emit(self, layer: _Layer, packet: Packet, track_format: TrackFormat | None = None) -> None:
        if packet.key and layer is self._wanted:
            self._promote(layer)
        track_format = track_format or layer.format
        assert layer.number is not None
        assert track_format is not None
        if not layer.told:
            if not packet.key:
                return
            self._sink.set_format(layer.number, track_format)
            layer.told = layer.started = True
        elif not layer.started:
            if not packet.key:
                return
            layer.started = True
        last = self._last.get(layer.number)
        time = packet.dts if last is None else max(packet.dts, last + 1)
        self._last[layer.number] = time
        if layer.number or time != packet.dts:
            packet = replace(packet, track=layer.number, dts=time, pts=time)
        self._sink.push(packet)

    def _want(self, layer: _Layer) -> None:
        if self._wanted is not layer:
            self._wanted = layer
            self._request_key(layer.index)

    def _promote(self, layer: _Layer) -> None:
        """Make a layer the main one; the one before gets its number."""
        before = self._main
        if layer.pixels < before.pixels:
            self._steady_ns = min(2 * self._steady_ns, MAX_STEADY_NS)
            self._stop(before)
        if layer.told:
            assert layer.number is not None
            self._sink.drop_track(layer.number, Kind.VIDEO)
        before.number, layer.number = layer.number, 0
        before.told = before.started = layer.told = layer.started = False
        self._wanted = None
        self.changes += 1
        if before.active:
            self._request_key(before.index)

    def _stop(self, layer: _Layer) -> None:
        layer.since_ns = 0
        if layer.told and layer.number:
            self._sink.drop_track(layer.number, Kind.VIDEO)
        if layer.number:
            layer.told = layer.started = False
