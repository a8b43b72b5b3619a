"""Where others listen to a show's source: its packets on the show clock, as they came.

A stream's tap outlives its shows. Whoever listens gets what the source rung is made of, before
any rendition; a listener must be quick, and one that fails is dropped: it never harms the show.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from media.model import Packet, TrackFormat

log = structlog.get_logger(__name__)


class PacketTap(Protocol):
    """Hears the source of a stream. Every method is O(1), never blocks and never raises."""

    def formats(self, formats: Sequence[TrackFormat]) -> None:
        """Note what the packets from here on are, pictures first; at most one of a kind.

        A new format of the pictures begins at their next packet, which is a key frame.
        """

    def packet(self, packet: Packet) -> None:
        """Take one access unit on the show clock; `dts` is monotonic within a kind."""

    def ended(self) -> None:
        """Note that the show is over; a later one starts with `formats`."""


class Tap:
    """Passes a stream's source on to its listeners, in the order they came (`PacketTap`)."""

    def __init__(self) -> None:
        self._listeners: tuple[PacketTap, ...] = ()
        self._formats: tuple[TrackFormat, ...] = ()

    def add(self, listener: PacketTap) -> None:
        """Let a listener hear what follows; in a show it is told the formats first."""
        self._listeners = (*self._listeners, listener)
        if self._formats:
            self._guard(listener, partial(listener.formats, self._formats))

    def remove(self, listener: PacketTap) -> None:
        """Let a listener hear nothing more. Idempotent."""
        self._listeners = tuple(one for one in self._listeners if one is not listener)

    def formats(self, formats: Sequence[TrackFormat]) -> None:
        """Pass on what the packets are, where that is news."""
        known, self._formats = self._formats, tuple(formats)
        if known != self._formats:
            for listener in self._listeners:
                self._guard(listener, partial(listener.formats, self._formats))

    def packet(self, packet: Packet) -> None:
        """Pass on an access unit."""
        for listener in self._listeners:
            try:
                listener.packet(packet)
            except Exception as err:
                self._drop(listener, err)

    def ended(self) -> None:
        """Pass on that the show is over."""
        self._formats = ()
        for listener in self._listeners:
            self._guard(listener, listener.ended)

    def _guard(self, listener: PacketTap, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as err:
            self._drop(listener, err)

    def _drop(self, listener: PacketTap, err: Exception) -> None:
        log.error(
            "a listener failed and is dropped", listener=type(listener).__name__, exc_info=err
        )
        self.remove(listener)


class Taps:
    """The taps of all streams, by name; each outlives its stream's shows."""

    def __init__(self) -> None:
        self._taps: dict[str, Tap] = {}

    def of(self, stream: str) -> Tap:
        """Return the tap of a stream, new if need be."""
        return self._taps.setdefault(stream, Tap())

    def forget(self, stream: str) -> None:
        """Forget a stream that is gone."""
        self._taps.pop(stream, None)
