"""What cues need from the rest of the server; implemented elsewhere, wired by `vitrina.app`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection


class ShowClock(Protocol):
    """The stream's 90 kHz line, and its program date-time."""

    def utc_ms(self, ticks: int) -> int:
        """Program date-time of a moment: milliseconds since 1970, UTC."""

    def ticks(self, utc_ms: int) -> int:
        """Moment of a program date-time."""


class LiveStream(Protocol):
    """A stream, as far as cues look at it."""

    @property
    def name(self) -> str:
        """Its public name."""

    @property
    def live(self) -> bool:
        """True while a show runs, also while its encoder is reconnecting."""

    @property
    def clock(self) -> ShowClock | None:
        """The show clock; None before the first show."""

    def edge(self) -> int | None:
        """End of the furthest published part of any rendition, in ticks.

        The first moment that no rendition has published; None while nothing is published.
        """

    def place(self, ticks: int) -> dict[str, tuple[int, int]]:
        """Return, per rendition, the (media sequence number, part) that holds this moment.

        Published parts and the open one count; renditions that have not reached it are left out.
        """


class StreamDirectory(Protocol):
    """The streams that exist, live or not."""

    def get(self, name: str) -> LiveStream | None:
        """Return the stream of this name."""


class ProductLookup(Protocol):
    """The catalogue, as cues check it."""

    async def missing(self, skus: Collection[str]) -> set[str]:
        """Return those of `skus` that the catalogue does not hold.

        Raises `storage.database.DatabaseUnavailable`.
        """
