"""The seam between an encoder's protocol and the rest of the server.

A protocol server authorises a key, opens a `Publication`, announces formats, pushes packets.
`vitrina.app` supplies the implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from media.limits import Limits
from media.model import Kind, Packet, Role, TrackFormat

MAX_LEAD_S = 2.0
RESUME_LEAD_S = 1.9
"""A tenth of a second at a time: transcoders drop pictures that come in larger bursts."""


class Refusal(StrEnum):
    """Why a publisher is not let in; the fixed words of the metrics."""

    KEY = "key"
    """No stream has this key, or no user this password."""
    ADDRESS = "address"
    """The stream is not published from there."""
    HOOK = "hook"
    """The authorisation hook said no, or nothing usable."""
    CONTESTED = "contested"
    """It fought with another publisher for the stream, and that one stays."""
    INTERNAL = "internal"
    """It could not be found out: the database failed."""


class KeyRefused(Exception):
    """The publisher is not let in; the text is a sentence for it."""

    def __init__(
        self, text: str, *, reason: Refusal = Refusal.KEY, undecided: bool = False
    ) -> None:
        """`undecided`: nobody said no; a moment later it may be a yes."""
        super().__init__(text)
        self.reason, self.undecided = reason, undecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """A publisher at the door: what it says, and where it comes from."""

    protocol: str
    """`rtmp`, `rtmps`, `whip`."""
    address: str
    """Of the peer, without a port."""
    key: str = field(repr=False)
    user: str | None = None
    """Who logged in with a password; `key` is then the stream's name, or empty."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters beside the key, percent-decoded; may hold secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A publisher was let in."""

    stream: str
    """Name of the stream, safe to log (never the key)."""
    role: Role = Role.PRIMARY
    limits: Limits | None = None
    """Bounds of this publisher; None: those of the server."""
    key_digest: str | None = field(default=None, repr=False, compare=False)
    """Of the key that let it in; None after a login."""


class Publication(Protocol):
    """One encoder's run on a stream, from `open` to `close`. All calls on the event loop."""

    @property
    def stream(self) -> str:
        """Name of the stream, safe to log (never the key)."""

    @property
    def lead_s(self) -> float:
        """Seconds by which the encoder runs ahead of real time (a file pushed at full speed).

        Above `MAX_LEAD_S` an ingest stops reading for a while: nothing behind it queues.
        """

    def set_format(self, track: int, track_format: TrackFormat) -> None:
        """Announce or change a track's parameters; effective at the next key frame.

        Raises `media.model.FormatRefused`: the ingest closes the connection with that text.
        """

    def describe_sound(self, languages: Mapping[int, str]) -> None:
        """Tell the languages (BCP 47) of audio tracks by their number, as far as they are known."""

    def declare_rates(self, rates: Mapping[tuple[Kind, int], int]) -> None:
        """Tell the bits a second that the encoder is set to, by a track's kind and number.

        All that it says at once; what is not in there is not known. A claim, not a promise.
        """

    def note_loss(self, *, lost: int, packets: int, pictures: int) -> None:
        """Tell, once a second, what the network lost since the last call.

        Of `packets` of the network `lost` were given up; `pictures` came in part, or need one that
        did not come.
        """

    def drop_track(self, track: int, kind: Kind) -> None:
        """The encoder ended this track (E-RTMP SequenceEnd)."""

    def push(self, packet: Packet) -> None:
        """Hand over one access unit in source time; never blocks.

        Raises `media.limits.LimitExceeded`: the ingest closes the connection with that text.
        """

    def close(self, reason: str) -> None:
        """The encoder left. Idempotent. `reason`: `bye`, `timeout`, `error`, `revoked`."""


class PublishGate(Protocol):
    """Decides who may publish what."""

    async def authorize(self, approach: Approach) -> Grant:
        """Say what the publisher may do; raise `KeyRefused` with a sentence for it."""

    def open(
        self,
        grant: Grant,
        *,
        protocol: str,
        wrap_ticks: int,
        on_revoked: Callable[[str], None],
        on_key_wanted: Callable[[], None] | None = None,
    ) -> Publication:
        """Start a run; one in progress in the same role is taken over at once.

        That one is revoked when this run has a key frame, or when it fails by itself.
        `wrap_ticks`: modulus of the encoder's clock in 90 kHz ticks (RTMP: 2**32 * 90).
        `on_revoked` is called with a sentence for the producer when the stream is taken away (a
        newer publisher, the stream's removal, a stop): close the connection.
        `on_key_wanted` is called, at most once a second, while this publisher is on air and
        somebody waits for a key frame; None where the encoder cannot be asked.
        """


class IngestMeter(Protocol):
    """What ingest reports; `vitrina.telemetry` turns it into metrics. Never raises."""

    def connection_opened(self, protocol: str) -> None:
        """A connection was accepted."""

    def connection_closed(self, protocol: str, reason: str) -> None:
        """It ended; `reason` is one of the protocol server's fixed words."""

    def rejected(self, protocol: str, reason: str) -> None:
        """It was refused or cut for the peer's fault; `reason` is a fixed word."""

    def bytes_in(self, protocol: str, size: int) -> None:
        """Bytes read from the network."""
