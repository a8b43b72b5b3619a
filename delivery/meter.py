"""What delivery reports; `vitrina.telemetry` turns it into metrics."""

from __future__ import annotations

from typing import Protocol


class DeliveryMeter(Protocol):
    """Receives measurements. Every method is cheap, never blocks and never raises.

    `route` is one of a fixed set of names (`media`, `playlist_blocking`, `post_cues`, ...),
    `reason` likewise; neither ever holds a path, an address or a key.
    """

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request of `route` was answered `seconds` after it was read, holds included."""

    def bytes_out(self, stream: str, count: int) -> None:
        """`count` body bytes of playlists or media of `stream` were handed to the socket."""

    def viewers(self, stream: str, protocol: str, count: int) -> None:
        """So many watch `stream` by `protocol`: `hls` or `whep`.

        HLS: sessions that asked for a media playlist in the last ten seconds.
        """

    def open_now(self, connections: int, waiting: int, event_streams: int) -> None:
        """Connections, held blocking requests and cue streams at this moment."""

    def refused(self, reason: str) -> None:
        """Something was turned away or cut off.

        Reasons: `connections`, `waiters`, `event_streams` (a limit was reached), `slow`
        (a client did not read), `malformed` (not HTTP).
        """


class NoDeliveryMeter:
    """A `DeliveryMeter` that measures nothing, for tests and tools."""

    def request(self, route: str, status: int, seconds: float) -> None:
        """Ignore."""

    def bytes_out(self, stream: str, count: int) -> None:
        """Ignore."""

    def viewers(self, stream: str, protocol: str, count: int) -> None:
        """Ignore."""

    def open_now(self, connections: int, waiting: int, event_streams: int) -> None:
        """Ignore."""

    def refused(self, reason: str) -> None:
        """Ignore."""
