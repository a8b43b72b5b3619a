"""What delivery needs from the rest of the server; wired in `vitrina.app`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from restream.model import Status, Target


class NotLive(Exception):
    """The stream has nothing to play; the text says why, for the viewer's page."""


class SourceUnavailable(Exception):
    """The encoder asked for cannot go on air; the text says why, for the producer."""


class Resource(Protocol):
    """An init segment, segment or part, complete and in RAM; never changes."""

    @property
    def body(self) -> bytes:
        """The bytes."""

    @property
    def content_type(self) -> str:
        """`video/mp4` or `video/iso.segment`."""


class Rendered(Protocol):
    """A media playlist as text, shared by everyone who asked for this state of it."""

    @property
    def body(self) -> bytes:
        """UTF-8 text."""

    @property
    def gzip_body(self) -> bytes:
        """The same, gzipped once."""

    @property
    def etag(self) -> str:
        """Entity tag with its quotes (RFC 9110 8.8.3)."""


class RenditionView(Protocol):
    """The read side of `media.hls.rendition.Rendition`."""

    def resource(self, name: str) -> Resource | None:
        """Return what is ready under this name."""

    async def wait_resource(self, name: str) -> Resource | None:
        """Return it, holding for the hinted part only; None at once when unknown."""

    async def playlist(
        self, *, msn: int | None = None, part: int | None = None, skip: bool = False
    ) -> Rendered:
        """Return the playlist, holding as asked; raises `PlaylistRequestError`."""


class StreamView(Protocol):
    """A stream as delivery sees it."""

    @property
    def name(self) -> str:
        """Playback name; never the key."""

    @property
    def state(self) -> str:
        """`idle`, `live`, `reconnecting` or `ended`."""

    async def multivariant(self) -> bytes:
        """Return the multivariant playlist, held some seconds until the ladder is known.

        Raises `NotLive`.
        """

    def rendition(self, name: str) -> RenditionView | None:
        """Return one rendition by name."""

    def summary(self) -> Mapping[str, object]:
        """Return what `GET /api/v1/streams/S` answers, JSON-ready; delivery adds `viewers`.

        Keys: `name`, `state`, `tracks`, `bitrate_bps`, `findings`, `renditions`, `sources`.
        """

    def open_ahead(self) -> None:
        """Start the show with its slate before an encoder comes; raises `SourceUnavailable`."""

    def end(self) -> None:
        """End the show now, publishers included; nothing happens without one."""

    def choose_source(self, role: str) -> None:
        """Put the `primary` or `backup` encoder on air; `auto`: leave it to the rule.

        Raises `SourceUnavailable`.
        """

    def yield_to_next(self, role: str) -> None:
        """Let the next encoder of a role take over from the one on air, for good."""

    def findings(self) -> Sequence[Mapping[str, object]]:
        """Return the open findings, oldest first, then closed ones, JSON-ready.

        Keys: `code`, `severity`, `text`, `since`, `until`; `code` and `since` identify one.
        """


class Directory(Protocol):
    """All streams that exist."""

    def get(self, name: str) -> StreamView | None:
        """Return one by its playback name."""

    def all(self) -> Sequence[StreamView]:
        """Return every stream, by name."""


class StreamAdmin(Protocol):
    """Makes and unmakes streams."""

    async def add(self, name: str) -> str:
        """Make a stream; return its key, the only time it is seen.

        Raises `storage.streams.StreamExists` and `StreamRefused`.
        """

    async def remove(self, name: str) -> None:
        """Unmake it; raises `storage.streams.NoSuchStream` and `StreamRefused`."""

    async def rotate_key(self, name: str, *, backup: bool = False) -> str:
        """Return a new key, or a new backup key; the old one is void.

        Raises `storage.streams.NoSuchStream` and `StreamRefused`.
        """


class TargetAdmin(Protocol):
    """Where streams are pushed on to; raises `restream.model.TargetRefused` and its kinds."""

    def list(self, stream: str) -> Sequence[tuple[Target, Status]]:
        """Return the targets of a stream, by name, and how each stands."""

    def get(self, stream: str, name: str) -> tuple[Target, Status]:
        """Return one."""

    async def add(
        self,
        stream: str,
        name: str,
        *,
        url: str,
        key: str | None,
        enabled: bool,
        codecs: Iterable[str],
    ) -> None:
        """Add a target and push to it."""

    async def change(
        self,
        stream: str,
        name: str,
        *,
        url: str | None = None,
        key: str | None = None,
        enabled: bool | None = None,
        codecs: Iterable[str] | None = None,
    ) -> None:
        """Change what is not None."""

    async def remove(self, stream: str, name: str) -> None:
        """Forget a target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a token speaks for."""

    role: Literal["admin", "producer"]
    stream: str | None = None
    """The one stream a producer may touch; None for all."""

    def may_touch(self, stream: str) -> bool:
        """Whether this principal may see and act on `stream`."""
        return self.role == "admin" or self.stream is None or self.stream == stream


class TokenCheck(Protocol):
    """Knows API tokens."""

    async def check(self, token: str) -> Principal | None:
        """Return whom the token speaks for, None when it is unknown. Compares in constant time."""
